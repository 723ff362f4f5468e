//! The cost of the operator's page: CPU time of a hit in memory while somebody looks at it, and its
//! time and memory with very many keys.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use devstack::http::Connection;
use devstack::{Api, Port, Stack, Valkey, tokens};
use http::Method;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::wrk::{self, median};
use super::{cpu_time, milliseconds, resident_mib, start, ttl_settings, verdict};
use crate::Outcome;

const PATH: &str = "/instrument/MARI/latest-run";
/// A TTL in seconds beyond the end of the measurement.
const LONG_TTL: u64 = 24 * 3600;
/// The greatest CPU time of a request, relative to a page that nobody looks at or that is off.
const MAX_RATIO: f64 = 1.02;
/// The longest time for a page.
const MAX_PAGE: Duration = Duration::from_millis(50);
/// The most memory that the page needs, in MiB.
const MAX_MEMORY: f64 = 8.0;
/// The pause of the page's script between two requests.
const PAUSE: Duration = Duration::from_millis(100);
/// Clients that read many keys.
const CLIENTS: usize = 16;
/// Requests for each page with many keys.
const PAGES: usize = 40;

#[derive(Args)]
pub(super) struct Options {
    /// How often the servers are started again: two processes of one program differ by a percent.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// Rounds after each start, each of one second a server.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Keys in Valkey, each read once.
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
}

/// Whether a server has the page, and whether somebody looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Off,
    Closed,
    Open,
}

/// A server.
struct Variant {
    of: Use,
    api: Api,
    page: Port,
}

pub(super) async fn run(server: &Path, options: &Options) -> Outcome {
    let stack = Stack::builder().everything().start().await?;
    let mut costs: [Vec<f64>; 3] = Default::default();
    let mut pages = 0;
    let mut checks = Vec::new();
    for generation in 0..options.starts {
        let variants = start_all(server, &stack).await?;
        for round in 0..options.rounds {
            // Each is first, second and last in turn.
            for turn in 0..variants.len() {
                let i = (turn + (generation + round) as usize) % variants.len();
                let (cost, shown) = variants[i].measure().await?;
                costs[i].push(cost);
                pages += shown;
            }
        }
        if generation + 1 == options.starts {
            let [off, _, open] = &variants;
            checks = many_keys(&stack, (off, open), options.keys).await?;
        }
    }
    let (of_closed, of_off) = report(&costs);
    checks.extend([
        ("the open page was updated", pages > 0),
        (
            "open costs a hit at most 2 % more than closed",
            of_closed <= MAX_RATIO,
        ),
        (
            "open costs a hit at most 2 % more than off",
            of_off <= MAX_RATIO,
        ),
    ]);
    verdict(&checks)
}

async fn start_all(server: &Path, stack: &Stack) -> Outcome<[Variant; 3]> {
    Ok([
        Variant::start(Use::Off, server, stack).await?,
        Variant::start(Use::Closed, server, stack).await?,
        Variant::start(Use::Open, server, stack).await?,
    ])
}

impl Variant {
    async fn start(of: Use, server: &Path, stack: &Stack) -> Outcome<Self> {
        let page = Port::lease()?;
        let mut settings = ttl_settings(LONG_TTL);
        if of != Use::Off {
            settings.push(("FIA_API_ADMIN_BIND", page.addr().to_string()));
        }
        let api = start(server, stack, &settings).await?;
        let variant = Self { of, api, page };
        variant.measure().await?;
        Ok(variant)
    }

    /// Microseconds of CPU time for a request, all else that the process does included, and the
    /// number of pages shown.
    async fn measure(&self) -> Outcome<(f64, u64)> {
        let key = [("Authorization", format!("Bearer {}", tokens::API_KEY))];
        let url = format!("{}{PATH}", self.api.url());
        let viewer = (self.of == Use::Open).then(|| Viewer::start(self.page.addr()));
        let before = cpu_time(self.api.server().pid())?;
        let run = wrk::run(&url, 1, &key).await?;
        let used = cpu_time(self.api.server().pid())? - before;
        let pages = viewer.map_or(0, |viewer| viewer.pages.load(Ordering::Relaxed));
        Ok((used.as_secs_f64() * 1e6 / run.requests, pages))
    }
}

/// Somebody who looks at the page.
struct Viewer {
    task: AbortHandle,
    pages: Arc<AtomicU64>,
}

