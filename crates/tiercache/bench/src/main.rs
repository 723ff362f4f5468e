//! tiercache beside its rivals, in one run, on a Valkey of its own: `make bench-cache`. An argument
//! selects one of the parts:
//!
//! * `hits-in-memory` and `hits-in-valkey`;
//! * `stampede`: a thousand reads of one missing key, on two processes;
//! * `races`: a read that is in flight during a write on another process, 10,000 times each; how
//!   many keys are stale afterwards.

mod hits;
mod races;
mod replicas;
mod stampede;

use std::error::Error;

use devstack::Valkey;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let part = std::env::args().nth(1);
    let runs = |name| part.as_deref().is_none_or(|part| part == name);
    let valkey = Valkey::start().await?;
    let url = valkey.url();
    if runs("hits-in-memory") {
        hits::memory(&url).await?;
    }
    if runs("hits-in-valkey") {
        hits::valkey(&url).await?;
    }
    if runs("stampede") {
        stampede::run(&url).await?;
    }
    if runs("races") {
        races::run(&url).await?;
    }
    Ok(())
}
