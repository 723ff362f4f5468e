//! The command `fia-api`.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use fia_api::app::{
    Edge, Metrics, OutboxCommand, Server, Service, healthcheck, probe_dependencies,
    shutdown_signal, start_log,
};
use fia_api::config::Config;
use fia_api::model::openapi;
use fia_api::operator::Operator;
use fia_api::state::AppState;
use fia_api::store::{Db, Triggers, indexes, list_table, schema};
use futures_util::FutureExt as _;
use futures_util::future::{OptionFuture, select};

/// The exit status for invalid settings (`EX_USAGE` of sysexits).
const INVALID_SETTINGS: u8 = 64;
/// The exit status for unreachable dependencies (`EX_UNAVAILABLE` of sysexits).
const DEPENDENCY_UNAVAILABLE: u8 = 69;

#[derive(Parser)]
#[command(
    name = "fia-api",
    version,
    about = "The ReST API of FIA, Flexible Interactive Automation"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the API until SIGTERM, SIGINT or SIGHUP
    Serve,
    /// Exits 0 if the server that listens on `FIA_API_BIND` responds, else 1; for a container's
    /// health check
    Healthcheck,
    /// Prints the settings in force, secrets hidden; lists every invalid one and exits 64
    CheckConfig {
        /// Also tries every dependency; exits 69 if a required one is unreachable
        #[arg(long)]
        connect: bool,
    },
    /// Prints the statements that create the tables
    Schema {
        /// Prints those that create the indexes for large job tables instead
        #[arg(long, group = "part")]
        indexes: bool,
        /// Prints those that create the trigger of the change feed instead (see `DB_LISTEN_URL`)
        #[arg(long, group = "part")]
        change_feed: bool,
        /// Prints those that create the list table and its triggers instead; with `--apply` also
        /// fills or repairs it while others write
        #[arg(long, group = "part")]
        lists: bool,
        /// Runs them: adds what is missing, changes no data
        #[arg(long)]
        apply: bool,
        /// Compares the list table with its source; exits 1 if they differ
        #[arg(long, requires = "lists", conflicts_with = "apply")]
        verify: bool,
    },
    /// Prints the OpenAPI document
    Openapi,
    /// Prints the catalogue of metrics as a table in Markdown
    Metrics,
    /// Lists, retries or drops the messages that RabbitMQ has not confirmed
    Outbox {
        #[command(subcommand)]
        command: OutboxCommand,
    },
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let matches = Cli::command().after_help(Config::help()).get_matches();
    let done = match Cli::from_arg_matches(&matches) {
        Ok(cli) => run(cli.command),
        Err(error) => error.exit(),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("fia-api: {failure}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Openapi => print(openapi::SOURCE),
        Command::Metrics => print(&Metrics::reference()),
        _ => return run_configured(command),
    }
    Ok(ExitCode::SUCCESS)
}

