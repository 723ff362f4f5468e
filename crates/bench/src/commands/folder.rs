//! Missing files in a very large folder.

use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use devstack::{Stack, tokens};

use super::client::Connection;
use super::probe::{ProbeReport, Probes};
use super::start;
use crate::Outcome;

/// Below the folder of job 1 of the seed data.
const FOLDER: &str = "ceph/MARI/RBNumber/RB1820497/autoreduced/many";
/// How often each request is sent.
const ROUNDS: usize = 5;

pub(super) async fn run(server: &Path, files: usize, names: usize) -> Outcome {
    let stack = Stack::builder().postgres().start().await?;
    let folder = stack.files().join(FOLDER);
    fs::create_dir(&folder)?;
    for i in 0..files {
        File::create(folder.join(format!("run-{i}.nxs")))?;
    }
    let api = start(server, &stack, &[]).await?;
    let bearer = format!("Bearer {}", tokens::API_KEY);
    let missing: Vec<String> = (0..names).map(|i| format!("gone-{i}.nxs")).collect();
    let body = serde_json::json!({ "1": missing }).to_string();
    println!("{files} files in a folder, slowest of {ROUNDS} rounds\n");
    println!("| request | status | ms | {}", ProbeReport::HEAD);
    println!("|---|---|---|{}", ProbeReport::RULE);
    let probes = Probes::start(&api).await?;
    let (mut slowest, mut status) = (0.0_f64, 0);
    for _ in 0..ROUNDS {
        let mut connection = Connection::open(api.addr(), &bearer).await?;
        let begun = Instant::now();
        status = connection.post("/job/download-zip", &body).await?.status;
        slowest = slowest.max(begun.elapsed().as_secs_f64() * 1e3);
    }
    let probed = probes.end().await?.row();
    println!("| an archive of {names} missing files | {status} | {slowest:.0} | {probed}");
    let probes = Probes::start(&api).await?;
    let begun = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..names {
        let mut connection = Connection::open(api.addr(), &bearer).await?;
        clients.spawn(async move {
            let response = connection.get("/job/1/filename/gone.nxs").await;
            response.map_or(0, |response| response.status)
        });
    }
    while let Some(received) = clients.join_next().await {
        status = received?;
    }
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let probed = probes.end().await?.row();
    println!("| one missing file, by {names} concurrent clients | {status} | {took:.0} | {probed}");
    api.stop().await?;
    Ok(())
}
