//! The state that handlers share.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::admission::Admission;
use crate::auth::Authenticator;
use crate::broker::Broker;
use crate::cached::{Cached, KeyStatistics, Upstreams};
use crate::config::Config;
use crate::config::Http;
use crate::files::Files;
use crate::model::openapi;
use crate::observe::{Calls, Dependency};
use crate::ops::{Autoreduction, HeldRequests, Jobs, Outbox, Readiness};
use crate::scripts::Scripts;
use crate::store::list_table::ListTableWatch;
use crate::store::{ChangeFeed, Db, Reachability};
use crate::streams::LogStreams;
use crate::traces::{Traces, TracesError};
use crate::upstream::{Experiments, Packages, ScriptRepository, UpstreamError};

/// The services behind the routes; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Services>);

/// The services behind the routes.
pub struct Services {
    /// Authentication of callers.
    pub authenticator: Authenticator,
    /// The cached reads, and the writes that invalidate them.
    pub cached: Cached,
    /// The database.
    pub db: Db,
    /// The check of the list table.
    pub list_table: ListTableWatch,
    /// The file trees.
    pub files: Files,
    /// The live logs.
    pub logs: LogStreams,
    /// New jobs.
    pub jobs: Jobs,
    /// New jobs for runs that were just recorded.
    pub autoreduction: Autoreduction,
    /// Whether this replica may receive requests.
    pub readiness: Readiness,
    /// Requests that wait for the end of an outage.
    pub held: HeldRequests,
    /// Limits of what may be in progress at once.
    pub admission: Admission,
    /// Limits of a request.
    pub limits: Http,
    /// Whether job counts require a token.
    pub require_auth_counts: bool,
    /// The OpenAPI document as served.
    pub openapi: Bytes,
    /// The tracer of requests; `None` if no collector is configured.
    pub traces: Option<Traces>,
    /// The calls of each dependency but Valkey.
    pub dependencies: Vec<Dependency>,
}

/// The reason why the state cannot be created.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StateError(String);

impl From<UpstreamError> for StateError {
    fn from(error: UpstreamError) -> Self {
        Self(error.to_string())
    }
}

impl From<TracesError> for StateError {
    fn from(error: TracesError) -> Self {
        Self(error.to_string())
    }
}

impl From<tiercache::ConfigError> for StateError {
    fn from(error: tiercache::ConfigError) -> Self {
        match error {
            tiercache::ConfigError::Url(error) => Self(format!("VALKEY_URL: {error}")),
            error => Self(error.to_string()),
        }
    }
}

impl AppState {
    /// Creates all services. Dependencies are optional at startup and used once reachable. Must be
    /// called within a Tokio runtime, in which the cache keeps its connection.
    ///
    /// # Errors
    /// When a library cannot be initialised or a URL cannot be parsed.
    pub fn new(config: &Config) -> Result<Self, StateError> {
        let db = Db::new(&config.database).map_err(|error| StateError(error.to_string()))?;
        let reachability = Reachability::start(&config.database);
        let reachability = reachability.map_err(|error| StateError(error.to_string()))?;
        let upstreams = Upstreams {
            experiments: Experiments::new(&config.auth)?,
            packages: Packages::new(&config.github)?,
        };
        let scripts = ScriptRepository::new(&config.github)?;
        let broker = Broker::new(&config.queue);
        let authenticator = Authenticator::new(config)?;
        let calls = |name, operation, calls: &Arc<Calls>| Dependency {
            name,
            operation,
            calls: Arc::clone(calls),
        };
        let dependencies = vec![
            calls("postgresql", "statement", &db.metrics().calls),
            calls("rabbitmq", "publish", broker.calls()),
            calls("auth_service", "verify", authenticator.service_calls()),
            calls("auth_service", "experiments", upstreams.experiments.calls()),
            calls("github", "scripts", scripts.calls()),
            calls("github", "packages", upstreams.packages.calls()),
        ];
        let feed = ChangeFeed::start(&config.database)
            .map_err(|error| StateError(format!("DB_LISTEN_URL: {error}")))?;
        let readiness = Readiness::default();
        let held = HeldRequests::new(reachability.clone(), readiness.clone());
        let is_operated = config.server.admin_bind.is_some();
        let keys = is_operated.then(Arc::<KeyStatistics>::default);
        let database = db.clone();
        let cached = Cached::new(&config.cache, database, reachability, upstreams, feed, keys)?;
        let groups = cached.job_groups();
        let max_message = config.queue.max_message_bytes;
        let outbox = Outbox::new(db.clone(), broker, groups.clone(), max_message);
        let queue = config.queue.egress_queue.clone();
        let github = &config.github;
        let images = github.allowed_runner_images.clone();
        let scripts = Scripts::new(scripts, github);
        let token = github.api_token.clone();
        Ok(Self(Arc::new(Services {
            jobs: Jobs::new(db.clone(), groups.clone(), outbox, queue, images),
            autoreduction: Autoreduction::new(
                db.clone(),
                groups.clone(),
                scripts,
                token,
                config.server.dev_mode,
            ),
            authenticator,
            cached,
            list_table: ListTableWatch::start(db.clone()),
            db,
            files: Files::new(&config.files),
            logs: LogStreams::new(config)
                .map_err(|error| StateError(format!("VALKEY_URL: {error}")))?,
            readiness,
            held,
            admission: Admission::new(&config.http),
            limits: config.http.clone(),
            require_auth_counts: config.auth.require_auth_counts,
            openapi: openapi::document(config.server.dev_mode),
            traces: Traces::start(&config.traces)?,
            dependencies,
        })))
    }
}

impl Deref for AppState {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}
