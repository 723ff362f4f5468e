//! Valkey starts, answers, freezes, dies, comes back empty and leaves nothing behind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use devstack::Valkey;

use crate::traces::{Traces, assert_refused};
use crate::wait::SILENCE;

/// Sends a command; none when there is no answer for a while.
fn ask(addr: SocketAddr, command: &str) -> Option<String> {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    stream
        .write_all(format!("{command}\r\n").as_bytes())
        .unwrap();
    let mut answer = [0; 64];
    let n = stream.read(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..n]).trim_end().to_owned())
}

#[tokio::test]
async fn lives_and_dies() {
    let valkey = Valkey::start().await.unwrap();
    assert_eq!(ask(valkey.addr(), "PING").unwrap(), "+PONG");
    assert_eq!(
        valkey.url(),
        format!("redis://127.0.0.1:{}/0", valkey.port())
    );

    valkey.pause().unwrap();
    assert_eq!(ask(valkey.addr(), "PING"), None);
    valkey.resume().unwrap();
    assert_eq!(ask(valkey.addr(), "PING").unwrap(), "+PONG");

    assert_eq!(ask(valkey.addr(), "SET a 1").unwrap(), "+OK");
    let before = valkey.addr();
    valkey.kill();
    assert_refused(before);
    assert!(valkey.pause().is_err(), "a dead server cannot be frozen");
    valkey.restart().await.unwrap();
    assert_eq!(valkey.addr(), before);
    assert_eq!(
        ask(valkey.addr(), "GET a").unwrap(),
        "$-1",
        "it comes back empty"
    );

    assert!(valkey.stop().await.unwrap().success());
    assert_refused(before);
    valkey.restart().await.unwrap();
    let traces = Traces::of(valkey.server(), valkey.addr());
    drop(valkey);
    traces.assert_gone();
}

#[tokio::test]
async fn takes_settings_and_reports_bad_ones() {
    let valkey = Valkey::start_with(&[("maxmemory", "2mb")]).await.unwrap();
    assert!(
        ask(valkey.addr(), "CONFIG GET maxmemory")
            .unwrap()
            .ends_with("2097152")
    );
    let error = Valkey::start_with(&[("maxmemory", "plenty")])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("argument must be a memory value"), "{error}");
}

/// Every test has a runtime of its own; the shared server outlives the one that asked first.
#[test]
fn is_shared_between_runtimes() {
    let ask_in_a_runtime = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let valkey = runtime.block_on(devstack::shared::valkey()).unwrap();
        drop(runtime);
        assert_eq!(ask(valkey.addr(), "PING").unwrap(), "+PONG");
        valkey.port()
    };
    let threads: Vec<_> = (0..3)
        .map(|_| std::thread::spawn(ask_in_a_runtime))
        .collect();
    let ports: Vec<u16> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}
