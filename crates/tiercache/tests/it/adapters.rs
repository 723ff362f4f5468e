//! The adapters for database clients, on a real PostgreSQL: a write commits the transaction, and
//! a dropped guard rolls it back. The first test that needs it takes seconds: PostgreSQL starts.

use std::sync::Arc;

use devstack::{Postgres, shared};
use sqlx::postgres::PgPool;
use tiercache::{Cache, Json, Namespace, Write};
use tokio::sync::Mutex;

use crate::support::Fixture;

pub(crate) const UPDATE: &str = "UPDATE users SET name = $1 WHERE id = 7";
pub(crate) const SELECT: &str = "SELECT name FROM users WHERE id = 7";
const SCHEMA: &str = "CREATE TABLE users (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO users VALUES (7, 'Ada')";

/// The outcome of the test's write, besides errors of the database.
#[derive(Debug)]
struct Abandoned;

impl From<sqlx::Error> for Abandoned {
    fn from(error: sqlx::Error) -> Self {
        panic!("{error}")
    }
}

impl From<tokio_postgres::Error> for Abandoned {
    fn from(error: tokio_postgres::Error) -> Self {
        panic!("{error}")
    }
}

pub(crate) async fn database() -> (&'static Postgres, String) {
    let postgres = shared::postgres().await.unwrap();
    let name = shared::unique_name("adapters");
    postgres.create_empty_database(&name).await.unwrap();
    let client = postgres.connect(&name).await.unwrap();
    client.batch_execute(SCHEMA).await.unwrap();
    (postgres, name)
}

pub(crate) fn users<E>(cache: &Cache) -> Namespace<i64, String, E> {
    cache.namespace("test:user:", Json).build().unwrap()
}

#[limited::test]
async fn sqlx_transactions() {
    let (postgres, database) = database().await;
    let pool = PgPool::connect(&postgres.url(&database)).await.unwrap();
    let fixture = Fixture::new().await;
    let users = users::<sqlx::Error>(&fixture.cache);
    let read = async || {
        let pool = pool.clone();
        let load = async move || sqlx::query_scalar(SELECT).fetch_one(&pool).await;
        limited::waiting("a user", users.get(&7, load))
            .await
            .unwrap()
    };
    let rename = async |name: &'static str, is_committed: bool| {
        let (key, pool) = (users.key(&7), pool.clone());
        let write = async move |write: Write| {
            let mut transaction = pool.begin().await?;
            let update = sqlx::query(UPDATE).bind(name);
            update.execute(&mut *transaction).await?;
            let fenced = write.fence(transaction, [key]).await;
            if !is_committed {
                return Err(Abandoned);
            }
            Ok(fenced.commit().await?)
        };
        limited::waiting("a write", fixture.cache.write(write)).await
    };
    assert_eq!(read().await, "Ada");
    rename("Grace", true).await.unwrap();
    assert_eq!(read().await, "Grace");
    rename("Edsger", false).await.unwrap_err();
    assert_eq!(read().await, "Grace");
    pool.close().await;
}

#[limited::test]
async fn tokio_postgres_transactions() {
    let (postgres, database) = database().await;
    let client = Arc::new(Mutex::new(postgres.connect(&database).await.unwrap()));
    let fixture = Fixture::new().await;
    let users = users::<tokio_postgres::Error>(&fixture.cache);
    let read = async || {
        let client = Arc::clone(&client);
        let load = async move || {
            let row = client.lock().await.query_one(SELECT, &[]).await?;
            row.try_get(0)
        };
        limited::waiting("a user", users.get(&7, load))
            .await
            .unwrap()
    };
    let rename = async |name: &'static str, is_committed: bool| {
        let (key, client) = (users.key(&7), Arc::clone(&client));
        let write = async move |write: Write| {
            let mut client = client.lock().await;
            let transaction = client.transaction().await?;
            transaction.execute(UPDATE, &[&name]).await?;
            let fenced = write.fence(transaction, [key]).await;
            if !is_committed {
                return Err(Abandoned);
            }
            Ok(fenced.commit().await?)
        };
        limited::waiting("a write", fixture.cache.write(write)).await
    };
    assert_eq!(read().await, "Ada");
    rename("Grace", true).await.unwrap();
    assert_eq!(read().await, "Grace");
    rename("Edsger", false).await.unwrap_err();
    assert_eq!(read().await, "Grace");
}
