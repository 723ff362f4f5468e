//! The lifecycle of `PgBouncer`: start, pooling, pause, kill, restart, cleanup.

use devstack::{PgBouncer, PgBouncerOptions, Postgres};
use tokio_postgres::{Client, Error, NoTls};

use crate::footprint::{Footprint, assert_refused};
use crate::postgres::count;
use crate::wait::{UNRESPONSIVE_AFTER, all};

async fn connect(url: String) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::test]
async fn clients_share_server_connections_through_pause_kill_and_restart() {
    let postgres = Postgres::start().await.unwrap();
    let options = PgBouncerOptions {
        default_pool_size: 2,
        ..Default::default()
    };
    let bouncer = PgBouncer::start(&postgres, options).await.unwrap();
    let client = connect(bouncer.url("fia")).await.unwrap();
    let others = all((0..8).map(|_| connect(bouncer.url("fia")))).await;
    // The simple query protocol: PgBouncer 1.18 does not support named statements in transaction
    // mode.
    for other in others {
        other
            .unwrap()
            .simple_query("SELECT count(*) FROM jobs")
            .await
            .unwrap();
    }
    let direct = postgres.connect("fia").await.unwrap();
    let server_connections = "pg_stat_activity WHERE datname = 'fia' AND pid <> pg_backend_pid()";
    let server_connections = count(&direct, server_connections).await;
    assert!(
        (1..=2).contains(&server_connections),
        "{server_connections} server connections for 9 clients"
    );
    let wrong = bouncer.url("fia").replace(":password@", ":guess@");
    assert!(
        connect(wrong).await.is_err(),
        "a wrong password is accepted"
    );

    bouncer.pause().unwrap();
    let frozen = tokio::time::timeout(UNRESPONSIVE_AFTER, client.simple_query("SELECT 1")).await;
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

    let footprint = Footprint::of(bouncer.server(), bouncer.addr());
    drop(bouncer);
    footprint.assert_gone();
}
