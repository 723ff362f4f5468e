//! The Lua scripts of `protocol/scripts`. Each reads and writes one key atomically.

use std::sync::LazyLock;

use redis::{Cmd, cmd};

pub(super) static GET_LEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("../../protocol/scripts/get_lease.lua")));
pub(super) static GET_GENERATION: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("../../protocol/scripts/get_generation.lua")));
pub(super) static FILL: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("../../protocol/scripts/fill.lua")));
pub(super) static RELEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("../../protocol/scripts/release.lua")));
pub(super) static INVALIDATE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("../../protocol/scripts/invalidate.lua")));
pub(super) static REFRESH: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("../../protocol/scripts/refresh.lua")));

/// A script, sent by its hash (EVALSHA) or, if the server does not have it, whole (EVAL).
pub(super) struct Script {
    source: &'static str,
    sha: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        Self {
            source,
            sha: redis::Script::new(source).get_hash().to_owned(),
        }
    }

    pub(super) fn evalsha(&self, key: &str, args: &[&[u8]]) -> Cmd {
        invocation("EVALSHA", &self.sha, key, args)
    }

    pub(super) fn eval(&self, key: &str, args: &[&[u8]]) -> Cmd {
        invocation("EVAL", self.source, key, args)
    }
}

fn invocation(command: &str, script: &str, key: &str, args: &[&[u8]]) -> Cmd {
    let mut invocation = cmd(command);
    invocation.arg(script).arg(1).arg(key);
    for arg in args {
        invocation.arg(*arg);
    }
    invocation
}
