//! The probe of the commands that a server may lack.

use std::time::Duration;

use redis::{Pipeline, Value};

use crate::connection::lacks::{Lacks, is_unavailable};
use crate::connection::{CommandError, Connection};
use crate::seams::Instant;

/// A key that the probe of a command names. An ACL that forbids the key, but not the command, says so.
const KEY: &str = "tiercache:probe";
/// The digest of no script.
const NO_SCRIPT: &str = "0000000000000000000000000000000000000000";

impl Connection {
    /// Tries the commands that a server may lack, without an effect.
    pub(super) async fn probe(&self, limit: Duration) -> Result<Lacks, CommandError> {
        let mut probes = Pipeline::with_capacity(8);
        probes.cmd("EVAL").arg("return 1").arg(0);
        probes.cmd("EVALSHA").arg(NO_SCRIPT).arg(0);
        probes.cmd("PEXPIRETIME").arg(KEY);
        probes.cmd("GETRANGE").arg(KEY).arg(0).arg(0);
        probes.cmd("WATCH").arg(KEY).cmd("UNWATCH");
        probes.cmd("MULTI").cmd("EXEC");
        let replies = self.call_all(&probes, Instant::now() + limit).await;
        let lacks: Vec<bool> = replies
            .into_iter()
            .map(is_lacking)
            .collect::<Result<_, _>>()?;
        let lacks = |i: usize| lacks.get(i).copied().unwrap_or_default();
        Ok(Lacks {
            scripts: lacks(0),
            script_cache: lacks(1),
            expiry_times: lacks(2),
            parts: (3..8).any(lacks),
        })
    }
}

fn is_lacking(reply: Result<Value, CommandError>) -> Result<bool, CommandError> {
    match reply {
        Ok(_) => Ok(false),
        Err(CommandError::Server(error)) => Ok(is_unavailable(&error)),
        Err(error) => Err(error),
    }
}
