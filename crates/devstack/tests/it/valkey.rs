//! The lifecycle of Valkey: start, pause, kill, restart without data, cleanup; settings; sharing.

use devstack::Valkey;
use redis::{FromRedisValue, RedisResult};

use crate::footprint::{Footprint, assert_refused};
use crate::wait::UNRESPONSIVE_AFTER;

/// Runs a command on a new connection.
fn run<T: FromRedisValue>(valkey: &Valkey, command: &[&str]) -> RedisResult<T> {
    let client = redis::Client::open(valkey.url())?;
    let mut connection = client.get_connection_with_timeout(UNRESPONSIVE_AFTER)?;
    connection.set_read_timeout(Some(UNRESPONSIVE_AFTER))?;
    redis::cmd(command[0])
        .arg(&command[1..])
        .query(&mut connection)
}

fn ping(valkey: &Valkey) -> RedisResult<String> {
    run(valkey, &["PING"])
}

#[tokio::test]
async fn data_survive_a_pause_but_not_a_kill() {
    let valkey = Valkey::start().await.unwrap();
    assert_eq!(ping(&valkey).unwrap(), "PONG");
    assert_eq!(
        valkey.url(),
        format!("redis://127.0.0.1:{}/0", valkey.port())
    );

    valkey.pause().unwrap();
    assert!(ping(&valkey).unwrap_err().is_timeout());
    valkey.resume().unwrap();
    assert_eq!(ping(&valkey).unwrap(), "PONG");

    assert_eq!(run::<String>(&valkey, &["SET", "a", "1"]).unwrap(), "OK");
    let before = valkey.addr();
    valkey.kill();
    assert_refused(before);
    assert!(valkey.pause().is_err(), "a killed server can be paused");
    valkey.restart().await.unwrap();
    assert_eq!(valkey.addr(), before);
    let value: Option<String> = run(&valkey, &["GET", "a"]).unwrap();
    assert_eq!(value, None, "a killed server restarts with data");

    assert!(valkey.stop().await.unwrap().success());
    assert_refused(before);
    valkey.restart().await.unwrap();
    let footprint = Footprint::of(valkey.server(), valkey.addr());
    drop(valkey);
    footprint.assert_gone();
}

#[tokio::test]
async fn settings_are_applied_and_invalid_ones_reported() {
    let valkey = Valkey::start_with(&[("maxmemory", "2mb")]).await.unwrap();
    let setting: Vec<String> = run(&valkey, &["CONFIG", "GET", "maxmemory"]).unwrap();
    assert_eq!(setting, ["maxmemory", "2097152"]);
    let error = Valkey::start_with(&[("maxmemory", "plenty")])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("argument must be a memory value"), "{error}");
}

/// Every test has its own runtime; the shared server must outlive the runtime of the first caller.
#[test]
fn the_shared_server_outlives_the_runtime_that_started_it() {
    let use_in_a_new_runtime = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let valkey = runtime.block_on(devstack::shared::valkey()).unwrap();
        drop(runtime);
        assert_eq!(ping(valkey).unwrap(), "PONG");
        valkey.port()
    };
    let threads: Vec<_> = (0..3)
        .map(|_| std::thread::spawn(use_in_a_new_runtime))
        .collect();
    let ports: Vec<u16> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}
