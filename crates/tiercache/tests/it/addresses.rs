//! The ways to a server: TLS, a socket, a database and a user in the query, and Sentinel.

use std::time::Duration;

use devstack::{Sentinel, SentinelService, Valkey};
use redis::AsyncConnectionConfig;
use tiercache::{Event, Server};
use tokio::time::Instant;

use crate::support::{
    Database, KEY, NAME, Raw, cache, loaded, local_hit, local_settings, put, shared_hit,
    wait_for_shared_level, wait_for_tracking, wait_until,
};

/// Asserts that both levels work: a fill, a hit in the shared level, one in the local level, and
/// a write.
async fn assert_serves(url: String) {
    let (_cache, rows) = cache(local_settings(url)).await;
    let database = Database::default();
    let get = async || rows.get_or_load(NAME, database.loader()).await;
    assert_eq!(get().await, loaded(0));
    assert_eq!(get().await, shared_hit(0));
    assert_eq!(get().await, local_hit(0));
    let version = put(&rows, &database).await;
    assert_eq!(get().await, loaded(version));
}

/// The port for TLS, and the parameters of a URL with the client's certificate and the authority.
fn tls_parameters(valkey: &Valkey) -> (u16, String, String) {
    let (port, files) = valkey.tls().unwrap();
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let client = format!("ssl_certfile={certificate}&ssl_keyfile={key}");
    let authority = format!("ssl_ca_certs={}", files.authority.display());
    (port, client, authority)
}

#[limited::test]
async fn tls_with_a_ca_file_and_a_client_certificate() {
    let valkey = Valkey::start_with_tls().await.unwrap();
    let (port, client, authority) = tls_parameters(&valkey);
    assert_serves(format!("rediss://localhost:{port}?{client}&{authority}")).await;
    assert_serves(format!(
        "valkeys://127.0.0.1:{port}/1?{client}&ssl_cert_reqs=none"
    ))
    .await;

    // Without the file, the authority is unknown.
    let unverified = Server::parse(&format!("rediss://localhost:{port}?{client}")).unwrap();
    let connected = unverified.connect(&AsyncConnectionConfig::new()).await;
    assert!(connected.is_err(), "an unknown authority is trusted");
}

/// The first error of connecting, or `None` if a connection is established.
async fn connecting(url: String) -> Option<String> {
    let (sender, mut errors) = tokio::sync::mpsc::unbounded_channel();
    let on_event = move |event: &Event<'_>| {
        let error = match event {
            Event::ConnectFailed { error } => Some((*error).to_owned()),
            Event::SharedLevelUp => None,
            _ => return,
        };
        // The test may be over.
        let _ = sender.send(error);
    };
    let _cache = local_settings(url).on_event(on_event).connect().unwrap();
    errors.recv().await.unwrap()
}

#[limited::test]
async fn the_certificate_must_be_for_the_host_unless_that_is_not_checked() {
    let valkey = Valkey::start_with_tls().await.unwrap();
    let (port, client, authority) = tls_parameters(&valkey);
    // An address of the server that is not in its certificate.
    let url = |rest: &str| format!("rediss://[::ffff:127.0.0.1]:{port}?{client}&{rest}");
    let error = connecting(url(&authority)).await.unwrap();
    assert!(error.contains("not valid for name"), "{error}");
    let lenient = format!("{authority}&ssl_check_hostname=false");
    assert_eq!(connecting(url(&lenient)).await, None);
    // Without the file, the authority is unknown.
    let error = connecting(url("ssl_check_hostname=false")).await.unwrap();
    assert!(error.contains("UnknownIssuer"), "{error}");
    assert_eq!(connecting(url("ssl_cert_reqs=none")).await, None);
}

