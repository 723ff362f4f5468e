//! The groups of settings: each variable's name, default, meaning and range.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::reader::Reader;
use super::{
    Auth, Cache, Database, Files, GitHub, Http, Log, LogFormat, LogViewers, Queue, SslMode,
    TimesToLive,
};

pub(super) fn read_log(r: &mut Reader<'_>) -> Log {
    Log {
        level: r.value(
            "LOG_LEVEL",
            tracing::Level::INFO,
            "least level that is logged: error, warn, info, debug, trace; access lines are at info",
            |text| {
                text.trim()
                    .parse()
                    .map_err(|_| format!("`{text}` is no log level"))
            },
        ),
        format: r.value(
            "LOG_FORMAT",
            LogFormat::Text,
            "text or json",
            |text| match text.trim() {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                _ => Err(format!("`{text}` is neither text nor json")),
            },
        ),
    }
}

pub(super) fn read_auth(r: &mut Reader<'_>) -> Auth {
    Auth {
        api_key: r.optional_secret(
            "FIA_API_API_KEY",
            "key of the programs that call the API (run-detection, the job controller)",
        ),
        service_url: r.base_url(
            "AUTH_API_URL",
            "http://localhost:8001",
            "base address of the auth service",
        ),
        jwt_secret: r.optional_secret(
            "JWT_SECRET",
            "secret that tokens are signed with (HS256); with it they are verified without the auth service",
        ),
        experiments_key: read_experiments_key(r),
        require_auth_counts: r.flag(
            "REQUIRE_AUTH_COUNTS",
            false,
            "whether the job counts want a token too",
        ),
    }
}

/// What is deployed is `FIA_AUTH_API_KEY`; what the older server reads is `AUTH_API_KEY`.
fn read_experiments_key(r: &mut Reader<'_>) -> SecretString {
    let older = r.secret(
        "AUTH_API_KEY",
        "shh",
        "key for the auth service's experiments, where FIA_AUTH_API_KEY is unset",
    );
    r.optional_secret("FIA_AUTH_API_KEY", "key for the auth service's experiments")
        .unwrap_or(older)
}

pub(super) fn read_database(r: &mut Reader<'_>) -> Database {
    Database {
        host: r.text("DB_IP", "localhost", "host of PostgreSQL or its pooler"),
        port: r.number("DB_PORT", 5432, "its port"),
        username: r.text("DB_USERNAME", "postgres", "role"),
        password: r.secret("DB_PASSWORD", "password", "its password"),
        name: r.text("DB_NAME", "fia", "database"),
        pool_size: r.value(
            "DB_POOL_SIZE",
            16,
            "the most connections this process opens",
            |text| match text.trim().parse() {
                Ok(size @ 1..=1000) => Ok(size),
                _ => Err(format!("`{text}` is not a number from 1 to 1000")),
            },
        ),
        ssl_mode: r.value(
            "DB_SSLMODE",
            SslMode::Prefer,
            "disable, prefer, require (certificate not checked) or verify-full",
            |text| match text.trim() {
                "disable" => Ok(SslMode::Disable),
                "prefer" => Ok(SslMode::Prefer),
                "require" => Ok(SslMode::Require),
                "verify-full" => Ok(SslMode::VerifyFull),
                _ => Err(format!(
                    "`{text}` is none of disable, prefer, require, verify-full"
                )),
            },
        ),
        listen_url: read_listen_url(r),
    }
}

/// Checked here, so that `check-config` finds what is wrong.
fn read_listen_url(r: &mut Reader<'_>) -> Option<SecretString> {
    let url = r.optional_secret(
        "DB_LISTEN_URL",
        "direct address (postgres://…) of PostgreSQL, past any pooler, to hear what others change; \
         the role, password and database that it leaves out are those above; unset = off",
    )?;
    let text = url.expose_secret();
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    match text.parse::<tokio_postgres::Config>() {
        Ok(parsed) if is_url && !parsed.get_hosts().is_empty() => {}
        Ok(_) => r.bad(
            "DB_LISTEN_URL",
            "must start with postgres:// and name a host",
        ),
        // The library's words may hold a part of the password.
        Err(_) => r.bad(
            "DB_LISTEN_URL",
            "cannot be read as an address of PostgreSQL",
        ),
    }
    Some(url)
}

