//! Names that are not there, in a folder that holds very much.

use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use devstack::{Stack, tokens};

use super::client::Connection;
use super::start;
use super::watch::{Seen, Watch};
use crate::Outcome;

/// Below the folder of job 1 of the seed data.
const FOLDER: &str = "ceph/MARI/RBNumber/RB1820497/autoreduced/many";
/// How often each is asked.
const TURNS: usize = 5;

pub(super) async fn run(server: &Path, files: usize, names: usize) -> Outcome {
    let stack = Stack::builder().postgres().start().await?;
    let folder = stack.files().join(FOLDER);
    fs::create_dir(&folder)?;
    for i in 0..files {
        File::create(folder.join(format!("run-{i}.nxs")))?;
    }
    let api = start(server, &stack, &[]).await?;
    let bearer = format!("Bearer {}", tokens::API_KEY);
    let gone: Vec<String> = (0..names).map(|i| format!("gone-{i}.nxs")).collect();
    let body = serde_json::json!({ "1": gone }).to_string();
    println!("{files} files in a folder, slowest of {TURNS} turns\n");
    println!("| asked | status | ms | {}", Seen::HEAD);
    println!("|---|---|---|{}", Seen::RULE);
    let watch = Watch::start(&api).await?;
    let (mut slowest, mut status) = (0.0_f64, 0);
    for _ in 0..TURNS {
        let mut connection = Connection::open(api.addr(), &bearer).await?;
        let begun = Instant::now();
        status = connection.post("/job/download-zip", &body).await?.status;
        slowest = slowest.max(begun.elapsed().as_secs_f64() * 1e3);
    }
    let seen = watch.end().await?.row();
    println!("| an archive of {names} that are not there | {status} | {slowest:.0} | {seen}");
    let watch = Watch::start(&api).await?;
    let begun = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..names {
        let mut connection = Connection::open(api.addr(), &bearer).await?;
        clients.spawn(async move {
            let asked = connection.get("/job/1/filename/gone.nxs").await;
            asked.map_or(0, |answer| answer.status)
        });
    }
    while let Some(answered) = clients.join_next().await {
        status = answered?;
    }
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let seen = watch.end().await?.row();
    println!("| one that is not there, by {names} at once | {status} | {took:.0} | {seen}");
    api.stop().await?;
    Ok(())
}
