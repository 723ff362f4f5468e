//! The configuration: environment variables, read once, every error reported together.
//!
//! Unknown variables are ignored: Kubernetes injects names such as
//! `FIA_API_PORT=tcp://…` beside ours.

mod groups;
mod reader;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use groups::{
    read_auth, read_cache, read_database, read_files, read_github, read_http, read_log,
    read_log_viewers, read_queue,
};
pub use reader::{InvalidSetting, Setting};
use reader::{Reader, parse_address};

/// Everything that an operator can set, with the list of what was read.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the API listens.
    pub bind: SocketAddr,
    /// Authentication is off and every caller is staff (development only).
    pub dev_mode: bool,
    /// Log level and format.
    pub log: Log,
    /// Who may call, and how that is found out.
    pub auth: Auth,
    /// PostgreSQL.
    pub database: Database,
    /// Valkey and the times to live.
    pub cache: Cache,
    /// Limits of the HTTP side.
    pub http: Http,
    /// RabbitMQ.
    pub queue: Queue,
    /// GitHub: scripts, their commit, runner images.
    pub github: GitHub,
    /// The file trees.
    pub files: Files,
    /// Limits of the live log streams.
    pub log_viewers: LogViewers,
    /// Where `/metrics` listens; `None` leaves it off.
    pub metrics_bind: Option<SocketAddr>,
    /// The settings in the order they were read, secrets hidden.
    pub settings: Vec<Setting>,
}

/// Logging.
#[derive(Debug, Clone)]
pub struct Log {
    /// The least level that is written: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Authentication and authorisation.
#[derive(Debug, Clone)]
pub struct Auth {
    /// The key of the programs that call the API; without one nobody is the API-key caller.
    pub api_key: Option<SecretString>,
    /// Base address of the auth service.
    pub service_url: String,
    /// The secret that tokens are signed with; with it they are verified here.
    pub jwt_secret: Option<SecretString>,
    /// The key under which the auth service tells a user's experiments.
    pub experiments_key: SecretString,
    /// Whether the counts want a token too.
    pub require_auth_counts: bool,
}

/// The database.
#[derive(Debug, Clone)]
pub struct Database {
    /// Host name or address of the pooler or the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Role.
    pub username: String,
    /// Its password.
    pub password: SecretString,
    /// Database.
    pub name: String,
    /// The most connections that this process opens.
    pub pool_size: usize,
    /// Whether and how the connection is encrypted.
    pub ssl_mode: SslMode,
    /// A direct connection for the change feed, which a pooler cannot carry.
    pub listen_url: Option<SecretString>,
}

/// How a database connection is encrypted, as libpq names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// When the server offers it; its certificate is not checked.
    Prefer,
    /// Always; its certificate is not checked.
    Require,
    /// Always; its certificate must be valid for the host.
    VerifyFull,
}

/// The cache.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Valkey's address; `None` where there is none. The live logs are there, too.
    pub valkey_url: Option<SecretString>,
    /// Whether Valkey is used as a cache.
    pub shared: bool,
    /// How long entries live.
    pub ttl: TimesToLive,
    /// Whether answers are kept in this process too.
    pub local: bool,
    /// The most memory for that, in bytes.
    pub local_max_bytes: u64,
    /// How long an answer may be served beyond its time to live while the database is away.
    pub max_stale: Duration,
    /// Whether a write is checked again for late fills of older replicas.
    pub migration_guard: bool,
}

/// The time to live of each class of entries; zero switches a class off.
#[derive(Debug, Clone)]
pub struct TimesToLive {
    /// Names of the instruments with live data.
    pub live_data_instruments: Duration,
    /// An instrument's live-data script.
    pub live_data_script: Duration,
    /// An instrument's specification.
    pub specification: Duration,
    /// An instrument's latest run.
    pub latest_run: Duration,
    /// A page of a job list.
    pub job_list: Duration,
    /// A job count.
    pub job_count: Duration,
    /// A user's experiments.
    pub experiments: Duration,
    /// The runner images.
    pub packages: Duration,
}

/// RabbitMQ, the way to the job controller.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub username: String,
    /// Its password.
    pub password: SecretString,
    /// Exchange and queue that jobs go to.
    pub egress_queue: String,
}

