//! Who may call: the API key, tokens verified here, tokens verified by the auth service.

use std::time::{Duration, Instant};

use devstack::{Upstreams, tokens};
use http::StatusCode;

use crate::harness::{Replica, Vars, vars};

/// A route for staff, on a database that is not there: who gets past the checks gets 503.
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
async fn tokens_are_verified_here_when_the_secret_is_known() {
    // Its auth service cannot be reached: a stranger's signature is refused all the same.
    let replica = Replica::new(&[]);
    for (who, expected) in EXPECTED {
        assert_eq!(status(&replica, who).await, expected, "{who}");
    }
}

#[tokio::test]
async fn the_auth_service_is_asked_about_every_token_when_it_is_not() {
    let service = Upstreams::start().await.unwrap();
    let replica = Replica::new(&[&without_secret(&service.url())]);
    for (who, expected) in EXPECTED {
        assert_eq!(status(&replica, who).await, expected, "{who}");
    }
    service.reset_calls();
    for _ in 0..3 {
        status(&replica, "staff").await;
    }
    assert_eq!(service.calls("/verify"), 3, "an answer was kept");
    status(&replica, "apikey").await;
    assert_eq!(
        service.calls("/verify"),
        3,
        "the API key is nobody's business"
    );
}

#[tokio::test]
async fn a_token_of_another_signature_gets_a_second_opinion_under_a_budget() {
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
    // Ten a second; the loop may have run over the end of one.
    let asked = service.calls("/verify");
    assert!((10..=30).contains(&asked), "asked {asked} times");
}

#[tokio::test]
async fn an_auth_service_that_cannot_be_asked_is_503_and_not_a_refusal() {
    let service = Upstreams::start().await.unwrap();
    let replica = Replica::new(&[&without_secret(&service.url())]);
    service.fail("/verify", Some(502));
    assert_eq!(status(&replica, "staff").await, 503);
    service.fail("/verify", None);
    service.refuse(true).await.unwrap();
    let answer = replica.get(STAFF_ONLY, "staff").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.text(), r#"{"detail":"Service Unavailable"}"#);
}

/// Takes 5 s: that is the limit it is about.
#[tokio::test]
async fn a_silent_auth_service_holds_a_request_for_five_seconds_and_nobody_else() {
    let service = Upstreams::start().await.unwrap();
    service.delay("/verify", Duration::from_secs(30));
    let replica = Replica::new(&[&without_secret(&service.url())]);
    let start = Instant::now();
    let asking = (0..100).map(|_| replica.get(STAFF_ONLY, "staff"));
    let others = async {
        let probe = Instant::now();
        assert_eq!(replica.get("/healthz", "none").await.status, StatusCode::OK);
        assert_eq!(status(&replica, "apikey").await, PASSED);
        // The database of this replica is not there, which takes its own time to find out.
        assert!(probe.elapsed() < Duration::from_secs(2));
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(asking), others);
    for answer in answers {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(
        start.elapsed() < Duration::from_millis(5500),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn the_api_key_is_compared_whole() {
    let replica = Replica::new(&[&vars(&[("FIA_API_API_KEY", "shhh")])]);
    assert_eq!(
        status(&replica, "apikey").await,
        403,
        "{} is only its beginning",
        tokens::API_KEY
    );
    assert_eq!(status(&replica, "raw:Bearer shhh").await, PASSED);
    let keyless = Replica::new(&[&vars(&[("FIA_API_API_KEY", "")])]);
    assert_eq!(status(&keyless, "apikey").await, 403);
}
