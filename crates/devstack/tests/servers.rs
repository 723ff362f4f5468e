//! Each server starts, answers, freezes, dies, comes back and leaves nothing behind.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use devstack::{PgBouncer, PgBouncerOptions, Postgres, Server, Valkey};
use tokio_postgres::Client;

const SILENCE: Duration = Duration::from_millis(300);

/// What a server must leave nothing of.
struct Traces {
    dir: PathBuf,
    pids: Vec<i32>,
    addr: SocketAddr,
}

impl Traces {
    fn of(server: &Server, addr: SocketAddr) -> Self {
        let pids: Vec<i32> = server
            .scratch()
            .processes()
            .iter()
            .map(|pid| pid.as_raw())
            .collect();
        assert!(!pids.is_empty());
        Self {
            dir: server.scratch().dir().to_owned(),
            pids,
            addr,
        }
    }

    fn assert_gone(&self) {
        assert!(!self.dir.exists(), "{} is left", self.dir.display());
        for pid in &self.pids {
            assert!(
                !PathBuf::from(format!("/proc/{pid}")).exists(),
                "process {pid} is left"
            );
        }
        assert_eq!(
            TcpStream::connect(self.addr).unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
    }
}

/// Sends a PING; none when there is no answer for a while.
fn ping(addr: SocketAddr) -> Option<String> {
    command(addr, "PING")
}

fn command(addr: SocketAddr, line: &str) -> Option<String> {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    let mut answer = [0; 64];
    let n = stream.read(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..n]).trim_end().to_owned())
}

