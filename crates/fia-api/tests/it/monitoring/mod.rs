//! Alerts and dashboard, evaluated by a real Prometheus that scrapes a replica.

mod alerts;
mod dashboard;
mod rules;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use devstack::Prometheus;
use fia_api::app::{Metrics, Server};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::harness::Replica;

/// Limit of each wait for Prometheus, which scrapes and evaluates four times a second.
const SOON: Duration = Duration::from_secs(30);

/// Replaces the windows of the rules and the dashboard, so that a test sees changes in seconds.
const WINDOW: &str = "[5s]";

fn deploy(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(deploy(file)).unwrap()
}

/// A Prometheus that scrapes one replica.
struct Monitored {
    prometheus: Prometheus,
    listener: JoinHandle<()>,
}

impl Monitored {
    async fn start(replica: &Replica, rules: &str) -> Self {
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let metrics = Metrics::new(replica.edge());
        let server = Server::bind(address, metrics).unwrap();
        let address = server.address().unwrap();
        let listener = tokio::spawn(server.run(std::future::pending()));
        let prometheus = Prometheus::start(&[address], rules).await.unwrap();
        Self {
            prometheus,
            listener,
        }
    }

    /// The series that an expression returns now.
    async fn query(&self, expression: &str) -> Vec<Value> {
        let reply = self.get("query", &[("query", expression)]).await;
        reply["data"]["result"].as_array().unwrap().clone()
    }

    /// The names of the firing alerts, sorted.
    async fn firing(&self) -> Vec<String> {
        let reply = self.get("alerts", &[]).await;
        let alerts = reply["data"]["alerts"].as_array().unwrap();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let names = firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.dedup();
        names
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("{}/api/v1/{path}", self.prometheus.url());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.get(url).query(query).send().await.unwrap();
        let reply: Value = response.json().await.unwrap();
        assert_eq!(reply["status"], "success", "{query:?}: {reply}");
        reply
    }
}

impl Drop for Monitored {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
