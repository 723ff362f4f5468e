//! A plain Valkey client, and the markers that it finds.

use std::time::Duration;

use devstack::Valkey;
use redis::aio::MultiplexedConnection;

/// A plain connection to inspect and change the content of Valkey.
#[derive(Clone)]
pub(crate) struct Raw(MultiplexedConnection);

impl Raw {
    pub(crate) async fn connect(valkey: &Valkey) -> Self {
        let client = redis::Client::open(valkey.url()).unwrap();
        Self(client.get_multiplexed_async_connection().await.unwrap())
    }

    /// `None` if the server is unavailable.
    pub(crate) async fn try_connect(valkey: &Valkey) -> Option<Self> {
        let client = redis::Client::open(valkey.url()).unwrap();
        client
            .get_multiplexed_async_connection()
            .await
            .ok()
            .map(Self)
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
        command.query_async(&mut self.0.clone()).await
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
