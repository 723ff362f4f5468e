//! `devstack demo`: the stack, the API in front of it, and what to try.

use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use devstack::{Api, Stack, Valkey, add_jobs, tokens};

use crate::{Outcome, interrupted};

#[derive(Args)]
pub(crate) struct Options {
    /// The port of the API on 127.0.0.1.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// The program to run.
    #[arg(long, value_name = "PATH", default_value = "target/release/fia-api")]
    server: PathBuf,
    /// Jobs to make up, beside the few hundred of the seed data. A million takes minutes.
    #[arg(long, default_value_t = 5000)]
    jobs: u32,
    /// A setting of the API that overrides the stack's; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    env: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is wanted")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) async fn run(options: Options) -> Outcome {
    let interrupted = interrupted()?;
    tokio::pin!(interrupted);
    Api::check_port(options.port)
        .map_err(|e| format!("{e} (PORT=8001 make demo, for instance)"))?;
    if !options.server.is_file() {
        return Err(format!(
            "{} is not there: cargo build --release builds it",
            options.server.display()
        )
        .into());
    }
    let began = Instant::now();
    eprintln!(
        "Starting PostgreSQL, Valkey, RabbitMQ and the stand-ins (RabbitMQ takes some seconds) …"
    );
    let (stack, api) = tokio::select! {
        started = start(options) => started?,
        () = &mut interrupted => return Ok(()),
    };
    stdout().write_all(introduction(&stack, &api).as_bytes())?;
    stdout().flush()?;
    eprintln!(
        "Ready after {:.1} s. Ctrl-C ends all of it.",
        began.elapsed().as_secs_f64()
    );
    tokio::select! {
        ended = api.ended() => {
            let (status, log) = (ended?, api.server().log_tail());
            return Err(format!("the API ended by itself ({status}); the end of its log:\n{log}").into());
        }
        () = &mut interrupted => eprintln!("Ending …"),
    }
    let status = api.stop().await?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the API ended with {status}").into())
    }
}

async fn start(options: Options) -> Outcome<(Stack, Api)> {
    let stack = Stack::builder().everything().start().await?;
    let mut env = stack.env();
    env.extend(options.env);
    if let Some(postgres) = stack.postgres() {
        add_jobs(postgres, "fia", options.jobs).await?;
    }
    for what in [
        &["schema", "--apply"][..],
        &["schema", "--indexes", "--apply"],
    ] {
        Api::run_command(&options.server, what, &env).await?;
    }
    let api = Api::start_on(options.port, &options.server, env).await?;
    Ok((stack, api))
}

fn introduction(stack: &Stack, api: &Api) -> String {
    let (url, log) = (api.url(), api.server().log());
    let (staff, user, key) = (tokens::staff(), tokens::user(), tokens::API_KEY);
    let valkey = stack.valkey().map(Valkey::port).unwrap_or_default();
    let database = stack
        .postgres()
        .map(|postgres| postgres.url("fia"))
        .unwrap_or_default();
    format!(
        r#"
The API of FIA serves on {url}

  STAFF={staff}
  USER={user}
  (user number 1234 in both; the API key is {key})

Its documentation
  {url}/docs

The four cached reads: the first GET asks the database, the second one the cache
  curl -s {url}/live-data/instruments
  curl -s {url}/live-data/mari/script
  curl -s -H "Authorization: Bearer $STAFF" {url}/instrument/mari/specification
  curl -s -H "Authorization: Bearer {key}" {url}/instrument/mari/latest-run

The tables of the front end
  curl -s -H "Authorization: Bearer $USER" '{url}/jobs?limit=10&include_run=true&as_user=true'
  curl -s -H "Authorization: Bearer $STAFF" '{url}/instrument/mari/jobs?limit=10&order_by=run_start'
  curl -sG --data-urlencode 'filters={{"title":"vanadium","job_state_in":["ERROR"]}}' {url}/jobs/count

A write, after which the next read is fresh (with $USER: 403)
  curl -s -X PUT -H "Authorization: Bearer $STAFF" -H 'Content-Type: application/json' \
    -d '{{"latest_run":"MARI00054321"}}' {url}/instrument/mari/latest-run

Watch the cache while you do it
  valkey-cli -p {valkey} MONITOR
  valkey-cli -p {valkey} KEYS 'fia_api:*'
  valkey-cli -p {valkey} GET fia_api:instrument:latest_run:MARI
  valkey-cli -p {valkey} TTL fia_api:instrument:latest_run:MARI

The database and the API's log
  psql {database}
  tail -f {log}

"#,
        log = log.display()
    )
}
