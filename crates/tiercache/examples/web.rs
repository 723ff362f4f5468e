//! A web service with axum and tokio-postgres: `GET /users/7` reads through the cache, `PUT
//! /users/7` changes the row and invalidates it on all replicas.
//!
//! `cargo run --features tokio-postgres --example web redis://127.0.0.1:6379 postgres://localhost/app`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use tiercache::{Cache, Failure, Json, Namespace, Source, Write};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};

type DbError = tokio_postgres::Error;

#[derive(Clone)]
struct Service {
    /// A connection; a service would use a pool.
    db: Arc<Mutex<Client>>,
    users: Namespace<i64, Option<String>, DbError>,
}

async fn select(db: Arc<Mutex<Client>>, id: i64) -> Result<Option<String>, DbError> {
    let db = db.lock().await;
    let select = "SELECT name FROM users WHERE id = $1";
    let row = db.query_opt(select, &[&id]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// The name, and the level that it came from.
async fn show(
    State(service): State<Service>,
    Path(id): Path<i64>,
) -> Result<([(&'static str, &'static str); 1], String), StatusCode> {
    let db = service.db.clone();
    let found = service.users.lookup(&id, move || select(db, id)).await;
    let found = found.map_err(unavailable)?;
    let level = match found.source {
        Source::Local => "local",
        Source::Shared => "shared",
        Source::Loaded => "loaded",
        Source::Stale { .. } => "stale",
    };
    let name = found.value.ok_or(StatusCode::NOT_FOUND)?;
    Ok(([("x-cache", level)], name))
}

async fn rename(
    State(service): State<Service>,
    Path(id): Path<i64>,
    name: String,
) -> Result<StatusCode, StatusCode> {
    let (db, key) = (service.db.clone(), service.users.key(&id));
    let write = async move |write: Write| {
        let mut db = db.lock().await;
        let transaction = db.transaction().await?;
        let update = "UPDATE users SET name = $2 WHERE id = $1";
        let rows = transaction.execute(update, &[&id, &name]).await?;
        let committed = write.fence(transaction, [key]).await.commit().await?;
        Ok::<_, DbError>(committed.with(rows))
    };
    match service.users.cache().write(write).await {
        Ok(0) => Err(StatusCode::NOT_FOUND),
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(failure) => Err(unavailable(failure)),
    }
}

fn unavailable<E: std::fmt::Debug>(failure: Failure<E>) -> StatusCode {
    tracing::error!(?failure, "database failed");
    StatusCode::SERVICE_UNAVAILABLE
}

/// Serves until the future is dropped, on a database with the table
/// `users (id BIGINT PRIMARY KEY, name TEXT)`.
pub(crate) async fn serve(
    listener: TcpListener,
    valkey: &str,
    postgres: &str,
) -> Result<(), Box<dyn Error>> {
    let (client, connection) = tokio_postgres::connect(postgres, NoTls).await?;
    tokio::spawn(connection);
    let cache = Cache::builder(valkey).memory(64 << 20).connect()?;
    let users = cache
        .namespace("example:user:", Json)
        .ttl(Duration::from_secs(60))
        .negative_ttl(Duration::from_secs(5))
        .build()?;
    let db = Arc::new(Mutex::new(client));
    let routes = Router::new().route("/users/{id}", get(show).put(rename));
    let service = routes.with_state(Service { db, users });
    Ok(axum::serve(listener, service).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut urls = std::env::args().skip(1);
    let usage = "arguments: the URLs of Valkey and of PostgreSQL";
    let (valkey, postgres) = (urls.next().ok_or(usage)?, urls.next().ok_or(usage)?);
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    serve(listener, &valkey, &postgres).await
}