pub(super) fn read_cache(r: &mut Reader<'_>) -> Cache {
    Cache {
        shared: r.flag("CACHE_SHARED", true, "whether Valkey is used as a cache"),
        valkey_url: read_valkey_url(r),
        ttl: read_times_to_live(r),
        local: r.flag(
            "CACHE_LOCAL",
            true,
            "whether answers are kept in this process too",
        ),
        local_max_bytes: r.number(
            "CACHE_LOCAL_MAX_BYTES",
            67_108_864,
            "the most memory for that, in bytes",
        ),
        max_stale: Duration::from_secs(r.number(
            "CACHE_MAX_STALE_SECONDS",
            300,
            "seconds beyond its time to live that an answer may serve while the database is away; a silent one is found out in 4",
        )),
        migration_guard: r.flag(
            "CACHE_MIGRATION_GUARD",
            false,
            "whether a write is checked again for late fills of older replicas",
        ),
    }
}

fn read_times_to_live(r: &mut Reader<'_>) -> TimesToLive {
    TimesToLive {
        live_data_instruments: ttl(
            r,
            "LIVE_DATA_INSTRUMENTS_CACHE_TTL_SECONDS",
            120,
            "seconds that the list of live-data instruments is cached; 0 = not",
        ),
        live_data_script: ttl(
            r,
            "LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS",
            60,
            "seconds that a live-data script is cached; 0 = not",
        ),
        specification: ttl(
            r,
            "INSTRUMENT_SPEC_CACHE_TTL_SECONDS",
            120,
            "seconds that a specification is cached; 0 = not",
        ),
        latest_run: ttl(
            r,
            "INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS",
            15,
            "seconds that a latest run is cached; 0 = not",
        ),
        job_list: ttl(
            r,
            "JOB_LIST_CACHE_TTL_SECONDS",
            15,
            "seconds that a page of a job list is cached; 0 = not",
        ),
        job_count: ttl(
            r,
            "JOB_COUNT_CACHE_TTL_SECONDS",
            15,
            "seconds that a job count is cached; 0 = not",
        ),
        experiments: ttl(
            r,
            "AUTH_EXPERIMENTS_CACHE_TTL_SECONDS",
            120,
            "seconds that a user's experiments are cached; 0 = not",
        ),
        packages: ttl(
            r,
            "GITHUB_PACKAGES_CACHE_TTL_SECONDS",
            300,
            "seconds that the runner images are cached; 0 = not",
        ),
    }
}

/// Ten years: beyond it a time to live is a slip, and Valkey refuses far larger ones.
const MAX_TTL_SECONDS: i64 = 315_360_000;

/// A time to live as the older server reads it, with Python's `int()`: negative means off, like 0.
fn ttl(r: &mut Reader<'_>, name: &'static str, default: u64, help: &'static str) -> Duration {
    let seconds = r.value(name, default, help, |text| {
        match text.trim().parse::<i64>() {
            Ok(seconds) if seconds <= MAX_TTL_SECONDS => Ok(u64::try_from(seconds).unwrap_or(0)),
            _ => Err(format!(
                "`{text}` is not a whole number of seconds up to {MAX_TTL_SECONDS}"
            )),
        }
    });
    Duration::from_secs(seconds)
}

/// `None` where the variable is set and empty: no Valkey at all.
fn read_valkey_url(r: &mut Reader<'_>) -> Option<SecretString> {
    let url = r.secret(
        "VALKEY_URL",
        "redis://valkey.valkey.svc.cluster.local:6379/0",
        "address of Valkey; empty = no shared cache",
    );
    let text = url.expose_secret();
    if text.is_empty() {
        return None;
    }
    if !text.starts_with("redis://") && !text.starts_with("valkey://") {
        r.bad("VALKEY_URL", "must start with redis:// or valkey://");
    }
    Some(url)
}

