//! Failures to publish, classified by what a caller can do about them.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

use crate::observe::Failure;

/// A message was not confirmed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// There is no connection, or it was lost: the message may have been delivered.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// The broker blocks publishers: it is short of memory or disk.
    #[error("broker blocks publishers: resource alarm")]
    Blocked,
    /// The queue cannot be declared or accepts no message. No message of it was delivered.
    #[error("queue unusable: {0}")]
    Queue(String),
    /// The broker refuses this message, and would refuse it on any queue: it was not delivered.
    #[error("message refused: {0}")]
    Refused(String),
}

impl BrokerError {
    /// The failure, for metrics.
    pub(super) fn kind(&self) -> Failure {
        match self {
            Self::Unavailable(_) => Failure::Unavailable,
            Self::Blocked => Failure::Faulty,
            Self::Queue(_) | Self::Refused(_) => Failure::Refused,
        }
    }
}

/// The cause of a failed operation on a channel that carries one message.
pub(super) enum Cause {
    /// The connection was lost.
    Connection(String),
    /// The exchange does not exist.
    NoExchange,
    /// The exchange or the queue is not what was declared, or not permitted.
    Queue(String),
    /// The message exceeds a limit.
    Message(String),
}

impl Cause {
    /// Classifies an error of a publication: RabbitMQ reports a message that it refuses by closing
    /// the channel with 406 (or 311).
    pub(super) fn of(error: &lapin::Error) -> Self {
        let ErrorKind::ProtocolError(protocol) = error.kind() else {
            return match error.kind() {
                // The broker closed the channel while the message was still being sent.
                ErrorKind::InvalidChannelState(..) => Self::Message(error.to_string()),
                _ => Self::Connection(error.to_string()),
            };
        };
        let text = || format!("{} {}", protocol.get_id(), protocol.get_message());
        match protocol.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Self::NoExchange,
            AMQPErrorKind::Soft(
                AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::CONTENTTOOLARGE,
            ) => Self::Message(text()),
            AMQPErrorKind::Soft(_) => Self::Queue(text()),
            AMQPErrorKind::Hard(_) => Self::Connection(text()),
        }
    }
}
