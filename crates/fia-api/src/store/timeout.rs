//! The timeout of every response of PostgreSQL.

use std::time::Duration;

use tokio::time::timeout;

use crate::store::StoreError;

/// Client-side timeout for a response, for a server or pooler that hangs.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_millis(3500);

/// Awaits a response of the server for at most [`RESPONSE_TIMEOUT`].
pub(super) async fn with_timeout<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    timeout(RESPONSE_TIMEOUT, work)
        .await
        .map_err(|_| StoreError::timeout())?
        .map_err(StoreError::from)
}
