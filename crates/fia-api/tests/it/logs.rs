//! Live logs: order, resumption, outages, limits, termination.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::BodyDataStream;
use devstack::{FaultProxy, Mode, Valkey, tokens};
use futures_util::StreamExt as _;
use http::{Method, StatusCode, header};
use jsonwebtoken::{EncodingKey, Header, encode};
use redis::aio::MultiplexedConnection;
use redis::cmd;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::harness::{Replica, Vars, request, vars};

const PATH: &str = "/live-data/MARI/logs";
const KEY: &str = "MARI_live_data_processor_logs";
/// Limit of each wait for an event.
const SOON: Duration = Duration::from_secs(10);

/// A replica with a private Valkey, and a writer of logs.
struct Logs {
    valkey: Valkey,
    replica: Replica,
}

impl Logs {
    async fn start(settings: &Vars) -> Self {
        let valkey = Valkey::start().await.unwrap();
        let replica = Replica::new(&[&vars(&[("VALKEY_URL", &valkey.url())]), settings]);
        Self { valkey, replica }
    }

    async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.valkey.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Writes one entry per number and returns the last id.
    async fn write(&self, range: std::ops::Range<u32>) -> String {
        let mut connection = self.connection().await;
        let mut id = String::new();
        for n in range {
            let mut add = cmd("XADD");
            add.arg(KEY).arg("*");
            add.arg("msg").arg(n.to_string()).arg("level").arg("INFO");
            id = add.query_async(&mut connection).await.unwrap();
        }
        id
    }

    async fn view(&self, query: &str) -> Viewer {
        let request = request(Method::GET, &format!("{PATH}{query}"), "apikey", None);
        let response = self.replica.edge().handle(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        Viewer::new(response.into_body().into_data_stream())
    }
}

/// A client that parses events as the front end does: text split at empty lines.
struct Viewer {
    body: BodyDataStream,
    text: String,
    last_id: Option<String>,
}

/// An event of a viewer's stream.
#[derive(Debug, PartialEq)]
enum Event {
    Entry(Value),
    Error,
    KeepAlive,
    BrokenOff,
}

impl Viewer {
    fn new(body: BodyDataStream) -> Self {
        Self {
            body,
            text: String::new(),
            last_id: None,
        }
    }

    async fn next(&mut self) -> Event {
        timeout(SOON, self.event())
            .await
            .expect("no event within the limit")
    }

    async fn event(&mut self) -> Event {
        let end = loop {
            if let Some(end) = self.text.find("\n\n") {
                break end;
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Some(Err(_)) => return Event::BrokenOff,
                None => panic!("the stream ended properly"),
            }
        };
        let event: String = self.text.drain(..end + 2).collect();
        if event.starts_with(':') {
            return Event::KeepAlive;
        }
        let line = |name| event.lines().find_map(|line| line.strip_prefix(name));
        let data: Value = serde_json::from_str(line("data: ").unwrap()).unwrap();
        let Some(id) = line("id: ") else {
            assert!(data["error"].is_string(), "{event}");
            return Event::Error;
        };
        assert_eq!(data["valkey_id"], id);
        self.last_id = Some(id.to_owned());
        Event::Entry(data)
    }

    /// The messages of the next `count` entries, skipping other events.
    async fn messages(&mut self, count: usize) -> Vec<u32> {
        let mut messages = Vec::new();
        while messages.len() < count {
            match self.next().await {
                Event::Entry(data) => {
                    messages.push(data["msg"].as_str().unwrap().parse().unwrap());
                }
                Event::Error | Event::KeepAlive => {}
                Event::BrokenOff => panic!("broken off after {messages:?}"),
            }
        }
        messages
    }

