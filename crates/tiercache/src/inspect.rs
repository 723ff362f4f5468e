//! Inspection of one key, for operators: where its value is and until when, never the value.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Pipeline, Value};

use crate::clock::Moment;
use crate::connection::{CommandError, Connection, unexpected_reply};
use crate::local::entry::{Entry, Validity};
use crate::namespace::{Inner, Namespace, with_name};
use crate::protocol::generation::{TAG_LEN, is_tag};
use crate::protocol::marker::{Stored, TOMBSTONE};
use crate::seams::Instant;

/// The index of the last byte that is read of a content: those of a marker suffice to tell markers
/// from payloads.
const LAST_BYTE: usize = Stored::MARKER_LEN - 1;
/// The index from the end at which the tag of a payload would begin.
const TAG_BEGIN: isize = -(TAG_LEN as isize);

/// The state of a key; see [`Namespace::inspect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The entry in the local cache.
    pub local: Option<LocalEntry>,
    /// The content in the shared level; `None` if there is no shared level, or it did not reply.
    pub shared: Option<SharedEntry>,
    /// Whether an invalidation of the key is pending, so that this process bypasses the shared
    /// level for it.
    pub is_invalidation_pending: bool,
}

/// An entry of the local cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalEntry {
    /// Whether it is served now. Otherwise it is only a last known value.
    pub is_current: bool,
    /// Whether it may never be served as current, as it was loaded here and not read from the
    /// shared level.
    pub is_fallback: bool,
    /// The size of the value in bytes.
    pub bytes: usize,
    /// The time since the value was loaded.
    pub age: Duration,
    /// The rest of its TTL.
    pub ttl: Duration,
}

/// The content of a key in the shared level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedEntry {
    /// The kind of the content.
    pub kind: ContentKind,
    /// Its size in bytes.
    pub bytes: u64,
    /// The rest of its TTL; `None` if it does not expire.
    pub ttl: Option<Duration>,
    /// The form of a payload.
    pub form: Form,
}

/// The form of a payload, by which a service can tell which of its programs stored it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It ends in the tag of a group: this library stored it.
    Tagged,
    /// JSON without white space after its first separator.
    Compact,
    /// JSON with white space there, as Python's `json.dumps` writes it.
    Spaced,
    /// Neither can be determined, or there is no payload.
    Unknown,
}

/// The kind of a key's content in the shared level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentKind {
    /// Nothing.
    Absent,
    /// A value.
    Payload,
    /// A process is loading the value.
    Lease,
    /// A transaction is changing the value.
    Fence,
    /// The value was invalidated.
    Tombstone,
    /// Another type than a string, which no client of the protocol writes.
    OtherType,
}

impl<K, V, E> Namespace<K, V, E>
where
    K: Display + Sync + ?Sized,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Returns the state of a key in both levels, without its value. Counts as no read, and
    /// changes nothing.
    pub async fn inspect(&self, key: &K) -> Inspection {
        let (name, group) = (with_name(key, str::to_owned), self.1.of(key));
        let key = self.0.key(&name);
        Inspection {
            local: self.0.inspect_local(&name),
            is_invalidation_pending: self.0.is_pending(&key, group.as_ref()),
            shared: self.0.inspect_shared(&key).await,
        }
    }
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
{
    fn inspect_local(&self, name: &str) -> Option<LocalEntry> {
        let entry: Arc<Entry<V>> = self.shared.local.as_ref()?.get(self.entry_key(name))?;
        let now = Moment::now();
        let times = entry.times;
        Some(LocalEntry {
            is_current: self.is_current(&entry, now),
            is_fallback: entry.validity == Validity::FallbackOnly,
            bytes: entry.bytes(),
            age: now.since(times.loaded),
            ttl: times.deadline.since(now),
        })
    }

    async fn inspect_shared(&self, key: &str) -> Option<SharedEntry> {
        if !self.config.is_shared {
            return None;
        }
        let connection = self.shared.connection(key)?;
        let limit = self.shared.settings.read_timeout;
        inspect(&connection, key, limit).await.ok()
    }
}

