//! A transaction that has changed a row.

use std::sync::Arc;

use crate::store::StoreError;
use crate::store::connection::Connection;
use crate::store::metrics::DatabaseMetrics;
use crate::store::timeout::with_timeout;

/// A transaction that has changed a row, which is locked. Dropped, it is rolled back.
///
/// After an error of its commit the change may have been made: the response to `COMMIT` can be
/// lost.
pub struct Update {
    connection: Connection,
    metrics: Arc<DatabaseMetrics>,
}

impl Update {
    pub(super) fn new(connection: Connection, metrics: Arc<DatabaseMetrics>) -> Self {
        Self {
            connection,
            metrics,
        }
    }
}

impl tiercache::Transaction for Update {
    type Error = StoreError;

    async fn commit(self) -> Result<(), StoreError> {
        let work = with_timeout(self.connection.client().batch_execute("COMMIT"));
        self.metrics.observe_statement("COMMIT", work).await?;
        self.connection.release();
        Ok(())
    }
}
