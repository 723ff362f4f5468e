//! The operator's page: what it shows, who may act, and what actions do.

mod access;
mod actions;
mod browser;
mod cluster;
mod content;
mod keys;
mod many_keys;
mod outages;
mod state;
mod tables;

use axum::body::Body;
use devstack::shared;
use fia_api::app::{LogLevel, Service as _};
use fia_api::operator::Operator;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tracing::Level;

use crate::harness::{Fixture, Replica, Response, Vars, config, upstream_vars, vars};

const KEY: &str = "the-operators-own-key";
/// The origin of the page in requests of browsers.
const ORIGIN: &str = "http://page.example";

const LATEST_RUN: &str = "/instrument/MARI/latest-run";
const SPECIFICATION: &str = "/instrument/MARI/specification";

/// A replica with its page.
struct Operated {
    replica: Replica,
    operator: Operator,
}

/// Settings with all dependencies: an open page probes them.
async fn settings(fixture: &Fixture) -> Vars {
    let (rabbitmq, upstreams) = tokio::join!(shared::rabbitmq(), shared::upstreams());
    let mut all = fixture.vars();
    all.extend(upstream_vars(upstreams.unwrap()));
    all.extend(vars(&[
        ("FIA_API_ADMIN_BIND", "127.0.0.1:0"),
        ("FIA_API_ADMIN_KEY", KEY),
        ("QUEUE_HOST", &rabbitmq.unwrap().addr().to_string()),
    ]));
    all
}

impl Operated {
    async fn new(fixture: &Fixture) -> Self {
        Self::with(fixture, &Vars::new()).await
    }

    async fn with(fixture: &Fixture, more: &Vars) -> Self {
        let mut all = settings(fixture).await;
        all.extend(more.clone());
        let replica = fixture.replica_with(&all).await;
        let log_level = LogLevel::new(Level::INFO, |_| {});
        let operator = Operator::start(&config(&[&all]), replica.edge(), log_level);
        Self { replica, operator }
    }

    async fn send(&self, request: Request<Body>) -> Response {
        let (parts, body) = self.operator.clone().handle(request).await.into_parts();
        Response {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    async fn html(&self, path: &str) -> String {
        let response = self.send(get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status, StatusCode::OK);
        response.text()
    }

    async fn json(&self, path: &str) -> Value {
        let request = get(path).header(header::ACCEPT, "application/json");
        let response = self.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status, StatusCode::OK);
        response.json()
    }

    /// Acts with a bearer token, as a program does.
    async fn act(&self, path: &str, form: &str, bearer: Option<&str>) -> Response {
        let mut request = post(path).header(header::ACCEPT, "application/json");
        if let Some(bearer) = bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        self.send(request.body(Body::from(form.to_owned())).unwrap())
            .await
    }

    async fn sentence(&self) -> String {
        let page = self.json("/").await;
        page["verdict"]["sentence"].as_str().unwrap().to_owned()
    }

    /// The state of a dependency.
    async fn dependency(&self, id: &str) -> Value {
        let page = self.json("/").await;
        let all = page["dependencies"].as_array().unwrap();
        all.iter().find(|one| one["id"] == id).unwrap().clone()
    }
}

fn get(path: &str) -> http::request::Builder {
    Request::builder().method(Method::GET).uri(path)
}

fn post(path: &str) -> http::request::Builder {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

async fn ask<T: redis::FromRedisValue>(redis: &mut MultiplexedConnection, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query_async(redis).await.unwrap()
}
