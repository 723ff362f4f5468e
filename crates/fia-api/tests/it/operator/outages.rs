//! An outage of each dependency, and its end, change the sentence and the strip within 2 s.
//!
//! Between the server and each dependency is a proxy, which refuses connections or swallows what
//! is sent. Each test takes some seconds: it waits for what the limit allows, twice a fault.

use std::time::{Duration, Instant};

use devstack::{FaultProxy, Mode, SentinelService, Valkey, shared};
use redis::aio::MultiplexedConnection;

use crate::harness::{Database, Fixture, Vars, eventually, vars};
use crate::operator::{Operated, ask};

/// How soon a change is shown.
pub(super) const LIMIT: Duration = Duration::from_secs(2);
/// How soon the page is complete after the start.
pub(super) const START: Duration = Duration::from_secs(10);
pub(super) const CURRENT: &str = "Answers are current: ";
/// The dependencies behind proxies, each with what the sentence says of its outage.
pub(super) const OUTAGES: [(&str, &str); 5] = [
    (
        "postgresql",
        "s old: PostgreSQL has been unavailable since ",
    ),
    (
        "valkey",
        "reads are slower: Valkey has been unavailable since ",
    ),
    (
        "rabbitmq",
        "new jobs are announced later: RabbitMQ has been unavailable since ",
    ),
    (
        "auth_service",
        "some users may get 503: the auth service has been unavailable since ",
    ),
    (
        "github",
        "s old: GitHub (runner images) has been unavailable since ",
    ),
];

/// A replica all of whose dependencies are behind proxies.
pub(super) struct Proxied {
    pub(super) page: Operated,
    proxies: Vec<(&'static str, FaultProxy)>,
    _fixture: Fixture,
}

/// A fault of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// Connections are reset, and new ones refused.
    Refuse,
    /// Nothing arrives.
    Swallow,
}

impl Proxied {
    pub(super) async fn new() -> Self {
        let (database, valkey) = tokio::join!(Database::seeded(), Valkey::start());
        let valkey = valkey.unwrap();
        let rabbitmq = shared::rabbitmq().await.unwrap();
        let upstreams = shared::upstreams().await.unwrap();
        let mut proxies = Vec::new();
        for (id, address) in [
            ("postgresql", database.server.addr()),
            ("valkey", valkey.addr()),
            ("rabbitmq", rabbitmq.addr()),
            ("auth_service", upstreams.addr()),
            ("github", upstreams.addr()),
        ] {
            proxies.push((id, FaultProxy::start(address).await.unwrap()));
        }
        let at = |id: &str| proxy(&proxies, id).addr();
        let mut settings = database.vars_at(at("postgresql"));
        settings.extend(vars(&[
            ("VALKEY_URL", &format!("redis://{}/0", at("valkey"))),
            ("QUEUE_HOST", &at("rabbitmq").to_string()),
            ("AUTH_API_URL", &format!("http://{}", at("auth_service"))),
            ("GITHUB_API_URL", &format!("http://{}", at("github"))),
        ]));
        let fixture = Fixture { database, valkey };
        Self {
            page: Operated::with(&fixture, &settings).await,
            proxies,
            _fixture: fixture,
        }
    }

    pub(super) async fn inject(&self, id: &str, fault: Fault) {
        let proxy = proxy(&self.proxies, id);
        match fault {
            Fault::Refuse => {
                proxy.refuse(true).await.unwrap();
                proxy.reset_all();
            }
            Fault::Swallow => proxy.set_both(Mode::BlackHole),
        }
    }

    pub(super) async fn heal(&self, id: &str) {
        proxy(&self.proxies, id).heal().await.unwrap();
    }
}

