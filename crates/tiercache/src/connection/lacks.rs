//! What a server lacks of the commands that the cache uses: an old version, another product, or an
//! ACL that forbids them.

use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What a server lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacks {
    /// EVAL: nothing is stored, and keys are invalidated without regard to the fences of others.
    pub(crate) scripts: bool,
    /// EVALSHA: scripts are sent whole.
    pub(crate) script_cache: bool,
    /// GETRANGE and transactions with WATCH: large values are read whole.
    pub(crate) parts: bool,
    /// PEXPIRETIME: nothing is refreshed early.
    pub(crate) expiry_times: bool,
}

impl fmt::Display for Lacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lacking = [
            (
                self.scripts,
                "EVAL: values of Valkey are read, none is stored",
            ),
            (
                self.script_cache && !self.scripts,
                "EVALSHA: scripts are sent whole",
            ),
            (
                self.parts,
                "GETRANGE, WATCH, UNWATCH, MULTI or EXEC: large values delay others",
            ),
            (self.expiry_times, "PEXPIRETIME: no early refresh"),
        ];
        let lacking = lacking.iter().filter(|(is_so, _)| *is_so);
        let texts: Vec<&str> = lacking.map(|(_, text)| *text).collect();
        f.write_str(&texts.join("; "))
    }
}

/// Whether the server refuses a command whatever its arguments.
pub(super) fn is_unavailable(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    match error.kind() {
        // "User app has no permissions to run the 'eval' command"; otherwise it is about the key.
        ErrorKind::Server(ServerErrorKind::NoPerm) => detail.contains("command"),
        _ => {
            let text = error.to_string().to_lowercase();
            [
                "unknown command",
                "unknown subcommand",
                "unsupported",
                "noproto",
                "syntax error",
            ]
            .iter()
            .any(|reason| text.contains(reason))
        }
    }
}
