//! A simulated Valkey: the commands that the cache sends, expiry, and client tracking.
//!
//! `crate::compare` holds it against a real one.

pub(crate) mod cluster;
mod execute;
pub(crate) mod resp;
pub(crate) mod scripts;
pub(crate) mod sentinel;
pub(crate) mod store;

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};

use crate::valkey::cluster::Member;
use crate::valkey::resp::{Args, Reply, take_command};
use crate::valkey::sentinel::Named;
use crate::valkey::store::Store;

/// What the server knows of a connection.
#[derive(Default)]
pub(crate) struct Session {
    received: BytesMut,
    resp3: bool,
    /// The prefixes whose keys are pushed, once tracking is on.
    tracked: Option<BTreeSet<Bytes>>,
    queued: Option<Vec<Args>>,
    /// Whether EXEC fails, since a command was not queued.
    is_aborted: bool,
    /// Whether the next command follows an ASK.
    pub(crate) is_asking: bool,
    /// The versions of the watched keys.
    watched: Vec<(Bytes, u64)>,
    /// Replies and pushes that are to be sent.
    pub(crate) out: BytesMut,
}

impl Session {
    /// Whether it gets pushes.
    pub(crate) fn is_tracking(&self) -> bool {
        self.tracked.is_some()
    }

    fn reply(&mut self, reply: &Reply) {
        reply.write(&mut self.out, self.resp3);
    }
}

/// What a server is.
pub(crate) enum Mode {
    Alone,
    /// A node of a cluster.
    Node(Member),
    /// A sentinel, which has no keys.
    Sentinel(Named),
}

/// A server.
pub(crate) struct Valkey {
    pub(crate) store: Store,
    pub(crate) mode: Mode,
    pub(crate) is_replica: bool,
    /// Whether it accepts connections.
    pub(crate) is_up: bool,
    /// The number of parts of values that were read since it was last taken.
    pub(crate) parts: u64,
    run_id: String,
    /// The scripts that EVALSHA finds.
    scripts: BTreeSet<String>,
    /// Whether FLUSHALL was executed since the last pushes.
    is_flushed: bool,
    /// Until then, in milliseconds of its clock, commands that change something are refused.
    pub(crate) read_only: u64,
    /// When it last refused one, likewise.
    pub(crate) refused: Option<u64>,
    /// The commands since they were last taken, for a timeline.
    pub(crate) log: Option<Vec<(Args, Reply)>>,
}

impl Valkey {
    pub(crate) fn new(run_id: u64) -> Self {
        Self {
            store: Store::default(),
            mode: Mode::Alone,
            is_replica: false,
            is_up: true,
            parts: 0,
            run_id: format!("{run_id:040x}"),
            scripts: BTreeSet::new(),
            is_flushed: false,
            read_only: 0,
            refused: None,
            log: None,
        }
    }

    /// What it is as a node of a cluster.
    pub(crate) fn member(&mut self) -> Option<&mut Member> {
        match &mut self.mode {
            Mode::Node(member) => Some(member),
            Mode::Alone | Mode::Sentinel(_) => None,
        }
    }

    /// Becomes another server process, with the keys that it has.
    pub(crate) fn restarted(&mut self, run_id: u64) {
        self.run_id = format!("{run_id:040x}");
        self.scripts.clear();
    }

    /// Executes SCRIPT FLUSH.
    pub(crate) fn forget_scripts(&mut self) {
        self.scripts.clear();
    }

    /// Executes FLUSHALL.
    pub(crate) fn flush(&mut self) {
        self.store.clear();
        self.is_flushed = true;
    }

    /// Executes the commands whose bytes have arrived. The replies are appended to the session's
    /// output.
    pub(crate) fn receive(&mut self, session: &mut Session, bytes: &[u8], now: u64) {
        session.received.extend_from_slice(bytes);
        while let Some(args) = take_command(&mut session.received) {
            self.store.now = now;
            let reply = self.command(session, &args);
            session.reply(&reply);
            if let Some(log) = &mut self.log {
                log.push((args, reply));
            }
        }
    }

    /// Takes the commands that were executed since the last call.
    pub(crate) fn take_log(&mut self) -> Vec<(Args, Reply)> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes the pushes that became due since the last call, which the server sends before it
    /// waits for further commands.
    pub(crate) fn take_changes(&mut self) -> Changes {
        Changes {
            is_flushed: std::mem::take(&mut self.is_flushed),
            keys: std::mem::take(&mut self.store.changed),
        }
    }
}

/// Changes that are to be pushed.
pub(crate) struct Changes {
    is_flushed: bool,
    keys: BTreeSet<Bytes>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_flushed && self.keys.is_empty()
    }

    /// Appends the pushes that a session gets: one for each prefix, with all of its keys.
    pub(crate) fn push_to(&self, session: &mut Session) {
        // RESP2 has no pushes: CLIENT TRACKING is accepted, and nothing is sent.
        let Some(prefixes) = session.tracked.clone().filter(|_| session.resp3) else {
            return;
        };
        let invalidate = |of| Reply::Push(vec![Reply::text("invalidate"), of]);
        if self.is_flushed {
            session.reply(&invalidate(Reply::Nil));
        }
        for prefix in prefixes {
            let keys = self.keys.iter().filter(|key| key.starts_with(&prefix));
            let keys: Vec<Reply> = keys.cloned().map(Reply::Bulk).collect();
            if !keys.is_empty() {
                session.reply(&invalidate(Reply::Array(keys)));
            }
        }
    }
}
