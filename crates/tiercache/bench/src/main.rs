//! tiercache beside its rivals, in one run, on a Valkey of its own: `make bench-cache`.
//!
//! * `races`: a read that is in flight during a write on another process, 10,000 times each; how
//!   many keys are stale afterwards.
//! * `hits`: hits in memory and in Valkey.
//! * `stampede`: a thousand reads of one missing key, on two processes.

mod hits;
mod races;
mod replicas;
mod stampede;

use std::error::Error;

use devstack::Valkey;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let valkey = Valkey::start().await?;
    hits::run(&valkey.url()).await?;
    stampede::run(&valkey.url()).await?;
    races::run(&valkey.url()).await
}