impl Viewer {
    /// Requests pages as the script does, until it is dropped.
    fn start(address: SocketAddr) -> Self {
        let pages = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&pages);
        let task = tokio::spawn(async move {
            let mut connection = Connection::open_anonymous(address).await?;
            let mut shown = String::new();
            loop {
                let headers = [("accept", "text/html"), ("x-shown-state", &*shown)];
                let page = connection.send(Method::GET, "/", &headers, "").await?;
                if page.status == 200 {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                shown = state(&String::from_utf8_lossy(&page.body)).to_owned();
                sleep(PAUSE).await;
            }
            #[expect(unreachable_code, reason = "names the type of errors")]
            Ok::<(), std::io::Error>(())
        });
        Self {
            task: task.abort_handle(),
            pages,
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The digest of the state that a page shows.
fn state(page: &str) -> &str {
    let (_, rest) = page.split_once("data-state=\"").unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}

/// Prints the costs; returns the ratios of an open page to a closed one and to none.
fn report(costs: &[Vec<f64>; 3]) -> (f64, f64) {
    let [off, closed, open] = costs;
    println!("GET {PATH}, wrk -t1 -c32 -d1s; {} rounds\n", off.len());
    println!(
        "| page | CPU a request, \u{b5}s: lowest / median / highest | of closed: pairs, quartiles | of off |"
    );
    println!("|---|---|---|---|");
    for (name, costs) in [("off", off), ("closed", closed), ("open", open)] {
        let lowest = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = costs.iter().copied().fold(0.0, f64::max);
        let middle = median(costs.clone());
        let [of_closed, of_off] = [closed, off].map(|base| {
            let [pairs, quartiles] = ratios(costs, base);
            format!("{pairs:.3}, {quartiles:.3}")
        });
        println!("| {name} | {lowest:.2} / {middle:.2} / {highest:.2} | {of_closed} | {of_off} |");
    }
    println!();
    let least = |base: &[f64]| ratios(open, base).into_iter().fold(f64::INFINITY, f64::min);
    (least(closed), least(off))
}

/// The median of the ratios within a round, and the ratio of the lower quartiles. Other work on the
/// machine moves each, and seldom both: what the page costs moves both.
fn ratios(costs: &[f64], base: &[f64]) -> [f64; 2] {
    let pairs = costs.iter().zip(base).map(|(cost, base)| cost / base);
    let quartile = |costs: &[f64]| {
        let mut costs = costs.to_vec();
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 4]
    };
    [median(pairs.collect()), quartile(costs) / quartile(base)]
}

/// Has both servers read many keys, and requests pages.
async fn many_keys(
    stack: &Stack,
    (off, open): (&Variant, &Variant),
    keys: usize,
) -> Outcome<Vec<(&'static str, bool)>> {
    fill(stack.valkey().ok_or("no Valkey")?, keys).await?;
    for variant in [off, open] {
        read_all(variant.api.addr(), keys).await?;
    }
    println!("\n{keys} keys; {PAGES} requests a page\n");
    println!("| page | median, ms | worst, ms |");
    println!("|---|---|---|");
    let mut connection = Connection::open_anonymous(open.page.addr()).await?;
    let mut worst = Duration::ZERO;
    for path in [
        "/",
        "/?by=bytes",
        "/?by=load_time",
        "/?key=I9999",
        "/?key=none",
    ] {
        let mut times = Vec::new();
        for _ in 0..PAGES {
            let sent = Instant::now();
            let page = connection.get(path).await?;
            times.push(sent.elapsed());
            if page.status != 200 {
                return Err(format!("{path}: {}", page.status).into());
            }
        }
        times.sort();
        let longest = times.last().copied().unwrap_or_default();
        let middle = milliseconds(times[times.len() / 2]);
        println!("| `{path}` | {middle:.1} | {:.1} |", milliseconds(longest));
        worst = worst.max(longest);
    }
    let memory = |variant: &Variant| resident_mib(variant.api.server().pid());
    let (with, without) = (memory(open)?, memory(off)?);
    println!("\nmemory: {with:.1} MiB with the page, {without:.1} MiB without\n");
    Ok(vec![
        ("a page takes at most 50 ms", worst <= MAX_PAGE),
        ("the page needs at most 8 MiB", with - without <= MAX_MEMORY),
    ])
}

/// Stores specifications of instruments `I1`, `I2`, and so on.
async fn fill(valkey: &Valkey, keys: usize) -> Outcome {
    let client = redis::Client::open(valkey.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let script = "for i = ARGV[1] + 1, ARGV[1] + 5000 do redis.call('SET', \
         'fia_api:instrument:spec:I' .. i, '{\"specification\":{\"stage\":1}}', 'EX', ARGV[2]) end";
    for first in (0..keys).step_by(5_000) {
        let mut eval = redis::cmd("EVAL");
        eval.arg(script).arg(0).arg(first).arg(LONG_TTL);
        let () = eval.query_async(&mut connection).await?;
    }
    Ok(())
}

/// Reads every specification twice, the second time from memory.
async fn read_all(address: SocketAddr, keys: usize) -> Outcome {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let bearer = format!("Bearer {}", tokens::API_KEY);
        let mut connection = Connection::open(address, &bearer).await?;
        clients.spawn(async move {
            for key in (client + 1..=keys).step_by(CLIENTS) {
                for _ in 0..2 {
                    let path = format!("/instrument/I{key}/specification");
                    let response = connection.get(&path).await?;
                    if response.status != 200 {
                        let problem = format!("{path}: {}", response.status);
                        return Err(std::io::Error::other(problem));
                    }
                }
            }
            Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}