pub(super) fn read_http(r: &mut Reader<'_>) -> Http {
    Http {
        max_body_bytes: r.number(
            "MAX_BODY_BYTES",
            4_194_304,
            "largest body of a request in bytes; 413 beyond",
        ),
        max_in_flight: r.number(
            "MAX_IN_FLIGHT",
            1000,
            "most requests under way at once; 503 beyond",
        ),
        allowed_origins: list(
            r,
            "ALLOWED_ORIGINS",
            "origins that browsers may call from, separated by commas; unset = any",
        ),
    }
}

pub(super) fn read_queue(r: &mut Reader<'_>) -> Queue {
    Queue {
        host: r.text("QUEUE_HOST", "localhost", "host of RabbitMQ"),
        port: r.number("QUEUE_PORT", 5672, "its port"),
        username: r.text("QUEUE_USER", "guest", "its user"),
        password: r.secret("QUEUE_PASSWORD", "guest", "that user's password"),
        egress_queue: r.text(
            "EGRESS_QUEUE_NAME",
            "scheduled-jobs",
            "exchange and queue that jobs are sent to",
        ),
    }
}

pub(super) fn read_github(r: &mut Reader<'_>) -> GitHub {
    GitHub {
        raw_url: r.base_url(
            "GITHUB_RAW_URL",
            "https://raw.githubusercontent.com",
            "host of the reduction scripts",
        ),
        api_url: r.base_url(
            "GITHUB_API_URL",
            "https://api.github.com",
            "host of the commits and packages",
        ),
        package_token: r.secret("GITHUB_PACKAGE_TOKEN", "shh", "token for the packages"),
        api_token: r.secret(
            "GITHUB_API_TOKEN",
            "",
            "token that scripts carry; commit look-ups carry it too",
        ),
        script_ttl: Duration::from_secs(r.number(
            "SCRIPT_CACHE_TTL_SECONDS",
            60,
            "seconds that a reduction script is kept before GitHub is asked again",
        )),
        script_dir: r
            .optional(
                "SCRIPT_DIR",
                "folder that keeps the last known scripts; unset = memory only",
                |text| Ok(Folder(PathBuf::from(text))),
            )
            .map(|folder| folder.0),
        allowed_runner_images: list(
            r,
            "ALLOWED_RUNNER_IMAGES",
            "prefixes of the runner images that users may name, separated by commas; unset = any",
        ),
    }
}

pub(super) fn read_files(r: &mut Reader<'_>) -> Files {
    Files {
        ceph_dir: folder(r, "CEPH_DIR", "/ceph", "root of the reduced data"),
        extras_dir: folder(
            r,
            "EXTRAS_DIRECTORY",
            "/extras",
            "root of the uploaded files",
        ),
        extras_max_bytes: r.number(
            "EXTRAS_MAX_BYTES",
            104_857_600,
            "largest upload in bytes; 413 beyond",
        ),
        max_zip_files: r.number(
            "MAX_ZIP_FILES",
            10_000,
            "the most files of one archive; 413 beyond",
        ),
        max_zip_bytes: r.number(
            "MAX_ZIP_BYTES",
            68_719_476_736,
            "the most that the files of one archive hold, in bytes; 413 beyond",
        ),
    }
}

pub(super) fn read_log_viewers(r: &mut Reader<'_>) -> LogViewers {
    LogViewers {
        max: r.number(
            "MAX_LOG_VIEWERS",
            2000,
            "live log streams at once in this process; 503 beyond",
        ),
        max_per_user: r.number(
            "MAX_LOG_VIEWERS_PER_USER",
            20,
            "live log streams at once of one user; 429 beyond",
        ),
    }
}

fn folder(r: &mut Reader<'_>, name: &'static str, default: &str, help: &'static str) -> PathBuf {
    r.value(name, Folder(PathBuf::from(default)), help, |text| {
        if Path::new(text).is_absolute() {
            Ok(Folder(PathBuf::from(text)))
        } else {
            Err(format!("`{text}` is not an absolute path"))
        }
    })
    .0
}

struct Folder(PathBuf);

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Items separated by commas; empty where the variable is unset.
fn list(r: &mut Reader<'_>, name: &'static str, help: &'static str) -> Vec<String> {
    r.optional(name, help, |text| {
        Ok(List(
            text.split(',').map(|item| item.trim().to_owned()).collect(),
        ))
    })
    .map_or_else(Vec::new, |list| list.0)
}

struct List(Vec<String>);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}
