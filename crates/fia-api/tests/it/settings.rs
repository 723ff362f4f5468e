//! Settings and the command line.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use fia_api::config::Config;
use fia_api::model::CachedColumn;

use crate::harness::vars;

fn bad(pairs: &[(&str, &str)]) -> Vec<&'static str> {
    let all = vars(pairs);
    let errors = Config::from_vars(&|name| all.get(name).cloned())
        .err()
        .unwrap_or_default();
    errors.into_iter().map(|error| error.name).collect()
}

fn run(arguments: &[&str], pairs: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fia-api"))
        .args(arguments)
        .env_clear()
        .envs(pairs.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_setting_has_a_default() {
    let config = Config::from_vars(&|_| None).unwrap();
    assert_eq!(config.server.bind.to_string(), "0.0.0.0:80");
    assert!(!config.server.dev_mode);
    assert_eq!(config.database.pool_size, 16);
    assert_eq!(
        config
            .cache
            .ttl
            .columns
            .of(CachedColumn::LiveDataScript)
            .as_secs(),
        60
    );
    assert!(config.cache.valkey_url.is_some());
}

#[test]
fn malformed_values_are_errors() {
    for (name, value) in [
        ("FIA_API_BIND", "80"),
        ("DB_PORT", "tcp://10.0.0.1:5432"),
        ("DB_PORT", ""),
        ("DB_PORT", "70000"),
        ("DB_POOL_SIZE", "0"),
        ("DB_SSLMODE", "on"),
        ("DB_LISTEN_URL", "postgresql.example"),
        ("DB_LISTEN_URL", "host=postgresql.example"),
        ("DB_LISTEN_URL", "postgres:///fia"),
        (
            "DB_LISTEN_URL",
            "postgres://fia:x@postgresql.example:port/fia",
        ),
        ("FIA_API_METRICS_BIND", "9090"),
        ("HTTPS_PROXY", "socks5://proxy:1080"),
        ("HTTPS_PROXY", "http://"),
        ("FIA_API_SHUTDOWN_DELAY", "5s"),
        ("FIA_API_SHUTDOWN_DELAY", "601"),
        ("AUTH_API_URL", "auth:8001"),
        ("VALKEY_URL", "http://valkey"),
        ("DEV_MODE", "maybe"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS", "1.5"),
        ("LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS", ""),
        ("JOB_LIST_CACHE_TTL_SECONDS", "99999999999"),
        ("MAX_BODY_BYTES", "-1"),
        ("MAX_PROGRAM_BODY_BYTES", "64M"),
        ("MAX_MESSAGE_BYTES", "16 MiB"),
        ("QUEUE_HOST", "amqp://rabbitmq"),
        ("QUEUE_HOST", "rabbitmq,,rabbitmq"),
        ("CEPH_DIR", "relative"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "alloy:port"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://alloy:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.namespace"),
        ("TRUSTED_PROXIES", "10.0.0.1,proxy"),
        ("CACHE_LOCAL", "perhaps"),
    ] {
        assert_eq!(bad(&[(name, value)]), [name], "{value:?}");
    }
    // Service variables that Kubernetes injects are ignored.
    assert!(
        bad(&[
            ("FIA_API_PORT", "tcp://10.0.0.1:80"),
            ("FIA_API_SERVICE_HOST", "x")
        ])
        .is_empty()
    );
    assert!(
        bad(&[
            ("INSTRUMENT_SPEC_CACHE_TTL_SECONDS", " 5 "),
            ("VALKEY_URL", "")
        ])
        .is_empty()
    );
}

#[test]
fn dev_mode_requires_a_true_value_and_loopback() {
    let dev_mode = |value: &str| {
        let all = vars(&[("DEV_MODE", value), ("FIA_API_BIND", "127.0.0.1:80")]);
        Config::from_vars(&|name| all.get(name).cloned())
            .unwrap()
            .server
            .dev_mode
    };
    for value in ["1", "true", "YES", "on"] {
        assert!(dev_mode(value), "{value}");
    }
    for value in ["", "0", "false", "No", "off"] {
        assert!(!dev_mode(value), "{value}");
    }
    let remote = [("DEV_MODE", "on"), ("FIA_API_BIND", "0.0.0.0:80")];
    assert_eq!(bad(&remote), ["DEV_MODE"]);
    assert!(bad(&[remote[0], remote[1], ("DEV_MODE_ALLOW_REMOTE", "on")]).is_empty());
}

#[test]
fn check_config_hides_secrets() {
    let secret = "s3cr3t";
    let output = run(
        &["check-config"],
        &[
            ("FIA_API_API_KEY", secret),
            ("JWT_SECRET", secret),
            ("DB_PASSWORD", secret),
            ("QUEUE_PASSWORD", secret),
            ("GITHUB_API_TOKEN", secret),
            ("VALKEY_URL", "redis://user:s3cr3t@valkey/0"),
            ("DB_LISTEN_URL", "postgres://user:s3cr3t@postgresql/fia"),
            ("DB_NAME", "other"),
        ],
    );
    assert!(output.status.success());
    let shown = text(&output.stdout);
    assert!(!shown.contains(secret), "{shown}");
    assert!(shown.contains("DB_NAME=other\n"));
    assert!(shown.contains("DB_PORT=5432\n"));
}

#[test]
fn an_invalid_url_is_not_printed() {
    let url = "postgres://user:s3cr3t@postgresql:port/fia";
    let output = run(&["check-config"], &[("DB_LISTEN_URL", url)]);
    assert_eq!(output.status.code(), Some(64));
    let said = text(&output.stderr);
    assert!(said.contains("DB_LISTEN_URL: "), "{said}");
    assert!(!said.contains("s3cr3t"), "{said}");
}

#[test]
fn all_invalid_settings_are_reported_together() {
    let settings = [("DB_PORT", "x"), ("DB_SSLMODE", "y"), ("LOG_LEVEL", "z")];
    for command in ["check-config", "serve"] {
        let output = run(&[command], &settings);
        assert_eq!(output.status.code(), Some(64), "{command}");
        for (name, _) in settings {
            assert!(text(&output.stderr).contains(name), "{command}: {name}");
        }
    }
}

#[test]
fn help_documents_every_variable() {
    let output = run(&["--help"], &[]);
    let help = text(&output.stdout);
    for setting in Config::reference() {
        assert!(
            help.contains(&format!("\n  {} [", setting.name)),
            "{}",
            setting.name
        );
    }
}

#[test]
fn schema_and_openapi_commands_print_their_documents() {
    let schema = run(&["schema"], &[]);
    assert!(text(&schema.stdout).contains("CREATE TABLE IF NOT EXISTS instruments"));
    let feed = run(&["schema", "--change-feed"], &[]);
    assert!(text(&feed.stdout).contains("CREATE TRIGGER fia_api_instruments_value"));
    let openapi = run(&["openapi"], &[]);
    let document: serde_json::Value = serde_json::from_slice(&openapi.stdout).unwrap();
    assert_eq!(document["info"]["title"], "FIA API");
}

#[test]
fn benchmarks_set_the_ttl_of_every_cached_read_of_own_data() {
    let of_other_services = [
        "AUTH_EXPERIMENTS_CACHE_TTL_SECONDS",
        "GITHUB_PACKAGES_CACHE_TTL_SECONDS",
    ];
    let listed = fia_bench::TTL_VARIABLES
        .into_iter()
        .chain(of_other_services);
    let listed: BTreeSet<&str> = listed.collect();
    let declared: BTreeSet<&str> = Config::ttl_variables().into_iter().collect();
    assert_eq!(listed, declared);
}
