//! Transactions: what a write commits once its fences are raised.

/// A transaction that has changed its rows and holds their locks. Dropped, it must be rolled back.
///
/// Implemented for `tokio_postgres::Transaction` by the feature `tokio-postgres`, and for
/// `sqlx::Transaction` by the feature `sqlx`; for others, wrap a closure by [`CommitWith`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transaction that a write can commit",
    note = "enable the feature of its client, or wrap its COMMIT in a closure: `CommitWith`"
)]
pub trait Transaction: Send {
    /// The error of COMMIT. The change may have been made all the same.
    type Error;

    /// Sends COMMIT.
    fn commit(self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A transaction that is committed by a closure.
#[derive(Clone, Copy, Debug)]
pub struct CommitWith<F>(
    /// Sends COMMIT. Dropped without a call, it must roll back.
    pub F,
);

impl<F, Fut, E> Transaction for CommitWith<F>
where
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = Result<(), E>> + Send,
{
    type Error = E;

    fn commit(self) -> impl Future<Output = Result<(), E>> + Send {
        (self.0)()
    }
}

#[cfg(feature = "tokio-postgres")]
impl Transaction for tokio_postgres::Transaction<'_> {
    type Error = tokio_postgres::Error;

    fn commit(self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        tokio_postgres::Transaction::commit(self)
    }
}

#[cfg(feature = "sqlx")]
impl<DB: sqlx::Database> Transaction for sqlx::Transaction<'_, DB> {
    type Error = sqlx::Error;

    fn commit(self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        sqlx::Transaction::commit(self)
    }
}
