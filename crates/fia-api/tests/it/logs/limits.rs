//! Viewer limits, and streams that the server aborts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use devstack::tokens;
use http::{Method, StatusCode, header};
use jsonwebtoken::{EncodingKey, Header, encode};
use redis::cmd;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::harness::{Vars, request, vars};
use crate::logs::{Event, Logs, PATH, SOON, Viewer};

#[tokio::test]
async fn a_key_of_another_type_affects_only_its_viewers() {
    let logs = Logs::start(&Vars::new()).await;
    let mut fine = logs.view("").await;
    logs.write(0..1).await;
    fine.messages(1).await;
    let mut other = {
        let request = request(Method::GET, "/live-data/LET/logs", "apikey", None);
        let response = logs.replica.edge().handle(request).await;
        Viewer::new(response.into_body().into_data_stream())
    };
    other.until(&Event::KeepAlive).await;
    let mut connection = logs.connection().await;
    let mut set = cmd("SET");
    set.arg("LET_live_data_processor_logs").arg("x");
    let _: String = set.query_async(&mut connection).await.unwrap();
    other.until(&Event::Error).await;
    logs.write(1..2).await;
    assert_eq!(fine.messages(1).await, [1]);
}

#[tokio::test]
async fn a_slow_viewer_is_dropped_without_delaying_others() {
    let logs = Logs::start(&Vars::new()).await;
    logs.write(0..1).await;
    let (mut slow, mut fast) = tokio::join!(logs.view(""), logs.view(""));
    slow.messages(1).await;
    let reading = tokio::spawn(async move { fast.messages(5001).await });
    for start in (1..5001).step_by(500) {
        logs.write(start..start + 500).await;
    }
    let read = timeout(SOON, reading).await.unwrap().unwrap();
    assert_eq!(read, Vec::from_iter(0..5001));
    // The slow viewer gets buffered entries, then an error event, then the abort.
    let mut seen = 1;
    loop {
        match slow.next().await {
            Event::Entry(data) => {
                assert_eq!(data["msg"], seen.to_string());
                seen += 1;
            }
            Event::KeepAlive => {}
            Event::Error => break,
            Event::BrokenOff => panic!("no last word"),
        }
    }
    assert!(seen < 3000, "{seen}");
    assert_eq!(slow.next().await, Event::BrokenOff);
}

#[tokio::test]
async fn viewer_permits_are_limited_and_released() {
    let settings = vars(&[("MAX_LOG_VIEWERS", "4"), ("MAX_LOG_VIEWERS_PER_USER", "2")]);
    let logs = Logs::start(&settings).await;
    let response = async |who: &str| {
        let request = request(Method::GET, PATH, who, None);
        logs.replica.edge().handle(request).await
    };
    let first = response("user").await;
    let second = response("user").await;
    let refused = response("user").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let programs = [response("apikey").await, response("apikey").await];
    assert!(
        programs
            .iter()
            .all(|response| response.status() == StatusCode::OK)
    );
    assert_eq!(
        response("apikey").await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    drop((first, second));
    assert_eq!(response("user").await.status(), StatusCode::OK);
}

/// Takes 2 s: token expiry has a resolution of a second.
#[tokio::test]
async fn a_stream_is_aborted_when_its_token_expires() {
    let logs = Logs::start(&Vars::new()).await;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = json!({"usernumber": 1234, "role": "user", "exp": now + 2});
    let key = EncodingKey::from_secret(tokens::JWT_SECRET.as_bytes());
    let token = encode(&Header::default(), &claims, &key).unwrap();
    let mut request = request(Method::GET, PATH, "none", None);
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    let began = Instant::now();
    let response = logs.replica.edge().handle(request).await;
    let mut viewer = Viewer::new(response.into_body().into_data_stream());
    viewer.until(&Event::BrokenOff).await;
    let lasted = began.elapsed();
    assert!(lasted < Duration::from_secs(3), "{lasted:?}");
}
