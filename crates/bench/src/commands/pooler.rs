//! Two servers behind PgBouncer in transaction mode: every response carries the requested tag.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use devstack::{Api, PgBouncer, PgBouncerOptions, Stack, tokens};

use super::client::Connection;
use super::start;
use crate::Outcome;

/// Clients of each server.
const CLIENTS: u64 = 16;
/// Rows, each with a unique tag.
const ROWS: u64 = 1000;
/// Server connections of the pooler: far fewer than its clients, so that they are shared.
const POOL: u32 = 6;

pub(super) async fn run(server: &Path, queries: u64, prepared: bool) -> Outcome {
    let stack = Stack::builder().postgres().start().await?;
    let postgres = stack.postgres().ok_or("no PostgreSQL")?;
    tag_rows(&postgres.connect("fia").await?).await?;
    let options = PgBouncerOptions {
        default_pool_size: POOL,
        settings: if prepared {
            vec![("max_prepared_statements".to_owned(), "100".to_owned())]
        } else {
            Vec::new()
        },
        ..PgBouncerOptions::default()
    };
    let pooler = PgBouncer::start(postgres, options).await?;
    let statements = if prepared { "on" } else { "auto" };
    let behind = [
        ("DB_PREPARED", statements.to_owned()),
        ("DB_PORT", pooler.port().to_string()),
        ("VALKEY_URL", String::new()),
        ("LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS", "0".to_owned()),
    ];
    let servers = [
        start(server, &stack, &behind).await?,
        start(server, &stack, &behind).await?,
    ];
    let began = Instant::now();
    let counts = query(&servers, queries).await?;
    println!(
        "{} tagged queries by two servers over {POOL} connections in {:.0} s: {} right, {} wrong, {} refused (503)",
        counts.total(),
        began.elapsed().as_secs_f64(),
        counts.right.load(Ordering::Relaxed),
        counts.wrong.load(Ordering::Relaxed),
        counts.refused.load(Ordering::Relaxed),
    );
    if counts.wrong.load(Ordering::Relaxed) > 0 {
        return Err("some responses carried another tag".into());
    }
    Ok(())
}

async fn tag_rows(client: &tokio_postgres::Client) -> Outcome {
    let rows = format!(
        "INSERT INTO instruments (instrument_name, live_data_script, live_data_support) \
         SELECT 'TAG' || n, 'tag ' || n, false FROM generate_series(0, {}) n",
        ROWS - 1
    );
    Ok(client.batch_execute(&rows).await?)
}

#[derive(Default)]
struct Counts {
    right: AtomicU64,
    wrong: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    fn total(&self) -> u64 {
        [&self.right, &self.wrong, &self.refused]
            .iter()
            .map(|n| n.load(Ordering::Relaxed))
            .sum()
    }
}

async fn query(servers: &[Api], queries: u64) -> Outcome<Arc<Counts>> {
    let counts = Arc::new(Counts::default());
    let mut clients = tokio::task::JoinSet::new();
    for (i, server) in servers.iter().enumerate() {
        for client in 0..CLIENTS {
            let connection = Connection::open(server.addr(), &bearer()).await?;
            // Each client starts at a different row.
            let first = i as u64 * 500 + client * 31;
            let share = queries / (servers.len() as u64 * CLIENTS);
            clients.spawn(query_on(connection, first, share, Arc::clone(&counts)));
        }
    }
    while let Some(client) = clients.join_next().await {
        client?.map_err(|error| format!("a client ended early: {error}"))?;
    }
    Ok(counts)
}

async fn query_on(
    mut connection: Connection,
    first: u64,
    share: u64,
    counts: Arc<Counts>,
) -> Result<(), String> {
    for i in 0..share {
        let tag = (first + i) % ROWS;
        let path = format!("/live-data/TAG{tag}/script");
        let response = connection
            .get(&path)
            .await
            .map_err(|error| error.to_string())?;
        let count = match response.status {
            200 if response.body == format!("\"tag {tag}\"").as_bytes() => &counts.right,
            503 => &counts.refused,
            _ => &counts.wrong,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn bearer() -> String {
    format!("Bearer {}", tokens::API_KEY)
}
