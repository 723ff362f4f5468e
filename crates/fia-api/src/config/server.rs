//! Settings of the server itself: listeners, log, limits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use super::kinds::Choice;
use super::macros::settings;

/// The shortest key for actions, in bytes: a shorter one can be guessed.
const MIN_ADMIN_KEY: usize = 16;
/// The longest shutdown delay in seconds; supervisors kill long before.
const MAX_SHUTDOWN_DELAY: u64 = 600;

settings! {
    /// Listeners and modes.
    "Server"
    pub struct Server {
        /// Address and port of the API.
        pub bind: SocketAddr = address("FIA_API_BIND", SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 80));
        /// Address and port of /metrics (Prometheus text format); unset = off.
        pub metrics_bind: Option<SocketAddr> = optional_address("FIA_API_METRICS_BIND");
        /// Address and port of the operator's page; unset = off. Never expose it to users.
        pub admin_bind: Option<SocketAddr> = optional_address("FIA_API_ADMIN_BIND");
        /// Key for actions on the operator's page, of at least 16 bytes; unset = actions need a staff
        /// token.
        pub admin_key: Option<SecretString> = optional_key("FIA_API_ADMIN_KEY", MIN_ADMIN_KEY);
        /// Seconds after SIGTERM for which requests are still served while /ready is 503; longer than
        /// load balancers take to notice.
        pub shutdown_delay: Duration = seconds_up_to("FIA_API_SHUTDOWN_DELAY", 0, MAX_SHUTDOWN_DELAY);
        /// Disables authentication: every caller is staff. For development only.
        pub dev_mode: bool = flag("DEV_MODE", false);
        /// Allows `DEV_MODE` on an address that other machines can reach.
        pub dev_mode_allow_remote: bool = flag("DEV_MODE_ALLOW_REMOTE", false);
    }
}

settings! {
    /// Logging.
    "Log"
    pub struct Log {
        /// Least severe level that is logged: error, warn, info, debug or trace. The access log is
        /// at info.
        pub level: tracing::Level = log_level("LOG_LEVEL", tracing::Level::INFO);
        /// Format of the log.
        pub format: LogFormat = choice("LOG_FORMAT", LogFormat::Text);
    }
}

settings! {
    /// Limits of HTTP requests.
    "HTTP"
    pub struct Http {
        /// Largest body of a request in bytes; 413 beyond.
        pub max_body_bytes: usize = number("MAX_BODY_BYTES", 4_194_304);
        /// Largest body in bytes of a job update by a caller with the API key: the job watcher
        /// repeats a refused one forever.
        pub max_program_body_bytes: usize = number("MAX_PROGRAM_BODY_BYTES", 67_108_864);
        /// Most requests in flight, probes excepted; 503 beyond.
        pub max_in_flight: usize = number("MAX_IN_FLIGHT", 1000);
        /// Most request bodies that are received at once; beyond, the oldest of the client with
        /// the most is refused with 503.
        pub max_receiving: usize = number_in("MAX_RECEIVING", 500, 1..=1_000_000);
        /// Most requests a second of one address to routes that need no token, cache hits
        /// excepted; 429 beyond; 0 = no limit.
        pub open_rate_limit: u32 = number("OPEN_RATE_LIMIT", 0);
        /// Origins that browsers may call from, separated by commas; unset = any.
        pub allowed_origins: Vec<String> = list("ALLOWED_ORIGINS");
        /// Addresses or networks (10.0.0.0/8) of proxies, separated by commas, whose
        /// X-Forwarded-For names the client in the log; unset = none.
        pub trusted_proxies: Vec<IpNet> = networks("TRUSTED_PROXIES");
    }
}

settings! {
    /// Limits of live log streams.
    "Live logs"
    pub struct LogViewers {
        /// Most live log streams at once in this process; 503 beyond.
        pub max: usize = number("MAX_LOG_VIEWERS", 2000);
        /// Most live log streams at once of one user; 429 beyond.
        pub max_per_user: usize = number("MAX_LOG_VIEWERS_PER_USER", 20);
    }
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
