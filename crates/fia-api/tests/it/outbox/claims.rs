//! Claims: one replica publishes a message, and another one only after the first is gone.

use std::path::Path;
use std::time::{Duration, Instant};

use devstack::{
    Api, Direction, FaultProxy, Mode, PgBouncer, PgBouncerOptions, Postgres, RabbitMq, shared,
};
use tokio_postgres::Client;

use super::{BROKER_LIMIT, once, wait_for_empty_outbox};
use crate::consumer::{Consumer, queue_vars};
use crate::harness::{Database, Replica, Vars, defaults, eventually, vars};

/// How long no message may arrive before it counts as not sent; longer than two sweeps.
const SILENCE: Duration = Duration::from_millis(1500);
/// A claim expires 15 s after it was made: a message that arrives sooner was not claimed any more.
const BEFORE_EXPIRY: Duration = Duration::from_secs(10);

/// A replica whose messages are in flight: the broker does not receive them.
struct InFlight {
    database: Database,
    client: Client,
    rabbitmq: &'static RabbitMq,
    proxy: FaultProxy,
    /// Settings of a replica with a direct connection to the broker.
    settings: Vars,
}

impl InFlight {
    async fn new() -> Self {
        let database = Database::seeded().await;
        database.add_outbox().await;
        let rabbitmq = shared::rabbitmq().await.unwrap();
        let mut settings = database.vars();
        settings.extend(queue_vars(rabbitmq));
        Self {
            client: database.client().await,
            database,
            rabbitmq,
            proxy: FaultProxy::start(rabbitmq.addr()).await.unwrap(),
            settings,
        }
    }

    fn settings_through_proxy(&self) -> Vars {
        let mut settings = self.settings.clone();
        settings.extend(vars(&[("QUEUE_PORT", &self.proxy.port().to_string())]));
        settings
    }

    async fn announce(&self, ids: &[i64]) {
        let sql = "INSERT INTO fia_api_outbox (queue, body) \
                   SELECT $1, format('{\"job_id\": %s}', id) FROM unnest($2::bigint[]) id";
        let queue = &self.settings["EGRESS_QUEUE_NAME"];
        self.client.execute(sql, &[queue, &ids]).await.unwrap();
    }

    /// Announces a job that is delivered, then some whose messages stay in flight.
    async fn send(&self, ids: &[i64]) {
        self.announce(&[0]).await;
        wait_for_empty_outbox(&self.database).await;
        self.proxy.set(Direction::ToServer, Mode::Hold);
        self.announce(ids).await;
        eventually(BROKER_LIMIT, async || {
            self.sessions().await.len() == ids.len()
        })
        .await;
    }

