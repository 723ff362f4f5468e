//! Concurrent downloads and archives of large files.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use devstack::http::Connection;
use devstack::{Api, Stack, tokens};
use http::Method;
use rand::RngExt as _;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::probe::{ProbeReport, Probes};
use super::start;
use crate::Outcome;

/// The folder of job 1 of the seed data.
const FOLDER: &str = "ceph/MARI/RBNumber/RB1820497/autoreduced";
const NOISE: &str = "noise.nxs";
const TEXT: &str = "text.txt";
const HUGE: &str = "huge.txt";

pub(super) async fn run(server: &Path, gib: u64, at_once: usize) -> Outcome {
    let stack = Stack::builder().postgres().start().await?;
    let folder = stack.files().join(FOLDER);
    let size = gib << 30;
    write_files(&folder, size)?;
    let api = start(server, &stack, &[]).await?;
    println!("{at_once} concurrent clients, {gib} GiB each, all of the same file\n");
    println!(
        "| response | s | slowest first byte ms | MiB/s sent | {}",
        ProbeReport::HEAD
    );
    println!("|---|---|---|---|{}", ProbeReport::RULE);
    row(&api, "download", at_once, &download(NOISE)).await?;
    row(&api, "archive of random bytes", at_once, &zip(&[NOISE])).await?;
    row(&api, "archive of text", at_once, &zip(&[TEXT])).await?;
    fs::remove_file(folder.join(NOISE))?;
    beyond_32_bits(&api, &folder).await?;
    api.stop().await?;
    Ok(())
}

/// Writes an incompressible file, and one of numbers like instrument data.
fn write_files(folder: &Path, size: u64) -> Outcome {
    let mut rng = rand::rng();
    let mut noise = vec![0; 1 << 20];
    rng.fill(&mut noise[..]);
    let mut text = Vec::new();
    while text.len() < 1 << 20 {
        let value: f64 = rng.random_range(0.0..1000.0);
        writeln!(text, "{value:.6}, {:.6}", value.sqrt())?;
    }
    text.truncate(1 << 20);
    for (name, block) in [(NOISE, &noise), (TEXT, &text)] {
        let mut file = BufWriter::new(File::create(folder.join(name))?);
        for _ in 0..size >> 20 {
            file.write_all(block)?;
        }
        file.flush()?;
    }
    Ok(())
}

#[derive(Clone)]
struct Request {
    method: Method,
    path: String,
    body: String,
}

fn download(name: &str) -> Request {
    Request {
        method: Method::GET,
        path: format!("/job/1/filename/{name}"),
        body: String::new(),
    }
}

fn zip(names: &[&str]) -> Request {
    Request {
        method: Method::POST,
        path: "/job/download-zip".to_owned(),
        body: format!(r#"{{"1": ["{}"]}}"#, names.join(r#"", ""#)),
    }
}

async fn row(api: &Api, what: &str, at_once: usize, request: &Request) -> Outcome {
    let probes = Probes::start(api).await?;
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..at_once {
        let (address, request) = (api.addr(), request.clone());
        clients.spawn(async move {
            receive(address, &request, None)
                .await
                .map_err(|error| error.to_string())
        });
    }
    let (mut sent, mut first) = (0, Duration::ZERO);
    while let Some(received) = clients.join_next().await {
        let (bytes, wait) = received??;
        sent += bytes;
        first = first.max(wait);
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "| {what} | {took:.1} | {:.1} | {:.0} | {}",
        first.as_secs_f64() * 1e3,
        (sent >> 20) as f64 / took,
        probes.end().await?.row()
    );
    Ok(())
}

/// Sends a request; returns the size of the response's body in bytes, and the time to its headers. Writes
/// the body to `into`, if given.
async fn receive(
    address: SocketAddr,
    request: &Request,
    into: Option<&Path>,
) -> Outcome<(u64, Duration)> {
    let authorization = format!("Bearer {}", tokens::API_KEY);
    let connection = Connection::open(address, &authorization).await?;
    let headers = [("content-type", "application/json")];
    let begun = Instant::now();
    let mut stream = connection
        .stream(
            request.method.clone(),
            &request.path,
            &headers,
            &request.body,
        )
        .await?;
    let first = begun.elapsed();
    if stream.status != 200 {
        return Err(format!("{}: status {}", request.path, stream.status).into());
    }
    let mut file = into.map(File::create).transpose()?;
    let mut received = 0;
    while let Some(chunk) = stream.chunk().await? {
        received += chunk.len() as u64;
        if let Some(file) = &mut file {
            file.write_all(&chunk)?;
        }
    }
    Ok((received, first))
}

/// Has other programs read an archive of a file of more than 4 GiB and one after it.
async fn beyond_32_bits(api: &Api, folder: &Path) -> Outcome {
    File::create(folder.join(HUGE))?.set_len((4 << 30) + 10)?;
    let archive = folder.join("archive.zip");
    receive(api.addr(), &zip(&[HUGE, "MAR1.nxspe"]), Some(&archive)).await?;
    let list = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\n\
         print([(i.filename, i.file_size) for i in z.infolist()], z.testzip())";
    for (program, arguments) in [("python3", &["-c", list][..]), ("unzip", &["-tq"])] {
        let mut command = Command::new(program);
        let output = command.args(arguments).arg(&archive).output().await?;
        let printed = String::from_utf8_lossy(&output.stdout);
        println!("\n{program}: {} ({})", printed.trim(), output.status);
        if !output.status.success() {
            return Err(format!("{program} cannot read the archive").into());
        }
    }
    Ok(())
}
