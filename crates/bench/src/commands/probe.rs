//! Liveness probes of a server under load, and its memory.

use std::time::{Duration, Instant};

use devstack::{Api, tokens};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::client::Connection;
use super::resident_mib;
use crate::Outcome;

/// The pause between two probes.
const PAUSE: Duration = Duration::from_millis(10);

/// A task that probes a server until it is ended.
pub(super) struct Probes {
    task: JoinHandle<Result<ProbeReport, String>>,
    stop: oneshot::Sender<()>,
}

/// The result of the probes.
pub(super) struct ProbeReport {
    waits: Vec<Duration>,
    max_mib: f64,
}

impl Probes {
    pub(super) async fn start(api: &Api) -> Outcome<Self> {
        let bearer = format!("Bearer {}", tokens::API_KEY);
        let mut connection = Connection::open(api.addr(), &bearer).await?;
        let pid = api.server().pid();
        let (stop, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut report = ProbeReport {
                waits: Vec::new(),
                max_mib: 0.0,
            };
            while ended.try_recv().is_err() {
                let begun = Instant::now();
                let response = connection.get("/healthz").await;
                report.waits.push(begun.elapsed());
                if response.map_err(|error| error.to_string())?.status != 200 {
                    return Err("/healthz did not return 200".to_owned());
                }
                let mib = resident_mib(pid).map_err(|error| error.to_string())?;
                report.max_mib = report.max_mib.max(mib);
                sleep(PAUSE).await;
            }
            Ok(report)
        });
        Ok(Self { task, stop })
    }

    pub(super) async fn end(self) -> Outcome<ProbeReport> {
        // The task may have ended with an error, which is returned below.
        let _ = self.stop.send(());
        let mut report = self.task.await??;
        report.waits.sort();
        Ok(report)
    }
}

impl ProbeReport {
    /// The header of the columns of [`row`](Self::row).
    pub(super) const HEAD: &str = "max MiB | probes | p99 ms | slowest ms |";
    pub(super) const RULE: &str = "---|---|---|---|";

    /// The most memory of the server, in MiB.
    pub(super) fn max_mib(&self) -> f64 {
        self.max_mib
    }

    /// The 99th percentile of the waits.
    pub(super) fn p99(&self) -> Duration {
        let wait = self.waits.get(self.waits.len() * 99 / 100);
        wait.copied().unwrap_or_default()
    }

    pub(super) fn row(&self) -> String {
        let ms = |wait: Option<&Duration>| wait.map_or(0.0, |wait| wait.as_secs_f64() * 1e3);
        format!(
            "{:.1} | {} | {:.1} | {:.1} |",
            self.max_mib,
            self.waits.len(),
            ms(self.waits.get(self.waits.len() * 99 / 100)),
            ms(self.waits.last()),
        )
    }
}