fn run_configured(command: Command) -> Result<ExitCode, Failure> {
    if let Command::Schema {
        apply: false,
        verify: false,
        indexes,
        change_feed,
        lists,
    } = command
    {
        if change_feed {
            print(&Triggers::ChangeFeed.statements());
        } else if lists {
            print(&Triggers::ListTable.statements());
            print("\n");
            print(list_table::INDEXES);
        } else if indexes {
            print(indexes::INDEXES);
            print("\n");
            print(indexes::TEXT_INDEXES);
        } else {
            print(schema::TABLES);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(errors) => {
            for error in errors {
                eprintln!("fia-api: {error}");
            }
            return Ok(ExitCode::from(INVALID_SETTINGS));
        }
    };
    match command {
        Command::Healthcheck => check_health(&config)?,
        Command::CheckConfig { connect } => return check_config(&config, connect),
        Command::Schema { indexes: true, .. } => apply_indexes(&config)?,
        Command::Schema { verify: true, .. } => return verify_lists(&config),
        Command::Schema { lists: true, .. } => apply_lists(&config)?,
        Command::Schema {
            change_feed: true, ..
        } => apply_change_feed(&config)?,
        Command::Schema { .. } => apply_schema(&config)?,
        Command::Serve | Command::Openapi | Command::Metrics => serve(&config)?,
        Command::Outbox { command } => print(&run_outbox(&config, command)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn check_config(config: &Config, connect: bool) -> Result<ExitCode, Failure> {
    print(&config.listing());
    for (variable, setting) in config.misspelt() {
        eprintln!("fia-api: warning: {variable} is not a setting; did you mean {setting}?");
    }
    if connect {
        check_dependencies(config)
    } else {
        Ok(ExitCode::SUCCESS)
    }
}

#[tokio::main]
async fn check_dependencies(config: &Config) -> Result<ExitCode, Failure> {
    print("\n# Dependencies\n");
    let mut all_required = true;
    for dependency in probe_dependencies(config).await {
        let (mark, found) = match &dependency.outcome {
            Ok(found) => ("ok", found),
            Err(why) if dependency.is_required => ("FAILED", why),
            Err(why) => ("failed (optional)", why),
        };
        all_required &= dependency.outcome.is_ok() || !dependency.is_required;
        print(&format!("{mark}: {}: {found}\n", dependency.name));
    }
    Ok(if all_required {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DEPENDENCY_UNAVAILABLE)
    })
}

#[tokio::main(flavor = "current_thread")]
async fn check_health(config: &Config) -> Result<(), Failure> {
    Ok(healthcheck(config.server.bind).await?)
}

#[tokio::main(flavor = "current_thread")]
async fn apply_schema(config: &Config) -> Result<(), Failure> {
    schema::apply(&Db::new(&config.database)?).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn apply_change_feed(config: &Config) -> Result<(), Failure> {
    Triggers::ChangeFeed
        .install(&Db::new(&config.database)?)
        .await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn apply_lists(config: &Config) -> Result<(), Failure> {
    let changed = list_table::apply(&Db::new(&config.database)?).await?;
    eprintln!("fia-api: list table complete, {changed} rows changed");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn verify_lists(config: &Config) -> Result<ExitCode, Failure> {
    let different = list_table::verify(&Db::new(&config.database)?).await?;
    print(&format!(
        "{different} rows of the list table differ from their source\n"
    ));
    Ok(ExitCode::from(u8::from(different != 0)))
}

#[tokio::main(flavor = "current_thread")]
async fn apply_indexes(config: &Config) -> Result<(), Failure> {
    if let Some(why) = indexes::apply(&Db::new(&config.database)?).await? {
        eprintln!("fia-api: no index for searches in titles and file names: {why}");
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn run_outbox(config: &Config, command: OutboxCommand) -> Result<String, Failure> {
    Ok(command.run(config).await?)
}

#[tokio::main]
async fn serve(config: &Config) -> Result<(), Failure> {
    // Before the server can be reached: who started it may then end it.
    let signal = shutdown_signal();
    let log_level = start_log(&config.log);
    warn_of_risks(config);
    let state = AppState::new(config)?;
    let edge = Edge::new(config, state.clone());
    let metrics = ("FIA_API_METRICS_BIND", config.server.metrics_bind);
    let metrics = bind_optional(metrics, config, || Metrics::new(edge.clone()))?;
    let operator = ("FIA_API_ADMIN_BIND", config.server.admin_bind);
    let operator = bind_optional(operator, config, || {
        Operator::start(config, edge.clone(), log_level)
    })?;
    let server = bind("FIA_API_BIND", config.server.bind, edge)?;
    let server = server.shutdown_delay(config.server.shutdown_delay);
    tracing::info!(address = %server.address()?, version = env!("CARGO_PKG_VERSION"), "serving");
    let readiness = state.readiness.clone();
    let drained = async move { readiness.drained().await };
    let stop = select(Box::pin(signal), Box::pin(drained));
    let stop = stop.map(drop).shared();
    let metrics = OptionFuture::from(metrics.map(|metrics| metrics.run(stop.clone())));
    let operator = OptionFuture::from(operator.map(|operator| operator.run(stop.clone())));
    tokio::join!(server.run(stop), metrics, operator);
    state.jobs.outbox().close().await;
    if let Some(traces) = &state.traces {
        traces.close().await;
    }
    Ok(())
}

/// Binds a further listener if its address is set, and starts its service.
fn bind_optional<S: Service>(
    (setting, address): (&str, Option<SocketAddr>),
    config: &Config,
    start: impl FnOnce() -> S,
) -> Result<Option<Server<S>>, Failure> {
    let Some(address) = address else {
        return Ok(None);
    };
    let server = bind(setting, address, start())?.shutdown_delay(config.server.shutdown_delay);
    tracing::info!(address = %server.address()?, setting, "serving");
    Ok(Some(server))
}

/// Binds a listener; an error names the setting and the address.
fn bind<S: Service>(setting: &str, address: SocketAddr, service: S) -> Result<Server<S>, Failure> {
    let server = Server::bind(address, service);
    server.map_err(|error| format!("{setting}={address}: {error}").into())
}

fn warn_of_risks(config: &Config) {
    if config.server.dev_mode {
        tracing::error!("DEV_MODE is on: AUTHENTICATION IS OFF and every caller is staff");
        return;
    }
    if config.auth.api_key.is_none() {
        tracing::warn!("FIA_API_API_KEY is not set: calls with an API key are refused");
    }
    for name in config.default_secrets() {
        tracing::warn!(setting = name, "secret has its well-known default value");
    }
}

fn print(text: &str) {
    use std::io::Write as _;
    // A closed pipe (`| head`) is not a failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
