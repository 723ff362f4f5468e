//! `fia-api healthcheck`, as a container runtime runs it.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use devstack::Api;

use crate::harness::defaults;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fia-api");

fn check(bind: &str) -> Output {
    Command::new(PROGRAM)
        .arg("healthcheck")
        .env_clear()
        .env("FIA_API_BIND", bind)
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_running_server_is_healthy() {
    let env = defaults().into_iter().collect();
    let api = Api::start(PROGRAM.as_ref(), env).await.unwrap();
    for host in ["127.0.0.1", "0.0.0.0"] {
        let output = check(&format!("{host}:{}", api.addr().port()));
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn a_refused_connection_is_unhealthy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let output = check(&address.to_string());
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.is_empty());
}

/// Takes 2 s, the time limit of the check.
#[test]
fn a_server_that_hangs_is_unhealthy_within_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = thread::spawn(move || listener.accept().unwrap());
    let start = Instant::now();
    let output = check(&address.to_string());
    assert_eq!(output.status.code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(10));
    drop(accepted.join());
}
