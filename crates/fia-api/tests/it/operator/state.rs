//! The sentence, the strip and the fleet follow what happens.

use std::time::Duration;

use devstack::{FaultProxy, Valkey};

use crate::harness::{Database, Fixture, eventually, vars};
use crate::operator::Operated;
use crate::operator::outages::{LIMIT, START};

async fn says(page: &Operated, limit: Duration, beginning: &str) {
    eventually(limit, async || page.sentence().await.starts_with(beginning)).await;
}

async fn is(page: &Operated, id: &str, state: &str) {
    eventually(LIMIT, async || page.dependency(id).await["state"] == state).await;
}

#[tokio::test]
async fn a_change_that_valkey_does_not_know_of_may_be_old_elsewhere() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    fixture.valkey.kill();
    is(&page, "valkey", "down").await;
    is(&page, "tracking", "down").await;
    eventually(LIMIT, async || {
        let failure = &page.dependency("valkey").await["last_failure"]["text"];
        failure
            .as_str()
            .is_some_and(|text| text.contains("refused"))
    })
    .await;
    let body = serde_json::json!({"latest_run": "2"});
    page.replica
        .put("/instrument/MARI/latest-run", "staff", &body)
        .await;
    let older = "Answers may be up to 120 s old: a change made here is not known to other replicas";
    says(&page, LIMIT, older).await;
    fixture.valkey.restart().await.unwrap();
    says(&page, LIMIT, "Answers are current: ").await;
    is(&page, "valkey", "up").await;
    is(&page, "tracking", "up").await;
}

#[tokio::test]
async fn an_outage_of_the_database_has_a_bound_and_a_remedy() {
    let (database, valkey) = tokio::join!(Database::seeded(), Valkey::start());
    let proxy = FaultProxy::start(database.server.addr()).await.unwrap();
    let at_proxy = database.vars_at(proxy.addr());
    let fixture = Fixture {
        database,
        valkey: valkey.unwrap(),
    };
    let page = Operated::with(&fixture, &at_proxy).await;
    says(&page, START, "Answers are current: ").await;
    proxy.refuse(true).await.unwrap();
    proxy.reset_all();
    says(&page, LIMIT, "Answers may be up to ").await;
    let json = page.json("/").await;
    assert_eq!(json["verdict"]["level"], "failing");
    assert!(json["verdict"]["max_age_seconds"].as_u64() >= Some(120));
    assert_eq!(
        json["verdict"]["problems"][0]["runbook"],
        "FiaApiDatabaseUnavailable"
    );
}

#[tokio::test]
async fn a_call_that_fails_marks_its_dependency() {
    let fixture = Fixture::new().await;
    let github = vars(&[("GITHUB_API_URL", "http://127.0.0.1:1")]);
    let page = Operated::with(&fixture, &github).await;
    page.replica.get("/jobs/runners", "staff").await;
    is(&page, "github", "down").await;
    says(
        &page,
        LIMIT,
        "Answers may be up to 301 s old: GitHub (runner images)",
    )
    .await;
}

/// Takes 6 s: a line may be missing for that long.
#[tokio::test]
async fn replicas_see_each_other_and_one_that_fell_silent() {
    let fixture = Fixture::new().await;
    let (one, other) = tokio::join!(Operated::new(&fixture), Operated::new(&fixture));
    let ids = async |list: &str| -> Vec<String> {
        let fleet = one.json("/").await["fleet"].clone();
        let lines = fleet[list].as_array().unwrap().iter();
        lines
            .map(|line| line["replica"].as_str().unwrap().to_owned())
            .collect()
    };
    let other_id = other.operator.replica_id().to_owned();
    eventually(Duration::from_secs(5), async || {
        ids("replicas").await.contains(&other_id)
    })
    .await;
    assert!(one.html("/").await.contains(&other_id));
    drop(other);
    // As if its line had expired, which takes 10 s.
    let mut redis = fixture.redis().await;
    let line = format!("fia_api:{{fleet}}:{other_id}");
    let _: u64 = redis::cmd("DEL")
        .arg(line)
        .query_async(&mut redis)
        .await
        .unwrap();
    eventually(Duration::from_secs(12), async || {
        ids("silent").await == [other_id.clone()]
    })
    .await;
    says(&one, LIMIT, "Answers may be up to 120 s old: the replica").await;
}
