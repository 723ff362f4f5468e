//! Probes of the dependencies, for `check-config --connect`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::future::join_all;
use redis::{AsyncConnectionConfig, cmd};
use secrecy::ExposeSecret as _;
use tiercache::Server;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::config::{Auth, Config, Database, GitHub, Queue};
use crate::store::{ChangeFeed, Db, Reachability, schema};
use crate::upstream::{AuthService, Packages, Precedence, Revalidated, ScriptRepository};

/// The time limit of each probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The outcome of a probe: what was found, or why the dependency cannot be used.
type Outcome = Result<String, String>;

/// A dependency and the outcome of its probe.
#[derive(Debug)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Whether the server is of little use without it.
    pub is_required: bool,
    /// What was found, or why it cannot be used.
    pub outcome: Outcome,
}

/// Tries every dependency that is configured, concurrently and with a limit of 5 s each. Must be
/// called within a Tokio runtime.
pub async fn probe_dependencies(config: &Config) -> Vec<Dependency> {
    let files = &config.files;
    let mut probes = vec![
        probe("PostgreSQL", true, postgres(&config.database)),
        probe("PostgreSQL probe", true, postgres_probe(&config.database)),
        probe("RabbitMQ", true, rabbitmq(&config.queue)),
        probe("auth service", true, auth_service(&config.auth)),
        probe("GitHub scripts", false, scripts(&config.github)),
        probe("GitHub packages", false, packages(&config.github)),
        probe("CEPH_DIR", true, folder(&files.ceph_dir)),
        probe("EXTRAS_DIRECTORY", true, folder(&files.extras_dir)),
    ];
    if config.database.listen_url.is_some() {
        probes.push(probe("change feed", false, change_feed(&config.database)));
    }
    if let Some(url) = &config.cache.valkey_url {
        probes.push(probe("Valkey", true, valkey(url.expose_secret())));
    }
    if let Some(script_dir) = &config.github.script_dir {
        probes.push(probe("SCRIPT_DIR", false, folder(script_dir)));
    }
    join_all(probes).await
}

fn probe<'a>(
    name: &str,
    is_required: bool,
    probing: impl Future<Output = Outcome> + Send + 'a,
) -> BoxFuture<'a, Dependency> {
    let name = name.to_owned();
    Box::pin(async move {
        let outcome = timeout(PROBE_TIMEOUT, probing).await;
        let outcome = outcome.unwrap_or_else(|_| {
            let limit = PROBE_TIMEOUT.as_secs();
            Err(format!("no response within {limit} s"))
        });
        Dependency {
            name,
            is_required,
            outcome,
        }
    })
}

async fn postgres(config: &Database) -> Outcome {
    let db = Db::new(config).map_err(text)?;
    let found = schema::inspect(&db).await.map_err(text)?;
    if !found.missing_tables.is_empty() {
        let missing = found.missing_tables.join(", ");
        return Err(format!(
            "version {}, missing tables: {missing}",
            found.version
        ));
    }
    let outbox = if found.has_outbox {
        "all tables exist"
    } else {
        "no table fia_api_outbox, or it lacks columns (see `fia-api schema --apply`): jobs are refused while RabbitMQ \
         is unavailable"
    };
    let session = db.session_kind().await.map_err(text)?.describe();
    Ok(format!("version {}, {outbox}; {session}", found.version))
}

/// The probe that decides when callers with the API key are served from the cache.
async fn postgres_probe(config: &Database) -> Outcome {
    let begun = Instant::now();
    let reachability = Reachability::start(config).map_err(text)?;
    reachability.wait_until_reachable().await;
    Ok(format!(
        "reachable after {} ms",
        begun.elapsed().as_millis()
    ))
}

/// The feed reports a change of unknown extent once it has connected.
async fn change_feed(config: &Database) -> Outcome {
    let mut feed = ChangeFeed::start(config)
        .map_err(text)?
        .ok_or("not configured")?;
    feed.next().await;
    Ok("connected".to_owned())
}

async fn valkey(url: &str) -> Outcome {
    let server = Server::parse(url).map_err(text)?;
    let connection = server.connect(&AsyncConnectionConfig::new()).await;
    let mut connection = connection.map_err(text)?;
    let info: String = cmd("INFO")
        .arg("server")
        .query_async(&mut connection)
        .await
        .map_err(text)?;
    let version = |name| info.lines().find_map(|line: &str| line.strip_prefix(name));
    let version = version("valkey_version:").or_else(|| version("redis_version:"));
    Ok(format!("version {}", version.unwrap_or("unknown")))
}

async fn rabbitmq(config: &Queue) -> Outcome {
    let connection = Broker::new(config).connection().await.map_err(text)?;
    if connection.is_blocked() {
        return Err("connected, but RabbitMQ blocks publishing".to_owned());
    }
    Ok("connected".to_owned())
}

async fn auth_service(config: &Auth) -> Outcome {
    let service = AuthService::new(config).map_err(text)?;
    // An invalid token: the verdict does not matter.
    service
        .verify("", Precedence::Unknown)
        .await
        .map_err(text)?;
    Ok("responds".to_owned())
}

async fn scripts(config: &GitHub) -> Outcome {
    let repository = ScriptRepository::new(config).map_err(text)?;
    match repository.commit(None, PROBE_TIMEOUT).await.map_err(text)? {
        Revalidated::Modified(commit, _) => Ok(format!("latest commit {commit}")),
        Revalidated::NotModified | Revalidated::Missing => Err("repository not found".to_owned()),
    }
}

async fn packages(config: &GitHub) -> Outcome {
    let packages = Packages::new(config).map_err(text)?;
    let versions = packages.versions().await.map_err(text)?;
    Ok(format!("{} versions of the runner image", versions.len()))
}

/// Lists the folder. On another thread: a network file system may hang.
async fn folder(path: &Path) -> Outcome {
    let path = PathBuf::from(path);
    let shown = path.display().to_string();
    let listing = spawn_blocking(move || std::fs::read_dir(path).map(drop));
    match listing.await.map_err(text)? {
        Ok(()) => Ok(format!("{shown} is readable")),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
