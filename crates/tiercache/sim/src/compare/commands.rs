//! Random batches of the commands that the cache sends, on few keys, so that they meet.

use std::collections::HashMap;

use bytes::Bytes;
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::compare::CLIENTS;
use crate::valkey::scripts::Script;

pub(crate) const KEYS: [&str; 5] = ["v:0", "v:1", "g:a", "g:b", "other"];
const PAYLOADS: [&str; 4] = ["17", "[]", "{\"a\":1}", "null"];

/// An argument.
#[derive(Clone)]
pub(crate) enum Arg {
    Bytes(Bytes),
    /// The last reply to PEXPIRETIME of a key.
    Expiry(&'static str),
}

impl std::fmt::Debug for Arg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{}", crate::trace::readable(bytes)),
            Self::Expiry(key) => write!(f, "<expiry of {key}>"),
        }
    }
}

/// The last replies to PEXPIRETIME, by key.
pub(crate) type Expiries = HashMap<Bytes, i64>;

/// Commands that a client sends in one packet.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) client: usize,
    pub(crate) commands: Vec<Vec<Arg>>,
    /// The pause after it, in which keys expire.
    pub(crate) pause_millis: u64,
}

impl Batch {
    pub(crate) fn bytes(&self, expiries: &Expiries) -> Vec<u8> {
        let mut out = Vec::new();
        for command in &self.commands {
            out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for arg in command {
                let bytes = match arg {
                    Arg::Bytes(bytes) => bytes.clone(),
                    Arg::Expiry(key) => {
                        let expiry = expiries.get(key.as_bytes()).copied();
                        expiry.unwrap_or_default().to_string().into()
                    }
                };
                out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
                out.extend_from_slice(&bytes);
                out.extend_from_slice(b"\r\n");
            }
        }
        out
    }
}

/// A source of batches.
pub(crate) struct Commands {
    random: StdRng,
    /// Markers that were sent before.
    markers: Vec<Bytes>,
    lives: u64,
    /// Whether some commands follow ASKING.
    pub(crate) is_cluster: bool,
}

impl Commands {
    pub(crate) fn new(random: StdRng) -> Self {
        Self {
            random,
            markers: Vec::new(),
            lives: 0,
            is_cluster: false,
        }
    }

    pub(crate) fn next(&mut self) -> Batch {
        let client = self.random.random_range(0..CLIENTS.len());
        let mut batch = Batch {
            client,
            commands: Vec::new(),
            pause_millis: 0,
        };
        match self.random.random_range(0..500_u32) {
            0 => batch.commands.push(words(&["FLUSHALL"])),
            1..=4 => {
                let key = self.key();
                batch.commands.push(words(&["SET", key, "17", "PX", "1"]));
                batch.pause_millis = 8;
            }
            5..=25 => batch.commands = self.transaction(),
            26 => batch.commands.push(words(&["SCRIPT", "FLUSH"])),
            _ => {
                let count = self.random.random_range(1..10);
                for _ in 0..count {
                    if self.is_cluster && self.random.random_range(0..3_u32) == 0 {
                        batch.commands.push(words(&["ASKING"]));
                    }
                    batch.commands.push(self.command());
                }
            }
        }
        batch
    }

    fn key(&mut self) -> &'static str {
        KEYS[self.random.random_range(0..KEYS.len())]
    }

    /// A new marker, or one from before.
    fn marker(&mut self) -> Bytes {
        if self.markers.len() > 3 && self.random.random_range(0..3_u32) > 0 {
            let last = self.markers.len();
            return self.markers[self.random.random_range(last - 4..last)].clone();
        }
        let kind = b"\t\n\n\r"[self.random.random_range(0..4)];
        let mut marker = [b"null", &[kind][..]].concat();
        let white = |random: &mut StdRng| b" \t\n\r"[random.random_range(0..4)];
        marker.extend((0..63).map(|_| white(&mut self.random)));
        marker.push(if kind == b'\n' { b' ' } else { b'\t' });
        // Now and then it is none.
        if self.random.random_range(0..20_u32) == 0 {
            marker.pop();
        }
        self.markers.push(marker.clone().into());
        if self.markers.len() > 16 {
            self.markers.remove(0);
        }
        marker.into()
    }

    fn payload(&mut self) -> &'static str {
        PAYLOADS[self.random.random_range(0..PAYLOADS.len())]
    }

    fn transaction(&mut self) -> Vec<Vec<Arg>> {
        let key = self.key();
        let mut commands = vec![words(&["UNWATCH"]), words(&["WATCH", key])];
        if self.random.random_range(0..2_u32) == 0 {
            commands.push(self.command());
        }
        commands.push(words(&["MULTI"]));
        if self.random.random_range(0..2_u32) == 0 {
            commands.push(words(&["GET", key]));
        }
        commands.push(words(&["EXEC"]));
        commands
    }

    fn command(&mut self) -> Vec<Arg> {
        let (key, payload) = (self.key(), self.payload());
        // Each is another, so that two keys never expire at the same time.
        self.lives += 1;
        let life = &*(100_025 + 50 * self.lives).to_string();
        let seconds = &*(300 + self.lives).to_string();
        let marker = self.marker();
        match self.random.random_range(0..17_u32) {
            16 => words(&["WAIT", "0", "0"]),
            0 | 1 => words(&["GET", key]),
            2 => words(&["PTTL", key]),
            3 => words(&["PEXPIRETIME", key]),
            4 => words(&["SETEX", key, seconds, payload]),
            5 => {
                let mut set = words(&["SET", key]);
                set.push(Arg::Bytes(marker));
                set.extend(words(&["PX", life]));
                set
            }
            6 => {
                let from = self.random.random_range(0..70_u32);
                let to = from + self.random.random_range(0..5_u32);
                words(&["GETRANGE", key, &from.to_string(), &to.to_string()])
            }
            7 => match self.random.random_range(0..3_u32) {
                0 => words(&["DEL", key]),
                1 => words(&["TYPE", key]),
                _ => words(&["LPUSH", key, "17"]),
            },
            8 => words(&["SET", key, payload, "KEEPTTL"]),
            _ => self.script(key, payload, (marker, life)),
        }
    }

    fn script(
        &mut self,
        key: &'static str,
        payload: &str,
        (marker, life): (Bytes, &str),
    ) -> Vec<Arg> {
        let scripts = [
            Script::GetLease,
            Script::GetLease,
            Script::Fill,
            Script::Fill,
            Script::Invalidate,
            Script::Release,
            Script::Refresh,
            Script::GetGeneration,
        ];
        let script = scripts[self.random.random_range(0..scripts.len())];
        let marker = Arg::Bytes(marker);
        let args = match script {
            Script::GetLease => [vec![marker], words(&[life, payload])].concat(),
            Script::Fill => [vec![marker], words(&[payload, life])].concat(),
            Script::GetGeneration => [vec![marker], words(&[life])].concat(),
            // A tombstone has no life of its own.
            Script::Refresh => {
                let old = if payload == "null" { "17" } else { payload };
                [vec![Arg::Expiry(key)], words(&[old, "18", life])].concat()
            }
            Script::Invalidate | Script::Release | Script::One => vec![marker],
        };
        let (name, which) = match self.random.random_range(0..2_u32) {
            0 => ("EVAL", script.text()),
            _ => ("EVALSHA", script.hash()),
        };
        [words(&[name, which, "1", key]), args].concat()
    }
}

fn words(words: &[&str]) -> Vec<Arg> {
    let bytes = |word: &&str| Arg::Bytes(Bytes::copy_from_slice(word.as_bytes()));
    words.iter().map(bytes).collect()
}
