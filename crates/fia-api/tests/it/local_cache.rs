//! The local cache over HTTP: cache headers, conditional requests, staleness.

use std::time::Duration;

use devstack::FaultProxy;
use http::{Method, Request, StatusCode, header};
use serde_json::json;

use crate::harness::{Fixture, Replica, Response, eventually, request, vars};

const LOCAL: &str = "fia-api; hit; detail=local";
const SOON: Duration = Duration::from_secs(5);

/// The cached routes, and whether each requires a token.
const READS: [(&str, bool); 8] = [
    ("/live-data/instruments", false),
    ("/live-data/MARI/script", false),
    ("/instrument/MARI/specification", true),
    ("/instrument/MARI/latest-run", true),
    ("/jobs?limit=10&include_run=true", true),
    ("/instrument/MARI/jobs?limit=10", true),
    ("/jobs/count", false),
    ("/instrument/MARI/jobs/count", false),
];

fn source(response: &Response) -> &str {
    response.header("cache-status")
}

/// Requests until a local hit, and returns it.
async fn local(replica: &Replica, path: &str, who: &str) -> Response {
    let mut last = None;
    eventually(SOON, async || {
        let response = replica.get(path, who).await;
        assert_eq!(response.status, 200, "{path}");
        let is_local = source(&response) == LOCAL;
        last = Some(response);
        is_local
    })
    .await;
    last.unwrap()
}

#[tokio::test]
async fn every_cached_route_is_served_from_the_local_cache() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    for (path, wants_token) in READS {
        let first = replica.get(path, "apikey").await;
        assert_eq!(source(&first), "fia-api; fwd=miss", "{path}");
        let response = local(&replica, path, "apikey").await;
        assert_eq!(response.body, first.body, "{path}");
        assert_eq!(response.header("etag"), first.header("etag"), "{path}");
        assert_eq!(response.header("etag").len(), 34, "{path}");
        let control = if wants_token {
            "private, no-cache"
        } else {
            "no-cache"
        };
        for response in [first, response] {
            assert_eq!(response.header("cache-control"), control, "{path}");
            assert_eq!(
                response.header("content-type"),
                "application/json",
                "{path}"
            );
            assert_eq!(response.header("vary"), "Origin", "{path}");
            assert!(!response.header("x-request-id").is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_matching_etag_is_304() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    for (path, _) in READS {
        for _ in 0..3 {
            let response = replica.get(path, "apikey").await;
            let etag = response.header("etag").to_owned();
            let mut again = request(Method::GET, path, "apikey", None);
            let known = etag.parse().unwrap();
            again.headers_mut().insert(header::IF_NONE_MATCH, known);
            let unchanged = replica.send(again).await;
            assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED, "{path}");
            assert!(unchanged.body.is_empty());
            assert_eq!(unchanged.header("etag"), etag);
            assert_eq!(unchanged.header("vary"), "Origin");
            assert!(unchanged.headers.get("content-type").is_none());
        }
    }
    let path = "/live-data/MARI/script";
    let etag = replica.get(path, "none").await.header("etag").to_owned();
    let body = json!({ "value": "another" });
    replica.put(path, "apikey", &body).await;
    let mut again = request(Method::GET, path, "none", None);
    again
        .headers_mut()
        .insert(header::IF_NONE_MATCH, etag.parse().unwrap());
    let changed = replica.send(again).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(changed.json(), "another");
}

/// A cached response for one caller is not served to unauthorised ones.
#[tokio::test]
async fn local_hits_require_authentication() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    for (path, _) in READS.into_iter().filter(|(_, wants_token)| *wants_token) {
        for who in ["apikey", "staff"] {
            local(&replica, path, who).await;
            assert_eq!(replica.get(path, "none").await.status, 401, "{path}");
            for who in ["norole", "nouser", "expired", "forged", "garbage"] {
                let status = replica.get(path, who).await.status;
                assert!(
                    matches!(status.as_u16(), 403 | 503),
                    "{path} as {who}: {status}"
                );
            }
        }
    }
    let forbidden = "/instrument/MARI/specification";
    assert_eq!(replica.get(forbidden, "user").await.status, 403);
}

