//! Every query of the dashboard returns series from a replica under load.

use std::time::Duration;

use devstack::shared;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::consumer::queue_vars;
use crate::harness::{Fixture, Replica, eventually, request, upstream_vars, vars};
use crate::monitoring::{Monitored, SOON, WINDOW, read};

/// Duration of the load: several windows' worth of scrapes.
const LOAD: Duration = Duration::from_secs(6);
/// Interval between two rounds of requests.
const PACE: Duration = Duration::from_millis(50);

/// The expressions of all panels, with the variables replaced as Grafana does for "All".
fn expressions() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("grafana/fia-api.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut expressions = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression
                .replace("[$__rate_interval]", WINDOW)
                .replace("$namespace", ".*")
                .replace("$instance", ".*");
            assert!(!expression.contains('$'), "{title}: {expression}");
            expressions.push((title.to_owned(), expression));
        }
    }
    assert!(expressions.len() > 30);
    expressions
}

/// One request of each kind.
async fn requests(replica: &Replica, round: u32) {
    let run = json!({"latest_run": round.to_string()});
    let path = "/instrument/MARI/latest-run";
    let put = replica.put(path, "apikey", &run).await;
    assert_eq!(put.status, StatusCode::OK);
    for _ in 0..3 {
        replica.get(path, "apikey").await;
    }
    replica.get("/instrument/NOSUCH/latest-run", "apikey").await;
    let list = format!("/jobs?limit=1&offset={round}");
    replica.get(&list, "user").await;
    replica.get("/jobs/runners", "apikey").await;
    let job = json!({"runner_image": "image", "script": "print(1)"});
    let job = request(Method::POST, "/job/simple", "staff", Some(&job));
    assert_eq!(replica.send(job).await.status, StatusCode::OK);
}

/// Takes the duration of the load, and the start of RabbitMQ.
#[tokio::test]
async fn every_query_of_the_dashboard_returns_series() {
    let (fixture, rabbitmq, upstreams) =
        tokio::join!(Fixture::new(), shared::rabbitmq(), shared::upstreams());
    fixture.database.add_outbox().await;
    let mut settings = queue_vars(rabbitmq.unwrap());
    settings.extend(upstream_vars(upstreams.unwrap()));
    let feed = fixture.database.server.url(&fixture.database.name);
    settings.extend(vars(&[("DB_LISTEN_URL", &feed)]));
    let replica = fixture.replica_with(&settings).await;
    let monitored = Monitored::start(&replica, "groups: []\n").await;

    let start = Instant::now();
    let mut round = 0;
    while start.elapsed() < LOAD {
        requests(&replica, round).await;
        round += 1;
        sleep(PACE).await;
    }
    for (title, expression) in expressions() {
        // The load goes on, so that rates stay above 0 however slow the machine is.
        eventually(SOON, async || {
            requests(&replica, round).await;
            round += 1;
            let series = monitored.query(&expression).await;
            let values = series.iter().filter_map(|one| one["value"][1].as_str());
            let found = values.filter(|value| *value != "NaN").count() > 0;
            if !found {
                eprintln!("no series yet: {title}: {expression}");
            }
            found
        })
        .await;
    }
}
