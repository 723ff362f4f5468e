//! `devstack demo`: runs the stack and the API, and prints example requests.

use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use devstack::{Api, Stack, Valkey, add_jobs, tokens};

use crate::demo_traffic::{load, outages};
use crate::{Outcome, shutdown_signal};

/// The key for actions on the operator's page of the demo.
const OPERATOR_KEY: &str = "operator-of-the-demo";

#[derive(Args)]
pub(crate) struct Options {
    /// Port of the API on 127.0.0.1.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Port of the operator's page on 127.0.0.1.
    #[arg(long, default_value_t = 8009)]
    operator_port: u16,
    /// API server program.
    #[arg(long, value_name = "PATH", default_value = "target/release/fia-api")]
    server: PathBuf,
    /// Number of jobs to generate in addition to the seed data; a million takes minutes.
    #[arg(long, default_value_t = 5000)]
    jobs: u32,
    /// Setting of the API that overrides the stack's; repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    env: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) async fn run(options: Options) -> Outcome {
    let shutdown = shutdown_signal()?;
    tokio::pin!(shutdown);
    Api::check_port(options.port).map_err(|error| format!("{error} (`PORT=8001 make demo`)"))?;
    if !options.server.is_file() {
        return Err(format!(
            "{} not found: build it with `cargo build --release --package fia-api`",
            options.server.display()
        )
        .into());
    }
    let operator_port = options.operator_port;
    Api::check_port(operator_port)?;
    let started_at = Instant::now();
    eprintln!(
        "Starting PostgreSQL, Valkey, RabbitMQ and stand-ins for the auth service and GitHub …"
    );
    let (stack, api) = tokio::select! {
        started = start(options) => started?,
        () = &mut shutdown => return Ok(()),
    };
    stdout().write_all(introduction(&stack, &api, operator_port).as_bytes())?;
    stdout().flush()?;
    eprintln!(
        "Ready after {:.1} s. Press Ctrl-C to stop all servers and delete their data.",
        started_at.elapsed().as_secs_f64()
    );
    tokio::select! {
        () = load(api.addr()) => {}
        () = outages(&stack) => {}
        exited = api.exited() => {
            let (status, log) = (exited?, api.server().log_tail());
            return Err(format!("the API exited unexpectedly ({status}); last lines of its log:\n{log}").into());
        }
        () = &mut shutdown => eprintln!("Stopping …"),
    }
    let status = api.stop().await?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the API did not shut down cleanly: {status}").into())
    }
}

async fn start(options: Options) -> Outcome<(Stack, Api)> {
    let stack = Stack::builder().everything().start().await?;
    let mut env = stack.env();
    let operator = [
        (
            "FIA_API_ADMIN_BIND",
            format!("127.0.0.1:{}", options.operator_port),
        ),
        ("FIA_API_ADMIN_KEY", OPERATOR_KEY.to_owned()),
    ];
    env.extend(operator.map(|(name, value)| (name.to_owned(), value)));
    env.extend(options.env);
    if let Some(postgres) = stack.postgres() {
        add_jobs(postgres, "fia", options.jobs).await?;
    }
    for command in [
        &["schema", "--apply"][..],
        &["schema", "--indexes", "--apply"],
    ] {
        Api::run_command(&options.server, command, &env).await?;
    }
    let api = Api::start_on(options.port, &options.server, env).await?;
    Ok((stack, api))
}

fn introduction(stack: &Stack, api: &Api, operator_port: u16) -> String {
    let (url, log) = (api.url(), api.server().log());
    let (staff, user, key) = (tokens::staff(), tokens::user(), tokens::API_KEY);
    let valkey = stack.valkey().map(Valkey::port).unwrap_or_default();
    let database = stack
        .postgres()
        .map(|postgres| postgres.url("fia"))
        .unwrap_or_default();
    format!(
        r#"
The FIA API listens on {url}
API documentation: {url}/docs
Operator's page:   http://127.0.0.1:{operator_port}  (sign in with {OPERATOR_KEY} to act)
Press Enter here to break Valkey and PostgreSQL for ten seconds, and watch that page.

Tokens for the examples, to paste into your shell (a staff member and a user, both with user number 1234)
  STAFF_TOKEN={staff}
  USER_TOKEN={user}

The four cached reads: the first request reads the database, the next ones the cache.
The last one uses the API key ({key}) instead of a token.
  curl -s {url}/live-data/instruments
  curl -s {url}/live-data/mari/script
  curl -s -H "Authorization: Bearer $STAFF_TOKEN" {url}/instrument/mari/specification
  curl -s -H "Authorization: Bearer {key}" {url}/instrument/mari/latest-run

Job lists as the web front end requests them, and a filtered count
  curl -s -H "Authorization: Bearer $USER_TOKEN" '{url}/jobs?limit=10&include_run=true&as_user=true'
  curl -s -H "Authorization: Bearer $STAFF_TOKEN" '{url}/instrument/mari/jobs?limit=10&order_by=run_start'
  curl -sG --data-urlencode 'filters={{"title":"vanadium","job_state_in":["ERROR"]}}' {url}/jobs/count

A write. It invalidates the cache, so the next read returns the new value. With $USER_TOKEN it is 403.
  curl -s -X PUT -H "Authorization: Bearer $STAFF_TOKEN" -H 'Content-Type: application/json' \
    -d '{{"latest_run":"MARI00054321"}}' {url}/instrument/mari/latest-run

Watch the cache
  valkey-cli -p {valkey} MONITOR
  valkey-cli -p {valkey} KEYS 'fia_api:*'
  valkey-cli -p {valkey} GET fia_api:instrument:latest_run:MARI
  valkey-cli -p {valkey} TTL fia_api:instrument:latest_run:MARI

The database, and the API's log
  psql {database}
  tail -f {log}

"#,
        log = log.display()
    )
}
