//! Authentication: the API key, local and remote token verification.

use std::time::{Duration, Instant};

use devstack::{Upstreams, tokens};
use http::StatusCode;
use serde_json::json;

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

mod rotation_of_the_secret {
    use std::time::SystemTime;

    use jsonwebtoken::{EncodingKey, Header, encode};

    use super::*;
    use crate::harness::{eventually, upstream_vars};

    const OLD: &str = "the old secret";
    const NEW: &str = "the new secret";
    /// A route for any valid token that needs no database.
    const RUNNERS: &str = "/jobs/runners";
    const USERS: i64 = 50;

    fn token(user_number: i64, secret: &str, lifetime: Duration) -> String {
        let expiry = SystemTime::now() + lifetime;
        let expiry = expiry.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let claims = json!({
            "usernumber": user_number, "role": "user", "exp": expiry.as_secs_f64()
        });
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::default(), &claims, &key).unwrap()
    }

    fn hour() -> Duration {
        Duration::from_secs(3600)
    }

    async fn status_of(replica: &Replica, token: &str) -> u16 {
        let response = replica.get(RUNNERS, &format!("raw:Bearer {token}")).await;
        response.status.as_u16()
    }

    fn replica(service: &Upstreams, secret: &str) -> Replica {
        Replica::new(&[&upstream_vars(service), &vars(&[("JWT_SECRET", secret)])])
    }

    /// The requests of 50 users at one a second each that were refused. Each user goes over from
    /// the old to a new token after `seconds / 2`.
    async fn refused(replica: &Replica, new: &[String], seconds: u64) -> usize {
        let start = tokio::time::Instant::now();
        let users = new.iter().enumerate().map(|(i, new)| async move {
            let mut refused = 0;
            let old = token(i as i64 + 1, OLD, hour());
            let phase = Duration::from_millis(20 * i as u64);
            for second in 0..seconds {
                tokio::time::sleep_until(start + phase + Duration::from_secs(second)).await;
                let token = if second < seconds / 2 { &old } else { new };
                refused += usize::from(status_of(replica, token).await != 200);
            }
            refused
        });
        let refused = futures_util::future::join_all(users).await;
        refused.into_iter().sum()
    }

    fn new_tokens(service: &Upstreams) -> Vec<String> {
        let tokens: Vec<String> = (1..=USERS).map(|user| token(user, NEW, hour())).collect();
        for token in &tokens {
            service.set_token(token, true);
        }
        tokens
    }

    /// Takes 4 s: the schedule of the users.
    #[tokio::test]
    async fn both_secrets_in_the_setting_refuse_nobody_without_the_auth_service() {
        let service = Upstreams::start().await.unwrap();
        let replica = replica(&service, &format!("{NEW},{OLD}"));
        service.fail("/verify", Some(503));
        let new = new_tokens(&service);
        assert_eq!(refused(&replica, &new, 4).await, 0);
        assert_eq!(service.calls("/verify"), 0);
        assert_eq!(
            status_of(&replica, &token(1, "a forger", hour())).await,
            403
        );
    }

    /// The auth service signs with a new secret that this server does not have, while strangers
    /// send forged tokens. Takes 6 s: the schedule of the users.
    #[tokio::test]
    async fn a_rotation_in_the_auth_service_alone_refuses_nobody_despite_forgeries() {
        let service = Upstreams::start().await.unwrap();
        let replica = replica(&service, OLD);
        let new = new_tokens(&service);
        let forging = async {
            let mut forged = 0;
            loop {
                let token = token(1000 + forged, "a forger", hour());
                assert_eq!(status_of(&replica, &token).await, 403);
                forged += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let refused = tokio::select! {
            refused = refused(&replica, &new, 6) => refused,
            () = forging => unreachable!("it has no end"),
        };
        assert_eq!(refused, 0);
        // One for each user, and ten a second for the strangers.
        let calls = service.calls("/verify");
        assert!((50..=50 + 80).contains(&calls), "{calls} calls");
    }

    #[tokio::test]
    async fn concurrent_requests_with_one_token_verify_it_once() {
        let service = Upstreams::start().await.unwrap();
        let replica = replica(&service, OLD);
        let token = token(1, NEW, hour());
        service.set_token(&token, true);
        service.delay("/verify", Duration::from_millis(100));
        let requests = (0..40).map(|_| status_of(&replica, &token));
        let statuses = futures_util::future::join_all(requests).await;
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        assert_eq!(service.calls("/verify"), 1);
    }

    /// Takes 3 s: the token has to expire.
    #[tokio::test]
    async fn a_verdict_outlives_the_auth_service_but_not_its_token() {
        let service = Upstreams::start().await.unwrap();
        let replica = replica(&service, OLD);
        let token = token(1, NEW, Duration::from_secs(3));
        service.set_token(&token, true);
        assert_eq!(status_of(&replica, &token).await, 200);
        service.fail("/verify", Some(503));
        for _ in 0..5 {
            assert_eq!(status_of(&replica, &token).await, 200);
        }
        service.fail("/verify", None);
        service.set_token(&token, false);
        eventually(Duration::from_secs(4), async || {
            status_of(&replica, &token).await == 403
        })
        .await;
    }
}
