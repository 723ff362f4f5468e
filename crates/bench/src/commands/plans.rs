//! Query plans from PostgreSQL's log.

use std::fs;

use devstack::{Postgres, PostgresBuilder};

use crate::Outcome;

/// A PostgreSQL that logs the plan of every statement.
pub(super) struct Plans(Postgres);

impl Plans {
    /// A builder with the settings that log plans, without the cost of timing each node.
    pub(super) fn explaining() -> PostgresBuilder {
        Postgres::builder()
            .setting("session_preload_libraries", "auto_explain")
            .setting("auto_explain.log_min_duration", "0")
    }

    pub(super) fn of(postgres: Postgres) -> Self {
        Self(postgres)
    }

    /// A summary of the plan of the last `SELECT`; of a page, the part below its `Limit`.
    pub(super) fn last(&self) -> Outcome<String> {
        let log = fs::read(self.0.server().log())?;
        let log = String::from_utf8_lossy(&log);
        let (_, plan) = log
            .rsplit_once("Query Text: SELECT")
            .ok_or("no plan in the log")?;
        let lines = plan
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with('\t'));
        let lines: Vec<&str> = lines.collect();
        Ok(summary(cut(&lines)))
    }
}

/// The lines below the first `Limit`; all of them if there is none.
fn cut<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let Some(limit) = lines.iter().position(|line| line.contains("Limit  (")) else {
        return lines;
    };
    let below = &lines[limit + 1..];
    let end = below
        .iter()
        .position(|line| depth(line) <= depth(lines[limit]))
        .unwrap_or(below.len());
    &below[..end]
}

/// The nodes of a plan, outermost first, each once.
fn summary(lines: &[&str]) -> String {
    let mut nodes: Vec<String> = Vec::new();
    for line in lines {
        let Some((node, _)) = line.split_once("  (cost=") else {
            continue;
        };
        let node = node.trim().trim_start_matches("->").trim();
        let node = short(node);
        if !node.is_empty() && !nodes.contains(&node) {
            nodes.push(node);
        }
    }
    nodes.join(", ")
}

/// Abbreviates a node: to the index, or the table of a sequential scan, or the operation.
fn short(node: &str) -> String {
    let named = |node: &str, word: &str| {
        let (_, rest) = node.split_once(word)?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    if let Some(index) = named(node, "Scan using ").or_else(|| named(node, "Index Scan on ")) {
        return index;
    }
    match named(node, "Seq Scan on ") {
        Some(table) => format!("all {table}"),
        None => node.split(" on ").next().unwrap_or(node).to_lowercase(),
    }
}