async fn count(client: &Client, table: &str) -> i64 {
    client
        .query_one(&format!("SELECT count(*) FROM {table}"), &[])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn valkey_lives_and_dies() {
    let valkey = Valkey::start().await.unwrap();
    assert_eq!(ping(valkey.addr()).unwrap(), "+PONG");
    assert_eq!(
        valkey.url(),
        format!("redis://127.0.0.1:{}/0", valkey.port())
    );

    valkey.pause().unwrap();
    assert_eq!(ping(valkey.addr()), None);
    valkey.resume().unwrap();
    assert_eq!(ping(valkey.addr()).unwrap(), "+PONG");

    assert_eq!(command(valkey.addr(), "SET a 1").unwrap(), "+OK");
    let before = valkey.addr();
    valkey.kill();
    assert_eq!(
        TcpStream::connect(before).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert!(valkey.pause().is_err(), "a dead server cannot be frozen");
    valkey.restart().await.unwrap();
    assert_eq!(valkey.addr(), before);
    assert_eq!(
        command(valkey.addr(), "GET a").unwrap(),
        "$-1",
        "it comes back empty"
    );

    assert!(valkey.stop().await.unwrap().success());
    valkey.restart().await.unwrap();
    let traces = Traces::of(valkey.server(), valkey.addr());
    drop(valkey);
    traces.assert_gone();
}

#[tokio::test]
async fn valkey_takes_settings_and_reports_bad_ones() {
    let valkey = Valkey::start_with(&[("maxmemory", "2mb")]).await.unwrap();
    assert!(
        command(valkey.addr(), "CONFIG GET maxmemory")
            .unwrap()
            .ends_with("2097152")
    );
    let error = Valkey::start_with(&[("maxmemory", "plenty")])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("maxmemory") && error.contains("argument must be a memory value"),
        "{error}"
    );
}

#[tokio::test]
async fn postgres_lives_and_dies() {
    let postgres = Postgres::start().await.unwrap();
    let client = postgres.connect("fia").await.unwrap();
    assert_eq!(count(&client, "instruments").await, 39);
    let setting = client.query_one("SELECT current_setting('server_encoding') || ' ' || datcollate FROM pg_database WHERE datname = 'fia'", &[]);
    assert_eq!(setting.await.unwrap().get::<_, String>(0), "UTF8 C.UTF-8");

    client
        .batch_execute("CREATE TABLE kept AS SELECT 1 AS x")
        .await
        .unwrap();
    postgres.pause().unwrap();
    let frozen = tokio::time::timeout(SILENCE, client.query_one("SELECT 1", &[])).await;
    assert!(frozen.is_err(), "sessions are frozen too");
    postgres.resume().unwrap();
    assert_eq!(count(&client, "kept").await, 1);

    let before = postgres.addr();
    postgres.kill();
    assert_eq!(
        TcpStream::connect(before).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert!(client.query_one("SELECT 1", &[]).await.is_err());
    postgres.restart().await.unwrap();
    assert_eq!(postgres.addr(), before);
    assert_eq!(
        count(&postgres.connect("fia").await.unwrap(), "kept").await,
        1,
        "the data are kept"
    );

    assert!(postgres.stop().await.unwrap().success());
    postgres.restart().await.unwrap();
    let client = postgres.connect("fia").await.unwrap();
    assert_eq!(count(&client, "kept").await, 1);

    let traces = Traces::of(postgres.server(), postgres.addr());
    assert!(traces.pids.len() > 5, "the backends are seen");
    let segment = shared_memory_of(&postgres);
    postgres.pause().unwrap();
    drop(postgres);
    traces.assert_gone();
    let segments = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    assert!(
        !segments
            .lines()
            .any(|line| line.split_whitespace().nth(1) == Some(&segment)),
        "shared memory is left"
    );
}

fn shared_memory_of(postgres: &Postgres) -> String {
    let file = postgres
        .server()
        .scratch()
        .run()
        .join("data/postmaster.pid");
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .nth(6)
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn postgres_databases() {
    let postgres = devstack::shared::postgres().await.unwrap();
    let names: Vec<String> = (0..4).map(|_| devstack::shared::unique_name("t")).collect();
    let made = names.iter().map(|name| postgres.create_database(name));
    for made in futures(made).await {
        made.unwrap();
    }
    let first = postgres.connect(&names[0]).await.unwrap();
    let second = postgres.connect(&names[1]).await.unwrap();
    first.batch_execute("DELETE FROM jobs").await.unwrap();
    assert_eq!(count(&first, "jobs").await, 0);
    assert!(
        count(&second, "jobs").await > 100,
        "one database is not another"
    );

    let empty = devstack::shared::unique_name("empty");
    postgres.create_empty_database(&empty).await.unwrap();
    assert_eq!(
        count(
            &postgres.connect(&empty).await.unwrap(),
            "pg_tables WHERE schemaname = 'public'"
        )
        .await,
        0
    );
    assert!(
        postgres.create_empty_database(&empty).await.is_err(),
        "the name is taken"
    );

    postgres.drop_database(&names[0]).await.unwrap();
    assert!(
        first.query_one("SELECT 1", &[]).await.is_err(),
        "its sessions are ended"
    );
}

/// All of them at the same time.
async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in all
            .iter_mut()
            .zip(&mut done)
            .filter(|(_, done)| done.is_none())
        {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(cx) {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn postgres_wants_the_password_and_takes_settings() {
    let postgres = Postgres::builder()
        .setting("max_connections", "33")
        .start()
        .await
        .unwrap();
    let client = postgres.connect("fia").await.unwrap();
    assert_eq!(
        client
            .query_one("SHOW max_connections", &[])
            .await
            .unwrap()
            .get::<_, &str>(0),
        "33"
    );
    let wrong = postgres.url("fia").replace(":password@", ":guess@");
    let refused = tokio_postgres::connect(&wrong, tokio_postgres::NoTls)
        .await
        .err()
        .unwrap();
    assert_eq!(
        refused.code(),
        Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD)
    );
    let error = Postgres::builder()
        .setting("no_such_setting", "1")
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn pgbouncer_lives_and_dies() {
    let postgres = Postgres::start().await.unwrap();
    let options = PgBouncerOptions {
        default_pool_size: 2,
        ..Default::default()
    };
    let bouncer = PgBouncer::start(&postgres, options).await.unwrap();
    let connect = async |url: String| {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok::<_, tokio_postgres::Error>(client)
    };
    let client = connect(bouncer.url("fia")).await.unwrap();
    let many = futures((0..8).map(|_| connect(bouncer.url("fia")))).await;
    // The simple protocol, as named statements do not survive this pooler.
    for client in many.iter().map(|client| client.as_ref().unwrap()) {
        client
            .simple_query("SELECT count(*) FROM jobs")
            .await
            .unwrap();
    }
    let direct = postgres.connect("fia").await.unwrap();
    let lent = count(
        &direct,
        "pg_stat_activity WHERE datname = 'fia' AND pid <> pg_backend_pid()",
    )
    .await;
    assert!(lent <= 2, "{lent} server connections for 9 clients");
    assert!(
        connect(bouncer.url("fia").replace(":password@", ":guess@"))
            .await
            .is_err()
    );

    bouncer.pause().unwrap();
    assert!(
        tokio::time::timeout(SILENCE, client.simple_query("SELECT 1"))
            .await
            .is_err()
    );
    bouncer.resume().unwrap();
    client.simple_query("SELECT 1").await.unwrap();

    let before = bouncer.addr();
    bouncer.kill();
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
    bouncer.restart().await.unwrap();

    let traces = Traces::of(bouncer.server(), bouncer.addr());
    drop(bouncer);
    traces.assert_gone();
}
