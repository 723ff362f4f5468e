//! Who may act.

use axum::body::Body;
use devstack::tokens;
use http::{StatusCode, header};

use crate::harness::Fixture;
use crate::operator::{KEY, ORIGIN, Operated, get, post};

const ACTIONS: [(&str, &str); 7] = [
    (
        "/actions/invalidate-key",
        "key=fia_api:instrument:spec:MARI",
    ),
    ("/actions/invalidate-read", "read=specification"),
    ("/actions/invalidate-group", "group=MARI"),
    ("/actions/retry-message", "id=1"),
    ("/actions/drop-message", "id=1"),
    ("/actions/log-level", "level=debug"),
    ("/actions/drain", ""),
];

#[tokio::test]
async fn without_the_key_or_a_staff_token_nothing_acts() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    for (path, form) in ACTIONS {
        let refused = page.act(path, form, None).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let user = page.act("/actions/drain", "", Some(tokens::user())).await;
    assert_eq!(user.status, StatusCode::FORBIDDEN);
    for bearer in [
        tokens::API_KEY,
        tokens::named("forged").unwrap(),
        tokens::named("expired").unwrap(),
        "the-operators-own-kez",
        "",
    ] {
        let refused = page.act("/actions/drain", "", Some(bearer)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{bearer}");
    }
    assert!(!page.replica.state.readiness.is_draining());
    let html = page.html("/").await;
    assert!(!html.contains("/actions/"), "no button is shown");
    assert_eq!(page.json("/").await["actions"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn the_key_and_a_staff_token_act() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    for bearer in [KEY, tokens::staff()] {
        let done = page.act("/actions/log-level", "level=debug", Some(bearer));
        assert_eq!(done.await.status, StatusCode::OK);
    }
    let json = page.json("/").await;
    assert_eq!(json["replica"]["log_level"], "debug");
    assert_eq!(json["actions"][0]["by"], "staff");
    assert_eq!(json["actions"][1]["by"], "operator key");
    assert!(!json.to_string().contains("1234"), "nobody is named");
}

#[tokio::test]
async fn guesses_are_limited() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    for _ in 0..10 {
        let refused = page.act("/actions/drain", "", Some("guess")).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    let refused = page.act("/actions/drain", "", Some(KEY)).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
}

/// The cookie and the form's token of a browser that signed in.
async fn sign_in(page: &Operated) -> (String, String) {
    let request = post("/sign-in")
        .header(header::HOST, "page.example")
        .header(header::ORIGIN, ORIGIN);
    let form = Body::from(format!("credential={KEY}"));
    let response = page.send(request.body(form).unwrap()).await;
    assert_eq!(response.status, StatusCode::SEE_OTHER);
    assert_eq!(response.header("location"), "/");
    let cookie = response.header("set-cookie");
    assert!(cookie.ends_with("HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let request = get("/").header(header::COOKIE, &cookie);
    let html = page.send(request.body(Body::empty()).unwrap()).await.text();
    let (_, rest) = html.split_once("name=\"csrf\" value=\"").unwrap();
    (cookie, rest.split('"').next().unwrap().to_owned())
}

#[tokio::test]
async fn a_session_acts_only_from_its_own_page() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    let (cookie, csrf) = sign_in(&page).await;
    let act = async |origin: Option<&str>, csrf: &str| {
        let mut request = post("/actions/log-level")
            .header(header::HOST, "page.example")
            .header(header::COOKIE, &cookie);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        let form = Body::from(format!("level=warn&csrf={csrf}"));
        page.send(request.body(form).unwrap()).await.status
    };
    for (origin, csrf) in [
        (None, &*csrf),
        (Some("null"), &*csrf),
        (Some("http://elsewhere.example"), &*csrf),
        (Some(ORIGIN), ""),
        (Some(ORIGIN), "0000"),
    ] {
        assert_eq!(act(origin, csrf).await, StatusCode::FORBIDDEN, "{origin:?}");
    }
    assert_eq!(act(Some(ORIGIN), &csrf).await, StatusCode::SEE_OTHER);
    assert_eq!(page.json("/").await["replica"]["log_level"], "warn");
    let out = post("/sign-out").header(header::COOKIE, &cookie);
    page.send(out.body(Body::empty()).unwrap()).await;
    assert_eq!(act(Some(ORIGIN), &csrf).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_sign_in_from_elsewhere_is_refused() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    let request = post("/sign-in")
        .header(header::HOST, "page.example")
        .header(header::ORIGIN, "http://elsewhere.example");
    let form = Body::from(format!("credential={KEY}"));
    let response = page.send(request.body(form).unwrap()).await;
    assert_eq!(response.status, StatusCode::FORBIDDEN);
    assert_eq!(response.header("set-cookie"), "");
}
