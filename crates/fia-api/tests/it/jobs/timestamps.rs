//! Timestamps of filters, against PostgreSQL: accepted, refused and understood as a cast does.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::jobs::{JobsFixture, filtered};

/// The texts that are tried.
const TEXTS: usize = 300;

/// Parts of timestamps, of which random texts are made.
const PARTS: [&str; 40] = [
    "2020-02-29",
    "2021-02-29",
    "1999-12-31",
    "0001-01-01",
    "294276-12-31",
    "4713-01-01",
    "20200102",
    "01/02/2020",
    "Jan 5 2020",
    "2020-W01-1",
    "2020.123",
    "J2451187",
    "T",
    " ",
    "  ",
    "00:00",
    "23:59:59",
    "24:00:00",
    "24:00:01",
    "12:30:61",
    "12:00:00.123456789",
    "PM",
    "AM",
    "BC",
    "+01:00",
    "-15:59",
    "+99",
    "Z",
    "UTC",
    "Europe/London",
    "Nowhere/Town",
    "now",
    "today",
    "epoch",
    "infinity",
    "-infinity",
    "allballs",
    "é",
    "\u{0}",
    "'",
];

/// A text of one to four parts, with a character changed now and then.
fn text(rng: &mut SmallRng) -> String {
    let parts = rng.random_range(1..=4);
    let mut text: String = (0..parts)
        .filter_map(|_| PARTS.choose(rng))
        .copied()
        .collect();
    if rng.random_ratio(1, 4) {
        let digit = char::from(rng.random_range(b'!'..=b'z'));
        text = text.replacen(['0', '2'], &digit.to_string(), 1);
    }
    text
}

/// Takes over a second: 600 statements.
#[tokio::test]
async fn timestamps_of_filters_mean_what_postgresql_takes_them_for() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let client = fixture.database.client().await;
    let count = "SELECT count(*) FROM jobs JOIN runs ON runs.id = run_id WHERE start >= $1::text::timestamp";
    let count = client.prepare(count).await.unwrap();
    let mut rng = SmallRng::seed_from_u64(7);
    let mut accepted = 0;
    for _ in 0..TEXTS {
        let text = text(&mut rng);
        let path = filtered("/jobs/count", &json!({"job_start_after": text}));
        let response = replica.get(&path, "apikey").await;
        match client.query_one(&count, &[&text]).await {
            Ok(row) => {
                accepted += 1;
                let expected: i64 = row.get(0);
                assert_eq!(response.json(), json!({"count": expected}), "{text:?}");
            }
            Err(_) => assert_eq!(response.status, 400, "{text:?}"),
        }
    }
    assert!((20..TEXTS - 20).contains(&accepted), "{accepted} accepted");
}
