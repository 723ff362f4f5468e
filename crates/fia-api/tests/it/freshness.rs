//! The freshness that each kind of caller gets while PostgreSQL or the auth service is unavailable.

use std::time::{Duration, Instant};

use devstack::{FaultProxy, Mode, Upstreams};
use serde_json::json;

use crate::harness::{Fixture, Replica, Response, eventually, upstream_vars, vars};

const SPECIFICATION: &str = "/instrument/MARI/specification";
const LATEST_RUN: &str = "/instrument/MARI/latest-run";
const SCRIPT: &str = "/live-data/MARI/script";
const SOON: Duration = Duration::from_secs(5);

fn source(response: &Response) -> &str {
    response.header("cache-status")
}

/// A replica behind a proxy to PostgreSQL.
struct Proxied {
    fixture: Fixture,
    postgres: FaultProxy,
    upstreams: Upstreams,
    replica: Replica,
}

impl Proxied {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let fixture = Fixture::new().await;
        let server = fixture.database.server.addr();
        let postgres = FaultProxy::start(server).await.unwrap();
        let upstreams = Upstreams::start().await.unwrap();
        let database = fixture.database.vars_at(postgres.addr());
        let replica = Replica::new(&[
            &fixture.vars(),
            &database,
            &upstream_vars(&upstreams),
            &vars(settings),
        ]);
        replica.wait_for_shared_level().await;
        replica.state.cached.wait_for_tracking().await;
        replica.wait_until_reachable().await;
        Self {
            fixture,
            postgres,
            upstreams,
            replica,
        }
    }

    async fn get(&self, path: &str, who: &str) -> Response {
        self.replica.get(path, who).await
    }

    async fn cut_database(&self) {
        self.postgres.refuse(true).await.unwrap();
        self.postgres.reset_all();
    }

    fn is_reachable(&self) -> bool {
        self.replica.state.cached.reachability().is_reachable()
    }

    /// Reads until the response comes from the given level of the cache.
    async fn read_until(&self, path: &str, who: &str, level: &str) {
        eventually(SOON, async || {
            source(&self.get(path, who).await).ends_with(level)
        })
        .await;
    }
}

/// Run detection keeps a run after a 503; a 200 from the cache would lose it, as the job of the
/// run needs the database. Takes 3 s: the probe's result has to become too old.
#[tokio::test]
async fn programs_get_nothing_from_the_cache_while_the_database_is_unreachable() {
    let proxied = Proxied::new(&[]).await;
    for path in [SPECIFICATION, LATEST_RUN, "/jobs?limit=3"] {
        proxied.read_until(path, "apikey", "detail=local").await;
        proxied.read_until(path, "staff", "detail=local").await;
    }
    proxied.cut_database().await;
    let cut = Instant::now();
    eventually(SOON, async || !proxied.is_reachable()).await;
    assert!(
        cut.elapsed() < Duration::from_millis(2500),
        "{:?}",
        cut.elapsed()
    );
    for path in [SPECIFICATION, LATEST_RUN, "/jobs?limit=3"] {
        let program = proxied.get(path, "apikey").await;
        assert_eq!(program.status, 503, "{path}: {}", source(&program));
        assert_eq!(program.header("retry-after"), "1");
        let person = proxied.get(path, "staff").await;
        assert_eq!(person.status, 200, "{path}");
    }
    let open = proxied.get(SCRIPT, "none").await;
    assert!(matches!(open.status.as_u16(), 200 | 503));

    proxied.postgres.refuse(false).await.unwrap();
    proxied.replica.wait_until_reachable().await;
    let program = proxied.get(SPECIFICATION, "apikey").await;
    assert_eq!(program.status, 200);
    assert!(source(&program).contains("hit"), "{}", source(&program));
}

/// As above, with Valkey as the only level, and with values past their TTL. Takes 3 s.
#[tokio::test]
async fn programs_never_get_a_stale_value_and_people_do() {
    let proxied = Proxied::new(&[
        ("INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS", "1"),
        ("LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS", "1"),
    ])
    .await;
    for (path, who) in [(LATEST_RUN, "staff"), (SCRIPT, "none")] {
        assert_eq!(proxied.get(path, who).await.status, 200);
    }
    proxied.cut_database().await;
    for (path, who) in [(LATEST_RUN, "staff"), (SCRIPT, "none")] {
        proxied.read_until(path, who, "detail=stale").await;
    }
    // File-watcher would publish its runs again after a stale latest run.
    for _ in 0..20 {
        let program = proxied.get(LATEST_RUN, "apikey").await;
        assert_eq!(program.status, 503, "{}", source(&program));
    }
}

