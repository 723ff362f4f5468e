//! The responses of the stand-ins, their data and their faults.

use std::time::{Duration, Instant};

use ::http::Method;
use devstack::http::{Connection, Response};
use devstack::{Upstreams, tokens};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const REDUCE: &str = "/fiaisis/autoreduction-scripts/main/MARI/reduce.py";
const COMMIT: &str = "/repos/fiaisis/autoreduction-scripts/commits/HEAD";
const PACKAGES: &str = "/orgs/fiaisis/packages/container/mantid/versions";

/// Sends one request on a new connection.
async fn send(
    upstreams: &Upstreams,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut connection = Connection::open_anonymous(upstreams.addr()).await.unwrap();
    connection.send(method, path, headers, body).await.unwrap()
}

async fn get(upstreams: &Upstreams, path: &str) -> Response {
    send(upstreams, Method::GET, path, &[], "").await
}

async fn verify(upstreams: &Upstreams, body: &str) -> u16 {
    send(upstreams, Method::POST, "/verify", &[], body)
        .await
        .status
}

async fn verify_token(upstreams: &Upstreams, token: &str) -> u16 {
    verify(upstreams, &json!({"token": token}).to_string()).await
}

fn text(response: &Response) -> &str {
    str::from_utf8(&response.body).unwrap()
}

