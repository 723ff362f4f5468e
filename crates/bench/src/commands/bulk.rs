//! Large downloads and archives, several at once.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use devstack::{Api, Stack, tokens};
use rand::RngExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::start;
use super::watch::{Seen, Watch};
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
    println!("{at_once} at once, {gib} GiB each, one file for all of them\n");
    println!(
        "| what | s | slowest first byte ms | MiB/s sent | {}",
        Seen::HEAD
    );
    println!("|---|---|---|---|{}", Seen::RULE);
    let get = |name| format!("GET /job/1/filename/{name} HTTP/1.1\r\n");
    row(&api, "download", at_once, &get(NOISE)).await?;
    row(&api, "archive of noise", at_once, &zip(&[NOISE])).await?;
    row(&api, "archive of text", at_once, &zip(&[TEXT])).await?;
    fs::remove_file(folder.join(NOISE))?;
    beyond_32_bits(&api, &folder).await?;
    api.stop().await?;
    Ok(())
}

/// One file that nobody can compress, and one of numbers as instruments write them.
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

fn zip(names: &[&str]) -> String {
    let body = format!(r#"{{"1": ["{}"]}}"#, names.join(r#"", ""#));
    format!(
        "POST /job/download-zip HTTP/1.1\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nx-body: {body}\r\n",
        body.len()
    )
}

async fn row(api: &Api, what: &str, at_once: usize, request: &str) -> Outcome {
    let watch = Watch::start(api).await?;
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..at_once {
        let (address, request) = (api.addr(), request.to_owned());
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
        watch.end().await?.row()
    );
    Ok(())
}

/// Sends a request whose lines are given, and counts what comes; writes the body of a chunked
/// answer where it is wanted.
async fn receive(
    address: SocketAddr,
    request: &str,
    into: Option<&Path>,
) -> Outcome<(u64, Duration)> {
    let (lines, body) = match request.split_once("x-body: ") {
        Some((lines, body)) => (lines, body.trim_end()),
        None => (request, ""),
    };
    let request = format!(
        "{lines}host: bench\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n{body}",
        tokens::API_KEY
    );
    let mut stream = TcpStream::connect(address).await?;
    let begun = Instant::now();
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = vec![0; 256 * 1024];
    let read = stream.read(&mut buffer).await?;
    let first = begun.elapsed();
    let head = String::from_utf8_lossy(&buffer[..read.min(64)]).into_owned();
    if !head.starts_with("HTTP/1.1 200") {
        return Err(format!("answered {head}").into());
    }
    if let Some(path) = into {
        let mut answer = buffer[..read].to_vec();
        stream.read_to_end(&mut answer).await?;
        fs::write(path, unchunked(&answer).ok_or("broken off")?)?;
        return Ok((answer.len() as u64, first));
    }
    let mut received = read as u64;
    // What a proper answer ends with, chunked or not, is not looked at here: `beyond_32_bits`
    // does.
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok((received, first)),
            read => received += read as u64,
        }
    }
}

/// The body of a whole chunked answer.
fn unchunked(answer: &[u8]) -> Option<Vec<u8>> {
    let end = |bytes: &[u8], of: &[u8]| bytes.windows(of.len()).position(|bytes| bytes == of);
    let mut rest = &answer[end(answer, b"\r\n\r\n")? + 4..];
    let mut body = Vec::new();
    loop {
        let line = end(rest, b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(line + 2..line + 2 + size)?);
        rest = &rest[line + 2 + size + 2..];
    }
}

/// An archive with a file of more than 4 GiB and one behind it, opened by other programs.
async fn beyond_32_bits(api: &Api, folder: &Path) -> Outcome {
    File::create(folder.join(HUGE))?.set_len((4 << 30) + 10)?;
    let archive = folder.join("archive.zip");
    receive(api.addr(), &zip(&[HUGE, "MAR1.nxspe"]), Some(&archive)).await?;
    let list = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\n\
         print([(i.filename, i.file_size) for i in z.infolist()], z.testzip())";
    for (program, arguments) in [("python3", &["-c", list][..]), ("unzip", &["-tq"])] {
        let mut command = Command::new(program);
        let output = command.args(arguments).arg(&archive).output().await?;
        let said = String::from_utf8_lossy(&output.stdout);
        println!("\n{program}: {} ({})", said.trim(), output.status);
        if !output.status.success() {
            return Err(format!("{program} cannot open the archive").into());
        }
    }
    Ok(())
}
