//! Live logs: order, resumption, outages, limits, termination.

mod delivery;
mod limits;
mod outages;
mod restarts;

use std::time::Duration;

use axum::body::BodyDataStream;
use devstack::Valkey;
use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use redis::aio::MultiplexedConnection;
use redis::cmd;
use serde_json::Value;
use tokio::time::timeout;

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
