//! What an operator sees at the start: `check-config`, bind failures and the first log lines.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use devstack::{RabbitMq, Upstreams};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::consumer::queue_vars;
use crate::harness::{Fixture, Vars, defaults, upstream_vars, vars};

/// The time limit for a process of these tests; a probe alone may take 5 s.
const LIMIT: Duration = Duration::from_secs(20);

fn command(arguments: &[&str], settings: &Vars) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fia-api"));
    command
        .args(arguments)
        .env_clear()
        .envs(defaults())
        .envs(settings)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs to the end; returns the exit status, the output and the errors.
async fn run(arguments: &[&str], settings: &Vars) -> (Option<i32>, String, String) {
    let running = command(arguments, settings).output();
    let output = timeout(LIMIT, running).await.expect("still running");
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let status = output.status.code();
    (status, text(output.stdout), text(output.stderr))
}

/// Settings of a server whose dependencies are all reachable.
struct Dependencies {
    fixture: Fixture,
    _rabbitmq: RabbitMq,
    _upstreams: Upstreams,
    _folders: tempfile::TempDir,
    settings: Vars,
}

impl Dependencies {
    async fn start() -> Self {
        let (fixture, rabbitmq, upstreams) =
            tokio::join!(Fixture::new(), RabbitMq::start(), Upstreams::start());
        let (rabbitmq, upstreams) = (rabbitmq.unwrap(), upstreams.unwrap());
        let folders = tempfile::tempdir().unwrap();
        let folder = folders.path().to_str().unwrap();
        fixture.database.add_outbox().await;
        let mut settings = fixture.vars();
        settings.extend(queue_vars(&rabbitmq));
        settings.extend(upstream_vars(&upstreams));
        settings.extend(vars(&[("CEPH_DIR", folder), ("EXTRAS_DIRECTORY", folder)]));
        Self {
            fixture,
            _rabbitmq: rabbitmq,
            _upstreams: upstreams,
            _folders: folders,
            settings,
        }
    }
}

#[tokio::test]
async fn settings_are_listed_by_section_with_passwords_in_urls_hidden() {
    let settings = vars(&[
        ("AUTH_API_URL", "http://user:s3cr3t@auth:8001"),
        ("VALKEY_URL", "redis://:s3cr3t@valkey:6379/0"),
        ("DB_LISTEN_URL", "postgres://fia:s3cr3t@postgresql/fia"),
        ("GITHUB_API_URL", "https://s3cr3t@github.example"),
    ]);
    let (status, listing, errors) = run(&["check-config"], &settings).await;
    assert_eq!(status, Some(0), "{errors}");
    assert!(!listing.contains("s3cr3t"), "{listing}");
    for line in [
        "# PostgreSQL",
        "# Cache TTLs",
        "AUTH_API_URL=http://user:(hidden)@auth:8001",
        "VALKEY_URL=redis://:(hidden)@valkey:6379/0",
        "DB_LISTEN_URL=postgres://fia:(hidden)@postgresql/fia",
        "GITHUB_API_URL=https://(hidden)@github.example",
    ] {
        assert!(
            listing.lines().any(|found| found == line),
            "{line}: {listing}"
        );
    }
    assert_eq!(errors, "");
}

#[tokio::test]
async fn a_misspelt_variable_is_a_warning_and_an_unrelated_one_is_not() {
    let settings = vars(&[("DB_POOLSIZE", "4"), ("FIA_API_PORT", "tcp://10.0.0.1:80")]);
    let (status, _, errors) = run(&["check-config"], &settings).await;
    assert_eq!(status, Some(0));
    assert_eq!(
        errors,
        "fia-api: warning: DB_POOLSIZE is not a setting; did you mean DB_POOL_SIZE?\n"
    );
}

#[tokio::test]
async fn a_bind_failure_names_the_setting_and_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for setting in ["FIA_API_BIND", "FIA_API_METRICS_BIND"] {
        let (status, _, errors) = run(&["serve"], &vars(&[(setting, &address)])).await;
        assert_eq!(status, Some(1), "{errors}");
        let expected = format!("{setting}={address}: Address already in use");
        assert!(errors.contains(&expected), "{errors}");
    }
}

#[tokio::test]
async fn reachable_dependencies_are_reported_with_exit_status_0() {
    let dependencies = Dependencies::start().await;
    let arguments = ["check-config", "--connect"];
    let (status, report, errors) = run(&arguments, &dependencies.settings).await;
    assert_eq!(status, Some(0), "{report}{errors}");
    for part in [
        "ok: PostgreSQL: version ",
        "all tables exist",
        "ok: Valkey: version ",
        "ok: RabbitMQ: connected",
        "ok: auth service: responds",
        "ok: GitHub scripts: latest commit ",
        "ok: CEPH_DIR: ",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }

    let client = dependencies.fixture.database.client().await;
    client.batch_execute("DROP TABLE jobs").await.unwrap();
    let (status, report, _) = run(&arguments, &dependencies.settings).await;
    assert_eq!(status, Some(69), "{report}");
    assert!(report.contains("FAILED: PostgreSQL: "), "{report}");
    assert!(report.contains("missing tables: jobs"), "{report}");
}

#[tokio::test]
async fn unreachable_required_dependencies_are_reported_with_exit_status_69() {
    let nowhere = "http://127.0.0.1:1";
    let settings = vars(&[
        ("DB_IP", "127.0.0.1"),
        ("DB_PORT", "1"),
        ("VALKEY_URL", "redis://127.0.0.1:1/0"),
        ("QUEUE_HOST", "127.0.0.1"),
        ("QUEUE_PORT", "1"),
        ("GITHUB_API_URL", nowhere),
        ("CEPH_DIR", "/nonexistent"),
        ("EXTRAS_DIRECTORY", "/nonexistent"),
    ]);
    let (status, report, _) = run(&["check-config", "--connect"], &settings).await;
    assert_eq!(status, Some(69), "{report}");
    for name in [
        "PostgreSQL",
        "Valkey",
        "RabbitMQ",
        "auth service",
        "CEPH_DIR",
    ] {
        assert!(
            report.contains(&format!("FAILED: {name}: ")),
            "{name}: {report}"
        );
    }
    for name in ["GitHub scripts", "GitHub packages"] {
        let line = format!("failed (optional): {name}: ");
        assert!(report.contains(&line), "{name}: {report}");
    }
}

#[tokio::test]
async fn a_healthy_start_logs_no_warning() {
    let dependencies = Dependencies::start().await;
    let mut settings = dependencies.settings.clone();
    // Well-known secrets are a reason to warn, so that the role needs another password.
    let (database, secret) = (&dependencies.fixture.database, "not-well-known");
    let create = format!(
        "CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{secret}'",
        role = database.name
    );
    database
        .client()
        .await
        .batch_execute(&create)
        .await
        .unwrap();
    settings.extend(vars(&[
        ("FIA_API_API_KEY", secret),
        ("DB_USERNAME", &database.name),
        ("DB_PASSWORD", secret),
    ]));
    let mut server = command(&["serve"], &settings).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let mut log = Vec::new();
    let reading = async {
        while !log
            .iter()
            .any(|line: &String| line.contains("client tracking established"))
        {
            log.push(lines.next_line().await.unwrap().expect("the server ended"));
        }
    };
    let read = timeout(LIMIT, reading).await;
    read.expect("client tracking was not established");
    for line in &log {
        assert!(
            !line.contains(" WARN ") && !line.contains(" ERROR "),
            "{line}"
        );
    }
}
