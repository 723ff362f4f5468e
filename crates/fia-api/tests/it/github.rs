//! Redirects and proxies on the way to GitHub, with stand-ins on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use fia_api::upstream::{Packages, Revalidated, ScriptRepository};
use http::StatusCode;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{Vars, config, vars, within};

const LIMIT: Duration = Duration::from_secs(10);
const COMMIT: &str = "/repos/fiaisis/autoreduction-scripts/commits/HEAD";
const SCRIPT: &str = "/fiaisis/autoreduction-scripts/main/MARI/reduce.py";
const VERSIONS: &str = "/orgs/fiaisis/packages/container/mantid/versions";

/// The paths that a stand-in was asked for, each with the token that came with it.
type Requests = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A stand-in for GitHub that redirects from old names to new ones, also on another host.
struct GitHub {
    address: SocketAddr,
    requests: Requests,
}

impl GitHub {
    async fn start(other: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Requests::default();
        let state = (Arc::clone(&requests), other.unwrap_or(address));
        let router = Router::new().fallback(respond).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, requests }
    }

    fn vars(&self) -> Vars {
        let url = format!("http://{}", self.address);
        vars(&[
            ("GITHUB_RAW_URL", &url),
            ("GITHUB_API_URL", &url),
            ("GITHUB_API_TOKEN", "commit-token"),
            ("GITHUB_PACKAGE_TOKEN", "package-token"),
        ])
    }

    fn requests(&self) -> Vec<(String, Option<String>)> {
        self.requests.lock().clone()
    }
}

async fn respond(
    State((requests, other)): State<(Requests, SocketAddr)>,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    let token = request.headers().get(AUTHORIZATION);
    let token = token.map(|token| token.to_str().unwrap().to_owned());
    requests.lock().push((path.clone(), token));
    match path.as_str() {
        COMMIT => (
            StatusCode::MOVED_PERMANENTLY,
            [("location", "/repositories/7/commits/HEAD")],
        )
            .into_response(),
        "/repositories/7/commits/HEAD" => r#"{"sha":"abc"}"#.into_response(),
        SCRIPT => Redirect::temporary(&format!("http://{other}/moved/reduce.py")).into_response(),
        "/moved/reduce.py" => "print(1)".into_response(),
        VERSIONS => Redirect::permanent(&format!("http://{other}/versions")).into_response(),
        "/versions" => "[]".into_response(),
        _ => Redirect::temporary(&path).into_response(),
    }
}

fn bearer(token: &str) -> Option<String> {
    Some(format!("Bearer {token}"))
}

#[tokio::test]
async fn a_renamed_repository_is_followed_with_the_token() {
    let github = GitHub::start(None).await;
    let scripts = ScriptRepository::new(&config(&[&github.vars()]).github).unwrap();
    let commit = scripts.commit(None, LIMIT).await.unwrap();
    assert_eq!(commit, Revalidated::Modified("abc".to_owned(), None));
    assert_eq!(
        github.requests(),
        [COMMIT, "/repositories/7/commits/HEAD"]
            .map(|path| (path.to_owned(), bearer("commit-token")))
    );
    let script = scripts.script("MARI", None, LIMIT).await.unwrap();
    assert_eq!(script, Revalidated::Modified("print(1)".to_owned(), None));
}

#[tokio::test]
async fn a_redirect_to_another_host_is_followed_without_the_token() {
    let other = GitHub::start(None).await;
    let github = GitHub::start(Some(other.address)).await;
    let packages = Packages::new(&config(&[&github.vars()]).github).unwrap();
    assert_eq!(packages.versions().await.unwrap().len(), 0);
    let sent = (VERSIONS.to_owned(), bearer("package-token"));
    assert_eq!(github.requests(), [sent]);
    assert_eq!(other.requests(), [("/versions".to_owned(), None)]);
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let github = GitHub::start(None).await;
    let scripts = ScriptRepository::new(&config(&[&github.vars()]).github).unwrap();
    assert!(scripts.script("LOOP", None, LIMIT).await.is_err());
    assert_eq!(github.requests().len(), 6);
}

/// Accepts one connection and returns its first bytes; refuses what they ask for.
async fn first_bytes(listener: TcpListener) -> Vec<u8> {
    let (mut stream, _) = within("a connection", LIMIT, listener.accept())
        .await
        .unwrap();
    let mut bytes = vec![0; 4096];
    let count = within("a request", LIMIT, stream.read(&mut bytes))
        .await
        .unwrap();
    bytes.truncate(count);
    let _ = stream
        .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        .await;
    bytes
}

#[tokio::test]
async fn the_proxy_is_used_for_https_except_for_excluded_hosts() {
    let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (no_proxy, is_proxied) in [("", true), ("example.org,127.0.0.0/8", false)] {
        let (proxy, github) = (bind().await, bind().await);
        let target = github.local_addr().unwrap();
        let proxy_url = proxy.local_addr().unwrap().to_string();
        let github_url = format!("https://{target}");
        let settings = vars(&[
            ("HTTPS_PROXY", &proxy_url),
            ("NO_PROXY", no_proxy),
            ("GITHUB_RAW_URL", &github_url),
        ]);
        let scripts = ScriptRepository::new(&config(&[&settings]).github).unwrap();
        let reached = if is_proxied { proxy } else { github };
        let (bytes, script) =
            tokio::join!(first_bytes(reached), scripts.script("MARI", None, LIMIT));
        assert!(script.is_err());
        if is_proxied {
            let connect = format!("CONNECT {target} HTTP/1.1\r\n");
            assert!(bytes.starts_with(connect.as_bytes()), "{bytes:?}");
        } else {
            assert_eq!(bytes[0], 0x16, "a TLS handshake: {bytes:?}");
        }
    }
}

#[tokio::test]
async fn plain_http_is_not_proxied() {
    let github = GitHub::start(None).await;
    let mut settings = github.vars();
    settings.extend(vars(&[("HTTPS_PROXY", "http://127.0.0.1:1")]));
    let scripts = ScriptRepository::new(&config(&[&settings]).github).unwrap();
    assert!(scripts.commit(None, LIMIT).await.is_ok());
}
