//! Probes of the dependencies that are called for requests only: RabbitMQ, the auth service and
//! GitHub.
//!
//! While nobody uses a dependency, no call finds its outage, or that it is over. So while somebody
//! looks at the page, and only then, each is asked twice a second for something that costs it
//! nothing. Requests and metrics know nothing of it.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::broker;
use crate::config::Config;
use crate::observe::{Health, HealthSnapshot};
use crate::upstream;

/// The interval between two probes, from the start of one to that of the next.
const INTERVAL: Duration = Duration::from_millis(500);
/// The time limit of a probe.
const LIMIT: Duration = Duration::from_millis(900);
/// That of the first one, which has to connect, and before which nothing is shown.
const FIRST_LIMIT: Duration = Duration::from_secs(3);
/// How long after a request for the page somebody is taken to look at it.
const ATTENTION: Duration = Duration::from_secs(10);

/// The probes, and what they found.
pub(super) struct Probes {
    /// When the page was last requested.
    requested: watch::Sender<Option<Instant>>,
    rabbitmq: Findings,
    auth_service: Findings,
    github: Findings,
}

/// What the probes of a dependency found; `None` while nobody looks.
#[derive(Default)]
struct Findings(Mutex<Option<Found>>);

#[derive(Default)]
struct Found {
    health: Health,
    answered: Option<SystemTime>,
}

/// What the probes of a dependency found.
#[derive(Debug, Clone)]
pub(super) struct Probed {
    /// The outcome of the last probe.
    pub(super) health: HealthSnapshot,
    /// When a probe last got a response.
    pub(super) answered: Option<SystemTime>,
}

impl Probes {
    pub(super) fn new() -> Self {
        Self {
            requested: watch::Sender::new(None),
            rabbitmq: Findings::default(),
            auth_service: Findings::default(),
            github: Findings::default(),
        }
    }

    /// Notes that somebody looks at the page.
    pub(super) fn request(&self) {
        self.requested.send_replace(Some(Instant::now()));
    }

    /// What the probes of the dependency with this name found.
    pub(super) fn found(&self, id: &str) -> Option<Probed> {
        let findings = match id {
            "rabbitmq" => &self.rabbitmq,
            "auth_service" => &self.auth_service,
            "github" => &self.github,
            _ => return None,
        };
        findings.0.lock().as_ref().map(|found| Probed {
            health: found.health.snapshot(),
            answered: found.answered,
        })
    }

    /// Probes while somebody looks. Never ends.
    pub(super) async fn run(&self, config: &Config) {
        let mut broker = broker::Probe::new(&config.queue);
        // Their clients are configured as those of requests, which were created before.
        let auth_service = upstream::Probe::auth_service(&config.auth).ok();
        let github = upstream::Probe::github(&config.github).ok();
        tokio::join!(
            self.probe_broker(&mut broker),
            self.probe_service(auth_service, &self.auth_service),
            self.probe_service(github, &self.github),
        );
    }

    async fn probe_broker(&self, probe: &mut broker::Probe) {
        loop {
            self.wait_until_requested().await;
            while self.is_requested() {
                self.rabbitmq.record(probe.check()).await;
            }
            probe.disconnect();
            self.rabbitmq.forget();
        }
    }

    async fn probe_service(&self, probe: Option<upstream::Probe>, findings: &Findings) {
        let Some(probe) = probe else { return };
        loop {
            self.wait_until_requested().await;
            while self.is_requested() {
                findings.record(probe.check()).await;
            }
            findings.forget();
        }
    }

    fn is_requested(&self) -> bool {
        is_recent(&self.requested.borrow())
    }

    async fn wait_until_requested(&self) {
        // The sender is in `self`, so this cannot fail.
        let _ = self.requested.subscribe().wait_for(is_recent).await;
    }
}

fn is_recent(requested: &Option<Instant>) -> bool {
    requested.is_some_and(|at| at.elapsed() < ATTENTION)
}

impl Findings {
    /// Awaits a probe within its limit, records its outcome, and waits until the next one is due.
    async fn record<E: Display>(&self, probe: impl Future<Output = Result<(), E>>) {
        let start = Instant::now();
        let is_first = self.0.lock().is_none();
        let limit = if is_first { FIRST_LIMIT } else { LIMIT };
        let outcome = timeout(limit, probe).await;
        {
            let mut found = self.0.lock();
            let found = found.get_or_insert_default();
            match outcome {
                Ok(Ok(())) => {
                    found.health.succeeded();
                    found.answered = Some(SystemTime::now());
                }
                Ok(Err(error)) => found.health.failed(error),
                Err(_) => found.health.failed("no response in time"),
            }
        }
        sleep_until(start + INTERVAL).await;
    }

    fn forget(&self) {
        *self.0.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn attention_ends_after_the_last_request() {
        let probes = Probes::new();
        assert!(!probes.is_requested());
        probes.request();
        tokio::time::advance(ATTENTION - Duration::from_millis(1)).await;
        assert!(probes.is_requested());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!probes.is_requested());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_without_a_response_fails_in_time() {
        let findings = Findings::default();
        let silent = std::future::pending::<Result<(), String>>;
        let start = Instant::now();
        findings.record(silent()).await;
        assert_eq!(start.elapsed(), FIRST_LIMIT);
        findings.record(silent()).await;
        assert_eq!(start.elapsed(), FIRST_LIMIT + LIMIT);
        findings.record(async { Ok::<_, String>(()) }).await;
        assert_eq!(start.elapsed(), FIRST_LIMIT + LIMIT + INTERVAL);
        let found = findings.0.lock().take().unwrap();
        assert_eq!(found.health.snapshot().up, Some(true));
        assert!(found.health.snapshot().last_failure.is_some());
        assert!(found.answered.is_some());
    }
}
