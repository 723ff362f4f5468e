//! How a server does meanwhile: its liveness probe, and its memory.

use std::time::{Duration, Instant};

use devstack::{Api, tokens};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::client::Connection;
use super::resident_mib;
use crate::Outcome;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks at a server until it is asked what it saw.
pub(super) struct Watch {
    looking: JoinHandle<Result<Seen, String>>,
    enough: oneshot::Sender<()>,
}

/// What was seen.
pub(super) struct Seen {
    waits: Vec<Duration>,
    most_mib: f64,
}

impl Watch {
    pub(super) async fn start(api: &Api) -> Outcome<Self> {
        let bearer = format!("Bearer {}", tokens::API_KEY);
        let mut connection = Connection::open(api.addr(), &bearer).await?;
        let pid = api.server().pid();
        let (enough, mut ended) = oneshot::channel();
        let looking = tokio::spawn(async move {
            let mut seen = Seen {
                waits: Vec::new(),
                most_mib: 0.0,
            };
            while ended.try_recv().is_err() {
                let begun = Instant::now();
                let answer = connection.get("/healthz").await;
                seen.waits.push(begun.elapsed());
                if answer.map_err(|error| error.to_string())?.status != 200 {
                    return Err("/healthz was not 200".to_owned());
                }
                let mib = resident_mib(pid).map_err(|error| error.to_string())?;
                seen.most_mib = seen.most_mib.max(mib);
                sleep(PAUSE).await;
            }
            Ok(seen)
        });
        Ok(Self { looking, enough })
    }

    pub(super) async fn end(self) -> Outcome<Seen> {
        // It may have ended by itself, with an error.
        let _ = self.enough.send(());
        let mut seen = self.looking.await??;
        seen.waits.sort();
        Ok(seen)
    }
}

impl Seen {
    /// The head of the columns of [`row`](Self::row).
    pub(super) const HEAD: &str = "most MiB | probes | p99 ms | slowest ms |";
    pub(super) const RULE: &str = "---|---|---|---|";

    pub(super) fn row(&self) -> String {
        let ms = |wait: Option<&Duration>| wait.map_or(0.0, |wait| wait.as_secs_f64() * 1e3);
        format!(
            "{:.1} | {} | {:.1} | {:.1} |",
            self.most_mib,
            self.waits.len(),
            ms(self.waits.get(self.waits.len() * 99 / 100)),
            ms(self.waits.last()),
        )
    }
}
