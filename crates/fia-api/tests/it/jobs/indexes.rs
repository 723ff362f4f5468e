//! `schema --indexes --apply` on a real PostgreSQL.

use fia_api::store::{Db, indexes};
use tokio_postgres::Client;

use crate::harness::{Database, config};

async fn indexed() -> (Database, Db, Client) {
    let database = Database::seeded().await;
    let db = Db::new(&config(&[&database.vars()]).database).unwrap();
    assert!(indexes::apply(&db).await.unwrap().is_none());
    let client = database.client().await;
    (database, db, client)
}

async fn names(client: &Client, condition: &str) -> Vec<String> {
    let sql = format!(
        "SELECT indexrelid::regclass::text FROM pg_index \
         WHERE indexrelid::regclass::text LIKE 'fia\\_%' AND {condition} ORDER BY 1"
    );
    let rows = client.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn indexes_are_created_once_and_invalid_ones_rebuilt() {
    let (_database, db, client) = indexed().await;
    let all = names(&client, "indisvalid").await;
    assert_eq!(all.len(), 23);
    let broken =
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'fia_jobs_start'::regclass";
    client.execute(broken, &[]).await.unwrap();
    assert!(indexes::apply(&db).await.unwrap().is_none());
    assert_eq!(names(&client, "indisvalid").await, all);
    assert_eq!(names(&client, "NOT indisvalid").await, [""; 0]);
}

/// Legacy servers write to the same tables: no text may be too long for an index.
#[tokio::test]
async fn indexes_accept_values_of_any_length() {
    let (_database, _db, client) = indexed().await;
    // 10 kB of incompressible text.
    let noise = "(SELECT string_agg(md5(random()::text || n), '') FROM generate_series(1, 320) n)";
    for column in [
        "runs.filename",
        "runs.title",
        "runs.users",
        "jobs.outputs",
        "jobs.stacktrace",
        "jobs.status_message",
        "jobs.runner_image",
        "scripts.script",
        "scripts.script_hash",
        "scripts.sha",
        "instruments.latest_run",
        "instruments.live_data_script",
    ] {
        let (table, column) = column.split_once('.').unwrap();
        let sql = format!("UPDATE {table} SET {column} = {noise}");
        client.execute(&sql, &[]).await.unwrap();
    }
    let sql = format!("UPDATE jobs SET inputs = jsonb_build_object('x', {noise})");
    client.execute(&sql, &[]).await.unwrap();
}

#[tokio::test]
async fn text_orderings_use_the_indexes() {
    let (_database, _db, client) = indexed().await;
    client
        .batch_execute("SET enable_seqscan = off; SET enable_sort = off")
        .await
        .unwrap();
    for (table, column) in [("jobs", "outputs"), ("runs", "title"), ("runs", "filename")] {
        let condition = if table == "jobs" {
            "run_id IS NOT NULL AND"
        } else {
            ""
        };
        let sql = format!(
            "EXPLAIN SELECT id FROM {table} WHERE {condition} (octet_length({column}) > 512) IS NOT TRUE \
             ORDER BY {column} DESC, id DESC LIMIT 5"
        );
        let plan = client.query(&sql, &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let index = format!("fia_{table}_short_{column}");
        assert!(plan.iter().any(|line| line.contains(&index)), "{plan:#?}");
    }
}
