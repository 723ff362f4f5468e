//! `schema --apply` on a real PostgreSQL.

use devstack::shared;
use fia_api::store::{Db, schema};

use crate::harness::{Database, config};

/// Columns, constraints and enums as comparable lines.
async fn shape(database: &Database) -> Vec<String> {
    let client = database.client().await;
    let rows = client
        .query(
            "SELECT format('%s.%s %s %s %s', table_name, column_name, udt_name, is_nullable, \
                           column_default) FROM information_schema.columns \
             WHERE table_schema = 'public' \
             UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) \
             FROM pg_constraint WHERE connamespace = 'public'::regnamespace \
             UNION ALL SELECT enumtypid::regtype || ' ' || enumsortorder || enumlabel FROM pg_enum \
             ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn empty() -> Database {
    let server = shared::postgres().await.unwrap();
    let name = shared::unique_name("empty");
    server.create_empty_database(&name).await.unwrap();
    Database { name, server }
}

#[tokio::test]
async fn an_empty_database_gets_the_legacy_tables() {
    let (ours, theirs) = (empty().await, Database::seeded().await);
    let db = Db::new(&config(&[&ours.vars()]).database).unwrap();
    // Several replicas may apply the schema concurrently.
    let (a, b, c) = tokio::join!(schema::apply(&db), schema::apply(&db), schema::apply(&db));
    a.and(b).and(c).unwrap();
    // The legacy server has no outbox.
    let mut shape_of_ours = shape(&ours).await;
    shape_of_ours.retain(|line| !line.starts_with("fia_api_outbox"));
    assert_eq!(shape_of_ours, shape(&theirs).await);
}

#[tokio::test]
async fn existing_tables_are_left_unchanged() {
    let database = Database::seeded().await;
    let client = database.client().await;
    client
        .batch_execute("ALTER TABLE runs ADD COLUMN extra text; DROP TABLE jobs")
        .await
        .unwrap();
    let db = Db::new(&config(&[&database.vars()]).database).unwrap();
    schema::apply(&db).await.unwrap();
    let shape = shape(&database).await;
    assert!(shape.iter().any(|line| line.starts_with("runs.extra ")));
    assert!(shape.iter().any(|line| line.starts_with("jobs.id ")));
}

#[tokio::test]
async fn an_outbox_of_an_earlier_version_gets_its_missing_columns() {
    let database = Database::seeded().await;
    let client = database.client().await;
    client
        .batch_execute(
            "CREATE TABLE fia_api_outbox (id bigserial PRIMARY KEY, queue varchar NOT NULL, \
               body varchar NOT NULL, \
               created_at timestamptz NOT NULL DEFAULT clock_timestamp(), \
               claimed_until timestamptz); \
             INSERT INTO fia_api_outbox (queue, body) VALUES ('jobs', 'b')",
        )
        .await
        .unwrap();
    let db = Db::new(&config(&[&database.vars()]).database).unwrap();
    assert!(!schema::inspect(&db).await.unwrap().has_outbox);
    schema::apply(&db).await.unwrap();
    assert!(schema::inspect(&db).await.unwrap().has_outbox);
    let upgraded = shape(&database).await;
    client
        .batch_execute("ALTER TABLE fia_api_outbox RENAME TO earlier")
        .await
        .unwrap();
    schema::apply(&db).await.unwrap();
    let columns = |shape: Vec<String>| {
        let mut lines = shape.into_iter();
        let columns = lines
            .by_ref()
            .filter(|line| line.starts_with("fia_api_outbox."));
        // The ids of the renamed table come from a sequence of their own.
        let columns = columns.filter(|line| !line.starts_with("fia_api_outbox.id "));
        columns.collect::<Vec<_>>()
    };
    assert_eq!(columns(upgraded), columns(shape(&database).await));
    let row = client.query_one("SELECT queue, body, attempts FROM earlier", &[]);
    let row = row.await.unwrap();
    let row: (&str, &str, i32) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(row, ("jobs", "b", 0));
}
