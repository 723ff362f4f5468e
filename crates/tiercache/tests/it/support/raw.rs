//! A plain Valkey client, and the markers that it finds.

use std::time::Duration;

use devstack::Valkey;
use redis::aio::MultiplexedConnection;

use crate::support::{Level, wait_until};

/// A plain connection to inspect and change the content of Valkey.
#[derive(Clone)]
pub(crate) struct Raw {
    /// The port and the connection of each server.
    servers: Vec<(u16, MultiplexedConnection)>,
}

/// The commands that are sent to all nodes of a cluster.
const EVERYWHERE: [&[u8]; 5] = [b"ACL", b"CLIENT", b"CONFIG", b"FLUSHALL", b"SCRIPT"];

impl Raw {
    pub(crate) async fn connect(valkey: &Valkey) -> Self {
        Self::try_connect(valkey).await.unwrap()
    }

    /// `None` if the server is unavailable.
    pub(crate) async fn try_connect(valkey: &Valkey) -> Option<Self> {
        let client = redis::Client::open(valkey.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.ok()?;
        let servers = vec![(valkey.port(), connection)];
        Some(Self { servers })
    }

    /// Connects to all servers that have keys. Commands go to the server of their key, or to all.
    pub(crate) async fn connect_all(level: &Level) -> Self {
        let mut servers = Vec::new();
        for server in level.primaries() {
            servers.extend(Self::connect(server).await.servers);
        }
        Self { servers }
    }

    pub(crate) async fn run<T: redis::FromRedisValue>(&self, args: &[&[u8]]) -> T {
        self.try_run(args).await.unwrap()
    }

    pub(crate) async fn try_run<T: redis::FromRedisValue>(
        &self,
        args: &[&[u8]],
    ) -> redis::RedisResult<T> {
        let mut command = redis::Cmd::new();
        for arg in args {
            command.arg(*arg);
        }
        let [(_, home), others @ ..] = &self.servers[..] else {
            panic!("no server");
        };
        if EVERYWHERE.contains(&args[0]) {
            for (_, other) in others {
                command.exec_async(&mut other.clone()).await?;
            }
        }
        let reply: redis::RedisResult<redis::Value> = command.query_async(&mut home.clone()).await;
        let reply = match reply {
            Err(error) => self.redirected(&command, error).await?,
            Ok(reply) => reply,
        };
        Ok(redis::from_redis_value(reply)?)
    }

    /// The reply of the server that another one names.
    async fn redirected(
        &self,
        command: &redis::Cmd,
        error: redis::RedisError,
    ) -> redis::RedisResult<redis::Value> {
        let named = |port: &u16| {
            let node = error.redirect_node();
            node.is_some_and(|(node, _)| node.ends_with(&format!(":{port}")))
        };
        match self.servers.iter().find(|(port, _)| named(port)) {
            Some((_, server)) => command.query_async(&mut server.clone()).await,
            None => Err(error),
        }
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.run(&[b"GET", key.as_bytes()]).await
    }

    pub(crate) async fn set(&self, key: &str, value: impl AsRef<[u8]>) {
        self.run::<()>(&[b"SET", key.as_bytes(), value.as_ref(), b"EX", b"60"])
            .await;
    }

    /// Changes the ACL of the default user, which the caches under test use (`+get -set`).
    pub(crate) async fn set_acl(&self, rules: &[u8]) {
        let mut args: Vec<&[u8]> = vec![b"ACL", b"SETUSER", b"default"];
        args.extend(rules.split(|byte| *byte == b' '));
        self.run::<()>(&args).await;
    }

    /// Adds the user `app` with the password `secret` and the rules of the README, for the keys of
    /// the tests, with some more rules.
    pub(crate) async fn add_minimal_user(&self, more: &str) {
        let rules = include_str!("../../../README.md")
            .lines()
            .find_map(|line| line.strip_prefix("ACL SETUSER app on >secret "))
            .expect("the README has the rules");
        assert!(rules.starts_with("~app:* "), "{rules}");
        let rules = rules.replace("~app:*", "~test:*");
        let mut command: Vec<&[u8]> = vec![b"ACL", b"SETUSER", b"app", b"on", b">secret"];
        let rules = rules.split(' ').chain(more.split_ascii_whitespace());
        command.extend(rules.map(str::as_bytes));
        self.run::<()>(&command).await;
    }

    /// The number of executions of a command.
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        let info: String = self.run(&[b"INFO", b"commandstats"]).await;
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    pub(crate) async fn pttl(&self, key: &str) -> Duration {
        let millis: i64 = self.run(&[b"PTTL", key.as_bytes()]).await;
        Duration::from_millis(u64::try_from(millis).expect("the key has no TTL"))
    }
}

/// A lease (a tab) or a fence (a line feed) of another process.
pub(crate) fn foreign_marker(kind: u8) -> Vec<u8> {
    [b"null", &[kind][..], &[b' '; 64]].concat()
}

/// Panics unless the bytes are a lease (a tab) or a fence (a line feed).
#[track_caller]
pub(crate) fn assert_marker(bytes: &Option<Vec<u8>>, kind: u8) {
    let bytes = bytes.as_deref().expect("the key is empty");
    assert_eq!(bytes.len(), 69);
    assert_eq!(&bytes[..4], b"null");
    assert_eq!(bytes[4], kind);
    assert!(bytes[5..].iter().all(|byte| b" \t\n\r".contains(byte)));
    let legacy_reader: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    assert!(legacy_reader.is_null());
}

/// Lets a fence expire now instead of at its TTL. Does nothing if there is none: tests of fences must
/// fail by what is read then.
pub(crate) async fn expire_fence(raw: &Raw, key: &str) {
    let is_fenced = async || {
        let found = raw.get(key).await;
        found.is_some_and(|found| found.starts_with(b"null\n"))
    };
    if is_fenced().await {
        assert!(raw.pttl(key).await <= Duration::from_secs(10));
        raw.run::<()>(&[b"PEXPIRE", key.as_bytes(), b"1"]).await;
        wait_until("the fence to expire", async || !is_fenced().await).await;
    }
}
