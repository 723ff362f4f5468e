//! `PgBouncer` starts, pools, freezes, dies, comes back and leaves nothing behind.

use devstack::{PgBouncer, PgBouncerOptions, Postgres};
use tokio_postgres::{Client, Error, NoTls};

use crate::postgres::count;
use crate::traces::{Traces, assert_refused};
use crate::wait::{SILENCE, all};

async fn connect(url: String) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::test]
async fn pools_lives_and_dies() {
    let postgres = Postgres::start().await.unwrap();
    let options = PgBouncerOptions {
        default_pool_size: 2,
        ..Default::default()
    };
    let bouncer = PgBouncer::start(&postgres, options).await.unwrap();
    let client = connect(bouncer.url("fia")).await.unwrap();
    let others = all((0..8).map(|_| connect(bouncer.url("fia")))).await;
    // The simple protocol, as named statements do not survive this pooler.
    for other in others {
        other
            .unwrap()
            .simple_query("SELECT count(*) FROM jobs")
            .await
            .unwrap();
    }
    let direct = postgres.connect("fia").await.unwrap();
    let lent = "pg_stat_activity WHERE datname = 'fia' AND pid <> pg_backend_pid()";
    let lent = count(&direct, lent).await;
    assert!(
        (1..=2).contains(&lent),
        "{lent} server connections for 9 clients"
    );
    let wrong = bouncer.url("fia").replace(":password@", ":guess@");
    assert!(connect(wrong).await.is_err(), "it wants the password");

    bouncer.pause().unwrap();
    let frozen = tokio::time::timeout(SILENCE, client.simple_query("SELECT 1")).await;
    assert!(frozen.is_err());
    bouncer.resume().unwrap();
    client.simple_query("SELECT 1").await.unwrap();

    let before = bouncer.addr();
    bouncer.kill();
    assert_refused(before);
    assert!(client.simple_query("SELECT 1").await.is_err());
    bouncer.restart().await.unwrap();
    assert_eq!(bouncer.addr(), before);
    connect(bouncer.url("fia"))
        .await
        .unwrap()
        .simple_query("SELECT 1")
        .await
        .unwrap();
    bouncer.stop().await.unwrap();
    assert_refused(before);
    bouncer.restart().await.unwrap();

    let traces = Traces::of(bouncer.server(), bouncer.addr());
    drop(bouncer);
    traces.assert_gone();
}
