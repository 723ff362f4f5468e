//! The catalogue: what is documented is what is served.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fia_api::app::Metrics;

use crate::harness::{Fixture, vars};
use crate::metrics::scrape;
use crate::metrics::text_format::Scrape;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

#[test]
fn the_document_has_the_table_of_the_code() {
    let document = std::fs::read_to_string(Path::new(DOCUMENT)).unwrap();
    let table = document.find("| metric |").map(|start| &document[start..]);
    assert!(
        table == Some(Metrics::reference().as_str()),
        "replace the table in docs/metrics.md by the output of `fia-api metrics`"
    );
}

/// The families of the table, with their labels.
fn catalogue() -> BTreeMap<String, BTreeSet<String>> {
    let reference = Metrics::reference();
    let rows = reference.lines().skip(2).map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned());
        (cells[1].trim_matches('`').to_owned(), labels.collect())
    });
    rows.collect()
}

/// The families of a scrape, with their labels.
fn served(scrape: &Scrape) -> BTreeMap<String, BTreeSet<String>> {
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in scrape.keys() {
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let parts = ["_bucket", "_sum", "_count"].iter();
        let histogram = parts.filter_map(|part| name.strip_suffix(part)).next();
        let labels = labels.trim_end_matches('}').split(',');
        let names = labels.filter_map(|label| label.split_once('=').map(|(name, _)| name));
        let family = families.entry(histogram.unwrap_or(name).to_owned());
        family
            .or_default()
            .extend(names.filter(|name| *name != "le").map(str::to_owned));
    }
    families
}

/// With every feature in use, what is served equals the catalogue, labels included.
#[tokio::test]
async fn every_served_metric_is_in_the_catalogue_and_the_reverse() {
    let fixture = Fixture::new().await;
    let server = fixture.database.server;
    let url = format!(
        "postgres://127.0.0.1:{}/{}",
        server.port(),
        fixture.database.name
    );
    let replica = fixture
        .replica_with(&vars(&[("DB_LISTEN_URL", &url)]))
        .await;
    let metrics = Metrics::new(replica.edge());
    replica.get("/instrument/MARI/latest-run", "apikey").await;
    assert_eq!(served(&scrape(&metrics).await), catalogue());
}
