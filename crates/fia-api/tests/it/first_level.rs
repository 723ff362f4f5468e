//! Answers from memory, over HTTP: what they say of themselves, and that they are never old.

use std::time::Duration;

use devstack::FaultProxy;
use http::{Method, Request, StatusCode, header};
use serde_json::json;

use crate::harness::{Answer, Replica, Stage, eventually, request, vars};

const LOCAL: &str = "fia-api; hit; detail=local";
const SOON: Duration = Duration::from_secs(5);

/// The cached routes, and whether each wants a token.
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

fn source(answer: &Answer) -> &str {
    answer.header("cache-status")
}

/// Asks until memory has the answer.
async fn local(replica: &Replica, path: &str, who: &str) -> Answer {
    let mut last = None;
    eventually(SOON, async || {
        let answer = replica.get(path, who).await;
        assert_eq!(answer.status, 200, "{path}");
        let is_local = source(&answer) == LOCAL;
        last = Some(answer);
        is_local
    })
    .await;
    last.unwrap()
}

#[tokio::test]
async fn every_cached_route_is_answered_from_memory_and_says_so() {
    let stage = Stage::new().await;
    let replica = stage.replica().await;
    for (path, wants_token) in READS {
        let first = replica.get(path, "apikey").await;
        assert_eq!(source(&first), "fia-api; fwd=miss", "{path}");
        let answer = local(&replica, path, "apikey").await;
        assert_eq!(answer.body, first.body, "{path}");
        assert_eq!(answer.header("etag"), first.header("etag"), "{path}");
        assert_eq!(answer.header("etag").len(), 34, "{path}");
        let control = if wants_token {
            "private, no-cache"
        } else {
            "no-cache"
        };
        for answer in [first, answer] {
            assert_eq!(answer.header("cache-control"), control, "{path}");
            assert_eq!(answer.header("content-type"), "application/json", "{path}");
            assert_eq!(answer.header("vary"), "Origin", "{path}");
            assert!(!answer.header("x-request-id").is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let stage = Stage::new().await;
    let replica = stage.replica().await;
    for (path, _) in READS {
        for _ in 0..3 {
            let answer = replica.get(path, "apikey").await;
            let etag = answer.header("etag").to_owned();
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

/// What memory has for one caller, another does not get, nor who has no token.
#[tokio::test]
async fn a_token_is_wanted_for_an_answer_from_memory_too() {
    let stage = Stage::new().await;
    let replica = stage.replica().await;
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
async fn a_put_is_seen_at_once_here_and_soon_elsewhere() {
    let stage = Stage::new().await;
    let (one, other) = (stage.replica().await, stage.replica().await);
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
            // Told over a connection of its own: within a second at the most.
            eventually(Duration::from_secs(1), async || {
                other.get(path, "apikey").await.json() == expected
            })
            .await;
        }
    }
}

#[tokio::test]
async fn operators_can_switch_each_level_off() {
    let stage = Stage::new().await;
    let path = "/instrument/MARI/specification";
    let without_memory = stage.replica_with(&vars(&[("CACHE_LOCAL", "off")])).await;
    for _ in 0..3 {
        let answer = without_memory.get(path, "apikey").await;
        assert_ne!(source(&answer), LOCAL);
    }
    let answer = without_memory.get(path, "apikey").await;
    assert_eq!(source(&answer), "fia-api; hit; detail=shared");

    let off = vars(&[("CACHE_SHARED", "off")]);
    let without_valkey = Replica::new(&[&stage.vars(), &off]);
    for _ in 0..3 {
        let answer = without_valkey.get(path, "apikey").await;
        assert_eq!(source(&answer), "fia-api; fwd=miss");
    }
}

/// What the older server would answer otherwise is in no other memory than this.
#[tokio::test]
async fn a_list_that_is_not_shared_is_kept_here_only() {
    let stage = Stage::new().await;
    let replica = stage.replica().await;
    let path = "/jobs?limit=5&filters=%7B%22title%22%3A%22100%25%22%7D";
    local(&replica, path, "apikey").await;
    let other = stage.replica().await;
    let answer = other.get(path, "apikey").await;
    assert_eq!(source(&answer), "fia-api; fwd=miss");
}

mod while_postgresql_is_away {
    use super::*;

    // Over a second: it lets times to live of one second pass.
    #[tokio::test]
    async fn the_last_known_answers_serve_marked_and_end() {
        let stage = Stage::new().await;
        let postgres = FaultProxy::start(stage.database.server.addr())
            .await
            .unwrap();
        let database = stage.database.vars_at(postgres.addr());
        let more = vars(&[
            ("LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS", "1"),
            ("JOB_LIST_CACHE_TTL_SECONDS", "1"),
            ("JOB_COUNT_CACHE_TTL_SECONDS", "1"),
            ("CACHE_MAX_STALE_SECONDS", "2"),
        ]);
        let replica = Replica::new(&[&stage.vars(), &database, &more]);
        replica.shared_level_is_up().await;
        let paths = ["/live-data/MARI/script", "/jobs?limit=3", "/jobs/count"];
        let mut known = Vec::new();
        for path in paths {
            known.push(replica.get(path, "apikey").await.body);
        }
        postgres.refuse(true).await.unwrap();
        postgres.reset_all();
        let stale = async |path: &str| {
            let answer = replica.get(path, "apikey").await;
            (answer.status == 200 && source(&answer).ends_with("detail=stale")).then_some(answer)
        };
        for (path, known) in paths.into_iter().zip(known) {
            let mut answer = None;
            eventually(SOON, async || {
                answer = stale(path).await;
                answer.is_some()
            })
            .await;
            let answer = answer.unwrap();
            assert_eq!(answer.body, known);
            assert!(answer.header("age").parse::<u64>().unwrap() <= 3);
        }
        let unknown = replica.get("/live-data/LET/script", "apikey").await;
        assert_eq!(unknown.status, StatusCode::SERVICE_UNAVAILABLE);
        eventually(SOON, async || {
            let answer = replica.get(paths[0], "none").await;
            answer.status == StatusCode::SERVICE_UNAVAILABLE
        })
        .await;
        postgres.refuse(false).await.unwrap();
        eventually(Duration::from_secs(1), async || {
            let answer = replica.get(paths[0], "none").await;
            answer.status == 200 && !source(&answer).contains("stale")
        })
        .await;
    }
}

#[tokio::test]
async fn a_body_in_a_get_does_no_harm() {
    let stage = Stage::new().await;
    let replica = stage.replica().await;
    let path = "/live-data/MARI/script";
    let known = local(&replica, path, "none").await;
    let odd = Request::get(path).body("ignored".into()).unwrap();
    assert_eq!(replica.send(odd).await.body, known.body);
}
