//! The page with a Valkey Cluster: keys are on several nodes.

use std::time::Duration;

use devstack::ValkeyCluster;
use http::StatusCode;
use redis::aio::MultiplexedConnection;

use crate::harness::{Fixture, eventually, vars};
use crate::operator::keys::assert_as_in_valkey;
use crate::operator::{LATEST_RUN, Operated, SPECIFICATION, ask};

/// A connection to each primary.
async fn primaries(cluster: &ValkeyCluster) -> Vec<MultiplexedConnection> {
    let mut primaries = Vec::new();
    for server in &cluster.servers()[..3] {
        let client = redis::Client::open(server.url()).unwrap();
        primaries.push(client.get_multiplexed_async_connection().await.unwrap());
    }
    primaries
}

/// Takes seconds: the nodes of the cluster find each other by gossip.
#[tokio::test]
async fn keys_of_all_nodes_are_shown_as_their_node_has_them() {
    let (fixture, cluster) = tokio::join!(Fixture::new(), ValkeyCluster::start());
    let cluster = cluster.unwrap();
    let url = cluster.url();
    let page = Operated::with(&fixture, &vars(&[("VALKEY_URL", &url)])).await;
    let mut primaries = primaries(&cluster).await;
    for path in [
        LATEST_RUN,
        SPECIFICATION,
        "/instrument/LET/specification",
        "/instrument/LET/latest-run",
        "/instrument/TOSCA/specification",
        "/instrument/TOSCA/latest-run",
        "/live-data/TOSCA/script",
        "/live-data/instruments",
        "/live-data/MARI/script",
        "/instrument/MARI/jobs?limit=5",
        "/jobs/count",
    ] {
        let response = page.replica.get(path, "staff").await;
        assert_eq!(response.status, StatusCode::OK, "{path}");
    }
    let rows = page.json("/?key=fia_api").await["keys"]["rows"].clone();
    let rows = rows.as_array().unwrap();
    let mut sizes = [0_usize; 3];
    for (primary, size) in primaries.iter_mut().zip(&mut sizes) {
        *size = ask(primary, &["DBSIZE"]).await;
    }
    // Two groups, and the fleet's set and line.
    let size: usize = sizes.iter().sum();
    assert_eq!(rows.len(), size - 4, "{rows:?}");
    let mut shown = [0; 3];
    for row in rows {
        let slot = cluster.slot_of(row["key"].as_str().unwrap()).await.unwrap();
        let owner = cluster.owner_of(slot).await.unwrap();
        shown[owner] += 1;
        assert_as_in_valkey(row, &mut primaries[owner]).await;
    }
    assert!(shown.iter().all(|count| *count > 0), "{shown:?}");
}

/// Takes seconds, as above, and each replica writes a line about itself every 2 s.
#[tokio::test]
async fn replicas_see_each_other_also_after_their_slot_has_moved() {
    let (fixture, cluster) = tokio::join!(Fixture::new(), ValkeyCluster::start());
    let cluster = cluster.unwrap();
    let url = cluster.url();
    let settings = vars(&[("VALKEY_URL", &url)]);
    let one = Operated::with(&fixture, &settings).await;
    let other = Operated::with(&fixture, &settings).await;
    let mut ids = [&one, &other].map(|page| page.operator.replica_id().to_owned());
    ids.sort();
    let sees_both = async |page: &Operated| {
        let fleet = page.json("/").await["fleet"].clone();
        let replicas = fleet["replicas"].as_array().unwrap().clone();
        let seen: Vec<_> = replicas
            .iter()
            .map(|line| line["replica"].clone())
            .collect();
        seen == ids && fleet["problem"].is_null()
    };
    let both_see_both = async || sees_both(&one).await && sees_both(&other).await;
    eventually(Duration::from_secs(8), both_see_both).await;
    let slot = cluster.slot_of("fia_api:{fleet}").await.unwrap();
    let from = cluster.owner_of(slot).await.unwrap();
    let to = (from + 1) % 3;
    cluster.move_slot(slot, from, to).await.unwrap();
    let mut primaries = primaries(&cluster).await;
    let line = format!("fia_api:{{fleet}}:{}", ids[0]);
    eventually(Duration::from_secs(8), async || {
        let ttl: i64 = ask(&mut primaries[to], &["TTL", &line]).await;
        ttl >= 9 && both_see_both().await
    })
    .await;
}
