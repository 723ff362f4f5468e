//! The page with 100,000 keys.

use std::time::Instant;

use crate::harness::Fixture;
use crate::operator::Operated;

const KEYS: usize = 100_000;
/// An unoptimised build takes several times as long as the page may.
const LIMIT_MILLIS: u128 = if cfg!(debug_assertions) { 400 } else { 50 };

#[tokio::test]
async fn the_page_is_fast_with_many_keys() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    let mut redis = fixture.redis().await;
    let fill = "for i = ARGV[1] + 1, ARGV[1] + 5000 do \
         redis.call('SET', 'fia_api:instrument:spec:I' .. i, '{\"specification\":1}', 'EX', 600) end";
    for first in (0..KEYS).step_by(5_000) {
        let mut eval = redis::cmd("EVAL");
        eval.arg(fill).arg(0).arg(first);
        let () = eval.query_async(&mut redis).await.unwrap();
    }
    for path in ["/", "/?by=bytes", "/?key=spec:I9999"] {
        page.html(path).await;
        let start = Instant::now();
        page.html(path).await;
        let elapsed = start.elapsed().as_millis();
        eprintln!("{path}: {elapsed} ms");
        assert!(elapsed <= LIMIT_MILLIS, "{path}: {elapsed} ms");
    }
    let found = page.json("/?key=spec:I99999").await;
    let rows = found["keys"]["rows"].as_array().unwrap();
    assert!(
        rows.len() == 1 || found["keys"]["note"].is_string(),
        "{found}"
    );
}
