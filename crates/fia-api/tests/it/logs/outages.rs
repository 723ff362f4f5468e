//! Streams while Valkey is disconnected or restarted.

use devstack::{FaultProxy, Mode, Valkey};
use redis::cmd;

use crate::harness::{Replica, Vars, vars};
use crate::logs::{Event, Logs, Viewer};

/// Takes some seconds: the reader's retry backoff has to elapse.
#[tokio::test]
async fn a_valkey_disconnect_loses_and_repeats_no_entry() {
    let valkey = Valkey::start().await.unwrap();
    let proxy = FaultProxy::start(valkey.addr()).await.unwrap();
    let url = format!("redis://{}/0", proxy.addr());
    let replica = Replica::new(&[&vars(&[("VALKEY_URL", &url)])]);
    let logs = Logs { valkey, replica };
    logs.write(0..5).await;
    let mut viewer = logs.view("").await;
    viewer.messages(5).await;
    for (from, hang) in [(5, false), (10, true)] {
        if hang {
            proxy.set_both(Mode::BlackHole);
        } else {
            proxy.refuse(true).await.unwrap();
            proxy.reset_all();
        }
        viewer.until(&Event::Error).await;
        logs.write(from..from + 5).await;
        // A new viewer gets the error event as well.
        logs.view("").await.until(&Event::Error).await;
        proxy.heal().await.unwrap();
        if hang {
            proxy.reset_all();
        }
        assert_eq!(viewer.messages(5).await, Vec::from_iter(from..from + 5));
    }
    let mut late = logs.view("").await;
    assert_eq!(late.messages(15).await, Vec::from_iter(0..15));
}

/// Takes some seconds: the reader's retry backoff has to elapse.
#[tokio::test]
async fn a_valkey_restarted_empty_is_followed() {
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..5).await;
    let mut viewer = logs.view("").await;
    viewer.messages(5).await;
    logs.valkey.kill();
    viewer.until(&Event::Error).await;
    logs.valkey.restart().await.unwrap();
    logs.write(5..8).await;
    assert_eq!(viewer.messages(3).await, [5, 6, 7]);
}

/// As Valkey's `timeout`, or an operator, closes idle connections.
#[tokio::test]
async fn connections_that_valkey_closes_are_replaced_without_an_error_event() {
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..5).await;
    let mut viewer = logs.view("").await;
    viewer.messages(5).await;
    let read = async |viewer: &mut Viewer| match viewer.next().await {
        Event::KeepAlive => None,
        Event::Entry(data) => Some(data["msg"].as_str().unwrap().to_owned()),
        other => panic!("{other:?}"),
    };
    for n in 5..10 {
        let mut connection = logs.connection().await;
        let mut kill = cmd("CLIENT");
        kill.arg("KILL")
            .arg("TYPE")
            .arg("normal")
            .arg("SKIPME")
            .arg("yes");
        let killed: u32 = kill.query_async(&mut connection).await.unwrap();
        assert!(killed >= 2, "{killed}");
        // The history is read on one of the closed connections, new entries on another.
        let mut new = logs.view("").await;
        for old in 0..n {
            assert_eq!(read(&mut new).await, Some(old.to_string()));
        }
        logs.write(n..n + 1).await;
        for viewer in [&mut viewer, &mut new] {
            let message = loop {
                if let Some(message) = read(viewer).await {
                    break message;
                }
            };
            assert_eq!(message, n.to_string());
        }
    }
}
