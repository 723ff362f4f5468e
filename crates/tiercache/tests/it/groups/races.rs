//! Races of reads of many entries against writes of their group, over delayed connections.

use std::sync::Arc;

use devstack::Mode;
use tokio::task::JoinSet;

use super::*;
use crate::support::{Proxies, local_settings};

const ROUNDS: u64 = 200;
const NAMES: [&str; 5] = ["red:1", "red:2", "red:3", "red:4", "red:5"];

/// In each round, readers of all entries on both replicas race two writes, one on each. A read
/// that starts after both have returned must see them.
async fn race(fixture: &Fixture, builder: fn(String) -> CacheBuilder) {
    let mut replicas = Vec::new();
    for delay in [300, 1_000] {
        let proxy = Proxies::start(&fixture.valkey).await;
        let lists = Lists::connect(builder(proxy.url())).await;
        proxy.set_both(Mode::Delay(Duration::from_micros(delay)));
        replicas.push((Arc::new(lists), proxy));
    }
    for round in 1..=ROUNDS {
        let mut readers = JoinSet::new();
        for (i, name) in NAMES.into_iter().cycle().take(10).enumerate() {
            let lists = Arc::clone(&replicas[i % 2].0);
            let database = fixture.database.clone();
            let yields = (i as u64 * round) % 7;
            readers.spawn(async move {
                for _ in 0..yields * 10 {
                    tokio::task::yield_now().await;
                }
                lists.get(name, &database).await
            });
        }
        let [(one, _), (other, _)] = &replicas[..] else {
            unreachable!("there are two replicas");
        };
        tokio::join!(
            one.write("red", &fixture.database),
            other.write("red", &fixture.database),
        );
        let version = 2 * round;
        for (lists, _) in &replicas {
            for name in NAMES {
                let load = fixture.database.loader();
                // Past the local cache, which lags by the push.
                let found = lists.lists.lookup_current(name, load);
                let found = limited::waiting(name, found).await.unwrap();
                if found.source != Source::Local {
                    assert_eq!(found.value, version, "round {round}, {name}");
                }
            }
        }
        readers.join_all().await;
    }
}

/// Takes seconds: every command is delayed, in 200 rounds.
#[limited::test(worker_threads = 2)]
async fn reads_after_a_write_of_their_group_are_fresh() {
    let fixture = Fixture::new().await;
    race(&fixture, long_timeouts).await;
}

/// Takes seconds: every command is delayed, in 200 rounds.
#[limited::test(worker_threads = 2)]
async fn reads_after_a_write_of_their_group_are_fresh_with_a_local_level() {
    let fixture = Fixture::new().await;
    race(&fixture, local_settings).await;
}
