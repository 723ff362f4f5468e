//! Autoreduction while PostgreSQL is unavailable. The job creator tries four times without a pause,
//! then the run is lost.

use std::time::Duration;

use devstack::{FaultProxy, Mode};
use http::StatusCode;
use serde_json::json;

use crate::harness::{Replica, Response, eventually, vars};
use crate::new_jobs::{NewJobsFixture, autoreduction_body, post};

const SOON: Duration = Duration::from_secs(10);

/// A replica behind a proxy to PostgreSQL that is in an outage.
struct Outage {
    fixture: NewJobsFixture,
    postgres: FaultProxy,
    replica: Replica,
}

impl Outage {
    async fn begin(mode: Option<Mode>, in_flight: &str) -> Self {
        let fixture = NewJobsFixture::new().await;
        let server = fixture.database.server.addr();
        let postgres = FaultProxy::start(server).await.unwrap();
        let database = fixture.database.vars_at(postgres.addr());
        let limits = vars(&[("MAX_IN_FLIGHT", in_flight)]);
        let replica = Replica::new(&[&fixture.settings, &database, &limits]);
        replica.wait_until_reachable().await;
        let outage = Self {
            fixture,
            postgres,
            replica,
        };
        match mode {
            Some(mode) => outage.postgres.set_both(mode),
            None => outage.postgres.refuse(true).await.unwrap(),
        }
        outage.postgres.reset_all();
        outage
    }

    async fn reduce(&self) -> Response {
        let body = autoreduction_body("/outage/RUN1.nxs", json!({}));
        post(&self.replica, "/job/autoreduction", "apikey", body).await
    }

    async fn wait_until_held(&self) {
        eventually(SOON, async || self.replica.state.held.count() == 1).await;
    }

    async fn jobs(&self) -> i64 {
        let sql = "SELECT count(*) FROM jobs JOIN runs ON runs.id = run_id \
                   WHERE filename = '/outage/RUN1.nxs'";
        let client = self.fixture.database.client().await;
        client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// Takes a second or some: the probe has to find the database.
#[tokio::test]
async fn an_autoreduction_is_held_until_the_database_is_back() {
    for mode in [None, Some(Mode::BlackHole)] {
        // One permit, which a held request must leave to others.
        let outage = Outage::begin(mode, "1").await;
        let (created, ()) = tokio::join!(outage.reduce(), async {
            outage.wait_until_held().await;
            // Needs the permit, but not the database.
            let read = outage.replica.get("/openapi.json", "none").await;
            assert_eq!(read.status, StatusCode::OK);
            outage.postgres.heal().await.unwrap();
            outage.postgres.reset_all();
        });
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text());
        assert!(created.json()["script"].is_string());
        assert_eq!(outage.jobs().await, 1);
        assert_eq!(outage.replica.state.held.count(), 0);
    }
}

/// Another replica gets the next attempt.
#[tokio::test]
async fn a_shutdown_ends_held_requests() {
    let outage = Outage::begin(None, "1000").await;
    let (refused, ()) = tokio::join!(outage.reduce(), async {
        outage.wait_until_held().await;
        outage.replica.state.readiness.begin_drain();
    });
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(outage.jobs().await, 0);
}

#[tokio::test]
async fn requests_that_are_held_are_limited() {
    let outage = Outage::begin(None, "1000").await;
    let held = futures_util::future::join_all((0..64).map(|_| outage.reduce()));
    let (held, ()) = tokio::join!(held, async {
        eventually(SOON, async || outage.replica.state.held.count() == 64).await;
        let refused = outage.reduce().await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        outage.replica.state.readiness.begin_drain();
    });
    assert!(held.iter().all(|response| response.status == 503));
    assert_eq!(outage.replica.state.held.count(), 0);
}
