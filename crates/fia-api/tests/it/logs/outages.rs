//! Streams while Valkey is disconnected or restarted.

use devstack::{FaultProxy, Mode, Valkey};

use crate::harness::{Replica, Vars, vars};
use crate::logs::{Event, Logs};

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
