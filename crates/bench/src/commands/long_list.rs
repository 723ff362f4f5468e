//! A list without a limit: its memory, and the latency of concurrent probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use devstack::{Api, tokens};
use http::Method;
use tokio::time::sleep;

use super::client::Connection;
use super::milliseconds;
use super::resident_mib;
use crate::Outcome;

pub(super) async fn run(api: &Api) -> Outcome {
    let (address, pid) = (api.addr(), api.server().pid());
    let before = resident_mib(pid)?;
    let ended = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn({
        let ended = Arc::clone(&ended);
        async move {
            let mut slowest = Duration::ZERO;
            let mut max: f64 = 0.0;
            while !ended.load(Ordering::Relaxed) {
                let began = Instant::now();
                let mut connection = Connection::open(address, "").await.map_err(text)?;
                connection.get("/healthz").await.map_err(text)?;
                slowest = slowest.max(began.elapsed());
                max = max.max(resident_mib(pid).map_err(text)?);
                sleep(Duration::from_millis(20)).await;
            }
            Ok::<_, String>((slowest, max))
        }
    });
    let began = Instant::now();
    let (bytes, complete) = read(api).await?;
    let took = began.elapsed();
    ended.store(true, Ordering::Relaxed);
    let (slowest, max) = watching.await??;
    println!(
        "\n`/jobs?limit=0`: {:.0} MiB in {:.1} s{}; server memory {before:.1} MiB before, \
         at most {max:.1} MiB; slowest concurrent /healthz {:.1} ms",
        bytes as f64 / 1_048_576.0,
        took.as_secs_f64(),
        if complete { "" } else { ", then cut off" },
        milliseconds(slowest)
    );
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Reads the list as fast as the server sends it; returns its size in bytes, and false if it was truncated.
async fn read(api: &Api) -> Outcome<(usize, bool)> {
    let authorization = format!("Bearer {}", tokens::API_KEY);
    let connection = Connection::open(api.addr(), &authorization).await?;
    let mut list = connection
        .stream(Method::GET, "/jobs?limit=0", &[], "")
        .await?;
    let mut bytes = 0;
    loop {
        match list.chunk().await {
            Ok(Some(chunk)) => bytes += chunk.len(),
            end => return Ok((bytes, end.is_ok())),
        }
    }
}
