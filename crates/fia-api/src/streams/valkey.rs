//! Stream commands and their replies.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use parking_lot::Mutex;
use redis::{Value, cmd};
use tiercache::Server;

use crate::streams::connection::{CommandError, Connection};
use crate::streams::entry::{EntryId, Frame};

/// Timeout for a reply, in addition to the time that a command blocks.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum time that the reader's command blocks: also the maximum delay until the log of a first
/// viewer is followed.
const BLOCK: Duration = Duration::from_millis(200);
/// Reads entries and the state of their stream at the same time. Without the script, a stream that
/// is deleted and written again in between would look like its predecessor.
///
/// The number of added entries is absent (-1) before Valkey 7.
const READ: &str = "
if redis.call('EXISTS', KEYS[1]) == 0 then return {'0-0', 0, {}} end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local last, added = '0-0', -1
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
  if info[i] == 'entries-added' then added = info[i + 1] end
end
return {last, added, redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])}
";

/// The first entry of a read.
#[derive(Debug, Clone, Copy)]
pub(super) enum ReadFrom {
    /// The entry after this one.
    After(EntryId),
    /// This entry, if it still exists, or the one after it.
    At(EntryId),
    /// Beyond the end: only the state is read.
    End,
}

/// Entries of a stream, and the state of the stream at that time.
#[derive(Debug)]
pub(super) struct StreamRead {
    /// The last id that the stream generated; zero without a stream.
    pub(super) last: EntryId,
    /// The number of entries ever added to the stream; `None` if the server does not count them.
    pub(super) added: Option<u64>,
    pub(super) frames: Vec<Frame>,
}

/// Connections for stream commands: one, or in a cluster one for each stream.
pub(super) struct Valkey {
    server: Server,
    /// By the key of the stream, or without one.
    connections: Mutex<HashMap<Option<String>, Arc<Connection>>>,
}

impl Valkey {
    pub(super) fn new(server: Server) -> Self {
        Self {
            server,
            connections: Mutex::default(),
        }
    }

    fn connection(&self, key: &str) -> Arc<Connection> {
        let key = self.server.is_cluster().then(|| key.to_owned());
        let mut connections = self.connections.lock();
        let connection = connections.entry(key).or_insert_with_key(|key| {
            let server = self.server.clone();
            Arc::new(match key {
                Some(key) => Connection::of_key(server, key),
                None => Connection::new(server),
            })
        });
        Arc::clone(connection)
    }

    /// Reads up to `count` entries; fewer at the end of the stream.
    pub(super) async fn read(
        &self,
        key: &str,
        from: ReadFrom,
        count: usize,
    ) -> Result<StreamRead, CommandError> {
        let start = match from {
            ReadFrom::After(id) => format!("({id}"),
            ReadFrom::At(id) => id.to_string(),
            ReadFrom::End => EntryId::MAX.to_string(),
        };
        let mut command = cmd("EVAL");
        command.arg(READ).arg(1).arg(key).arg(start).arg(count);
        let reply = list(self.connection(key).call(&command, REPLY_TIMEOUT).await?)?;
        let [last, added, entries] = <[Value; 3]>::try_from(reply).map_err(|_| unexpected())?;
        let Value::Int(added) = added else {
            return Err(unexpected());
        };
        Ok(StreamRead {
            last: EntryId::parse(&text(last)?).ok_or_else(unexpected)?,
            added: u64::try_from(added).ok(),
            frames: frames(entries)?,
        })
    }

    /// Waits until one of several streams has an entry after an id. Returns the keys of those that
    /// have, none after 200 ms.
    pub(super) async fn wait(
        &self,
        streams: &[(&str, EntryId)],
    ) -> Result<HashSet<String>, CommandError> {
        if !self.server.is_cluster() {
            return self.wait_on_one(streams).await;
        }
        let waiting = streams
            .iter()
            .map(|stream| self.wait_on_one(std::slice::from_ref(stream)));
        let ready: Vec<HashSet<String>> = try_join_all(waiting).await?;
        Ok(ready.into_iter().flatten().collect())
    }

