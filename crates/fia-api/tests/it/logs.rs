//! Live logs on a real Valkey: order, resuming, outages, limits, the end.

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
/// Beyond what any step takes.
const SOON: Duration = Duration::from_secs(10);

/// A Valkey of the test's own, a replica, and a writer of logs.
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

    /// Writes entries `from..to`, and returns the last id.
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
        let answer = self.replica.edge().handle(request).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Viewer::new(answer.into_body().into_data_stream())
    }
}

/// Reads events as the front end does: text, parted at empty lines.
struct Viewer {
    body: BodyDataStream,
    text: String,
    last_id: Option<String>,
}

/// How a viewer's stream went on.
#[derive(Debug, PartialEq)]
enum Event {
    Entry(Value),
    Trouble,
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
        timeout(SOON, self.event()).await.expect("no event in time")
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
            return Event::Trouble;
        };
        assert_eq!(data["valkey_id"], id);
        self.last_id = Some(id.to_owned());
        Event::Entry(data)
    }

    /// The messages of the next entries, whatever else comes between.
    async fn messages(&mut self, count: usize) -> Vec<u32> {
        let mut messages = Vec::new();
        while messages.len() < count {
            match self.next().await {
                Event::Entry(data) => {
                    messages.push(data["msg"].as_str().unwrap().parse().unwrap());
                }
                Event::Trouble | Event::KeepAlive => {}
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
async fn what_was_written_and_what_is_comes_once_and_in_order() {
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..250).await;
    let mut first = logs.view("").await;
    assert_eq!(first.messages(250).await, Vec::from_iter(0..250));
    // While another joins, entries come.
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
async fn events_have_the_form_that_clients_know() {
    let logs = Logs::start(&Vars::new()).await;
    let asked = request(Method::GET, PATH, "user", None);
    let answer = logs.replica.edge().handle(asked).await;
    for (name, value) in [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("connection", "keep-alive"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(answer.headers()[name], value);
    }
    let mut body = answer.into_body().into_data_stream();
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
    // From Valkey, when nobody looks on any more; then from what the reader holds.
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

    // A browser says it in a header, and its address still has the older id.
    let mut asked = request(Method::GET, &format!("{PATH}?since=0"), "apikey", None);
    asked
        .headers_mut()
        .insert("last-event-id", end.parse().unwrap());
    let answer = logs.replica.edge().handle(asked).await;
    let mut browser = Viewer::new(answer.into_body().into_data_stream());
    assert_eq!(browser.messages(3).await, [20, 21, 22]);
}

#[tokio::test]
async fn ids_that_are_none_are_refused() {
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
        let answer = replica.get(&format!("{PATH}?since={since}"), "user").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{since}");
    }
    // Without any Valkey there are no logs.
    let answer = replica.get(PATH, "user").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_stream_that_is_trimmed_or_begun_anew_is_followed_on() {
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
    // As a live-data processor does at its start.
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

/// Takes some seconds: for so long nobody tries again.
#[tokio::test]
async fn a_valkey_that_is_cut_off_loses_and_repeats_nothing() {
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
        viewer.until(&Event::Trouble).await;
        logs.write(from..from + 5).await;
        // Somebody new is told as well.
        logs.view("").await.until(&Event::Trouble).await;
        proxy.heal().await.unwrap();
        if hang {
            proxy.reset_all();
        }
        assert_eq!(viewer.messages(5).await, Vec::from_iter(from..from + 5));
    }
    let mut late = logs.view("").await;
    assert_eq!(late.messages(15).await, Vec::from_iter(0..15));
}

/// Takes some seconds: for so long nobody tries again.
#[tokio::test]
async fn a_valkey_that_restarts_empty_is_followed_on() {
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..5).await;
    let mut viewer = logs.view("").await;
    viewer.messages(5).await;
    logs.valkey.kill();
    viewer.until(&Event::Trouble).await;
    logs.valkey.restart().await.unwrap();
    logs.write(5..8).await;
    assert_eq!(viewer.messages(3).await, [5, 6, 7]);
}

#[tokio::test]
async fn a_key_that_is_no_stream_disturbs_no_other() {
    let logs = Logs::start(&Vars::new()).await;
    let mut fine = logs.view("").await;
    logs.write(0..1).await;
    fine.messages(1).await;
    let mut other = {
        let asked = request(Method::GET, "/live-data/LET/logs", "apikey", None);
        let answer = logs.replica.edge().handle(asked).await;
        Viewer::new(answer.into_body().into_data_stream())
    };
    other.until(&Event::KeepAlive).await;
    let mut connection = logs.connection().await;
    let mut set = cmd("SET");
    set.arg("LET_live_data_processor_logs").arg("x");
    let _: String = set.query_async(&mut connection).await.unwrap();
    other.until(&Event::Trouble).await;
    logs.write(1..2).await;
    assert_eq!(fine.messages(1).await, [1]);
}

#[tokio::test]
async fn a_slow_viewer_is_dropped_and_holds_nobody() {
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
    // The other has some entries ahead, then a word of trouble, then the break.
    let mut seen = 1;
    loop {
        match slow.next().await {
            Event::Entry(data) => {
                assert_eq!(data["msg"], seen.to_string());
                seen += 1;
            }
            Event::KeepAlive => {}
            Event::Trouble => break,
            Event::BrokenOff => panic!("no last word"),
        }
    }
    assert!(seen < 3000, "{seen}");
    assert_eq!(slow.next().await, Event::BrokenOff);
}

#[tokio::test]
async fn viewers_are_limited_and_leave_their_seats() {
    let settings = vars(&[("MAX_LOG_VIEWERS", "4"), ("MAX_LOG_VIEWERS_PER_USER", "2")]);
    let logs = Logs::start(&settings).await;
    let answer = async |who: &str| {
        let request = request(Method::GET, PATH, who, None);
        logs.replica.edge().handle(request).await
    };
    let first = answer("user").await;
    let second = answer("user").await;
    let refused = answer("user").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let programs = [answer("apikey").await, answer("apikey").await];
    assert!(
        programs
            .iter()
            .all(|answer| answer.status() == StatusCode::OK)
    );
    assert_eq!(
        answer("apikey").await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    drop((first, second));
    assert_eq!(answer("user").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_stream_breaks_off_when_its_token_ends() {
    let logs = Logs::start(&Vars::new()).await;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = json!({"usernumber": 1234, "role": "user", "exp": now + 2});
    let key = EncodingKey::from_secret(tokens::JWT_SECRET.as_bytes());
    let token = encode(&Header::default(), &claims, &key).unwrap();
    let mut asked = request(Method::GET, PATH, "none", None);
    let bearer = format!("Bearer {token}").parse().unwrap();
    asked.headers_mut().insert(header::AUTHORIZATION, bearer);
    let began = Instant::now();
    let answer = logs.replica.edge().handle(asked).await;
    let mut viewer = Viewer::new(answer.into_body().into_data_stream());
    viewer.until(&Event::BrokenOff).await;
    let lasted = began.elapsed();
    assert!(lasted < Duration::from_secs(3), "{lasted:?}");
}

#[tokio::test]
async fn one_reader_follows_for_all() {
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
    // The cache's, the reader's, the one for history, and the tests' own.
    assert!(clients.lines().count() <= 8, "{clients}");
}
