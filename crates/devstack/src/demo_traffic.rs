//! Something to look at in the demo: a little load, and an outage on request.

use std::io::stdin;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use devstack::http::Connection;
use devstack::{Stack, tokens};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// The interval between two requests.
const PAUSE: Duration = Duration::from_millis(20);
/// Requests between two writes.
const READS_PER_WRITE: u64 = 500;
/// The duration of an outage.
const OUTAGE: Duration = Duration::from_secs(10);
const INSTRUMENTS: [&str; 5] = ["mari", "let", "iris", "osiris", "tosca"];

/// Sends some fifty requests a second. Never ends.
pub(crate) async fn load(api: SocketAddr) {
    let authorization = format!("Bearer {}", tokens::staff());
    loop {
        if let Ok(connection) = Connection::open(api, &authorization).await {
            // Fails while the API restarts, for example.
            let _ = send(connection).await;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn send(mut connection: Connection) -> std::io::Result<()> {
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u64.. {
        ticks.tick().await;
        let instrument = INSTRUMENTS[number as usize / 7 % INSTRUMENTS.len()];
        let path = match number % 7 {
            0 => "/live-data/instruments".to_owned(),
            1 => format!("/live-data/{instrument}/script"),
            2 => format!("/instrument/{instrument}/specification"),
            3 => format!("/instrument/{instrument}/latest-run"),
            4 => format!("/instrument/{instrument}/jobs?limit=10"),
            5 => "/jobs?limit=10&as_user=true".to_owned(),
            _ => "/jobs/runners".to_owned(),
        };
        connection.get(&path).await?;
        if number % READS_PER_WRITE == READS_PER_WRITE - 1 {
            let path = format!("/instrument/{instrument}/latest-run");
            let run = format!(r#"{{"latest_run":"{number:08}"}}"#);
            connection.put(&path, &run).await?;
        }
    }
    Ok(())
}

/// Breaks Valkey and PostgreSQL for ten seconds whenever Enter is pressed. Never ends.
pub(crate) async fn outages(stack: &Stack) {
    let (pressed, mut presses) = mpsc::channel(1);
    thread::spawn(move || {
        let mut line = String::new();
        while let Ok(1..) = stdin().read_line(&mut line) {
            // Full during an outage: one at a time.
            let _ = pressed.try_send(());
        }
    });
    while presses.recv().await.is_some() {
        let (Some(postgres), Some(valkey)) = (stack.postgres(), stack.valkey()) else {
            break;
        };
        eprintln!("Valkey and PostgreSQL are down for 10 s …");
        valkey.kill();
        postgres.kill();
        sleep(OUTAGE).await;
        let (valkey, postgres) = tokio::join!(valkey.restart(), postgres.restart());
        for error in [valkey.err(), postgres.err()].into_iter().flatten() {
            eprintln!("devstack: {error}");
        }
        eprintln!("Valkey and PostgreSQL are up again.");
    }
    std::future::pending::<()>().await;
}
