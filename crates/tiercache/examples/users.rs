//! A table, read and written through the cache with sqlx: the interface in one program.
//!
//! `cargo run --features sqlx --example users redis://127.0.0.1:6379 postgres://localhost/app`

use std::{collections::HashMap, error::Error, time::Duration};

use sqlx::PgPool;
use tiercache::{Cache, Json, Write};

/// Loads the existing rows among these.
async fn select(db: PgPool, ids: Vec<i64>) -> sqlx::Result<HashMap<i64, String>> {
    let select = sqlx::query_as("SELECT id, name FROM users WHERE id = ANY($1)");
    let rows: Vec<(i64, String)> = select.bind(ids).fetch_all(&db).await?;
    Ok(rows.into_iter().collect())
}

/// Runs the example, on a database with the table `users (id BIGINT PRIMARY KEY, name TEXT)`.
pub(crate) async fn run(valkey: &str, postgres: &str) -> Result<(), Box<dyn Error>> {
    let db = PgPool::connect(postgres).await?;
    let cache = Cache::builder(valkey).memory(64 << 20).connect()?;
    let users = cache
        .namespace::<i64, Option<String>, sqlx::Error>("example:user:", Json)
        .ttl(Duration::from_secs(60))
        .negative_ttl(Duration::from_secs(5)) // of "there is none"
        .stale_if(
            |error| matches!(error, sqlx::Error::Io(_)),
            Duration::from_secs(300),
        )
        .build()?;

    let one = db.clone();
    let load = async move || Ok(select(one, vec![7]).await?.remove(&7));
    assert_eq!(users.get(&7, load).await?.as_deref(), Some("Ada"));
    let many = db.clone(); // one pipeline, one SELECT of what is missing
    let found = users.get_many([7, 8, 9], move |ids| select(many.clone(), ids));
    assert_eq!(found.await?.len(), 2);

    let (grace, pool) = (Some("Grace".to_owned()), db.clone());
    let renamed = [users.put(&7, &grace), users.key(&8)]; // with its new value, and without
    let rename = async move |write: Write| {
        let mut transaction = pool.begin().await?;
        let update = sqlx::query("UPDATE users SET name = $1 WHERE id IN (7, 8)");
        let done = update.bind(&grace).execute(&mut *transaction).await?; // locks the rows
        let fenced = write.fence(transaction, renamed).await; // two fences, one round trip
        Ok::<_, sqlx::Error>(fenced.commit().await?.with(done.rows_affected()))
    };
    assert_eq!(cache.write(rename).await?, 2);

    assert_ne!(users.peek(&7).await, Some(Some("Ada".to_owned()))); // nobody reads it now
    users.invalidate(&9).await; // after a change that was made elsewhere
    users.invalidate_all().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut urls = std::env::args().skip(1);
    let usage = "arguments: the URLs of Valkey and of PostgreSQL";
    run(&urls.next().ok_or(usage)?, &urls.next().ok_or(usage)?).await
}
