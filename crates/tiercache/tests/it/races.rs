//! Races of reads against writes over delayed connections, on one replica and on two.

use std::time::Duration;

use devstack::Mode;
use tokio::task::JoinSet;

use crate::support::{
    Fixture, KEY, NAME, Replica, Rows, loaded, long_timeouts, payload, put, shared_hit,
};

const ROUNDS: u64 = 200;

/// In each round, readers on all replicas race a write on one of them, each replica with its
/// own latency to Valkey. A read that starts after the write has returned must see it.
async fn race(fixture: &Fixture, replicas: &[&Replica]) {
    for (i, replica) in replicas.iter().enumerate() {
        replica
            .proxy
            .set_both(Mode::Delay(Duration::from_micros(300 + 700 * i as u64)));
    }
    for round in 1..=ROUNDS {
        if round % 3 == 0 {
            fixture.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
        }
        let mut readers = JoinSet::new();
        for replica in replicas {
            for reader in 0..4 {
                readers.spawn(read_after(
                    replica.rows.clone(),
                    fixture.database.loader(),
                    (reader * round) % 7,
                ));
            }
        }
        let writer = &replicas[round as usize % replicas.len()].rows;
        assert_eq!(put(writer, &fixture.database).await, round);
        for replica in replicas {
            let response = replica
                .rows
                .get_or_load(NAME, fixture.database.loader())
                .await;
            assert_eq!(
                response.unwrap().value,
                round,
                "a stale value was returned after the write"
            );
        }
        readers.join_all().await;
        let left = fixture.raw.get(KEY).await.unwrap_or_default();
        assert!(
            left == payload(round) || left.starts_with(b"null"),
            "a stale value was left in Valkey: {left:?}"
        );
    }
}

async fn read_after(
    rows: Rows,
    load: impl FnOnce()
        -> futures_util::future::BoxFuture<'static, Result<u64, crate::support::DbError>>
    + Send
    + 'static,
    yields: u64,
) {
    for _ in 0..yields * 10 {
        tokio::task::yield_now().await;
    }
    rows.get_or_load(NAME, load).await.unwrap();
}

/// Takes seconds: every command is delayed, in 200 rounds.
#[limited::test(worker_threads = 2)]
async fn reads_after_a_write_are_fresh_on_one_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica(long_timeouts).await;
    race(&fixture, &[&replica]).await;
    let response = replica
        .rows
        .get_or_load(NAME, fixture.database.loader())
        .await;
    assert!(response == shared_hit(ROUNDS) || response == loaded(ROUNDS));
}

/// Takes seconds, as above.
#[limited::test(worker_threads = 2)]
async fn reads_after_a_write_are_fresh_on_two_replicas() {
    let fixture = Fixture::new().await;
    let near = fixture.replica(long_timeouts).await;
    let far = fixture.replica(long_timeouts).await;
    race(&fixture, &[&near, &far]).await;
}
