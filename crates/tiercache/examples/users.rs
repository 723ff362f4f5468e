//! A table read through the cache, and written through its guard, with tokio-postgres.
//!
//! `cargo run --features tokio-postgres --example users redis://127.0.0.1:6379 host=/run/postgresql`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tiercache::{Cache, Json, Namespace};
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};

type Users = Namespace<i64, Option<String>, tokio_postgres::Error>;

/// A connection; a service would use a pool.
type Connection = Arc<Mutex<Client>>;

const SCHEMA: &str = "CREATE TEMPORARY TABLE users (id BIGINT PRIMARY KEY, name TEXT NOT NULL); \
    INSERT INTO users VALUES (7, 'Ada')";

async fn load(db: Connection, id: i64) -> Result<Option<String>, tokio_postgres::Error> {
    let db = db.lock().await;
    let row = db
        .query_opt("SELECT name FROM users WHERE id = $1", &[&id])
        .await?;
    Ok(row.map(|row| row.get(0)))
}

async fn rename(users: &Users, db: Connection, id: i64, name: &'static str) -> Result<u64, String> {
    let key = users.key(&id);
    let write = async move |write: tiercache::Write| {
        let mut db = db.lock().await;
        let transaction = db.transaction().await?;
        let update = "UPDATE users SET name = $2 WHERE id = $1";
        let rows = transaction.execute(update, &[&id, &name]).await?;
        let committed = write.fence(transaction, [key]).await.commit().await?;
        Ok::<_, tokio_postgres::Error>(committed.with(rows))
    };
    let renamed = users.cache().write(write).await;
    renamed.map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (valkey, postgres) = (args.next(), args.next());
    let usage = "arguments: Valkey's URL, PostgreSQL's connection string";
    let (client, connection) = tokio_postgres::connect(&postgres.ok_or(usage)?, NoTls).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute(SCHEMA).await?;
    let db = Arc::new(Mutex::new(client));

    let cache = Cache::builder(valkey.ok_or(usage)?)
        .memory(64 << 20)
        .connect()?;
    let users: Users = cache
        .namespace("example:user:", Json)
        .ttl(Duration::from_secs(60))
        .negative_ttl(Duration::from_secs(5))
        .build()?;
    for id in [7, 8] {
        let db = Arc::clone(&db);
        let found = users.lookup(&id, move || load(db, id)).await?;
        tracing::info!(id, name = found.value, source = ?found.source);
    }
    let rows = rename(&users, Arc::clone(&db), 7, "Grace").await?;
    assert_eq!(rows, 1);
    let reload = Arc::clone(&db);
    let name = users.get(&7, move || load(reload, 7)).await?;
    assert_eq!(name.as_deref(), Some("Grace"));
    drop(db);
    connection.abort();
    Ok(())
}
