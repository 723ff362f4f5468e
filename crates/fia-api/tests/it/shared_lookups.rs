//! Lookups that run at the same time share connections, and do not disturb each other.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::harness::{Database, Replica, Response, eventually, vars};

/// The jobs of the seed data that are looked up.
const JOBS: std::ops::RangeInclusive<i32> = 1..=12;
/// The statements that wait for a lock, one for each connection.
const WAITING: &str = "FROM pg_stat_activity WHERE datname = current_database() \
     AND wait_event_type = 'Lock'";

/// A replica with a pool of which lookups may share a quarter, and a transaction that locks the
/// jobs, so that lookups wait.
struct Locked {
    database: Database,
    replica: Replica,
    lock: Client,
    expected: Vec<String>,
}

impl Locked {
    async fn new() -> Self {
        let database = Database::seeded().await;
        let replica = Replica::new(&[&database.vars(), &vars(&[("DB_POOL_SIZE", "4")])]);
        let mut expected = Vec::new();
        for job in JOBS {
            expected.push(get(&replica, job).await.text());
        }
        let lock = database.client().await;
        lock.batch_execute("BEGIN; LOCK TABLE jobs").await.unwrap();
        Self {
            database,
            replica,
            lock,
            expected,
        }
    }

    /// The number of connections whose statement waits for the lock.
    async fn waiting(&self) -> i64 {
        let sql = format!("SELECT count(*) {WAITING}");
        self.lock.query_one(&sql, &[]).await.unwrap().get(0)
    }

    async fn wait_for_waiting(&self) {
        eventually(Duration::from_secs(2), async || self.waiting().await > 0).await;
    }

    async fn unlock(&self) {
        self.lock.batch_execute("COMMIT").await.unwrap();
    }

    /// The responses to lookups of all jobs that begin now, once `then` has been done while they
    /// wait.
    async fn look_up_all(&self, then: impl Future<Output = ()>) -> Vec<Response> {
        let lookups = join_all(JOBS.map(|job| get(&self.replica, job)));
        tokio::join!(lookups, then).0
    }

    fn assert_expected(&self, responses: &[Response]) {
        let bodies: Vec<String> = responses.iter().map(Response::text).collect();
        assert_eq!(bodies, self.expected);
    }
}

async fn get(replica: &Replica, job: i32) -> Response {
    let response = replica.get(&format!("/job/{job}"), "apikey").await;
    assert_eq!(response.status, 200, "{job}");
    response
}

/// The others of the pool are free meanwhile.
#[tokio::test]
async fn lookups_share_a_connection_and_get_their_own_rows() {
    let locked = Locked::new().await;
    let unlocking = async {
        locked.wait_for_waiting().await;
        // For this time another lookup joins the ones that wait for the lock.
        sleep(Duration::from_millis(50)).await;
        assert_eq!(locked.waiting().await, 1);
        let response = locked.replica.get("/instrument/MARI/latest-run", "apikey");
        assert_eq!(response.await.status, 200);
        locked.unlock().await;
    };
    let responses = locked.look_up_all(unlocking).await;
    locked.assert_expected(&responses);
}

#[tokio::test]
async fn a_cancelled_lookup_disturbs_no_other() {
    let locked = Locked::new().await;
    let mut cancelled = JoinSet::new();
    for job in JOBS {
        let path = format!("/job/{job}");
        let request = crate::harness::request(http::Method::GET, &path, "apikey", None);
        let edge = locked.replica.edge();
        cancelled.spawn(async move { edge.handle(request).await.status() });
    }
    locked.wait_for_waiting().await;
    let others = async {
        cancelled.shutdown().await;
        locked.unlock().await;
    };
    let responses = locked.look_up_all(others).await;
    locked.assert_expected(&responses);
    // And on the connections that these left.
    let responses = locked.look_up_all(async {}).await;
    locked.assert_expected(&responses);
}

#[tokio::test]
async fn lookups_are_repeated_when_their_connection_is_lost() {
    let locked = Locked::new().await;
    let losing = async {
        locked.wait_for_waiting().await;
        let client = locked.database.client().await;
        let terminate = format!("SELECT pg_terminate_backend(pid) {WAITING}");
        client.query(&terminate, &[]).await.unwrap();
        locked.unlock().await;
    };
    let responses = locked.look_up_all(losing).await;
    locked.assert_expected(&responses);
}
