//! The commands.

use std::borrow::Cow;

use bytes::Bytes;

use crate::valkey::cluster::key_of;
use crate::valkey::resp::{Args, Reply};
use crate::valkey::scripts::{Script, expiry, ttl};
use crate::valkey::store::{Content, Store};
use crate::valkey::{Mode, Session, Valkey};

const OK: Reply = Reply::Simple("OK");
const WRONG_TYPE: Reply = Reply::Error(Cow::Borrowed(
    "WRONGTYPE Operation against a key holding the wrong kind of value",
));
const MISCONF: Reply = Reply::Error(Cow::Borrowed("MISCONF Valkey cannot write to its disk."));
const SYNTAX: Reply = Reply::Error(Cow::Borrowed("ERR syntax error"));
const READ_ONLY: Reply = Reply::Error(Cow::Borrowed(
    "READONLY You can't write against a read only replica.",
));

/// The key that the cache names when it probes a command.
const PROBED: &str = "tiercache:probe";

impl Valkey {
    /// Executes a command, or queues it for EXEC.
    pub(super) fn command(&mut self, session: &mut Session, args: &Args) -> Reply {
        let name = args[0].to_ascii_uppercase();
        let is_asking = std::mem::take(&mut session.is_asking);
        if let Some(error) = self.refusal(&name, args, is_asking) {
            if session.queued.is_some() {
                session.is_aborted = true;
            }
            return error;
        }
        let is_control = matches!(&name[..], b"MULTI" | b"EXEC" | b"WATCH" | b"DISCARD");
        match &mut session.queued {
            Some(queued) if !is_control => {
                queued.push(args.clone());
                Reply::Simple("QUEUED")
            }
            _ => self.execute(session, &name, args),
        }
    }

    /// The error for a command that this server does not execute.
    fn refusal(&self, name: &[u8], args: &Args, is_asking: bool) -> Option<Reply> {
        match &self.mode {
            Mode::Node(member) => {
                let key = key_of(name, args)?;
                member.redirect(&self.store, (key, is_asking))
            }
            Mode::Alone if self.is_replica => {
                let writes = matches!(name, b"SET" | b"SETEX" | b"DEL" | b"EVAL" | b"EVALSHA");
                (writes && key_of(name, args).is_some()).then_some(READ_ONLY)
            }
            Mode::Alone | Mode::Sentinel(_) => None,
        }
    }

    fn execute(&mut self, session: &mut Session, name: &[u8], args: &Args) -> Reply {
        let store = &mut self.store;
        let is_change = matches!(name, b"SET" | b"SETEX" | b"DEL" | b"EVAL" | b"EVALSHA");
        if is_change && store.now < self.read_only {
            self.refused = Some(store.now);
            return MISCONF;
        }
        match name {
            b"PING" => Reply::Simple("PONG"),
            b"HELLO" => hello(session, args),
            b"CLIENT" => client(session, args),
            b"INFO" => Reply::Verbatim(format!("# Server\r\nrun_id:{}\r\n", self.run_id)),
            b"SELECT" => OK,
            b"GET" => get(store, &args[1]),
            b"GETRANGE" => {
                self.parts += u64::from(args[1] != PROBED);
                range(store, args)
            }
            b"PTTL" => Reply::Int(ttl(store, &args[1])),
            b"PEXPIRETIME" => Reply::Int(expiry(store, &args[1])),
            b"SCAN" => scan(store, args),
            b"TYPE" => Reply::Simple(match store.get(&args[1]).map(|entry| &entry.content) {
                None => "none",
                Some(Content::Text(_)) => "string",
                Some(Content::List(_)) => "list",
            }),
            b"SET" => set(store, args),
            b"SETEX" => {
                let expires = store.now + 1_000 * number(&args[2]);
                store.set(&args[1], Content::Text(args[3].clone()), Some(expires));
                OK
            }
            b"DEL" => {
                let deleted = args[1..].iter().filter(|key| store.delete(key)).count();
                Reply::Int(deleted as i64)
            }
            b"LPUSH" => push(store, args),
            b"EVAL" => self.eval(args),
            b"EVALSHA" => self.eval_hash(args),
            b"SCRIPT" => {
                self.forget_scripts();
                OK
            }
            b"FLUSHALL" => {
                self.flush();
                OK
            }
            b"WATCH" => {
                for key in &args[1..] {
                    let version = store.version(key);
                    session.watched.push((key.clone(), version));
                }
                OK
            }
            b"UNWATCH" => {
                session.watched.clear();
                OK
            }
            b"MULTI" => {
                session.queued = Some(Vec::new());
                OK
            }
            b"EXEC" => self.exec(session),
            _ => self.execute_set_up(session, name, args),
        }
    }

    /// Executes a command about replicas, a cluster, or Sentinel.
    fn execute_set_up(&mut self, session: &mut Session, name: &[u8], args: &Args) -> Reply {
        match name {
            b"WAIT" => Reply::Int(i64::from(self.store.replicate())),
            b"ROLE" => self.role(),
            b"ASKING" => {
                session.is_asking = true;
                OK
            }
            b"CLUSTER" => match &self.mode {
                Mode::Node(member) => Reply::Verbatim(member.nodes()),
                _ => Reply::error("ERR This instance has cluster support disabled"),
            },
            b"SENTINEL" => match &self.mode {
                Mode::Sentinel(named) => named.execute(args),
                _ => Reply::error("ERR unknown command"),
            },
            _ => Reply::error("ERR unknown command"),
        }
    }

