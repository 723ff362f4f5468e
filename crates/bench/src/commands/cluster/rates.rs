//! The rate of hits in Valkey, with one server and with a cluster in alternating rounds.

use devstack::{Api, tokens};

use super::super::client;
use super::super::wrk::{self, median};
use crate::Outcome;

/// Requests until a path is served from Valkey.
const WARM: usize = 3;

/// Prints the rates. Returns the median of their ratios.
pub(super) async fn run(
    one: &[Api; 2],
    cluster: &[Api; 2],
    instruments: &[String],
    (seconds, rounds): (u32, usize),
) -> Outcome<f64> {
    let paths: Vec<String> = instruments
        .iter()
        .map(|instrument| format!("/instrument/{instrument}/specification"))
        .collect();
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("paths.lua");
    std::fs::write(&script, lua(&paths))?;
    let script = script.to_str().ok_or("the path of a file is not text")?;
    println!(
        "hits in Valkey by two servers without memory, {} keys; wrk -t1 -c32 -d{seconds}s for each\n",
        paths.len()
    );
    println!("| round | one server, requests/s | three primaries, requests/s | ratio |");
    println!("|---|---|---|---|");
    for api in one.iter().chain(cluster) {
        warm(api, &paths).await?;
    }
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        // In turn first, so that a change of the machine's speed favours neither.
        let (alone, together) = if round % 2 == 0 {
            let alone = rate(one, seconds, script).await?;
            (alone, rate(cluster, seconds, script).await?)
        } else {
            let together = rate(cluster, seconds, script).await?;
            (rate(one, seconds, script).await?, together)
        };
        let ratio = together / alone;
        println!("| {round} | {alone:.0} | {together:.0} | {ratio:.3} |");
        ratios.push(ratio);
    }
    for api in one.iter().chain(cluster) {
        for path in &paths {
            check(api, path).await?;
        }
    }
    let ratio = median(ratios);
    println!("\nmedian of the ratios: {ratio:.3}");
    Ok(ratio)
}

/// A script that requests the paths in turn.
fn lua(paths: &[String]) -> String {
    let quoted: Vec<String> = paths.iter().map(|path| format!("{path:?}")).collect();
    format!(
        "local paths, i = {{ {} }}, 0\n\
         request = function() i = i % #paths + 1; return wrk.format(\"GET\", paths[i]) end\n",
        quoted.join(", ")
    )
}

/// The rate of two servers that are measured at the same time.
async fn rate(servers: &[Api; 2], seconds: u32, script: &str) -> Outcome<f64> {
    let headers = [("Authorization", bearer())];
    let [first, second] = servers.each_ref().map(Api::url);
    let (first, second) = tokio::try_join!(
        wrk::run_script(&first, seconds, &headers, Some(script)),
        wrk::run_script(&second, seconds, &headers, Some(script)),
    )?;
    Ok(first.rate + second.rate)
}

async fn warm(api: &Api, paths: &[String]) -> Outcome {
    for path in paths {
        for _ in 0..WARM {
            client::get(api.addr(), path, &bearer()).await?;
        }
        check(api, path).await?;
    }
    Ok(())
}

/// An error unless a path is served from Valkey.
async fn check(api: &Api, path: &str) -> Outcome {
    let response = client::get(api.addr(), path, &bearer()).await?;
    let source = response.header("cache-status").unwrap_or_default();
    match source.contains("detail=shared") {
        true => Ok(()),
        false => Err(format!("{path} is not a hit in Valkey: {source}").into()),
    }
}

fn bearer() -> String {
    format!("Bearer {}", tokens::API_KEY)
}
