//! The spans of one miss, one hit, one PUT and one rerun.

use std::time::Duration;

use devstack::shared;
use http::{Method, StatusCode};
use serde_json::json;

use crate::consumer::{Consumer, queue_vars};
use crate::harness::otlp::{Collector, attribute};
use crate::harness::{Fixture, eventually, request, upstream_vars};
use crate::traces::{deployed, flush, tree_of};

const SCRIPT: &str = "/live-data/mari/script";
const GET: &str = "GET /live-data/{instrument}/script";

#[tokio::test]
async fn a_miss_and_the_hits_after_it_are_trees_of_spans() {
    let (fixture, collector) = tokio::join!(Fixture::new(), Collector::start());
    let replica = fixture.replica_with(&deployed(&collector)).await;
    let get = async || {
        let response = replica.get(SCRIPT, "none").await;
        assert_eq!(response.status, StatusCode::OK);
        response.header("cache-status").to_owned()
    };
    assert_eq!(get().await, "fia-api; fwd=miss");
    flush(&replica).await;
    let miss = tree_of(&collector.spans(), GET);
    assert_eq!(
        miss,
        [
            "GET /live-data/{instrument}/script (miss)",
            "  cache live_data_script (miss)",
            "    GET",
            "    GETLEASE",
            "    load live_data_script",
            "      SELECT instruments",
            "    FILL",
        ],
        "{miss:#?}"
    );

    // The second read makes the value current in memory; the fourth takes the fast path.
    for level in ["shared", "local", "local"] {
        let status = get().await;
        assert_eq!(status, format!("fia-api; hit; detail={level}"));
    }
    flush(&replica).await;
    let spans = collector.spans();
    let servers = spans.iter().filter(|span| span.name == GET);
    let trees: Vec<Vec<String>> = servers
        .map(|server| {
            let trace = spans.iter().filter(|span| span.trace_id == server.trace_id);
            tree_of(&trace.cloned().collect::<Vec<_>>(), GET)
        })
        .collect();
    assert_eq!(
        trees[1..],
        [
            vec![
                "GET /live-data/{instrument}/script (shared)",
                "  cache live_data_script (shared)",
                "    GET",
            ],
            vec![
                "GET /live-data/{instrument}/script (local)",
                "  cache live_data_script (local)",
            ],
            vec!["GET /live-data/{instrument}/script (local)"],
        ],
        "{trees:#?}"
    );
}

#[tokio::test]
async fn a_put_is_a_tree_without_values() {
    let (fixture, collector) = tokio::join!(Fixture::new(), Collector::start());
    let replica = fixture.replica_with(&deployed(&collector)).await;
    let body = json!({"value": "print(2)"});
    let put = replica.put(SCRIPT, "apikey", &body).await;
    assert_eq!(put.status, StatusCode::OK);
    flush(&replica).await;
    let spans = collector.spans();
    let put = tree_of(&spans, "PUT /live-data/{instrument}/script");
    assert_eq!(
        put,
        [
            "PUT /live-data/{instrument}/script (none)",
            "  UPDATE instruments",
            "  FENCE",
            "  COMMIT",
            "  INVALIDATE",
            "  INVALIDATE",
        ],
        "{put:#?}"
    );
    let texts = format!("{spans:?}");
    assert!(!texts.contains("print(2)"), "a value is in a span");
    assert!(
        !texts.to_lowercase().contains("bearer"),
        "a token is in a span"
    );
}

#[tokio::test]
async fn a_rerun_is_a_tree_up_to_the_publication_of_its_message() {
    let (fixture, collector, rabbitmq, upstreams) = tokio::join!(
        Fixture::new(),
        Collector::start(),
        shared::rabbitmq(),
        shared::upstreams()
    );
    let (rabbitmq, upstreams) = (rabbitmq.unwrap(), upstreams.unwrap());
    fixture.database.add_outbox().await;
    let queue = queue_vars(rabbitmq);
    let mut consumer = Consumer::of_jobs(rabbitmq, &queue).await;
    let mut settings = deployed(&collector);
    settings.extend(upstream_vars(upstreams));
    settings.extend(queue.clone());
    let replica = fixture.replica_with(&settings).await;
    let body = json!({"job_id": 1, "runner_image": "img", "script": "print(3)"});
    let rerun = request(Method::POST, "/job/rerun", "apikey", Some(&body));
    let response = replica.send(rerun).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    consumer.message().await;
    let publish = format!("publish {}", queue["EGRESS_QUEUE_NAME"]);
    eventually(Duration::from_secs(10), async || {
        flush(&replica).await;
        collector.spans().iter().any(|span| span.name == publish)
    })
    .await;
    let spans = collector.spans();
    let tree = tree_of(&spans, "POST /job/rerun");
    assert_eq!(tree[0], "POST /job/rerun (none)", "{tree:#?}");
    for child in [
        "  SELECT jobs",
        "  BEGIN",
        "  INSERT jobs",
        "  INSERT fia_api_outbox",
        "  COMMIT",
    ] {
        assert!(tree.iter().any(|line| line == child), "{child}: {tree:#?}");
    }
    assert_eq!(*tree.last().unwrap(), format!("  {publish}"), "{tree:#?}");
    let server = spans.iter().find(|span| span.name == "POST /job/rerun");
    let attributes = &server.unwrap().attributes;
    assert_eq!(attribute(attributes, "fia.caller").unwrap(), "program");
    assert!(
        !format!("{spans:?}").contains("print(3)"),
        "a value is in a span"
    );
}