fn json_body(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[tokio::test]
async fn the_auth_service_verifies_tokens_and_lists_experiments() {
    let upstreams = Upstreams::start().await.unwrap();
    assert_eq!(verify_token(&upstreams, tokens::staff()).await, 200);
    let expired = tokens::named("expired").unwrap();
    assert_eq!(verify_token(&upstreams, expired).await, 403);
    assert_eq!(verify(&upstreams, "not JSON").await, 403);
    upstreams.set_token("fresh", true);
    upstreams.set_token(tokens::staff(), false);
    assert_eq!(verify_token(&upstreams, "fresh").await, 200);
    assert_eq!(verify_token(&upstreams, tokens::staff()).await, 403);

    let path = "/experiments?user_number=1234";
    assert_eq!(get(&upstreams, path).await.status, 403);
    let bearer = format!("Bearer {}", tokens::API_KEY);
    let experiments_of = async |user: i64| {
        let path = format!("/experiments?user_number={user}");
        let headers = [("authorization", bearer.as_str())];
        json_body(&send(&upstreams, Method::GET, &path, &headers, "").await)
    };
    assert_eq!(
        experiments_of(1234).await,
        json!([1_820_497, 100_007, 100_014, 20_024])
    );
    assert_eq!(experiments_of(99).await, json!([]));
    upstreams.set_experiments(99, &[7]);
    assert_eq!(experiments_of(99).await, json!([7]));
    assert_eq!(
        upstreams.last_authorization("/experiments").unwrap(),
        "Bearer shh"
    );
}

#[tokio::test]
async fn github_serves_scripts_and_commits_with_etags() {
    let upstreams = Upstreams::start().await.unwrap();
    for (path, marker) in [(REDUCE, "mask"), (COMMIT, "0123456789abcdef")] {
        let first = get(&upstreams, path).await;
        assert_eq!(first.status, 200);
        assert!(text(&first).contains(marker), "{}", text(&first));
        let headers = [("if-none-match", first.header("etag").unwrap())];
        let second = send(&upstreams, Method::GET, path, &headers, "").await;
        assert_eq!((second.status, text(&second)), (304, ""));
    }
    let missing = get(&upstreams, &REDUCE.replace("MARI", "NOWHERE")).await;
    assert_eq!((missing.status, text(&missing)), (404, "404: Not Found"));
    upstreams.set_script("MARI", Some("print(1)"));
    upstreams.set_commit("cafe");
    assert_eq!(text(&get(&upstreams, REDUCE).await), "print(1)");
    let commit = get(&upstreams, COMMIT).await;
    assert_eq!(json_body(&commit), json!({"sha": "cafe"}));
    upstreams.set_script("MARI", None);
    assert_eq!(get(&upstreams, REDUCE).await.status, 404);
}

#[tokio::test]
async fn github_paginates_packages() {
    let upstreams = Upstreams::start().await.unwrap();
    let recorded = json_body(&get(&upstreams, PACKAGES).await);
    assert_eq!(recorded.as_array().unwrap().len(), 4);
    let beyond = get(&upstreams, &format!("{PACKAGES}?page=2")).await;
    assert_eq!(json_body(&beyond), json!([]));
    upstreams.set_packages((0..35).map(|id| json!({"id": id})).collect());
    let first = get(&upstreams, PACKAGES).await;
    assert_eq!(json_body(&first).as_array().unwrap().len(), 30);
    assert!(first.header("link").unwrap().contains("page=2&per_page=30"));
    let last = get(&upstreams, &format!("{PACKAGES}?per_page=20&page=2")).await;
    assert_eq!(json_body(&last).as_array().unwrap().len(), 15);
    assert_eq!(json_body(&last)[0], json!({"id": 20}));
    assert_eq!(last.header("link"), None);
}

#[tokio::test]
async fn requests_are_counted_by_path() {
    let upstreams = Upstreams::start().await.unwrap();
    get(&upstreams, REDUCE).await;
    get(&upstreams, &format!("{REDUCE}?x=1")).await;
    get(&upstreams, COMMIT).await;
    assert_eq!((upstreams.calls(REDUCE), upstreams.total_calls()), (2, 3));
    let counts = json_body(&get(&upstreams, "/_calls").await);
    assert_eq!(counts, json!({REDUCE: 2, COMMIT: 1}));
    send(&upstreams, Method::DELETE, "/_calls", &[], "").await;
    assert_eq!(upstreams.total_calls(), 0);
    get(&upstreams, COMMIT).await;
    upstreams.reset_calls();
    assert_eq!(upstreams.calls(COMMIT), 0);
}

#[tokio::test]
async fn failures_delays_and_outages_can_be_injected() {
    let upstreams = Upstreams::start().await.unwrap();
    send(
        &upstreams,
        Method::PUT,
        "/_down",
        &[],
        r#"{"seconds": 600}"#,
    )
    .await;
    assert_eq!(get(&upstreams, REDUCE).await.status, 503);
    send(&upstreams, Method::PUT, "/_down", &[], r#"{"seconds": 0}"#).await;
    assert_eq!(get(&upstreams, REDUCE).await.status, 200);

    upstreams.fail("/repos", Some(500));
    assert_eq!(get(&upstreams, COMMIT).await.status, 500);
    assert_eq!(get(&upstreams, REDUCE).await.status, 200);
    upstreams.fail("/repos", None);
    assert_eq!(get(&upstreams, COMMIT).await.status, 200);

    let delay = Duration::from_millis(500);
    upstreams.delay("", delay);
    upstreams.delay("/repos", Duration::from_millis(1));
    let started_at = Instant::now();
    get(&upstreams, COMMIT).await;
    assert!(
        started_at.elapsed() < delay,
        "the longest prefix does not apply"
    );
    get(&upstreams, REDUCE).await;
    assert!(started_at.elapsed() >= delay);
    upstreams.delay("", Duration::ZERO);

    let mut open = TcpStream::connect(upstreams.addr()).await.unwrap();
    upstreams.refuse(true).await.unwrap();
    assert_eq!(
        open.read(&mut [0]).await.unwrap_or(0),
        0,
        "an open connection is kept"
    );
    assert!(TcpStream::connect(upstreams.addr()).await.is_err());
    upstreams.refuse(false).await.unwrap();
    assert_eq!(get(&upstreams, COMMIT).await.status, 200);
}

#[tokio::test]
async fn they_listen_on_a_given_address_unless_it_is_taken() {
    let free = Upstreams::start().await.unwrap();
    let addr = free.addr();
    assert!(Upstreams::start_on(addr).await.is_err());
    drop(free);
    let given = Upstreams::start_on(addr).await.unwrap();
    assert_eq!(given.addr(), addr);
    let mut client = Connection::open_anonymous(addr).await.unwrap();
    assert_eq!(client.get("/_calls").await.unwrap().status, 200);
}
