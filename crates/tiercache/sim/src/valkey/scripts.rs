//! The effects of the protocol's scripts, which are recognised by their text.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::valkey::resp::Reply;
use crate::valkey::store::{Content, Store};

/// A script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    GetLease,
    GetGeneration,
    Fill,
    Release,
    Invalidate,
    Refresh,
    /// The probe of the command.
    One,
}

macro_rules! source {
    ($name:literal) => {
        include_str!(concat!("../../../protocol/scripts/", $name, ".lua"))
    };
}

/// Each script, its text, and the hash of its text.
static SCRIPTS: LazyLock<Vec<(Script, &'static str, String)>> = LazyLock::new(|| {
    let hashed = |(script, text): (Script, &'static str)| {
        let hash = sha1_smol::Sha1::from(text).digest().to_string();
        (script, text, hash)
    };
    let scripts = [
        (Script::GetLease, source!("get_lease")),
        (Script::GetGeneration, source!("get_generation")),
        (Script::Fill, source!("fill")),
        (Script::Release, source!("release")),
        (Script::Invalidate, source!("invalidate")),
        (Script::Refresh, source!("refresh")),
        (Script::One, "return 1"),
    ];
    scripts.into_iter().map(hashed).collect()
});

impl Script {
    pub(crate) fn of_text(text: &[u8]) -> Option<(Self, &'static str)> {
        let mut scripts = SCRIPTS.iter();
        let (script, _, hash) = scripts.find(|(_, known, _)| known.as_bytes() == text)?;
        Some((*script, hash))
    }

    pub(crate) fn of_hash(hash: &[u8]) -> Option<Self> {
        let mut scripts = SCRIPTS.iter();
        let found = scripts.find(|(_, _, known)| known.as_bytes() == hash)?;
        Some(found.0)
    }

    fn known(self) -> &'static (Self, &'static str, String) {
        let mut scripts = SCRIPTS.iter();
        let found = scripts.find(|(script, ..)| *script == self);
        found.unwrap_or(&SCRIPTS[0])
    }

    pub(crate) fn text(self) -> &'static str {
        self.known().1
    }

    pub(crate) fn hash(self) -> &'static str {
        &self.known().2
    }

    /// Executes the script.
    pub(crate) fn run(self, store: &mut Store, keys: &[Bytes], args: &[Bytes]) -> Reply {
        let Some(key) = keys.first() else {
            return Reply::Int(1);
        };
        let held = match store.get(key).map(|entry| &entry.content) {
            Some(Content::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let until = |store: &Store, millis: &[u8]| Some(store.now + number(millis));
        match self {
            Self::One => Reply::Int(1),
            Self::GetLease => {
                // A key of another type is replaced.
                if let Some(held) = held.filter(|held| held != "null" && *held != args[2]) {
                    let ttl = ttl(store, key);
                    return Reply::Array(vec![Reply::Bulk(held), Reply::Int(ttl)]);
                }
                let expires = until(store, &args[1]);
                store.set(key, Content::Text(args[0].clone()), expires);
                Reply::Array(vec![Reply::Nil, Reply::Int(-2)])
            }
            Self::GetGeneration => {
                if let Some(held) = held.filter(|held| is_marker(held, b"\r\n")) {
                    return Reply::Bulk(held);
                }
                let expires = until(store, &args[1]);
                store.set(key, Content::Text(args[0].clone()), expires);
                Reply::Bulk(args[0].clone())
            }
            Self::Fill => {
                if held.as_ref() != Some(&args[0]) {
                    return Reply::Int(0);
                }
                let expires = until(store, &args[2]);
                store.set(key, Content::Text(args[1].clone()), expires);
                Reply::Int(1)
            }
            Self::Release => {
                let is_held = held.as_ref() == Some(&args[0]);
                Reply::Int(i64::from(is_held && store.delete(key)))
            }
            Self::Invalidate => invalidate(store, key, held, &args[0]),
            Self::Refresh => {
                let expires = expiry(store, key);
                if expires.to_string().as_bytes() != args[0] || held.as_ref() != Some(&args[1]) {
                    return Reply::Int(0);
                }
                let expires = until(store, &args[3]);
                store.set(key, Content::Text(args[2].clone()), expires);
                Reply::Int(1)
            }
        }
    }
}

fn invalidate(store: &mut Store, key: &Bytes, held: Option<Bytes>, own: &Bytes) -> Reply {
    if let Some(held) = held.filter(|held| is_marker(held, b"\n"))
        && own.get(..68) != held.get(..68)
    {
        let expires = store.get(key).and_then(|entry| entry.expires);
        let marked = [&held[..68], b"\t"].concat();
        store.set(key, Content::Text(marked.into()), expires);
        return Reply::Int(0);
    }
    let expires = Some(store.now + 1_000);
    store.set(key, Content::Text(Bytes::from_static(b"null")), expires);
    Reply::Int(1)
}

/// Whether this is a marker of one of these kinds, each a white-space character.
fn is_marker(held: &[u8], kinds: &[u8]) -> bool {
    let is_white = |byte: &u8| b" \t\n\r".contains(byte);
    held.len() == 69
        && held.starts_with(b"null")
        && kinds.contains(&held[4])
        && held[5..].iter().all(is_white)
}

fn number(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// As PTTL.
pub(crate) fn ttl(store: &mut Store, key: &Bytes) -> i64 {
    let now = store.now;
    match store.get(key).map(|entry| entry.expires) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => (at - now) as i64,
    }
}

/// As PEXPIRETIME.
pub(crate) fn expiry(store: &mut Store, key: &Bytes) -> i64 {
    match store.get(key).map(|entry| entry.expires) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => at as i64,
    }
}
