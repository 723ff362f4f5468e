//! Each alert fires when its fault is made, and resolves when it has been repaired.

use std::sync::Arc;
use std::time::Duration;

use devstack::{FaultProxy, Upstreams};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::{Fixture, Replica, eventually, vars};
use crate::monitoring::{Monitored, SOON, WINDOW, read};

/// Interval between two requests of the load.
const PACE: Duration = Duration::from_millis(50);

/// The rules as deployed, except that nothing needs to last, and with windows of seconds.
fn immediate_rules() -> String {
    let rules = read("prometheus/rules.yaml");
    let lines = rules
        .lines()
        .filter(|line| !line.trim().starts_with("for: "));
    let rules: String = lines.flat_map(|line| [line, "\n"]).collect();
    let rules = rules.replace("[5m]", WINDOW).replace("[10m]", WINDOW);
    assert!(rules.contains(WINDOW) && !rules.contains("m]"));
    rules
}

/// A replica behind proxies, so that each dependency can be cut off.
struct Faulty {
    fixture: Fixture,
    database: FaultProxy,
    auth_service: FaultProxy,
    replica: Arc<Replica>,
    _upstreams: Upstreams,
}

impl Faulty {
    async fn start() -> Self {
        let (fixture, upstreams) = tokio::join!(Fixture::new(), Upstreams::start());
        let upstreams = upstreams.unwrap();
        fixture.database.add_outbox().await;
        let database = FaultProxy::start(fixture.database.server.addr())
            .await
            .unwrap();
        let auth_service = FaultProxy::start(upstreams.addr()).await.unwrap();
        let (address, name) = (database.addr(), &fixture.database.name);
        let settings = vars(&[
            ("DB_LISTEN_URL", &format!("postgres://{address}/{name}")),
            // The auth service verifies each token.
            ("JWT_SECRET", ""),
            ("AUTH_API_URL", &format!("http://{}", auth_service.addr())),
            // Nothing listens on port 1.
            ("QUEUE_HOST", "127.0.0.1"),
            ("QUEUE_PORT", "1"),
        ]);
        let proxied = fixture.database.vars_at(address);
        let settings = proxied.into_iter().chain(settings).collect();
        let replica = Arc::new(fixture.replica_with(&settings).await);
        Self {
            fixture,
            database,
            auth_service,
            replica,
            _upstreams: upstreams,
        }
    }

    /// Sends requests that need PostgreSQL, and ones that need the auth service.
    fn load(&self) -> JoinHandle<()> {
        let replica = Arc::clone(&self.replica);
        tokio::spawn(async move {
            loop {
                let offset = rand::random::<u16>();
                let path = format!("/jobs?limit=1&offset={offset}");
                replica.get(&path, "apikey").await;
                replica.get("/instrument/MARI/specification", "staff").await;
                sleep(PACE).await;
            }
        })
    }
}

/// Takes half a minute: six faults, each until Prometheus has noticed it.
#[tokio::test]
async fn alerts_fire_while_their_fault_lasts() {
    let faulty = Faulty::start().await;
    let monitored = Monitored::start(&faulty.replica, &immediate_rules()).await;
    let load = faulty.load();
    let fires = async |alert: &str| {
        eventually(SOON, async || {
            monitored.firing().await.contains(&alert.to_owned())
        })
        .await;
    };
    let resolved = async || {
        eventually(SOON, async || monitored.firing().await.is_empty()).await;
    };
    // The rates need two scrapes.
    let calls =
        "rate(fia_api_dependency_call_duration_seconds_count{operation=\"verify\"}[5s]) > 0";
    eventually(SOON, async || !monitored.query(calls).await.is_empty()).await;
    resolved().await;

    faulty.auth_service.refuse(true).await.unwrap();
    faulty.auth_service.reset_all();
    fires("FiaApiAuthServiceFailing").await;
    fires("FiaApiErrors").await;
    faulty.auth_service.heal().await.unwrap();
    resolved().await;

    faulty.fixture.valkey.kill();
    fires("FiaApiCacheUnavailable").await;
    faulty.fixture.valkey.restart().await.unwrap();
    resolved().await;

    let client = faulty.fixture.database.client().await;
    let job = "INSERT INTO fia_api_outbox (queue, body, created_at) \
               VALUES ('scheduled-jobs', '{}', now() - interval '2 minutes')";
    client.batch_execute(job).await.unwrap();
    fires("FiaApiJobsNotAnnounced").await;
    client
        .batch_execute("DELETE FROM fia_api_outbox")
        .await
        .unwrap();
    resolved().await;

    faulty.database.refuse(true).await.unwrap();
    faulty.database.reset_all();
    fires("FiaApiDatabaseUnavailable").await;
    fires("FiaApiChangeFeedDown").await;
    faulty.database.heal().await.unwrap();
    resolved().await;
    load.abort();
}
