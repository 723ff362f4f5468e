//! Commands of no protocol, which mutants send (see [`crate::seams::mutant`]).

use std::time::Duration;

use redis::{Value, cmd};

use crate::connection::{CommandError, Connection};
use crate::seams::Instant;

impl Connection {
    /// Stores a payload, whatever the key holds.
    pub(crate) async fn overwrite(
        &self,
        key: &str,
        payload: &[u8],
        ttl: &str,
        limit: Duration,
    ) -> Result<bool, CommandError> {
        let mut set = cmd("SET");
        set.arg(key).arg(payload).arg("PX").arg(ttl);
        let reply = self.call(&set, Instant::now() + limit).await?;
        Ok(reply == Value::Okay)
    }

    /// Deletes a key, whatever it holds.
    pub(crate) async fn delete(&self, key: &str, limit: Duration) -> Result<bool, CommandError> {
        let reply = self
            .call(cmd("DEL").arg(key), Instant::now() + limit)
            .await?;
        Ok(reply == Value::Int(1))
    }
}
