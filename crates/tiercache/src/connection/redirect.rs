//! The redirections of a cluster: MOVED, a slot is on another node; ASK, a key of a slot that is
//! moving is there already. In both cases nothing was executed, so to follow is no retry.

use std::pin::pin;

use redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};

use crate::connection::{CommandError, Connection, unexpected_reply};
use crate::seams::Instant;

/// The most redirections of a command.
const MAX: usize = 5;

impl Connection {
    pub(super) fn is_redirected(&self, error: &RedisError) -> bool {
        self.redirects.is_some() && error.redirect_node().is_some()
    }

    /// Sends a command to the nodes that the redirections name.
    pub(super) async fn follow(
        &self,
        command: &Cmd,
        mut error: RedisError,
        deadline: Instant,
    ) -> Result<Value, CommandError> {
        for _ in 0..MAX {
            let (Some(redirects), Some((address, slot))) = (&self.redirects, error.redirect_node())
            else {
                break;
            };
            let is_moved = error.kind() == ErrorKind::Server(ServerErrorKind::Moved);
            let target = redirects.follow(address, slot, is_moved);
            let target = target.ok_or(CommandError::CircuitOpen)?;
            error = match target
                .send(command, !is_moved, deadline)
                .await?
                .extract_error()
            {
                Ok(reply) => return Ok(reply),
                Err(error) if target.is_redirected(&error) => error,
                Err(error) => return Err(target.server_error(error)),
            };
        }
        Err(CommandError::Server(error))
    }

    /// As [`call`](Self::call), without following a redirection: an error.
    pub(super) async fn call_here(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, CommandError> {
        let reply = self.send(command, false, deadline).await?;
        reply
            .extract_error()
            .map_err(|error| self.server_error(error))
    }

    async fn send(
        &self,
        command: &Cmd,
        is_asking: bool,
        deadline: Instant,
    ) -> Result<Value, CommandError> {
        let mut socket = self.socket.connection.clone();
        if !is_asking {
            let sending = pin!(socket.send_packed_command(command));
            return self.reply(sending, deadline).await;
        }
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("ASKING").add_command(command.clone());
        let sending = pin!(socket.send_packed_commands(&commands, 0, 2));
        let replies = self.reply(sending, deadline).await?;
        replies.into_iter().nth(1).ok_or_else(unexpected_reply)
    }

    /// The results of a pipeline, after redirections.
    pub(super) async fn results(
        &self,
        commands: &Pipeline,
        replies: Vec<Value>,
        deadline: Instant,
    ) -> Vec<Result<Value, CommandError>> {
        let mut results = Vec::with_capacity(replies.len());
        for (command, reply) in commands.cmd_iter().zip(replies) {
            results.push(match reply.extract_error() {
                Ok(reply) => Ok(reply),
                Err(error) if self.is_redirected(&error) => {
                    Box::pin(self.follow(command, error, deadline)).await
                }
                Err(error) => Err(self.server_error(error)),
            });
        }
        results
    }
}
