//! What the programs in `tests/programs` share. Each of them uses the cache wrongly in one way,
//! and must not compile; the file beside it has the compiler's message.

use std::io;

use tiercache::{Cache, Namespace, Transaction};

/// A namespace of users.
pub type Users = Namespace<u64, String, io::Error>;

/// A transaction of some database client.
#[derive(Debug)]
pub struct Update;

impl Update {
    /// Executes a statement.
    ///
    /// # Errors
    /// Never.
    pub async fn execute(&mut self, _statement: &str) -> io::Result<()> {
        std::future::ready(Ok(())).await
    }
}

impl Transaction for Update {
    type Error = io::Error;

    async fn commit(self) -> io::Result<()> {
        Ok(())
    }
}

/// A cache without a shared level.
///
/// # Errors
/// Outside a Tokio runtime.
pub fn cache() -> Result<Cache, tiercache::ConfigError> {
    Cache::local_builder().connect()
}
