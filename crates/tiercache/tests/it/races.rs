//! Reads against writes, forced through slow connections, on one replica and across two.

use std::time::Duration;

use devstack::Mode;
use tokio::task::JoinSet;

use crate::support::{KEY, NAME, Neighbour, Rows, Stage, loaded, patient, payload, put, shared};

const ROUNDS: u64 = 200;

/// In each round readers of all replicas race a write on one, each replica at its own
/// distance from Valkey. Whoever reads after the write has returned must see it.
async fn race(stage: &Stage, replicas: &[&Neighbour]) {
    for (i, replica) in replicas.iter().enumerate() {
        replica
            .proxy
            .set_both(Mode::Delay(Duration::from_micros(300 + 700 * i as u64)));
    }
    for round in 1..=ROUNDS {
        if round % 3 == 0 {
            stage.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
        }
        let mut readers = JoinSet::new();
        for replica in replicas {
            for reader in 0..4 {
                readers.spawn(read_after(
                    replica.rows.clone(),
                    stage.database.loader(),
                    (reader * round) % 7,
                ));
            }
        }
        let writer = &replicas[round as usize % replicas.len()].rows;
        assert_eq!(put(writer, &stage.database).await, round);
        for replica in replicas {
            let answer = replica
                .rows
                .get_or_load(NAME, stage.database.loader())
                .await;
            assert_eq!(
                answer.unwrap().value,
                round,
                "an old value was served after the write"
            );
        }
        readers.join_all().await;
        let left = stage.raw.get(KEY).await.unwrap_or_default();
        assert!(
            left == payload(round) || left.starts_with(b"null"),
            "an old value was left: {left:?}"
        );
    }
}

async fn read_after(
    rows: Rows,
    load: impl FnOnce()
        -> futures_util::future::BoxFuture<'static, Result<u64, crate::support::DbError>>
    + Send
    + 'static,
    pauses: u64,
) {
    for _ in 0..pauses * 10 {
        tokio::task::yield_now().await;
    }
    rows.get_or_load(NAME, load).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_replica() {
    let stage = Stage::new().await;
    let replica = stage.neighbour(patient).await;
    race(&stage, &[&replica]).await;
    let answer = replica
        .rows
        .get_or_load(NAME, stage.database.loader())
        .await;
    assert!(answer == shared(ROUNDS) || answer == loaded(ROUNDS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn across_two_replicas() {
    let stage = Stage::new().await;
    let near = stage.neighbour(patient).await;
    let far = stage.neighbour(patient).await;
    race(&stage, &[&near, &far]).await;
}
