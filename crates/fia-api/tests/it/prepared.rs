//! Named prepared statements: only where a session is known to be direct, unless they are switched
//! on, and survived changes of tables.

use devstack::{FaultProxy, PgBouncer, PgBouncerOptions};
use fia_api::store::{Db, SessionKind};

use crate::harness::{Database, Replica, Vars, config, vars};

async fn kind(database: &Vars, prepared: &str) -> SessionKind {
    let config = config(&[database, &vars(&[("DB_PREPARED", prepared)])]);
    let db = Db::new(&config.database).unwrap();
    db.session_kind().await.unwrap()
}

#[tokio::test]
async fn only_a_direct_session_is_taken_for_one() {
    let database = Database::seeded().await;
    let pooler = PgBouncer::start(database.server, PgBouncerOptions::default());
    let pooler = pooler.await.unwrap();
    let relay = FaultProxy::start(database.server.addr()).await.unwrap();
    let direct = database.vars();
    let pooled = database.vars_at(pooler.addr());
    let relayed = database.vars_at(relay.addr());
    for (path, prepared, expected) in [
        (&direct, "auto", SessionKind::Direct),
        (&direct, "on", SessionKind::Direct),
        (&direct, "off", SessionKind::Pooled),
        (&pooled, "auto", SessionKind::Pooled),
        (&pooled, "on", SessionKind::PooledWithStatements),
        (&pooled, "off", SessionKind::Pooled),
        (&relayed, "auto", SessionKind::Pooled),
    ] {
        assert_eq!(kind(path, prepared).await, expected, "{prepared}");
    }
}

/// The types of columns that its statements read, changed to others and back.
const CHANGES: [&str; 4] = [
    "ALTER TABLE jobs ALTER COLUMN status_message TYPE text",
    "ALTER TABLE jobs ALTER COLUMN status_message TYPE varchar",
    "ALTER TABLE instruments ALTER COLUMN latest_run TYPE text",
    "ALTER TABLE instruments ALTER COLUMN latest_run TYPE varchar",
];

#[tokio::test]
async fn changes_of_tables_are_not_seen_by_clients() {
    let database = Database::seeded().await;
    let one = vars(&[
        ("DB_POOL_SIZE", "1"),
        ("INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS", "0"),
        ("JOB_LIST_CACHE_TTL_SECONDS", "0"),
    ]);
    let replica = Replica::new(&[&database.vars(), &one]);
    let client = database.client().await;
    let mut expected = Vec::new();
    for change in CHANGES {
        let mut bodies = Vec::new();
        for path in [
            "/job/1",
            "/jobs?limit=5&include_run=true",
            "/instrument/MARI/latest-run",
        ] {
            let response = replica.get(path, "apikey").await;
            assert_eq!(response.status, 200, "{path} before {change}");
            bodies.push(response.text());
        }
        expected.push(bodies);
        client.batch_execute(change).await.unwrap();
    }
    let is_same = |bodies: &Vec<String>| *bodies == expected[0];
    assert!(expected.iter().all(is_same), "{expected:?}");
}

/// Takes 3 s: the timeout of the statement.
#[tokio::test]
async fn a_direct_session_has_the_limits_of_a_transaction() {
    let database = Database::seeded().await;
    let replica = Replica::new(&[&database.vars(), &vars(&[("DB_POOL_SIZE", "1")])]);
    let client = database.client().await;
    client
        .batch_execute("BEGIN; LOCK TABLE instruments")
        .await
        .unwrap();
    // A statement that waits for a lock ends after 3 s, on the server as well.
    let response = replica.get("/instrument/MARI/latest-run", "apikey").await;
    assert_eq!(response.status, 503);
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock'";
    let waiting: i64 = client.query_one(waiting, &[]).await.unwrap().get(0);
    assert_eq!(waiting, 0);
}