    async fn until(&mut self, wanted: &Event) {
        while self.next().await != *wanted {}
    }
}

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

/// Takes some seconds: the reader's retry backoff has to elapse.
#[tokio::test]
async fn a_valkey_disconnect_loses_and_repeats_no_entry() {
    let valkey = Valkey::start().await.unwrap();
    let proxy = FaultProxy::start(valkey.addr()).await.unwrap();
    let url = format!("redis://{}/0", proxy.addr());
    let replica = Replica::new(&[&vars(&[("VALKEY_URL", &url)])]);
    let logs = Logs { valkey, replica };
    logs.write(0..5).await;
    let mut viewer = logs.view("").await;
    viewer.messages(5).await;
    for (from, hang) in [(5, false), (10, true)] {
        if hang {
            proxy.set_both(Mode::BlackHole);
        } else {
            proxy.refuse(true).await.unwrap();
            proxy.reset_all();
        }
        viewer.until(&Event::Error).await;
        logs.write(from..from + 5).await;
        // A new viewer gets the error event as well.
        logs.view("").await.until(&Event::Error).await;
        proxy.heal().await.unwrap();
        if hang {
            proxy.reset_all();
        }
        assert_eq!(viewer.messages(5).await, Vec::from_iter(from..from + 5));
    }
    let mut late = logs.view("").await;
    assert_eq!(late.messages(15).await, Vec::from_iter(0..15));
}

/// Takes some seconds: the reader's retry backoff has to elapse.
#[tokio::test]
async fn a_valkey_restarted_empty_is_followed() {
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..5).await;
    let mut viewer = logs.view("").await;
    viewer.messages(5).await;
    logs.valkey.kill();
    viewer.until(&Event::Error).await;
    logs.valkey.restart().await.unwrap();
    logs.write(5..8).await;
    assert_eq!(viewer.messages(3).await, [5, 6, 7]);
}

#[tokio::test]
async fn a_key_of_another_type_affects_only_its_viewers() {
    let logs = Logs::start(&Vars::new()).await;
    let mut fine = logs.view("").await;
    logs.write(0..1).await;
    fine.messages(1).await;
    let mut other = {
        let request = request(Method::GET, "/live-data/LET/logs", "apikey", None);
        let response = logs.replica.edge().handle(request).await;
        Viewer::new(response.into_body().into_data_stream())
    };
    other.until(&Event::KeepAlive).await;
    let mut connection = logs.connection().await;
    let mut set = cmd("SET");
    set.arg("LET_live_data_processor_logs").arg("x");
    let _: String = set.query_async(&mut connection).await.unwrap();
    other.until(&Event::Error).await;
    logs.write(1..2).await;
    assert_eq!(fine.messages(1).await, [1]);
}

#[tokio::test]
async fn a_slow_viewer_is_dropped_without_delaying_others() {
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..1).await;
    let (mut slow, mut fast) = tokio::join!(logs.view(""), logs.view(""));
    slow.messages(1).await;
    let reading = tokio::spawn(async move { fast.messages(5001).await });
    for start in (1..5001).step_by(500) {
        logs.write(start..start + 500).await;
    }
    let read = timeout(SOON, reading).await.unwrap().unwrap();
    assert_eq!(read, Vec::from_iter(0..5001));
    // The slow viewer gets buffered entries, then an error event, then the abort.
    let mut seen = 1;
    loop {
        match slow.next().await {
            Event::Entry(data) => {
                assert_eq!(data["msg"], seen.to_string());
                seen += 1;
            }
            Event::KeepAlive => {}
            Event::Error => break,
            Event::BrokenOff => panic!("no last word"),
        }
    }
    assert!(seen < 3000, "{seen}");
    assert_eq!(slow.next().await, Event::BrokenOff);
}

#[tokio::test]
async fn viewer_permits_are_limited_and_released() {
    let settings = vars(&[("MAX_LOG_VIEWERS", "4"), ("MAX_LOG_VIEWERS_PER_USER", "2")]);
    let logs = Logs::start(&settings).await;
    let response = async |who: &str| {
        let request = request(Method::GET, PATH, who, None);
        logs.replica.edge().handle(request).await
    };
    let first = response("user").await;
    let second = response("user").await;
    let refused = response("user").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let programs = [response("apikey").await, response("apikey").await];
    assert!(
        programs
            .iter()
            .all(|response| response.status() == StatusCode::OK)
    );
    assert_eq!(
        response("apikey").await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    drop((first, second));
    assert_eq!(response("user").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_stream_is_aborted_when_its_token_expires() {
    let logs = Logs::start(&Vars::new()).await;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = json!({"usernumber": 1234, "role": "user", "exp": now + 2});
    let key = EncodingKey::from_secret(tokens::JWT_SECRET.as_bytes());
    let token = encode(&Header::default(), &claims, &key).unwrap();
    let mut request = request(Method::GET, PATH, "none", None);
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    let began = Instant::now();
    let response = logs.replica.edge().handle(request).await;
    let mut viewer = Viewer::new(response.into_body().into_data_stream());
    viewer.until(&Event::BrokenOff).await;
    let lasted = began.elapsed();
    assert!(lasted < Duration::from_secs(3), "{lasted:?}");
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