#[limited::test]
async fn tls_to_sentinels_and_to_the_server_that_they_name() {
    let valkey = Valkey::start_with_tls().await.unwrap();
    let sentinel = Sentinel::start_with_tls(&valkey).await.unwrap();
    let (_port, files) = valkey.tls().unwrap();
    let (host, port) = ("127.0.0.1", sentinel.port());
    let certificates = format!(
        "ssl_ca_certs={}&ssl_certfile={}&ssl_keyfile={}",
        files.authority.display(),
        files.certificate.display(),
        files.key.display()
    );
    assert_serves(format!(
        "rediss+sentinel://{host}:{port}/main?{certificates}"
    ))
    .await;
    let plain = Server::parse(&format!("redis+sentinel://{host}:{port}/main")).unwrap();
    let connected = plain.connect(&AsyncConnectionConfig::new()).await;
    assert!(connected.is_err(), "the sentinel is reached without TLS");
}

#[limited::test]
async fn a_socket_and_a_database_and_user_in_the_query() {
    let valkey = Valkey::start_with(&[("unixsocket", "valkey.sock")])
        .await
        .unwrap();
    let raw = Raw::connect(&valkey).await;
    let rules: [&[u8]; 9] = [
        b"ACL",
        b"SETUSER",
        b"app",
        b"on",
        b">p@ss",
        b"~*",
        b"&*",
        b"+@all",
        b"resetchannels",
    ];
    raw.run::<()>(&rules).await;
    let socket = valkey.server().scratch().run().join("valkey.sock");
    assert_serves(format!(
        "unix://{}?db=2&username=app&password=p%40ss",
        socket.display()
    ))
    .await;
    assert_eq!(raw.get(KEY).await, None, "database 0 was written to");
    raw.run::<()>(&[b"SELECT", b"2"]).await;
    assert!(
        raw.get(KEY).await.is_some(),
        "database 2 was not written to"
    );
}

/// The rules of the README, with the keys of this test.
#[limited::test]
async fn a_user_with_the_minimum_of_permissions() {
    let valkey = Valkey::start().await.unwrap();
    Raw::connect(&valkey).await.add_minimal_user("").await;
    assert_serves(format!("redis://app:secret@{}", valkey.addr())).await;
}

#[limited::test]
fn a_missing_file_is_refused_by_name() {
    let error = Server::parse("rediss://valkey?ssl_ca_certs=/missing.pem").unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("ssl_ca_certs: /missing.pem: No such file"),
        "{text}"
    );
}

/// Takes some seconds: the sentinels have to find each other, then to agree on the failover. The
/// replicas hold the value from before the write, as if they lagged behind.
#[limited::test]
async fn after_a_failover_the_promoted_replica_is_used_and_recent_writes_are_not_undone() {
    let service = SentinelService::start().await.unwrap();
    let [primary, replicas @ ..] = service.servers();
    let (cache, rows) = cache(local_settings(service.url())).await;
    let database = Database::default();
    let get = async || rows.get_or_load(NAME, database.loader()).await;
    assert_eq!(get().await, loaded(0));
    let stale = Raw::connect(primary).await.get(KEY).await.unwrap();
    let version = put(&rows, &database).await;

    for replica in replicas {
        let raw = Raw::connect(replica).await;
        wait_until("the invalidation on the replica", async || {
            raw.get(KEY).await.as_ref() != Some(&stale)
        })
        .await;
    }
    primary.kill();
    for replica in replicas {
        Raw::connect(replica).await.set(KEY, &stale).await;
    }
    wait_for_shared_level(&cache, false).await;
    let promoted = async || {
        let mut roles = Vec::new();
        for replica in replicas {
            // A new one each time: the sentinels close connections.
            let Some(raw) = Raw::try_connect(replica).await else {
                continue;
            };
            let info: redis::RedisResult<String> = raw.try_run(&[b"INFO", b"replication"]).await;
            roles.push(info.is_ok_and(|info| info.contains("role:master")));
        }
        roles.contains(&true)
    };
    wait_until("a promotion", promoted).await;
    let began = Instant::now();
    wait_for_shared_level(&cache, true).await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(get().await, loaded(version));
    wait_for_tracking(&cache).await;
    wait_until("a local hit", async || get().await == local_hit(version)).await;
}
