//! A sentinel: which server is the primary.

use crate::valkey::resp::{Args, Reply};

/// What a sentinel knows.
#[derive(Clone)]
pub(crate) struct Named {
    /// The port of the primary.
    pub(crate) port: usize,
    /// The number of the last failover.
    pub(crate) epoch: u64,
}

impl Named {
    /// Executes SENTINEL.
    pub(super) fn execute(&self, args: &Args) -> Reply {
        let owned = |text: String| Reply::Bulk(text.into());
        let port = || owned(self.port.to_string());
        match args.get(1).map(|which| which.to_ascii_uppercase()) {
            Some(which) if which == b"GET-MASTER-ADDR-BY-NAME" => {
                Reply::Array(vec![Reply::text("valkey"), port()])
            }
            Some(which) if which == b"MASTER" => Reply::Map(vec![
                (Reply::text("name"), Reply::text("main")),
                (Reply::text("ip"), Reply::text("valkey")),
                (Reply::text("port"), port()),
                (Reply::text("config-epoch"), owned(self.epoch.to_string())),
            ]),
            _ => Reply::error("ERR unknown subcommand"),
        }
    }
}