    /// The session of each claimed message.
    async fn sessions(&self) -> Vec<i64> {
        let sql = "SELECT claimed_by FROM fia_api_outbox WHERE claimed_by IS NOT NULL";
        let rows = self.client.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

fn process_settings(settings: &Vars) -> Vec<(String, String)> {
    let mut all = defaults();
    all.extend(settings.clone());
    all.into_iter().collect()
}

/// Kills a replica with messages in flight, and has another one publish them.
async fn kill_in_flight(through_pooler: bool) {
    let in_flight = InFlight::new().await;
    let pooler = PgBouncer::start(in_flight.database.server, PgBouncerOptions::default())
        .await
        .unwrap();
    let mut settings = in_flight.settings_through_proxy();
    if through_pooler {
        settings.extend(in_flight.database.vars_at(pooler.addr()));
    }
    let program = Path::new(env!("CARGO_BIN_EXE_fia-api"));
    let killed = Api::start(program, process_settings(&settings))
        .await
        .unwrap();
    in_flight.send(&[1, 2, 3]).await;
    let mut consumer = Consumer::of_jobs(in_flight.rabbitmq, &in_flight.settings).await;
    assert_eq!(consumer.message().await, r#"{"job_id": 0}"#);
    let _other = Replica::new(&[&in_flight.settings]);
    assert_eq!(consumer.next(SILENCE).await, None, "sent by both replicas");
    let start = Instant::now();
    killed.server().kill();
    assert_eq!(consumer.jobs(3).await, once(&[1, 2, 3]));
    assert!(start.elapsed() < BEFORE_EXPIRY, "{:?}", start.elapsed());
    wait_for_empty_outbox(&in_flight.database).await;
}

#[tokio::test]
async fn messages_in_flight_of_a_killed_replica_are_published_by_another() {
    kill_in_flight(false).await;
}

#[tokio::test]
async fn behind_a_pooler_a_claim_ends_with_its_replica_too() {
    kill_in_flight(true).await;
}

#[tokio::test]
async fn claims_move_to_another_session_when_theirs_is_lost() {
    let in_flight = InFlight::new().await;
    let _replica = Replica::new(&[&in_flight.settings_through_proxy()]);
    in_flight.send(&[1, 2, 3]).await;
    let lost = in_flight.sessions().await;
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks \
         WHERE locktype = 'advisory' AND (classid::bigint << 32 | objid::bigint) = $1";
    let row = in_flight
        .client
        .query_one(terminate, &[&lost[0]])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 1, "the session holds a lock");
    eventually(BROKER_LIMIT, async || {
        let sessions = in_flight.sessions().await;
        sessions.len() == 3 && sessions.iter().all(|session| !lost.contains(session))
    })
    .await;
    in_flight.proxy.heal().await.unwrap();
    let mut consumer = Consumer::of_jobs(in_flight.rabbitmq, &in_flight.settings).await;
    assert_eq!(consumer.jobs(4).await, once(&[0, 1, 2, 3]));
    wait_for_empty_outbox(&in_flight.database).await;
}

#[tokio::test]
async fn the_session_ends_when_no_message_is_in_flight() {
    let in_flight = InFlight::new().await;
    let _replica = Replica::new(&[&in_flight.settings]);
    in_flight.announce(&[1]).await;
    wait_for_empty_outbox(&in_flight.database).await;
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually(BROKER_LIMIT, async || {
        let row = in_flight.client.query_one(locks, &[]).await.unwrap();
        row.get::<_, i64>(0) == 0
    })
    .await;
}

#[tokio::test]
async fn without_a_further_connection_messages_are_published_all_the_same() {
    let in_flight = InFlight::new().await;
    // The pool, the probe and the check of readiness open as many connections as the role may; the
    // session needs one more.
    let role = shared::unique_name("role");
    let name = &in_flight.database.name;
    in_flight
        .client
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{}' CONNECTION LIMIT 3; \
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; \
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}; \
             GRANT CONNECT ON DATABASE {name} TO {role}",
            Postgres::PASSWORD
        ))
        .await
        .unwrap();
    let limited = vars(&[("DB_USERNAME", &role), ("DB_POOL_SIZE", "1")]);
    let replica = Replica::new(&[&in_flight.settings, &limited]);
    in_flight.announce(&[1, 2, 3]).await;
    let mut consumer = Consumer::of_jobs(in_flight.rabbitmq, &in_flight.settings).await;
    assert_eq!(consumer.jobs(3).await, once(&[1, 2, 3]));
    drop(replica);
    wait_for_empty_outbox(&in_flight.database).await;
}

#[tokio::test]
async fn an_earlier_version_takes_neither_claimed_nor_parked_messages() {
    let in_flight = InFlight::new().await;
    let _replica = Replica::new(&[&in_flight.settings_through_proxy()]);
    in_flight.send(&[1, 2]).await;
    let park = "UPDATE fia_api_outbox SET claimed_by = NULL, claimed_until = 'infinity', \
                attempts = 5, parked_at = now() WHERE id = (SELECT min(id) FROM fia_api_outbox)";
    in_flight.client.execute(park, &[]).await.unwrap();
    // The claim of the first version.
    let claim = "WITH free AS MATERIALIZED ( \
               SELECT id FROM fia_api_outbox \
               WHERE claimed_until IS NULL OR claimed_until < clock_timestamp() \
               ORDER BY id LIMIT 32 FOR UPDATE SKIP LOCKED \
             ) \
             UPDATE fia_api_outbox message \
             SET claimed_until = clock_timestamp() + interval '15 s' \
             FROM free WHERE message.id = free.id RETURNING message.id";
    assert!(in_flight.client.query(claim, &[]).await.unwrap().is_empty());
}