fn proxy<'a>(proxies: &'a [(&'static str, FaultProxy)], id: &str) -> &'a FaultProxy {
    let mut proxies = proxies.iter();
    &proxies.find(|(of, _)| *of == id).unwrap().1
}

/// Waits until the page shows a state of a dependency and a sentence, both at once.
async fn shows(page: &Operated, (id, state): (&str, &str), sentence: &str, limit: Duration) {
    let start = Instant::now();
    eventually(limit, async || {
        let json = page.json("/").await;
        let all = json["dependencies"].as_array().unwrap();
        let found = all.iter().find(|one| one["id"] == id).unwrap();
        let said = json["verdict"]["sentence"].as_str().unwrap();
        found["state"] == state && said.contains(sentence)
    })
    .await;
    eprintln!("{id} {state}: {:?}", start.elapsed());
}

async fn assert_followed(id: &str) {
    let proxied = Proxied::new().await;
    let page = &proxied.page;
    let (_, sentence) = OUTAGES.iter().find(|(of, _)| *of == id).unwrap();
    shows(page, (id, "up"), CURRENT, START).await;
    for fault in [Fault::Refuse, Fault::Swallow] {
        proxied.inject(id, fault).await;
        shows(page, (id, "down"), sentence, LIMIT).await;
        let json = page.json("/").await;
        assert_ne!(json["verdict"]["level"], "ok", "{fault:?}");
        assert_eq!(
            json["verdict"]["problems"].as_array().unwrap().len(),
            1,
            "{json}"
        );
        proxied.heal(id).await;
        shows(page, (id, "up"), CURRENT, LIMIT).await;
        assert_eq!(page.json("/").await["verdict"]["level"], "ok", "{fault:?}");
    }
}

#[tokio::test]
async fn an_outage_of_postgresql_is_shown_and_its_end() {
    assert_followed("postgresql").await;
}

#[tokio::test]
async fn an_outage_of_valkey_is_shown_and_its_end() {
    assert_followed("valkey").await;
}

#[tokio::test]
async fn an_outage_of_rabbitmq_is_shown_and_its_end() {
    assert_followed("rabbitmq").await;
}

#[tokio::test]
async fn an_outage_of_the_auth_service_is_shown_and_its_end() {
    assert_followed("auth_service").await;
}

#[tokio::test]
async fn an_outage_of_github_is_shown_and_its_end() {
    assert_followed("github").await;
}

#[tokio::test]
async fn a_loss_of_the_change_feed_is_shown_and_its_end() {
    let fixture = Fixture::new().await;
    let proxy = FaultProxy::start(fixture.database.server.addr()).await;
    let proxy = proxy.unwrap();
    let url = fixture.database.server.url(&fixture.database.name);
    let server = fixture.database.server.addr().to_string();
    let url = url.replace(&server, &proxy.addr().to_string());
    let page = Operated::with(&fixture, &vars(&[("DB_LISTEN_URL", &url)])).await;
    shows(&page, ("change_feed", "up"), CURRENT, START).await;
    proxy.refuse(true).await.unwrap();
    proxy.reset_all();
    let older = "up to 120 s old: the change feed has been disconnected since ";
    shows(&page, ("change_feed", "down"), older, LIMIT).await;
    proxy.heal().await.unwrap();
    shows(&page, ("change_feed", "up"), CURRENT, LIMIT).await;
}

/// Valkey works, but its user may not enable client tracking for some time.
#[tokio::test]
async fn a_loss_of_client_tracking_is_shown_and_its_end() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    let mut redis = fixture.redis().await;
    shows(&page, ("tracking", "up"), CURRENT, START).await;
    permit_tracking(&mut redis, false).await;
    let clients: String = ask(&mut redis, &["CLIENT", "LIST"]).await;
    let is_tracking = |client: &&str| {
        let mut fields = client.split(' ');
        fields.any(|field| {
            field
                .strip_prefix("flags=")
                .is_some_and(|f| f.contains('t'))
        })
    };
    let tracking = clients.lines().find(is_tracking).unwrap();
    let id = tracking
        .split(' ')
        .next()
        .unwrap()
        .trim_start_matches("id=");
    let _: u64 = ask(&mut redis, &["CLIENT", "KILL", "ID", id]).await;
    let slower = "reads are slower: client tracking has been interrupted since ";
    shows(&page, ("tracking", "down"), slower, LIMIT).await;
    assert_eq!(page.dependency("valkey").await["state"], "up");
    permit_tracking(&mut redis, true).await;
    shows(&page, ("tracking", "up"), CURRENT, LIMIT).await;
}

async fn permit_tracking(redis: &mut MultiplexedConnection, is_permitted: bool) {
    let sign = if is_permitted { '+' } else { '-' };
    let rule = format!("{sign}client|tracking");
    let _: String = ask(redis, &["ACL", "SETUSER", "default", &rule]).await;
}

/// A replica whose Valkey fails over.
pub(super) struct FailingOver {
    pub(super) page: Operated,
    service: SentinelService,
    _fixture: Fixture,
}

impl FailingOver {
    pub(super) async fn new() -> Self {
        let (fixture, service) = tokio::join!(Fixture::new(), SentinelService::start());
        let service = service.unwrap();
        let settings: Vars = vars(&[("VALKEY_URL", &service.url())]);
        Self {
            page: Operated::with(&fixture, &settings).await,
            service,
            _fixture: fixture,
        }
    }

    pub(super) fn kill_primary(&self) {
        self.service.servers()[0].kill();
    }

    /// Waits until a sentinel names another server than the one that was killed.
    pub(super) async fn promoted(&self) {
        let killed = self.service.servers()[0].port().to_string();
        let url = self.service.url();
        let sentinels = url.trim_start_matches("redis+sentinel://");
        let sentinels = sentinels.split('/').next().unwrap().split(',');
        let mut connections = Vec::new();
        for address in sentinels {
            let client = redis::Client::open(format!("redis://{address}")).unwrap();
            connections.push(client.get_multiplexed_async_connection().await.unwrap());
        }
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"];
        eventually(Duration::from_secs(20), async || {
            for sentinel in &mut connections {
                let (_, port): (String, String) = ask(sentinel, &words).await;
                if port != killed {
                    return true;
                }
            }
            false
        })
        .await;
    }
}

/// Takes several seconds: the sentinels wait before they promote a replica.
#[tokio::test]
async fn a_failover_of_valkey_is_shown_and_its_end() {
    let failing = FailingOver::new().await;
    let page = &failing.page;
    shows(page, ("valkey", "up"), CURRENT, START).await;
    failing.kill_primary();
    shows(page, ("valkey", "down"), OUTAGES[1].1, LIMIT).await;
    failing.promoted().await;
    shows(page, ("valkey", "up"), CURRENT, LIMIT).await;
    shows(page, ("tracking", "up"), CURRENT, LIMIT).await;
}
