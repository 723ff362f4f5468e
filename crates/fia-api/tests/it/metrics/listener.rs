//! The metrics listener.

use std::net::TcpListener;
use std::process::Command;

use axum::body::Body;
use devstack::Api;
use fia_api::app::{Metrics, Service as _};
use http::{Method, Request, StatusCode};

use crate::harness::{Replica, Vars, defaults, vars};
use crate::metrics::text_format::parse;

#[tokio::test]
async fn only_get_metrics_is_served() {
    let replica = Replica::new(&[&Vars::new()]);
    let metrics = Metrics::new(replica.edge());
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/metrics/"),
        (Method::POST, "/metrics"),
        (Method::GET, "/healthz"),
    ] {
        let request = Request::builder().method(&method).uri(path);
        let response = metrics
            .clone()
            .handle(request.body(Body::empty()).unwrap())
            .await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
    }
    // The API listener does not serve it.
    let response = replica.get("/metrics", "none").await;
    assert_eq!(response.status, StatusCode::NOT_FOUND);
}

async fn serve(more: &Vars) -> Api {
    let mut env = defaults();
    env.extend(more.clone());
    env.remove("FIA_API_BIND");
    let program = env!("CARGO_BIN_EXE_fia-api").as_ref();
    Api::start(program, env.into_iter().collect())
        .await
        .unwrap()
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The number of listening sockets of a process.
fn listening(process: u32) -> usize {
    let read = |path: &str| std::fs::read_to_string(format!("/proc/{process}/{path}")).unwrap();
    let tables = [read("net/tcp"), read("net/tcp6")].concat();
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|file| std::fs::read_link(file.unwrap().path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    let columns = tables.lines().map(|line| line.split_whitespace().collect());
    columns
        // Column 4 is the state, 0A being LISTEN; column 10 is the socket's inode.
        .filter(|columns: &Vec<&str>| columns.len() > 9 && columns[3] == "0A")
        .filter(|columns| sockets.contains(&format!("socket:[{}]", columns[9])))
        .count()
}

#[tokio::test]
async fn the_listener_is_off_by_default() {
    let address = free_address();
    for (settings, sockets) in [
        (Vars::new(), 1),
        (vars(&[("FIA_API_METRICS_BIND", "")]), 1),
        (vars(&[("FIA_API_METRICS_BIND", &address)]), 2),
    ] {
        let api = serve(&settings).await;
        assert_eq!(listening(api.server().pid().unwrap()), sockets);
    }
}

#[tokio::test]
async fn the_listener_serves_until_shutdown() {
    let address = free_address();
    let api = serve(&vars(&[("FIA_API_METRICS_BIND", &address)])).await;
    let url = format!("http://{address}/metrics");
    let response = fetch(&url).await;
    assert!(parse(&response).contains_key("fia_api_log_viewers"));
    api.stop().await.unwrap();
    assert!(api.exited().await.unwrap().success());
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
}

async fn fetch(url: &str) -> String {
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await.unwrap()
}

#[tokio::test]
async fn an_address_in_use_is_a_startup_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_fia-api"))
        .arg("serve")
        .env_clear()
        .envs(defaults())
        .env("FIA_API_METRICS_BIND", &address)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!(
            "FIA_API_METRICS_BIND={address}: Address already in use"
        )),
        "{said}"
    );
}