/// After an outage, until the next probe, a program's reads go to the database. Takes 3 s: the
/// probe's result has to become too old.
#[tokio::test]
async fn a_bypassed_cache_is_named_with_the_reason() {
    let fixture = Fixture::new().await;
    let postgres = FaultProxy::start(fixture.database.server.addr())
        .await
        .unwrap();
    let database = fixture.database.vars_at(postgres.addr());
    let one = vars(&[("DB_POOL_SIZE", "1")]);
    let replica = Replica::new(&[&fixture.vars(), &database, &one]);
    replica.wait_for_shared_level().await;
    replica.wait_until_reachable().await;
    assert_eq!(replica.get(SPECIFICATION, "apikey").await.status, 200);
    postgres.refuse(true).await.unwrap();
    postgres.reset_all();
    let reachability = replica.state.cached.reachability();
    eventually(SOON, async || !reachability.is_reachable()).await;
    postgres.refuse(false).await.unwrap();
    // Until the next probe, at most a second later.
    let mut bypassed = 0;
    eventually(SOON, async || {
        let response = replica.get(SPECIFICATION, "apikey").await;
        if source(&response) == "fia-api; fwd=bypass; detail=database-unreachable" {
            assert_eq!(response.status, 200);
            bypassed += 1;
        }
        response.status == 200 && source(&response).contains("hit")
    })
    .await;
    assert!(bypassed > 0);
    assert!(replica.state.cached.bypasses() >= bypassed);
}

/// The probe has a connection of its own: requests that wait for the pool are no outage.
#[tokio::test]
async fn a_busy_pool_is_not_an_outage() {
    let proxied = Proxied::new(&[("DB_POOL_SIZE", "1")]).await;
    proxied
        .read_until(SPECIFICATION, "apikey", "detail=local")
        .await;
    let client = proxied.fixture.database.client().await;
    client
        .batch_execute("BEGIN; LOCK TABLE instruments")
        .await
        .unwrap();
    // The lock holds the only connection for 3 s.
    let run = json!({"latest_run": "1"});
    let writing = proxied.replica.put(LATEST_RUN, "apikey", &run);
    let reading = async {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2500) {
            let response = proxied.get(SPECIFICATION, "apikey").await;
            assert_eq!(response.status, 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (written, ()) = tokio::join!(writing, reading);
    assert_eq!(written.status, 503);
}

/// Takes 3 s: both TTLs have to expire.
#[tokio::test]
async fn a_removed_participant_gets_no_list_after_the_ttl_whatever_is_unavailable() {
    let proxied = Proxied::new(&[
        ("AUTH_EXPERIMENTS_CACHE_TTL_SECONDS", "2"),
        ("JOB_LIST_CACHE_TTL_SECONDS", "2"),
    ])
    .await;
    let ttl = Duration::from_secs(2);
    let paths = ["/jobs?limit=3", "/instrument/MARI/jobs?limit=3"];
    for path in paths {
        let list = proxied.get(path, "user").await;
        assert_eq!(list.status, 200);
        assert_ne!(list.text(), "[]", "{path}");
    }
    let loaded = Instant::now();
    proxied.upstreams.set_experiments(1234, &[]);
    proxied.upstreams.fail("/experiments", Some(500));
    for database_is_cut in [false, true] {
        if database_is_cut {
            proxied.cut_database().await;
        }
        tokio::time::sleep((loaded + ttl).saturating_duration_since(Instant::now())).await;
        for path in paths {
            let list = proxied.get(path, "user").await;
            assert_eq!(list.status, 503, "{path}: {}", list.text());
        }
    }
}

/// A list that was filled late in the life of the experiments ends with them. Takes 2 s: the
/// experiments' TTL has to expire.
#[tokio::test]
async fn a_list_is_not_cached_beyond_the_experiments_that_it_depends_on() {
    let proxied = Proxied::new(&[
        ("AUTH_EXPERIMENTS_CACHE_TTL_SECONDS", "2"),
        ("JOB_LIST_CACHE_TTL_SECONDS", "60"),
    ])
    .await;
    let mine = "/jobs?limit=3";
    assert_ne!(proxied.get(mine, "user").await.text(), "[]");
    let end = Instant::now() + Duration::from_secs(2);
    proxied.upstreams.set_experiments(1234, &[]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Another list, of the cached experiments.
    let other = proxied.get("/jobs?limit=2", "user").await;
    assert_ne!(other.text(), "[]");
    proxied
        .read_until("/jobs?limit=2", "user", "detail=local")
        .await;
    tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
    for path in [mine, "/jobs?limit=2"] {
        assert_eq!(proxied.get(path, "user").await.text(), "[]", "{path}");
    }
    // What does not depend on experiments keeps its own TTL.
    assert_eq!(proxied.get(mine, "staff").await.status, 200);
    proxied.read_until(mine, "staff", "detail=local").await;
}

/// A frozen server is found unreachable as well. Takes 3 s.
#[tokio::test]
async fn a_silent_database_is_unreachable_after_two_seconds() {
    let proxied = Proxied::new(&[]).await;
    proxied
        .read_until(SPECIFICATION, "apikey", "detail=local")
        .await;
    proxied.postgres.set_both(Mode::BlackHole);
    let silent = Instant::now();
    eventually(SOON, async || !proxied.is_reachable()).await;
    assert!(
        silent.elapsed() < Duration::from_millis(2500),
        "{:?}",
        silent.elapsed()
    );
    let begun = Instant::now();
    let program = proxied.get(SPECIFICATION, "apikey").await;
    assert_eq!(program.status, 503);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}
