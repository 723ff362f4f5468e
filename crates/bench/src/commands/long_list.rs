//! A list without a limit: what it takes of memory, and of the patience of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use devstack::{Api, tokens};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
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
            let mut most: f64 = 0.0;
            while !ended.load(Ordering::Relaxed) {
                let began = Instant::now();
                let mut connection = Connection::open(address, "").await.map_err(text)?;
                connection.get("/healthz").await.map_err(text)?;
                slowest = slowest.max(began.elapsed());
                most = most.max(resident_mib(pid).map_err(text)?);
                sleep(Duration::from_millis(20)).await;
            }
            Ok::<_, String>((slowest, most))
        }
    });
    let began = Instant::now();
    let (bytes, whole) = read(api).await?;
    let took = began.elapsed();
    ended.store(true, Ordering::Relaxed);
    let (slowest, most) = watching.await??;
    println!(
        "\n`/jobs?limit=0`: {:.0} MiB in {:.1} s{}; memory of the server {before:.1} MiB before, \
         at most {most:.1} MiB; slowest /healthz meanwhile {:.1} ms",
        bytes as f64 / 1_048_576.0,
        took.as_secs_f64(),
        if whole { "" } else { ", then cut off" },
        milliseconds(slowest)
    );
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Reads the list as fast as it comes: how many bytes, and whether it was whole.
async fn read(api: &Api) -> Outcome<(usize, bool)> {
    let mut stream = TcpStream::connect(api.addr()).await?;
    let request = format!(
        "GET /jobs?limit=0 HTTP/1.1\r\nhost: bench\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        tokens::API_KEY
    );
    stream.write_all(request.as_bytes()).await?;
    let mut piece = vec![0; 1 << 18];
    let (mut bytes, mut end) = (0, Vec::new());
    loop {
        let read = stream.read(&mut piece).await.unwrap_or(0);
        if read == 0 {
            return Ok((bytes, end.ends_with(b"0\r\n\r\n")));
        }
        bytes += read;
        end.extend_from_slice(&piece[..read]);
        end.drain(..end.len().saturating_sub(5));
    }
}
