//! Large values are read in parts: while a server copies a whole one, it executes nothing else, for
//! tens of milliseconds with 32 MiB. WATCH detects a change of the key between the parts.

use std::pin::pin;

use redis::{Cmd, Pipeline, Value, cmd};
use tokio::sync::Mutex;

use crate::connection::chosen::REPLY_EXTENSION;
use crate::connection::{CommandError, Connection, unexpected_reply};
use crate::seams::{Instant, timeout_at};

/// The size of a part in bytes: 0.3 ms of a server's time.
const PART: usize = 1 << 20;

/// Who reads in parts on a connection: one at a time, since EXEC ends every WATCH of it.
pub(super) type Turn = Mutex<()>;

/// A value that was read in parts, and the replies to the other commands.
type Read = (Vec<u8>, Vec<Value>);

impl Connection {
    /// As [`call_all`](Self::call_all), where the first command is GET of a key whose value is large.
    pub(crate) async fn read_in_parts(
        &self,
        key: &str,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Vec<Result<Value, CommandError>> {
        if !self.lacks.parts {
            match self.parts(key, commands, deadline).await {
                Ok(Some((value, others))) => {
                    let replies = [Value::BulkString(value)].into_iter().chain(others);
                    return replies.map(Ok).collect();
                }
                Ok(None) => {}
                Err(error) => return vec![Err(error)],
            }
        }
        self.call_all(commands, deadline).await
    }

    /// `None` if the value must be read whole: it is not there, or it changed meanwhile.
    async fn parts(
        &self,
        key: &str,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Option<Read>, CommandError> {
        let last = Instant::now() + REPLY_EXTENSION;
        let turn = timeout_at(last, self.turn.lock()).await;
        let _turn = turn.map_err(|_| CommandError::Delayed)?;
        let mut first = Pipeline::with_capacity(6);
        // One whose future was dropped may have left a key watched.
        first.cmd("UNWATCH").cmd("WATCH").arg(key);
        first.add_command(part_of(key, 0));
        for command in commands.cmd_iter().skip(1) {
            first.add_command(command.clone());
        }
        let Some(mut replies) = self.send_all(&first, deadline).await? else {
            return Ok(None);
        };
        let others = replies.split_off(3);
        let Some(Value::BulkString(mut value)) = replies.pop() else {
            return Err(unexpected_reply());
        };
        let (mut len, mut is_whole) = (value.len(), true);
        if len == 0 {
            return Ok(None);
        }
        while len == PART {
            is_whole = false;
            if Instant::now() >= last {
                return Err(CommandError::Timeout);
            }
            let mut next = Pipeline::with_capacity(1);
            next.add_command(part_of(key, value.len()));
            let replies = self.send_all(&next, deadline).await?;
            let Some(Value::BulkString(part)) = replies.and_then(|mut replies| replies.pop())
            else {
                return Ok(None);
            };
            len = part.len();
            value.extend_from_slice(&part);
        }
        let is_unchanged = is_whole || self.is_unchanged(deadline).await?;
        Ok(is_unchanged.then_some((value, others)))
    }

    /// Whether no watched key has changed.
    async fn is_unchanged(&self, deadline: Instant) -> Result<bool, CommandError> {
        let mut nothing = Pipeline::with_capacity(2);
        nothing.cmd("MULTI").cmd("EXEC");
        let replies = self.send_all(&nothing, deadline).await?;
        Ok(replies.is_some_and(|replies| matches!(replies.last(), Some(Value::Array(_)))))
    }

    /// Sends commands without following redirections. `None` if one is refused.
    async fn send_all(
        &self,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Option<Vec<Value>>, CommandError> {
        let mut socket = self.socket.connection.clone();
        let sending = pin!(socket.send_packed_commands(commands, 0, commands.len()));
        let replies = self.reply(sending, deadline).await?;
        let replies = replies.into_iter().map(Value::extract_error);
        Ok(replies.collect::<Result<_, _>>().ok())
    }
}

/// The command that reads the part from an offset on.
fn part_of(key: &str, offset: usize) -> Cmd {
    let mut part = cmd("GETRANGE");
    part.arg(key).arg(offset).arg(offset + PART - 1);
    part
}
