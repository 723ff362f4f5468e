//! The configuration: environment variables, parsed once at the start; all errors are reported
//! together.
//!
//! A setting is declared once, in the struct of its group (see `macros.rs`): variable, default,
//! range, help and field. `--help` and `check-config` follow from the declarations.
//!
//! Unknown variables are ignored: Kubernetes injects names such as `FIA_API_PORT=tcp://…`.

mod cache;
mod hosts;
mod kinds;
mod listing;
mod macros;
mod misspelt;
mod reader;
mod redact;
mod server;
mod services;
mod storage;
mod traces;

use std::collections::BTreeMap;

use secrecy::ExposeSecret;

use reader::Reader;

pub use cache::{Cache, ColumnTtls, Ttls};
pub use hosts::Host;
pub use reader::{InvalidSetting, Setting};
pub use server::{Http, Log, LogFormat, LogViewers, Server};
pub use services::{Auth, GitHub, Queue};
pub use storage::{Database, Files, Prepared, SslMode};
pub use traces::{OtlpProtocol, Propagator, TraceExporter, TraceSampler, Traces};

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners and modes.
    pub server: Server,
    /// Log level and format.
    pub log: Log,
    /// Traces.
    pub traces: Traces,
    /// Authentication and authorisation.
    pub auth: Auth,
    /// PostgreSQL.
    pub database: Database,
    /// Valkey, the cache in this process, and the TTLs.
    pub cache: Cache,
    /// Limits of HTTP requests.
    pub http: Http,
    /// RabbitMQ.
    pub queue: Queue,
    /// GitHub: scripts, their commit, runner images.
    pub github: GitHub,
    /// The file trees.
    pub files: Files,
    /// Limits of live log streams.
    pub log_viewers: LogViewers,
    /// Every setting with its value in force, by section; secrets are hidden.
    pub settings: Vec<Setting>,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Every setting that cannot be used.
    pub fn from_env() -> Result<Self, Vec<InvalidSetting>> {
        let variables = environment();
        Self::from_vars(&|name| variables.get(name).cloned())
    }

    /// Reads settings from a look-up function.
    ///
    /// # Errors
    /// Every setting that cannot be used.
    pub fn from_vars(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<InvalidSetting>> {
        let mut reader = Reader::new(get);
        let r = &mut reader;
        let config = Self {
            server: Server::read(r),
            log: Log::read(r),
            traces: Traces::read(r),
            auth: Auth::read(r),
            database: Database::read(r),
            cache: Cache::read(r),
            http: Http::read(r),
            queue: Queue::read(r),
            github: GitHub::read(r),
            files: Files::read(r),
            log_viewers: LogViewers::read(r),
            settings: Vec::new(),
        };
        check_dev_mode(&config.server, r);
        if reader.errors.is_empty() {
            let settings = reader.settings;
            Ok(Self { settings, ..config })
        } else {
            Err(reader.errors)
        }
    }

    /// The settings with their defaults, as `--help` lists them.
    #[must_use]
    pub fn reference() -> Vec<Setting> {
        Self::from_vars(&|_| None).map_or_else(|_| Vec::new(), |config| config.settings)
    }

    /// The variables that set the TTL of a cached read.
    #[must_use]
    pub fn ttl_variables() -> Vec<&'static str> {
        let settings = Self::reference().into_iter();
        let ttls = settings.filter(|setting| setting.section == cache::TTL_SECTION);
        ttls.map(|setting| setting.name).collect()
    }

    /// The variables of the environment that are probably misspelt settings, each with the
    /// setting that it resembles.
    #[must_use]
    pub fn misspelt(&self) -> Vec<(String, &'static str)> {
        let names: Vec<&'static str> = self.settings.iter().map(|setting| setting.name).collect();
        let variables = environment().into_keys();
        let misspelt = variables.filter_map(|variable| {
            let name = misspelt::meant(&variable, &names)?;
            Some((variable, name))
        });
        misspelt.collect()
    }

    /// Secrets that still have their well-known default value.
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

/// The variables of the process that are valid UTF-8.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn check_dev_mode(server: &Server, reader: &mut Reader<'_>) {
    if server.dev_mode && !server.bind.ip().is_loopback() && !server.dev_mode_allow_remote {
        reader.error(
            "DEV_MODE",
            "authentication would be off on an address that other machines can reach; \
             bind to loopback (FIA_API_BIND) or set DEV_MODE_ALLOW_REMOTE=on",
        );
    }
}