/// GitHub, where scripts and runner images come from.
#[derive(Debug, Clone)]
pub struct GitHub {
    /// Host of the raw script files.
    pub raw_url: String,
    /// Host of the API: commits and packages.
    pub api_url: String,
    /// Token for the packages.
    pub package_token: SecretString,
    /// Token that scripts carry and commit look-ups may carry.
    pub api_token: SecretString,
    /// How long a script is kept before GitHub is asked again.
    pub script_ttl: Duration,
    /// Folder that keeps the last known scripts; `None` keeps them in memory only.
    pub script_dir: Option<PathBuf>,
    /// Prefixes of the images that users may name; empty means any.
    pub allowed_runner_images: Vec<String>,
}

/// The file trees.
#[derive(Debug, Clone)]
pub struct Files {
    /// Root of the reduced data (read only).
    pub ceph_dir: PathBuf,
    /// Root of the uploaded files.
    pub extras_dir: PathBuf,
    /// The largest upload in bytes; 413 beyond.
    pub extras_max_bytes: u64,
    /// The most files that one archive is made of; 413 beyond.
    pub max_zip_files: usize,
    /// The most that those files may hold together, in bytes; 413 beyond.
    pub max_zip_bytes: u64,
}

/// Limits of the live log streams.
#[derive(Debug, Clone)]
pub struct LogViewers {
    /// Streams at once in this process; 503 beyond.
    pub max: usize,
    /// Streams at once of one user; 429 beyond.
    pub max_per_user: usize,
}

/// Limits of the HTTP side.
#[derive(Debug, Clone)]
pub struct Http {
    /// The largest body of a request, in bytes; 413 beyond.
    pub max_body_bytes: usize,
    /// The most requests under way at once; 503 beyond, the probes excepted.
    pub max_in_flight: usize,
    /// Origins that browsers may call from; empty means any.
    pub allowed_origins: Vec<String>,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Every setting that cannot be used.
    pub fn from_env() -> Result<Self, Vec<InvalidSetting>> {
        let vars: std::collections::HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::from_vars(&|name| vars.get(name).cloned())
    }

    /// Reads settings from a look-up function.
    ///
    /// # Errors
    /// Every setting that cannot be used.
    pub fn from_vars(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<InvalidSetting>> {
        let mut r = Reader::new(get);
        let config = Self {
            bind: r.address(
                "FIA_API_BIND",
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 80),
                "address and port of the API",
            ),
            dev_mode: r.flag(
                "DEV_MODE",
                false,
                "switches authentication off: every caller is staff; for a laptop only",
            ),
            log: read_log(&mut r),
            auth: read_auth(&mut r),
            database: read_database(&mut r),
            cache: read_cache(&mut r),
            http: read_http(&mut r),
            queue: read_queue(&mut r),
            github: read_github(&mut r),
            files: read_files(&mut r),
            log_viewers: read_log_viewers(&mut r),
            metrics_bind: r.optional(
                "FIA_API_METRICS_BIND",
                "address and port of /metrics (Prometheus text); unset = off",
                parse_address,
            ),
            settings: Vec::new(),
        };
        let allow_remote = r.flag(
            "DEV_MODE_ALLOW_REMOTE",
            false,
            "allows DEV_MODE on an address that other machines can reach",
        );
        if config.dev_mode && !config.bind.ip().is_loopback() && !allow_remote {
            r.bad(
                "DEV_MODE",
                "authentication would be off on an address that other machines can reach; \
                 bind to loopback (FIA_API_BIND) or set DEV_MODE_ALLOW_REMOTE=on",
            );
        }
        if r.errors.is_empty() {
            Ok(Self {
                settings: r.settings,
                ..config
            })
        } else {
            Err(r.errors)
        }
    }

    /// The settings with their defaults, as `--help` lists them.
    #[must_use]
    pub fn reference() -> Vec<Setting> {
        Self::from_vars(&|_| None).map_or_else(|_| Vec::new(), |config| config.settings)
    }

    /// Secrets that still have their well-known default value: a reason to warn.
    #[must_use]
    pub fn default_secrets(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        if let Some(key) = &self.auth.api_key
            && key.expose_secret() == "shh"
        {
            names.push("FIA_API_API_KEY");
        }
        if self.database.password.expose_secret() == "password" {
            names.push("DB_PASSWORD");
        }
        names
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyFull => "verify-full",
        })
    }
}
