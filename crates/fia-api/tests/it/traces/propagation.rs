//! Traces from callers, to other services, in responses and in messages.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use devstack::shared;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode, Uri};
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use parking_lot::Mutex;
use serde_json::json;

use crate::consumer::queue_vars;
use crate::harness::otlp::{Collector, attribute};
use crate::harness::{Database, Fixture, Replica, request, vars};
use crate::traces::{CALLER, TRACE_ID, deployed, flush, traced};

type Seen = Arc<Mutex<HashMap<String, HeaderMap>>>;

/// A service that records the headers of requests by path and responds with an empty list.
async fn recording_service() -> (String, Seen) {
    let seen = Seen::default();
    let record = async |State(seen): State<Seen>, uri: Uri, headers: HeaderMap| {
        seen.lock().insert(uri.path().to_owned(), headers);
        "[]"
    };
    let router = Router::new().fallback(record).with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, seen)
}

#[tokio::test]
async fn the_callers_trace_reaches_services_and_the_response() {
    let (fixture, collector) = tokio::join!(Fixture::new(), Collector::start());
    let (url, seen) = recording_service().await;
    let mut settings = deployed(&collector);
    settings.extend(vars(&[("AUTH_API_URL", &url), ("GITHUB_API_URL", &url)]));
    let replica = fixture.replica_with(&settings).await;
    for path in ["/jobs?limit=5", "/jobs/runners"] {
        let mut call = traced(Method::GET, path, "user");
        let baggage = "tenant=isis".parse().unwrap();
        call.headers_mut().insert("baggage", baggage);
        let response = replica.send(call).await;
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        assert_eq!(response.header("x-request-id"), TRACE_ID);
    }
    flush(&replica).await;
    let spans = collector.spans();
    let server = spans.iter().find(|span| span.name == "GET /jobs").unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(&server.trace_id), TRACE_ID);
    assert_eq!(hex(&server.parent_span_id), CALLER);

    let seen = seen.lock();
    let header = |path: &str, name: &str| {
        let value = seen[path].get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let packages = "/orgs/fiaisis/packages/container/mantid/versions";
    for (path, name) in [
        ("/experiments", "GET /experiments"),
        (packages, "GET package versions"),
    ] {
        let span = spans.iter().find(|span| span.name == name).unwrap();
        let parent = hex(&span.span_id);
        let expected = format!("00-{TRACE_ID}-{parent}-01");
        assert_eq!(header(path, "traceparent"), Some(expected));
        assert!(attribute(&span.attributes, "http.response.status_code").is_some());
    }
    // Baggage stays within the facility.
    assert_eq!(
        header("/experiments", "baggage").as_deref(),
        Some("tenant=isis")
    );
    assert_eq!(header(packages, "baggage"), None);
}

/// The headers of the message of a new job.
async fn message_headers(settings: &[(&str, &str)]) -> Option<FieldTable> {
    let (database, rabbitmq) = tokio::join!(Database::seeded(), shared::rabbitmq());
    let rabbitmq = rabbitmq.unwrap();
    database.add_outbox().await;
    let queue = queue_vars(rabbitmq);
    let name = queue["EGRESS_QUEUE_NAME"].as_str();
    let replica = Replica::new(&[&database.vars(), &queue, &vars(settings)]);
    let body = json!({"runner_image": "img", "script": "x"});
    let mut call = request(Method::POST, "/job/simple", "apikey", Some(&body));
    let traceparent = format!("00-{TRACE_ID}-{CALLER}-01");
    let headers = call.headers_mut();
    headers.insert("traceparent", traceparent.parse().unwrap());
    assert_eq!(replica.send(call).await.status, StatusCode::OK);
    let properties = lapin::ConnectionProperties::default();
    let url = rabbitmq.url();
    let connection = lapin::Connection::connect(&url, properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let passive = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    let quorum = lapin::types::AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), quorum);
    channel
        .queue_declare(name.into(), passive, arguments)
        .await
        .unwrap();
    let consume = channel.basic_consume(
        name.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let delivery = consume.await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(delivery.properties.delivery_mode(), &Some(2));
    delivery.properties.headers().clone()
}

#[tokio::test]
async fn a_message_carries_the_trace_of_its_request() {
    let collector = Collector::start().await;
    let settings = deployed(&collector);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (&**k, &**v)).collect();
    let headers = message_headers(&settings).await.expect("no headers");
    let traceparent = headers.inner().get("traceparent").expect("no traceparent");
    let traceparent = traceparent.as_long_string().unwrap().to_string();
    let prefix = format!("00-{TRACE_ID}-");
    assert!(traceparent.starts_with(&prefix), "{traceparent}");
    assert!(traceparent.ends_with("-01"), "{traceparent}");
}

#[tokio::test]
async fn without_traces_a_message_has_no_headers() {
    assert_eq!(message_headers(&[]).await, None);
}
