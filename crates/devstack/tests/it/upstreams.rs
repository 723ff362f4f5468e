//! What the stand-ins answer, and the knobs.

use std::time::{Duration, Instant};

use devstack::{Upstreams, tokens};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REDUCE: &str = "/fiaisis/autoreduction-scripts/main/MARI/reduce.py";
const COMMIT: &str = "/repos/fiaisis/autoreduction-scripts/commits/HEAD";
const PACKAGES: &str = "/orgs/fiaisis/packages/container/mantid/versions";

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
    }
}

/// One request on a connection of its own. `headers` are whole lines.
async fn ask(upstreams: &Upstreams, line: &str, headers: &[String], body: &str) -> Answer {
    let mut request = format!("{line} HTTP/1.1\r\nhost: {}\r\n", upstreams.addr());
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    request.push_str(&format!(
        "content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    ));
    let mut stream = TcpStream::connect(upstreams.addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

async fn get(upstreams: &Upstreams, path: &str) -> Answer {
    ask(upstreams, &format!("GET {path}"), &[], "").await
}

async fn verify(upstreams: &Upstreams, token: &str) -> u16 {
    ask(
        upstreams,
        "POST /verify",
        &[],
        &json!({"token": token}).to_string(),
    )
    .await
    .status
}

#[tokio::test]
async fn the_auth_service() {
    let upstreams = Upstreams::start().await.unwrap();
    assert_eq!(verify(&upstreams, tokens::staff()).await, 200);
    assert_eq!(
        verify(&upstreams, tokens::named("expired").unwrap()).await,
        403
    );
    assert_eq!(
        ask(&upstreams, "POST /verify", &[], "not JSON")
            .await
            .status,
        403
    );
    upstreams.set_token("fresh", true);
    upstreams.set_token(tokens::staff(), false);
    assert_eq!(verify(&upstreams, "fresh").await, 200);
    assert_eq!(verify(&upstreams, tokens::staff()).await, 403);

    let path = "/experiments?user_number=1234";
    assert_eq!(get(&upstreams, path).await.status, 403);
    let key = [format!("authorization: Bearer {}", tokens::API_KEY)];
    let ask_for = async |user: i64| {
        let line = format!("GET /experiments?user_number={user}");
        ask(&upstreams, &line, &key, "").await.json()
    };
    assert_eq!(
        ask_for(1234).await,
        json!([1_820_497, 100_007, 100_014, 20_024])
    );
    assert_eq!(ask_for(99).await, json!([]));
    upstreams.set_experiments(99, &[7]);
    assert_eq!(ask_for(99).await, json!([7]));
    assert_eq!(
        upstreams.last_authorization("/experiments").unwrap(),
        "Bearer shh"
    );
}

#[tokio::test]
async fn github_scripts_and_commits() {
    let upstreams = Upstreams::start().await.unwrap();
    for (path, marker) in [(REDUCE, "mask"), (COMMIT, "0123456789abcdef")] {
        let first = get(&upstreams, path).await;
        assert_eq!(first.status, 200);
        assert!(first.body.contains(marker), "{}", first.body);
        let known = [format!("if-none-match: {}", first.header("etag").unwrap())];
        let second = ask(&upstreams, &format!("GET {path}"), &known, "").await;
        assert_eq!((second.status, second.body.as_str()), (304, ""));
    }
    let missing = get(&upstreams, &REDUCE.replace("MARI", "NOWHERE")).await;
    assert_eq!(
        (missing.status, missing.body.as_str()),
        (404, "404: Not Found")
    );
    upstreams.set_script("MARI", Some("print(1)"));
    upstreams.set_commit("cafe");
    assert_eq!(get(&upstreams, REDUCE).await.body, "print(1)");
    assert_eq!(get(&upstreams, COMMIT).await.json(), json!({"sha": "cafe"}));
    upstreams.set_script("MARI", None);
    assert_eq!(get(&upstreams, REDUCE).await.status, 404);
}

#[tokio::test]
async fn github_packages_in_pages() {
    let upstreams = Upstreams::start().await.unwrap();
    assert_eq!(
        get(&upstreams, PACKAGES)
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert_eq!(
        get(&upstreams, &format!("{PACKAGES}?page=2")).await.json(),
        json!([])
    );
    upstreams.set_packages((0..35).map(|id| json!({"id": id})).collect());
    let first = get(&upstreams, PACKAGES).await;
    assert_eq!(first.json().as_array().unwrap().len(), 30);
    assert!(first.header("link").unwrap().contains("page=2&per_page=30"));
    let last = get(&upstreams, &format!("{PACKAGES}?per_page=20&page=2")).await;
    assert_eq!(last.json().as_array().unwrap().len(), 15);
    assert_eq!(last.json()[0], json!({"id": 20}));
    assert_eq!(last.header("link"), None);
}

#[tokio::test]
async fn calls_are_counted() {
    let upstreams = Upstreams::start().await.unwrap();
    get(&upstreams, REDUCE).await;
    get(&upstreams, &format!("{REDUCE}?x=1")).await;
    get(&upstreams, COMMIT).await;
    assert_eq!((upstreams.calls(REDUCE), upstreams.total_calls()), (2, 3));
    let counts = get(&upstreams, "/_calls").await.json();
    assert_eq!(counts, json!({REDUCE: 2, COMMIT: 1}));
    ask(&upstreams, "DELETE /_calls", &[], "").await;
    assert_eq!(upstreams.total_calls(), 0);
    get(&upstreams, COMMIT).await;
    upstreams.reset_calls();
    assert_eq!(upstreams.calls(COMMIT), 0);
}

#[tokio::test]
async fn faults_can_be_set() {
    let upstreams = Upstreams::start().await.unwrap();
    ask(&upstreams, "PUT /_down", &[], r#"{"seconds": 600}"#).await;
    assert_eq!(get(&upstreams, REDUCE).await.status, 503);
    ask(&upstreams, "PUT /_down", &[], r#"{"seconds": 0}"#).await;
    assert_eq!(get(&upstreams, REDUCE).await.status, 200);

    upstreams.fail("/repos", Some(500));
    assert_eq!(get(&upstreams, COMMIT).await.status, 500);
    assert_eq!(get(&upstreams, REDUCE).await.status, 200);
    upstreams.fail("/repos", None);
    assert_eq!(get(&upstreams, COMMIT).await.status, 200);

    let delay = Duration::from_millis(500);
    upstreams.delay("", delay);
    upstreams.delay("/repos", Duration::from_millis(1));
    let began = Instant::now();
    get(&upstreams, COMMIT).await;
    assert!(began.elapsed() < delay, "the longest prefix counts");
    get(&upstreams, REDUCE).await;
    assert!(began.elapsed() >= delay);
    upstreams.delay("", Duration::ZERO);

    let mut open = TcpStream::connect(upstreams.addr()).await.unwrap();
    upstreams.refuse(true).await.unwrap();
    assert_eq!(
        open.read(&mut [0]).await.unwrap_or(0),
        0,
        "open connections are dropped"
    );
    assert!(TcpStream::connect(upstreams.addr()).await.is_err());
    upstreams.refuse(false).await.unwrap();
    assert_eq!(get(&upstreams, COMMIT).await.status, 200);
}