    /// As [`wait`](Self::wait), for streams on one server.
    async fn wait_on_one(
        &self,
        streams: &[(&str, EntryId)],
    ) -> Result<HashSet<String>, CommandError> {
        let Some((first, _)) = streams.first() else {
            return Ok(HashSet::new());
        };
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(1);
        command.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS");
        for (key, _) in streams {
            command.arg(key);
        }
        for (_, after) in streams {
            command.arg(after.to_string());
        }
        match self
            .connection(first)
            .call(&command, BLOCK + REPLY_TIMEOUT)
            .await?
        {
            Value::Nil => Ok(HashSet::new()),
            reply => pairs(reply)?
                .into_iter()
                .map(|(key, _)| text(key))
                .collect(),
        }
    }
}

/// Parses the entries in a reply: each an id and a list of names and values.
fn frames(reply: Value) -> Result<Vec<Frame>, CommandError> {
    let entries = pairs(reply)?.into_iter();
    let frame = |(id, fields)| {
        let id = EntryId::parse(&text(id)?).ok_or_else(unexpected)?;
        let fields: Vec<String> = list(fields)?
            .into_iter()
            .map(text)
            .collect::<Result<_, _>>()?;
        let fields = fields.chunks_exact(2);
        Ok(Frame::new(
            id,
            fields.map(|pair| (pair[0].clone(), pair[1].clone())),
        ))
    };
    entries.map(frame).collect()
}

fn pairs(reply: Value) -> Result<Vec<(Value, Value)>, CommandError> {
    let pair = |item| match <[Value; 2]>::try_from(list(item)?) {
        Ok([first, second]) => Ok((first, second)),
        Err(_) => Err(unexpected()),
    };
    list(reply)?.into_iter().map(pair).collect()
}

fn list(value: Value) -> Result<Vec<Value>, CommandError> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(unexpected()),
    }
}

/// Converts a string; invalid UTF-8 becomes U+FFFD.
fn text(value: Value) -> Result<String, CommandError> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) => Ok(text),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> CommandError {
    CommandError::Rejected("unexpected form of a reply".to_owned())
}

#[cfg(test)]
mod tests {
    use devstack::ValkeyCluster;

    use super::*;

    const KEYS: [&str; 4] = ["fia:a", "fia:b", "fia:c", "fia:d"];

    /// Takes seconds: the nodes of a cluster find each other by gossip.
    #[tokio::test]
    async fn streams_of_a_cluster_are_followed_on_their_nodes() {
        let cluster = ValkeyCluster::start().await.unwrap();
        let server = Server::parse(&cluster.url()).unwrap();
        let valkey = Valkey::new(server.clone());
        let streams = KEYS.map(|key| (key, EntryId::ZERO));
        let mut nodes = HashSet::new();
        for key in KEYS {
            nodes.insert(
                cluster
                    .owner_of(cluster.slot_of(key).await.unwrap())
                    .await
                    .unwrap(),
            );
        }
        assert!(nodes.len() > 1, "all streams are on one node");
        assert!(valkey.wait(&streams).await.unwrap().is_empty());
        for key in KEYS {
            let config = redis::AsyncConnectionConfig::new();
            let mut owner = server.connect_for(key, &config).await.unwrap();
            let mut add = cmd("XADD");
            add.arg(key).arg("*").arg("line").arg("1");
            let _id: String = add.query_async(&mut owner).await.unwrap();
        }
        let ready = valkey.wait(&streams).await.unwrap();
        assert_eq!(ready, KEYS.map(str::to_owned).into());
        let slot = cluster.slot_of(KEYS[0]).await.unwrap();
        let from = cluster.owner_of(slot).await.unwrap();
        cluster.move_slot(slot, from, (from + 1) % 3).await.unwrap();
        let read = valkey.read(KEYS[0], ReadFrom::End, 1).await.unwrap();
        assert_eq!(read.added, Some(1));
        assert_eq!(valkey.wait(&streams).await.unwrap().len(), KEYS.len());
    }
}
