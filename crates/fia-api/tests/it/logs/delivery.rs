//! Order, format and resumption of a stream.

use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use redis::cmd;
use tokio::time::timeout;

use crate::harness::{Replica, Vars, request};
use crate::logs::{Event, KEY, Logs, PATH, SOON, Viewer};

#[tokio::test]
async fn history_and_new_entries_arrive_once_and_in_order() {
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..250).await;
    let mut first = logs.view("").await;
    assert_eq!(first.messages(250).await, Vec::from_iter(0..250));
    // Entries arrive while another viewer joins.
    let (_, (mut second, early)) = tokio::join!(logs.write(250..400), async {
        let mut second = logs.view("?since=0").await;
        let early = second.messages(300).await;
        (second, early)
    });
    assert_eq!(early, Vec::from_iter(0..300));
    assert_eq!(second.messages(100).await, Vec::from_iter(300..400));
    assert_eq!(first.messages(150).await, Vec::from_iter(250..400));
    first.until(&Event::KeepAlive).await;
}

#[tokio::test]
async fn events_keep_their_wire_format() {
    let logs = Logs::start(&Vars::new()).await;
    let request = request(Method::GET, PATH, "user", None);
    let response = logs.replica.edge().handle(request).await;
    for (name, value) in [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("connection", "keep-alive"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    let mut body = response.into_body().into_data_stream();
    let quiet = timeout(SOON, body.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(quiet, ": keep-alive\n\n");
    let mut connection = logs.connection().await;
    let mut add = cmd("XADD");
    add.arg(KEY)
        .arg("5-1")
        .arg("msg")
        .arg("é\n")
        .arg("level")
        .arg("INFO");
    let _: String = add.query_async(&mut connection).await.unwrap();
    let event = loop {
        let event = timeout(SOON, body.next()).await.unwrap().unwrap().unwrap();
        if !event.starts_with(b":") {
            break event;
        }
    };
    assert_eq!(
        event,
        "id: 5-1\ndata: {\"msg\": \"\\u00e9\\n\", \"level\": \"INFO\", \"valkey_id\": \"5-1\"}\n\n"
    );
}

#[tokio::test]
async fn a_viewer_resumes_by_id() {
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..10).await;
    let mut first = logs.view("").await;
    first.messages(5).await;
    let id = first.last_id.clone().unwrap();
    // Resumes from Valkey after the last viewer left, then from the reader's ring buffer.
    drop(first);
    let mut again = logs.view(&format!("?since={id}")).await;
    assert_eq!(again.messages(5).await, [5, 6, 7, 8, 9]);
    let end = logs.write(10..20).await;
    assert_eq!(again.messages(10).await, Vec::from_iter(10..20));
    let mut resumed = logs
        .view(&format!("?since={}", again.last_id.unwrap()))
        .await;
    logs.write(20..22).await;
    assert_eq!(resumed.messages(2).await, [20, 21]);
    let mut held = logs.view(&format!("?since={end}")).await;
    assert_eq!(held.messages(2).await, [20, 21]);
    let mut from_now = logs.view("?since=$").await;
    logs.write(22..23).await;
    assert_eq!(from_now.messages(1).await, [22]);

    // A browser sends `last-event-id`, which overrides the older id in its URL.
    let mut request = request(Method::GET, &format!("{PATH}?since=0"), "apikey", None);
    request
        .headers_mut()
        .insert("last-event-id", end.parse().unwrap());
    let response = logs.replica.edge().handle(request).await;
    let mut browser = Viewer::new(response.into_body().into_data_stream());
    assert_eq!(browser.messages(3).await, [20, 21, 22]);
}

#[tokio::test]
async fn invalid_ids_are_422() {
    let replica = Replica::new(&[]);
    for since in [
        "x",
        "",
        "-",
        "1-",
        "1-2-3",
        "-1",
        "%2B",
        "18446744073709551616",
    ] {
        let response = replica.get(&format!("{PATH}?since={since}"), "user").await;
        assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY, "{since}");
    }
    // Without Valkey logs are unavailable.
    let response = replica.get(PATH, "user").await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn trimmed_and_recreated_streams_are_followed() {
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..300).await;
    let mut early = logs.view("").await;
    early.messages(300).await;
    let mut connection = logs.connection().await;
    let mut trim = cmd("XTRIM");
    trim.arg(KEY).arg("MAXLEN").arg(10);
    let _: u32 = trim.query_async(&mut connection).await.unwrap();
    let mut late = logs.view("").await;
    assert_eq!(late.messages(10).await, Vec::from_iter(290..300));
    // Live-data processors delete the stream when they start.
    let _: u32 = cmd("DEL")
        .arg(KEY)
        .query_async(&mut connection)
        .await
        .unwrap();
    logs.write(300..302).await;
    assert_eq!(early.messages(2).await, [300, 301]);
    assert_eq!(late.messages(2).await, [300, 301]);
    let mut latest = logs.view("").await;
    assert_eq!(latest.messages(2).await, [300, 301]);
}

#[tokio::test]
async fn one_reader_serves_all_viewers() {
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..1).await;
    let mut viewers = Vec::new();
    for _ in 0..50 {
        viewers.push(logs.view("").await);
    }
    for viewer in &mut viewers {
        viewer.messages(1).await;
    }
    logs.write(1..2).await;
    for viewer in &mut viewers {
        assert_eq!(viewer.messages(1).await, [1]);
    }
    let mut connection = logs.connection().await;
    let clients: String = cmd("CLIENT")
        .arg("LIST")
        .query_async(&mut connection)
        .await
        .unwrap();
    let blocked = clients.lines().filter(|line| line.contains("cmd=xread"));
    assert!(blocked.count() <= 1, "{clients}");
    // The cache's connections, the reader's, the one for history, and the test's.
    assert!(clients.lines().count() <= 8, "{clients}");
}