/// Reads the length, the TTL, and the first and the last bytes of a key.
async fn inspect(
    connection: &Connection,
    key: &str,
    limit: Duration,
) -> Result<SharedEntry, CommandError> {
    let mut commands = Pipeline::with_capacity(4);
    commands.cmd("PTTL").arg(key).cmd("STRLEN").arg(key);
    commands.cmd("GETRANGE").arg(key).arg(0).arg(LAST_BYTE);
    commands.cmd("GETRANGE").arg(key).arg(TAG_BEGIN).arg(-1);
    let replies = connection.call_all(&commands, Instant::now() + limit).await;
    let mut replies = replies.into_iter();
    let mut next = || replies.next().unwrap_or(Err(CommandError::Timeout));
    let pttl = match next()? {
        Value::Int(pttl) => pttl,
        _ => return Err(unexpected_reply()),
    };
    let ttl = u64::try_from(pttl).ok().map(Duration::from_millis);
    match (next(), next(), next()) {
        (Ok(Value::Int(len)), Ok(Value::BulkString(head)), Ok(Value::BulkString(tail))) => {
            let bytes = u64::try_from(len).unwrap_or_default();
            let kind = kind(pttl == ABSENT, bytes, head.clone().into());
            let form = match kind {
                ContentKind::Payload => form(&head, &tail),
                _ => Form::Unknown,
            };
            Ok(SharedEntry {
                kind,
                bytes,
                ttl,
                form,
            })
        }
        (Err(CommandError::Server(error)), ..) if error.code() == Some("WRONGTYPE") => {
            Ok(SharedEntry {
                kind: ContentKind::OtherType,
                bytes: 0,
                ttl,
                form: Form::Unknown,
            })
        }
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => Err(error),
        _ => Err(unexpected_reply()),
    }
}

/// The reply to PTTL for a key that does not exist.
const ABSENT: i64 = -2;

/// The kind of a content by its length and its first bytes.
fn kind(is_absent: bool, len: u64, head: Bytes) -> ContentKind {
    if is_absent {
        return ContentKind::Absent;
    }
    if head.len() as u64 != len {
        return ContentKind::Payload;
    }
    if head == TOMBSTONE {
        return ContentKind::Tombstone;
    }
    match Stored::from(Some(head)) {
        Stored::Leased => ContentKind::Lease,
        Stored::Fenced => ContentKind::Fence,
        Stored::Nothing => ContentKind::Absent,
        Stored::Payload(_) | Stored::OtherType => ContentKind::Payload,
    }
}

/// The form of a payload by its first and its last bytes.
fn form(head: &[u8], tail: &[u8]) -> Form {
    if is_tag(tail) {
        return Form::Tagged;
    }
    let mut is_in_string = false;
    let mut bytes = head.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            // The next one is escaped.
            b'\\' if is_in_string => drop(bytes.next()),
            b'"' => is_in_string = !is_in_string,
            b',' | b':' if !is_in_string => {
                return match bytes.next() {
                    Some(b' ' | b'\t' | b'\n' | b'\r') => Form::Spaced,
                    Some(_) => Form::Compact,
                    None => Form::Unknown,
                };
            }
            _ => {}
        }
    }
    Form::Unknown
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::protocol::marker::{FenceToken, Lease};

    #[test]
    fn a_content_is_classified_by_its_first_bytes() {
        let (lease, fence) = (Lease::new(), FenceToken::new());
        for (content, expected) in [
            (&b"null"[..], ContentKind::Tombstone),
            (lease.as_ref(), ContentKind::Lease),
            (fence.as_ref(), ContentKind::Fence),
            (b"{}", ContentKind::Payload),
            (b"", ContentKind::Payload),
        ] {
            let head = Bytes::copy_from_slice(content);
            assert_eq!(kind(false, content.len() as u64, head), expected);
        }
        let longer = Bytes::copy_from_slice(lease.as_ref());
        assert_eq!(kind(false, 70, longer), ContentKind::Payload);
        assert_eq!(kind(true, 0, Bytes::new()), ContentKind::Absent);
    }

    #[test]
    fn the_form_of_a_payload_is_told_from_its_first_separator_and_its_tag() {
        let lease = Lease::new();
        let tag = &lease.as_ref()[lease.as_ref().len() - TAG_LEN..];
        let tagged = [b"[{\"id\": 1}]", tag].concat();
        assert_eq!(
            form(&tagged, &tagged[tagged.len() - TAG_LEN..]),
            Form::Tagged
        );
        for (payload, expected) in [
            (r#"{"count":3}"#, Form::Compact),
            (r#"{"count": 3}"#, Form::Spaced),
            ("[1820497,1820498]", Form::Compact),
            ("[1820497, 1820498]", Form::Spaced),
            (r#"["a, \": b", "c"]"#, Form::Spaced),
            (r#"["a, \": b","c"]"#, Form::Compact),
            (r#"["MARI"]"#, Form::Unknown),
            ("[]", Form::Unknown),
            (r#"["cut, in a stri"#, Form::Unknown),
            (r#"{"cut":"#, Form::Unknown),
            ("", Form::Unknown),
        ] {
            assert_eq!(
                form(payload.as_bytes(), payload.as_bytes()),
                expected,
                "{payload}"
            );
        }
    }
}