    fn role(&self) -> Reply {
        match self.is_replica {
            false => Reply::Array(vec![
                Reply::text("master"),
                Reply::Int(0),
                Reply::Array(vec![]),
            ]),
            true => Reply::Array(vec![Reply::text("slave"), Reply::text("valkey")]),
        }
    }

    fn exec(&mut self, session: &mut Session) -> Reply {
        let Some(queued) = session.queued.take() else {
            return Reply::error("ERR EXEC without MULTI");
        };
        let watched = std::mem::take(&mut session.watched);
        if std::mem::take(&mut session.is_aborted) {
            return Reply::error("EXECABORT Transaction discarded because of previous errors.");
        }
        let store = &mut self.store;
        if watched
            .iter()
            .any(|(key, version)| store.version(key) != *version)
        {
            return Reply::NilArray;
        }
        let replies = queued.iter().map(|args| {
            let name = args[0].to_ascii_uppercase();
            self.execute(session, &name, args)
        });
        Reply::Array(replies.collect())
    }

    fn eval(&mut self, args: &Args) -> Reply {
        let Some((script, hash)) = Script::of_text(&args[1]) else {
            return Reply::error("ERR unknown script");
        };
        self.scripts.insert(hash.to_owned());
        run(script, &mut self.store, args)
    }

    fn eval_hash(&mut self, args: &Args) -> Reply {
        let hash = String::from_utf8_lossy(&args[1]);
        match Script::of_hash(&args[1]) {
            Some(script) if self.scripts.contains(&*hash) => run(script, &mut self.store, args),
            _ => Reply::error("NOSCRIPT No matching script."),
        }
    }
}

fn run(script: Script, store: &mut Store, args: &Args) -> Reply {
    let count = number(&args[2]) as usize;
    let (keys, args) = args[3..].split_at(count);
    script.run(store, keys, args)
}

fn hello(session: &mut Session, args: &Args) -> Reply {
    session.resp3 = args.get(1).is_some_and(|version| version == "3");
    let version = if session.resp3 { 3 } else { 2 };
    Reply::Map(vec![
        (Reply::text("server"), Reply::text("valkey")),
        (Reply::text("proto"), Reply::Int(version)),
    ])
}

fn client(session: &mut Session, args: &Args) -> Reply {
    if args[1].eq_ignore_ascii_case(b"TRACKING") {
        let prefixes = args
            .windows(2)
            .filter(|pair| pair[0].eq_ignore_ascii_case(b"PREFIX"));
        let prefixes = prefixes.map(|pair| pair[1].clone());
        session.tracked.get_or_insert_default().extend(prefixes);
    }
    OK
}

fn get(store: &mut Store, key: &Bytes) -> Reply {
    match store.get(key).map(|entry| &entry.content) {
        None => Reply::Nil,
        Some(Content::Text(text)) => Reply::Bulk(text.clone()),
        Some(Content::List(_)) => WRONG_TYPE,
    }
}

/// SCAN cursor MATCH prefix* COUNT n: all of the keys at once.
fn scan(store: &mut Store, args: &Args) -> Reply {
    let prefix = args[3].strip_suffix(b"*").unwrap_or(&args[3]);
    let mut keys = store.keys();
    keys.retain(|key| key.starts_with(prefix) && store.get(key).is_some());
    let keys = keys.into_iter().map(Reply::Bulk).collect();
    Reply::Array(vec![Reply::text("0"), Reply::Array(keys)])
}

fn range(store: &mut Store, args: &Args) -> Reply {
    match get(store, &args[1]) {
        Reply::Bulk(text) => {
            let from = (number(&args[2]) as usize).min(text.len());
            let to = (number(&args[3]) as usize + 1).clamp(from, text.len());
            Reply::Bulk(text.slice(from..to))
        }
        Reply::Nil => Reply::Bulk(Bytes::new()),
        error => error,
    }
}

fn set(store: &mut Store, args: &Args) -> Reply {
    let (key, value) = (&args[1], &args[2]);
    let expires = match args.get(3).map(|option| option.to_ascii_uppercase()) {
        None => None,
        Some(option) if option == b"PX" => Some(store.now + number(&args[4])),
        Some(option) if option == b"KEEPTTL" => store.get(key).and_then(|entry| entry.expires),
        Some(_) => return SYNTAX,
    };
    store.set(key, Content::Text(value.clone()), expires);
    OK
}

fn push(store: &mut Store, args: &Args) -> Reply {
    let (count, expires) = match store.get(&args[1]) {
        None => (0, None),
        Some(entry) => match entry.content {
            Content::List(count) => (count, entry.expires),
            Content::Text(_) => return WRONG_TYPE,
        },
    };
    let count = count + args.len() as i64 - 2;
    store.set(&args[1], Content::List(count), expires);
    Reply::Int(count)
}

fn number(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse().unwrap_or_default()
}
