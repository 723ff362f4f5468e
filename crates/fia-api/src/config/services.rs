//! Settings of the services that this server calls: auth service, RabbitMQ, GitHub.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::hosts::Host;
use super::macros::settings;

settings! {
    /// Authentication and authorisation.
    "Authentication"
    pub struct Auth {
        /// Key of programs that call the API (run-detection, the job controller).
        pub api_key: Option<SecretString> = optional_secret("FIA_API_API_KEY");
        /// Base URL of the auth service.
        pub service_url: String = base_url("AUTH_API_URL", "http://localhost:8001");
        /// Secret that tokens are signed with (HS256); if set, tokens are verified without the auth
        /// service. During a rotation two, the new and the old one, separated by a comma and of at
        /// least 8 bytes each.
        pub jwt_secret: Option<SecretString> = optional_secret("JWT_SECRET");
        /// Key for the auth service's experiments, where `FIA_AUTH_API_KEY` is unset.
        pub legacy_experiments_key: SecretString = secret("AUTH_API_KEY", "shh");
        /// Key for the auth service's experiments.
        pub own_experiments_key: Option<SecretString> = optional_secret("FIA_AUTH_API_KEY");
        /// Whether job counts require a token.
        pub require_auth_counts: bool = flag("REQUIRE_AUTH_COUNTS", false);
    }
}

impl Auth {
    /// The key for the auth service's experiments: deployments set `FIA_AUTH_API_KEY`, the older
    /// server reads `AUTH_API_KEY`.
    #[must_use]
    pub fn experiments_key(&self) -> &SecretString {
        self.own_experiments_key
            .as_ref()
            .unwrap_or(&self.legacy_experiments_key)
    }
}

settings! {
    /// RabbitMQ, which passes jobs to the job controller.
    "RabbitMQ"
    pub struct Queue {
        /// Hosts of RabbitMQ, separated by commas and tried in turn; each may have a port of its own.
        pub hosts: Vec<Host> = hosts("QUEUE_HOST", "localhost");
        /// Port of RabbitMQ, where a host has none.
        pub port: u16 = number("QUEUE_PORT", 5672);
        /// User at RabbitMQ.
        pub username: String = text("QUEUE_USER", "guest");
        /// Password at RabbitMQ.
        pub password: SecretString = secret("QUEUE_PASSWORD", "guest");
        /// Exchange and queue that jobs are sent to.
        pub egress_queue: String = text("EGRESS_QUEUE_NAME", "scheduled-jobs");
        /// Largest message in bytes, as it is sent; 413 beyond. RabbitMQ 4 refuses more than the
        /// default unless configured otherwise.
        pub max_message_bytes: usize = number("MAX_MESSAGE_BYTES", 16_777_216);
    }
}

settings! {
    /// GitHub: reduction scripts, their commit, runner images.
    "GitHub"
    pub struct GitHub {
        /// Base URL of the reduction scripts.
        pub raw_url: String = base_url("GITHUB_RAW_URL", "https://raw.githubusercontent.com");
        /// Base URL of the API: commits and packages.
        pub api_url: String = base_url("GITHUB_API_URL", "https://api.github.com");
        /// HTTP proxy for the https:// URLs of GitHub; unset = none.
        pub proxy: Option<SecretString> = optional_proxy_url("HTTPS_PROXY");
        /// Hosts, domains and networks that are reached without the proxy, separated by commas.
        pub no_proxy: String = text("NO_PROXY", "");
        /// Token for packages.
        pub package_token: SecretString = secret("GITHUB_PACKAGE_TOKEN", "shh");
        /// Token that scripts contain; also sent with commit look-ups.
        pub api_token: SecretString = secret("GITHUB_API_TOKEN", "");
        /// Seconds that a reduction script is kept before it is requested again.
        pub script_ttl: Duration = seconds("SCRIPT_CACHE_TTL_SECONDS", 60);
        /// Folder that keeps the last known scripts; unset = memory only.
        pub script_dir: Option<PathBuf> = optional_path("SCRIPT_DIR");
        /// Prefixes of the runner images that users may name, separated by commas; unset = any.
        pub allowed_runner_images: Vec<String> = list("ALLOWED_RUNNER_IMAGES");
    }
}