#[tokio::test]
async fn a_put_is_visible_at_once_locally_and_soon_on_other_replicas() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.replica().await, fixture.replica().await);
    for (path, body) in [
        ("/live-data/MARI/script", "value"),
        ("/instrument/MARI/specification", "v"),
        ("/instrument/MARI/latest-run", "latest_run"),
    ] {
        for round in 0..5 {
            for replica in [&one, &other] {
                local(replica, path, "apikey").await;
            }
            let sent = json!({ body: format!("round {round}") });
            assert_eq!(one.put(path, "apikey", &sent).await.status, 200);
            let expected = if body == "value" {
                sent[body].clone()
            } else {
                sent
            };
            assert_eq!(one.get(path, "apikey").await.json(), expected);
            // Client tracking invalidates within a second.
            eventually(Duration::from_secs(1), async || {
                other.get(path, "apikey").await.json() == expected
            })
            .await;
        }
    }
}

#[tokio::test]
async fn each_cache_level_can_be_disabled() {
    let fixture = Fixture::new().await;
    let path = "/instrument/MARI/specification";
    let without_memory = fixture.replica_with(&vars(&[("CACHE_LOCAL", "off")])).await;
    for _ in 0..3 {
        let response = without_memory.get(path, "apikey").await;
        assert_ne!(source(&response), LOCAL);
    }
    let response = without_memory.get(path, "apikey").await;
    assert_eq!(source(&response), "fia-api; hit; detail=shared");

    let off = vars(&[("CACHE_SHARED", "off")]);
    let without_valkey = Replica::new(&[&fixture.vars(), &off]);
    without_valkey.wait_until_reachable().await;
    for _ in 0..3 {
        let response = without_valkey.get(path, "apikey").await;
        assert_eq!(source(&response), "fia-api; fwd=miss");
    }
}

/// Responses that differ from the legacy server's never enter Valkey.
#[tokio::test]
async fn an_unshared_list_is_cached_locally_only() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let path = "/jobs?limit=5&filters=%7B%22title%22%3A%22100%25%22%7D";
    local(&replica, path, "apikey").await;
    let other = fixture.replica().await;
    let response = other.get(path, "apikey").await;
    assert_eq!(source(&response), "fia-api; fwd=miss");
}

mod while_postgresql_is_unavailable {
    use super::*;

    /// Takes over a second: TTLs of one second have to expire.
    #[tokio::test]
    async fn stale_responses_are_marked_and_expire() {
        let fixture = Fixture::new().await;
        let postgres = FaultProxy::start(fixture.database.server.addr())
            .await
            .unwrap();
        let database = fixture.database.vars_at(postgres.addr());
        let more = vars(&[
            ("LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS", "1"),
            ("JOB_LIST_CACHE_TTL_SECONDS", "1"),
            ("JOB_COUNT_CACHE_TTL_SECONDS", "1"),
            ("CACHE_MAX_STALE_SECONDS", "2"),
        ]);
        let replica = Replica::new(&[&fixture.vars(), &database, &more]);
        replica.wait_for_shared_level().await;
        let paths = ["/live-data/MARI/script", "/jobs?limit=3", "/jobs/count"];
        let mut known = Vec::new();
        for path in paths {
            known.push(replica.get(path, "staff").await.body);
        }
        postgres.refuse(true).await.unwrap();
        postgres.reset_all();
        let stale = async |path: &str| {
            let response = replica.get(path, "staff").await;
            (response.status == 200 && source(&response).ends_with("detail=stale"))
                .then_some(response)
        };
        for (path, known) in paths.into_iter().zip(known) {
            let mut response = None;
            eventually(SOON, async || {
                response = stale(path).await;
                response.is_some()
            })
            .await;
            let response = response.unwrap();
            assert_eq!(response.body, known);
            assert!(response.header("age").parse::<u64>().unwrap() <= 3);
        }
        let unknown = replica.get("/live-data/LET/script", "apikey").await;
        assert_eq!(unknown.status, StatusCode::SERVICE_UNAVAILABLE);
        eventually(SOON, async || {
            let response = replica.get(paths[0], "none").await;
            response.status == StatusCode::SERVICE_UNAVAILABLE
        })
        .await;
        postgres.refuse(false).await.unwrap();
        eventually(Duration::from_secs(1), async || {
            let response = replica.get(paths[0], "none").await;
            response.status == 200 && !source(&response).contains("stale")
        })
        .await;
    }
}

#[tokio::test]
async fn a_get_with_a_body_is_served() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica().await;
    let path = "/live-data/MARI/script";
    let known = local(&replica, path, "none").await;
    let odd = Request::get(path).body("ignored".into()).unwrap();
    assert_eq!(replica.send(odd).await.body, known.body);
}
