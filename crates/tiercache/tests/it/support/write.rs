//! Writes whose transactions raise their fence.

use std::convert::Infallible;
use std::future::Future;

use tiercache::{CommitWith, Failure, Fenced, Key, Write};
use tokio::sync::oneshot;

use crate::support::{Database, NAME, Rows};

/// The fence of a test's write. The transaction of the tests' database commits by itself.
pub(crate) struct WriteFence {
    write: Write,
    key: Key,
    also: Vec<Key>,
    raised: oneshot::Sender<Fenced<Committing>>,
}

type Committing = CommitWith<fn() -> std::future::Ready<Result<(), Infallible>>>;

impl WriteFence {
    pub(crate) async fn raise(self) {
        let transaction: Committing = CommitWith(|| std::future::ready(Ok(())));
        let fenced = self.write.fence(transaction, [self.key]).await;
        let _ = self.raised.send(fenced.also_invalidate(self.also));
    }
}

impl Rows {
    /// A write whose transaction must raise its fence to succeed.
    pub(crate) async fn write<T, W, F, Fut>(
        &self,
        name: &str,
        also: Vec<Key>,
        transaction: F,
    ) -> Result<T, Failure<W>>
    where
        F: FnOnce(WriteFence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, W>> + Send + 'static,
        T: Send + 'static,
        W: Send + 'static,
    {
        let key = self.key(name);
        let write = async move |write| {
            let (raised, fenced) = oneshot::channel();
            let fence = WriteFence {
                write,
                key,
                also,
                raised,
            };
            let result = transaction(fence).await?;
            let fenced = fenced.await.expect("the fence was not raised");
            match fenced.commit().await {
                Ok(committed) => Ok(committed.with(result)),
                Err(never) => match never {},
            }
        };
        let cache = self.cache();
        let write = cache.write(write);
        limited::waiting(format!("a write of {name}"), write).await
    }
}

/// Updates the row in a transaction with a write fence.
pub(crate) async fn put(rows: &Rows, database: &Database) -> u64 {
    put_named(rows, NAME, database).await
}

/// As [`put`], for the row of another name.
pub(crate) async fn put_named(rows: &Rows, name: &str, database: &Database) -> u64 {
    let database = database.clone();
    rows.write(name, Vec::new(), move |fence| async move {
        database.update(fence).await
    })
    .await
    .unwrap()
}
