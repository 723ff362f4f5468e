//! `devstack stand-ins`: runs the stand-ins for the auth service and GitHub.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use devstack::{Upstreams, materialise_files, tokens};

use crate::{Outcome, shutdown_signal};

#[derive(Args)]
pub(crate) struct Options {
    /// Address and port to listen on.
    #[arg(long, default_value = "127.0.0.1:8001")]
    bind: SocketAddr,
    /// Directory to write the sample files to, as `ceph` and `extras`.
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
}

pub(crate) async fn run(options: Options) -> Outcome {
    let shutdown = shutdown_signal()?;
    if let Some(dir) = &options.files {
        materialise_files(dir)?;
    }
    let stand_ins = Upstreams::start_on(options.bind).await?;
    eprintln!(
        "Stand-ins listen on {}.\nSTAFF_TOKEN={}\nUSER_TOKEN={}",
        stand_ins.url(),
        tokens::staff(),
        tokens::user()
    );
    shutdown.await;
    Ok(())
}
