//! Authentication: the API key, local and remote token verification.

use std::time::{Duration, Instant};

use devstack::{Upstreams, tokens};
use http::StatusCode;

use crate::harness::{Replica, Vars, vars};

/// A staff route without a database: authorised requests get 503.
const STAFF_ONLY: &str = "/instrument/MARI/latest-run";
const PASSED: u16 = 503;

fn without_secret(service: &str) -> Vars {
    vars(&[("AUTH_API_URL", service), ("JWT_SECRET", "")])
}

async fn status(replica: &Replica, who: &str) -> u16 {
    replica.get(STAFF_ONLY, who).await.status.as_u16()
}

const EXPECTED: [(&str, u16); 13] = [
    ("none", 401),
    ("raw:foo", 401),
    ("raw:Basic abc", 401),
    ("raw:Bearer", 401),
    ("raw:Bearer a b", 403),
    ("garbage", 403),
    ("expired", 403),
    ("forged", 403),
    ("norole", 403),
    ("nouser", 403),
    ("user", 403),
    ("staff", PASSED),
    ("apikey", PASSED),
];

#[tokio::test]
async fn tokens_are_verified_locally_with_the_secret() {
    // The auth service is unreachable; a wrong signature is still 403.
    let replica = Replica::new(&[]);
    for (who, expected) in EXPECTED {
        assert_eq!(status(&replica, who).await, expected, "{who}");
    }
}

#[tokio::test]
async fn without_the_secret_the_auth_service_verifies_every_token() {
    let service = Upstreams::start().await.unwrap();
    let replica = Replica::new(&[&without_secret(&service.url())]);
    for (who, expected) in EXPECTED {
        assert_eq!(status(&replica, who).await, expected, "{who}");
    }
    service.reset_calls();
    for _ in 0..3 {
        status(&replica, "staff").await;
    }
    assert_eq!(service.calls("/verify"), 3, "a verification was cached");
    status(&replica, "apikey").await;
    assert_eq!(
        service.calls("/verify"),
        3,
        "the API key needs no auth service"
    );
}

#[tokio::test]
async fn fallback_verification_is_rate_limited() {
    let service = Upstreams::start().await.unwrap();
    let replica = Replica::new(&[&vars(&[
        ("AUTH_API_URL", &service.url()),
        ("JWT_SECRET", "the secret before the last"),
    ])]);
    assert_eq!(status(&replica, "staff").await, PASSED);
    assert_eq!(status(&replica, "forged").await, 403);
    for _ in 0..50 {
        assert_eq!(status(&replica, "forged").await, 403);
    }
    // The rate limit is 10 per second, and the loop may span several.
    let calls = service.calls("/verify");
    assert!((10..=30).contains(&calls), "{calls} calls");
}

#[tokio::test]
async fn an_unavailable_auth_service_is_503_not_403() {
    let service = Upstreams::start().await.unwrap();
    let replica = Replica::new(&[&without_secret(&service.url())]);
    service.fail("/verify", Some(502));
    assert_eq!(status(&replica, "staff").await, 503);
    service.fail("/verify", None);
    service.refuse(true).await.unwrap();
    let response = replica.get(STAFF_ONLY, "staff").await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.header("retry-after"), "1");
    assert_eq!(response.text(), r#"{"detail":"Service Unavailable"}"#);
}

/// Takes 5 s: the timeout under test.
#[tokio::test]
async fn a_silent_auth_service_times_out_without_blocking_other_requests() {
    let service = Upstreams::start().await.unwrap();
    service.delay("/verify", Duration::from_secs(30));
    let replica = Replica::new(&[&without_secret(&service.url())]);
    let start = Instant::now();
    let requests = (0..100).map(|_| replica.get(STAFF_ONLY, "staff"));
    let others = async {
        let probe = Instant::now();
        assert_eq!(replica.get("/healthz", "none").await.status, StatusCode::OK);
        assert_eq!(status(&replica, "apikey").await, PASSED);
        // Includes the connection attempt to the unreachable database.
        assert!(probe.elapsed() < Duration::from_secs(2));
    };
    let (responses, ()) = tokio::join!(futures_util::future::join_all(requests), others);
    for response in responses {
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(
        start.elapsed() < Duration::from_millis(5500),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn the_api_key_must_match_completely() {
    let replica = Replica::new(&[&vars(&[("FIA_API_API_KEY", "shhh")])]);
    assert_eq!(
        status(&replica, "apikey").await,
        403,
        "{} is only a prefix",
        tokens::API_KEY
    );
    assert_eq!(status(&replica, "raw:Bearer shhh").await, PASSED);
    let keyless = Replica::new(&[&vars(&[("FIA_API_API_KEY", "")])]);
    assert_eq!(status(&keyless, "apikey").await, 403);
}
