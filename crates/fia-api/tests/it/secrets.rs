//! Secrets in the log at level `trace`.

use std::path::Path;

use devstack::{Api, shared, tokens};
use serde_json::{Value, json};

use crate::consumer::{Consumer, queue_vars};
use crate::harness::{Database, defaults, upstream_vars, vars};

#[tokio::test]
async fn neither_tokens_nor_scripts_are_logged() {
    let database = Database::seeded().await;
    database.add_outbox().await;
    let rabbitmq = shared::rabbitmq().await.unwrap();
    let queue = queue_vars(rabbitmq);
    let mut settings = defaults();
    settings.extend(database.vars());
    settings.extend(upstream_vars(shared::upstreams().await.unwrap()));
    settings.extend(queue.clone());
    settings.extend(vars(&[
        ("LOG_LEVEL", "trace"),
        ("GITHUB_API_TOKEN", "ghp_SecretOfGitHub"),
    ]));
    let program = Path::new(env!("CARGO_BIN_EXE_fia-api"));
    let api = Api::start(program, settings.into_iter().collect())
        .await
        .unwrap();
    let simple = json!({"runner_image": "img", "script": "print('ScriptOfAUser')"});
    let autoreduction = json!({
        "filename": "f.nxs", "rb_number": "1", "instrument_name": "TEST", "title": "t",
        "users": "u", "run_start": "2024-01-01", "run_end": "2024-01-01", "good_frames": 1,
        "raw_frames": 2, "additional_values": {}, "runner_image": "img"
    });
    for (path, body, status) in [
        ("simple", simple, 200),
        ("autoreduction", autoreduction, 201),
    ] {
        let response = post(&api, &format!("/job/{path}"), &body).await;
        assert_eq!(response.status().as_u16(), status);
    }
    Consumer::of_jobs(rabbitmq, &queue).await.message().await;
    api.stop().await.unwrap();
    assert!(api.exited().await.unwrap().success());
    let log = std::fs::read_to_string(api.server().log()).unwrap();
    assert!(log.contains("/job/simple"), "{log}");
    let bearer = tokens::authorization("apikey").unwrap();
    for secret in [
        "ghp_SecretOfGitHub",
        "ScriptOfAUser",
        "inserted via test",
        &bearer,
    ] {
        assert!(!log.contains(secret), "{secret} is logged:\n{log}");
    }
}

async fn post(api: &Api, path: &str, body: &Value) -> reqwest::Response {
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(format!("{}{path}", api.url()))
        .header("authorization", tokens::authorization("apikey").unwrap())
        .json(body)
        .send()
        .await
        .unwrap()
}
