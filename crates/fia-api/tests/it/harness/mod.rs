//! Fixtures: replicas in process, private databases, requests, and waits with a limit.

pub(crate) mod otlp;
mod wait;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use devstack::{Postgres, Upstreams, Valkey, shared, tokens};
use fia_api::app::Edge;
use fia_api::config::Config;
use fia_api::state::AppState;
use fia_api::store::{Db, schema};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tiercache::SharedLevel;
use tokio_postgres::Client;

use crate::harness::wait::limit_test;
pub(crate) use crate::harness::wait::{eventually, within};

/// Limit of one request, far above any timeout of the server.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// Settings by variable name.
pub(crate) type Vars = HashMap<String, String>;

/// A server in process, with access to its state.
pub(crate) struct Replica {
    edge: Edge,
    pub(crate) state: AppState,
}

/// A database with the seed data, on the shared server.
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) server: &'static Postgres,
}

impl Database {
    pub(crate) async fn seeded() -> Self {
        limit_test();
        let server = shared::postgres().await.unwrap();
        let name = shared::unique_name("test");
        server.create_database(&name).await.unwrap();
        Self { name, server }
    }

    /// Adds the outbox, as `schema --apply` does.
    pub(crate) async fn add_outbox(&self) {
        let db = Db::new(&config(&[&self.vars()]).database).unwrap();
        schema::apply(&db).await.unwrap();
    }

    /// Opens a connection for the test.
    pub(crate) async fn client(&self) -> Client {
        self.server.connect(&self.name).await.unwrap()
    }

    /// Settings of this database behind the given address.
    pub(crate) fn vars_at(&self, address: SocketAddr) -> Vars {
        vars(&[
            ("DB_IP", &address.ip().to_string()),
            ("DB_PORT", &address.port().to_string()),
            ("DB_USERNAME", Postgres::USER),
            ("DB_PASSWORD", Postgres::PASSWORD),
            ("DB_NAME", &self.name),
            ("DB_POOL_SIZE", "8"),
        ])
    }

    pub(crate) fn vars(&self) -> Vars {
        self.vars_at(self.server.addr())
    }
}

/// A private database and a private Valkey, and replicas that use both.
pub(crate) struct Fixture {
    pub(crate) database: Database,
    pub(crate) valkey: Valkey,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let (database, valkey) = tokio::join!(Database::seeded(), Valkey::start());
        Self {
            database,
            valkey: valkey.unwrap(),
        }
    }

    pub(crate) async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.valkey.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Settings of both servers.
    pub(crate) fn vars(&self) -> Vars {
        let mut vars = self.database.vars();
        vars.insert("VALKEY_URL".to_owned(), self.valkey.url());
        vars
    }

    /// A replica whose Valkey connection and client tracking are up, and whose probe has reached
    /// the database.
    pub(crate) async fn replica_with(&self, more: &Vars) -> Replica {
        let replica = Replica::new(&[&self.vars(), more]);
        replica.wait_for_shared_level().await;
        replica.state.cached.wait_for_tracking().await;
        replica.wait_until_reachable().await;
        replica
    }

    pub(crate) async fn replica(&self) -> Replica {
        self.replica_with(&Vars::new()).await
    }
}

/// Settings from pairs.
pub(crate) fn vars(pairs: &[(&str, &str)]) -> Vars {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Settings of every replica unless overridden: the recorded keys, no Valkey.
pub(crate) fn defaults() -> Vars {
    vars(&[
        ("FIA_API_BIND", "127.0.0.1:0"),
        ("FIA_API_API_KEY", tokens::API_KEY),
        ("JWT_SECRET", tokens::JWT_SECRET),
        ("AUTH_API_URL", "http://127.0.0.1:1"),
        ("VALKEY_URL", ""),
    ])
}

/// Settings of stand-ins for the auth service and GitHub.
pub(crate) fn upstream_vars(upstreams: &Upstreams) -> Vars {
    let url = upstreams.url();
    vars(&[
        ("AUTH_API_URL", &url),
        ("AUTH_API_KEY", tokens::API_KEY),
        ("GITHUB_API_URL", &url),
        ("GITHUB_RAW_URL", &url),
    ])
}

impl Replica {
    /// A replica with the defaults overridden by `layers`, the last winning.
    pub(crate) fn new(layers: &[&Vars]) -> Self {
        let config = config(layers);
        let state = AppState::new(&config).unwrap();
        Self {
            edge: Edge::new(&config, state.clone()),
            state,
        }
    }

    pub(crate) fn edge(&self) -> Edge {
        self.edge.clone()
    }

    /// Waits for the connection to Valkey.
    pub(crate) async fn wait_for_shared_level(&self) {
        let cached = &self.state.cached;
        eventually(Duration::from_secs(5), async || {
            cached.statistics().shared_level == SharedLevel::Up
        })
        .await;
    }

    /// Waits until the probe has reached the database, so that callers with the API key are served
    /// from the cache.
    pub(crate) async fn wait_until_reachable(&self) {
        let reachability = self.state.cached.reachability();
        let reached = reachability.wait_until_reachable();
        within("the database", Duration::from_secs(10), reached).await;
    }

    /// Sends a request and receives the whole response.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        let what = format!("the response to {} {}", request.method(), request.uri());
        let exchange = async {
            let (parts, body) = self.edge.handle(request).await.into_parts();
            Response {
                status: parts.status,
                headers: parts.headers,
                body: body.collect().await.unwrap().to_bytes().to_vec(),
            }
        };
        within(&what, REQUEST_LIMIT, exchange).await
    }

    pub(crate) async fn get(&self, path: &str, who: &str) -> Response {
        self.send(request(Method::GET, path, who, None)).await
    }

    pub(crate) async fn put(&self, path: &str, who: &str, body: &Value) -> Response {
        self.send(request(Method::PUT, path, who, Some(body))).await
    }
}

/// Parses the defaults overridden by `layers`, the last winning.
pub(crate) fn config(layers: &[&Vars]) -> Config {
    limit_test();
    let mut all = defaults();
    for layer in layers {
        all.extend((*layer).clone());
    }
    Config::from_vars(&|name| all.get(name).cloned()).unwrap()
}

/// Builds a request as `who`: a recorded token's name, `apikey` or `none`.
pub(crate) fn request(
    method: Method,
    path: &str,
    who: &str,
    body: Option<&Value>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if who != "none" {
        request = request.header(header::AUTHORIZATION, tokens::authorization(who).unwrap());
    }
    match body {
        None => request.body(Body::empty()),
        Some(body) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string())),
    }
    .unwrap()
}

/// A response with its complete body.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}
