//! The commands about the keys of groups.

use std::time::Duration;

use crate::connection::{CommandError, Connection};
use crate::protocol::commands::{bytes, millis};
use crate::protocol::generation::{Generation, GroupState};
use crate::protocol::script::GET_GENERATION;

/// The TTL of a generation. Losing one only makes the entries of its group misses.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

impl Connection {
    /// Reads the state of a group, to load one of its values: begins a generation if there is
    /// none.
    pub(crate) async fn get_generation(
        &self,
        group: &str,
        limit: Duration,
    ) -> Result<GroupState, CommandError> {
        let (new, life) = (Generation::new(), millis(LIFE));
        let args = [new.as_ref(), life.as_bytes()];
        let content = self.eval(&GET_GENERATION, group, &args, limit).await?;
        Ok(GroupState::of(bytes(content)?))
    }
}
