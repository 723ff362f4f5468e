//! The timeouts of statements and of their responses.

use std::time::Duration;

use tokio::time::timeout;

use crate::store::StoreError;

/// Client-side timeout for a response, for a server or pooler that hangs.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_millis(3500);

/// The timeout of a statement by the server, with small parameters.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3);
/// How much longer both are for each MiB of parameters, which a busy server takes to receive, to
/// compress and to store.
const PER_MIB: Duration = Duration::from_millis(125);

/// How long a statement may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimit {
    extension: Duration,
}

impl TimeLimit {
    /// The limit of a statement whose parameters have this many bytes.
    pub(super) fn of_parameters(bytes: usize) -> Self {
        let mib = u32::try_from(bytes / (1024 * 1024)).unwrap_or(u32::MAX);
        Self {
            extension: PER_MIB.saturating_mul(mib),
        }
    }

    /// How much longer it is than that of small parameters.
    pub(super) fn extension(self) -> Duration {
        self.extension
    }

    /// The limit by the server.
    pub(super) fn of_statement(self) -> Duration {
        STATEMENT_TIMEOUT + self.extension
    }

    /// Awaits the response for at most this limit and the time on the network.
    pub(super) async fn apply<T>(
        self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        timeout(RESPONSE_TIMEOUT + self.extension, work)
            .await
            .map_err(|_| StoreError::timeout())?
            .map_err(StoreError::from)
    }
}

/// Awaits the response to a statement with small parameters.
pub(super) fn with_timeout<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> impl Future<Output = Result<T, StoreError>> {
    TimeLimit::of_parameters(0).apply(work)
}
