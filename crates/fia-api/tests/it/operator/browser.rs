//! The page in a browser. Skipped, with a message, where Chromium is not installed.

use std::fs;
use std::future::pending;
use std::path::Path;
use std::time::Instant;

use devstack::{Browser, Page};
use fia_api::app::Server;
use http::StatusCode;
use serde_json::json;

use crate::harness::{Fixture, eventually};
use crate::operator::outages::{CURRENT, FailingOver, Fault, LIMIT, OUTAGES, Proxied, START};
use crate::operator::{KEY, LATEST_RUN, Operated};

/// The script of axe, which `scripts/install-axe` installs.
const AXE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/tools/axe/node_modules/axe-core/axe.min.js"
);
const SIZES: [(&str, (u32, u32)); 2] = [("1280", (1280, 800)), ("390", (390, 844))];

/// Serves a page; returns its URL.
fn serve(page: &Operated) -> String {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), page.operator.clone()).unwrap();
    let address = server.address().unwrap();
    tokio::spawn(server.run(pending()));
    format!("http://{address}/")
}

fn browser() -> Option<Browser> {
    let browser = Browser::start().unwrap();
    if browser.is_none() {
        eprintln!("skipped: Chromium is not installed (scripts/install-deps browser)");
    }
    browser
}

async fn sentence_contains(page: &Page, text: &str) {
    let condition = format!(
        "document.querySelector('h1').textContent.includes({})",
        json!(text)
    );
    page.wait_for(&condition, START).await.unwrap();
}

#[tokio::test]
async fn the_page_is_updated_in_place_without_a_shift() {
    let Some(browser) = browser() else {
        return;
    };
    let fixture = Fixture::new().await;
    let operated = Operated::new(&fixture).await;
    let page = browser.page((1280, 800), false).await.unwrap();
    page.open(&serve(&operated)).await.unwrap();
    sentence_contains(&page, "Answers are current: ").await;
    page.evaluate(
        "window.shift = 0; new PerformanceObserver(list => { \
             for (const entry of list.getEntries()) window.shift += entry.value; \
         }).observe({type: 'layout-shift', buffered: false}); \
         document.querySelector('#key').focus()",
    )
    .await
    .unwrap();
    for _ in 0..20 {
        operated
            .replica
            .get("/instrument/MARI/specification", "staff")
            .await;
    }
    let counted = "document.querySelector('[data-read=specification] \
         [data-field=hits_memory]').dataset.value > 10";
    page.wait_for(counted, LIMIT).await.unwrap();
    let shift = page.evaluate("window.shift").await.unwrap();
    assert!(shift.as_f64() < Some(0.02), "{shift}");
    let focused = page.evaluate("document.activeElement.id").await.unwrap();
    assert_eq!(focused, "key");
    assert_eq!(page.logged(), Vec::<String>::new());
}

/// Takes half a minute: each of five dependencies fails twice, and each time the page may show it
/// after 2 s, as well as the end.
#[tokio::test]
async fn the_page_shows_an_outage_of_each_dependency_and_its_end() {
    let Some(browser) = browser() else {
        return;
    };
    let proxied = Proxied::new().await;
    let page = browser.page((1280, 800), false).await.unwrap();
    page.open(&serve(&proxied.page)).await.unwrap();
    sentence_contains(&page, CURRENT).await;
    for (id, sentence) in OUTAGES {
        for fault in [Fault::Refuse, Fault::Swallow] {
            proxied.inject(id, fault).await;
            shows(&page, (id, "down"), sentence).await;
            proxied.heal(id).await;
            shows(&page, (id, "up"), CURRENT).await;
        }
    }
    assert_eq!(page.logged(), Vec::<String>::new());
}

/// Takes several seconds: the sentinels wait before they promote a replica.
#[tokio::test]
async fn the_page_shows_a_failover_and_a_put_during_it() {
    let Some(browser) = browser() else {
        return;
    };
    let failing = FailingOver::new().await;
    let page = browser.page((1280, 800), false).await.unwrap();
    page.open(&serve(&failing.page)).await.unwrap();
    sentence_contains(&page, CURRENT).await;
    failing.kill_primary();
    shows(&page, ("valkey", "down"), OUTAGES[1].1).await;
    let body = json!({"latest_run": "2"});
    let put = failing.page.replica.put(LATEST_RUN, "staff", &body).await;
    assert_eq!(put.status, StatusCode::OK);
    let older = "may be up to 120 s old: a change made here is not known to other replicas yet.";
    shows(&page, ("valkey", "down"), older).await;
    failing.promoted().await;
    shows(&page, ("valkey", "up"), CURRENT).await;
    assert_eq!(page.logged(), Vec::<String>::new());
}

/// Waits until the page shows a state of a dependency and a sentence, both at once.
async fn shows(page: &Page, (id, state): (&str, &str), sentence: &str) {
    let start = Instant::now();
    let condition = format!(
        "document.querySelector('[data-dependency={id}]').dataset.state === '{state}' \
             && document.querySelector('h1').textContent.replaceAll('\\u00a0', ' ').includes({})",
        json!(sentence)
    );
    page.wait_for(&condition, LIMIT).await.unwrap();
    eprintln!("{id} {state}: {:?}", start.elapsed());
}

#[tokio::test]
async fn an_operator_signs_in_and_acts() {
    let Some(browser) = browser() else {
        return;
    };
    let fixture = Fixture::new().await;
    let operated = Operated::new(&fixture).await;
    let page = browser.page((1280, 800), true).await.unwrap();
    page.open(&serve(&operated)).await.unwrap();
    let forms = "document.querySelectorAll('form[action^=\"/actions\"]').length";
    assert_eq!(page.evaluate(forms).await.unwrap(), 0);
    let sign_in = format!(
        "document.querySelector('details.session').open = true; \
         document.querySelector('#credential').value = {}; \
         document.querySelector('form[action=\"/sign-in\"]').requestSubmit()",
        json!(KEY)
    );
    page.evaluate(&sign_in).await.unwrap();
    page.wait_for(&format!("{forms} > 5"), LIMIT).await.unwrap();
    page.evaluate(
        "document.querySelector('#group').value = 'MARI'; \
         document.querySelector('form[action=\"/actions/invalidate-group\"]').requestSubmit()",
    )
    .await
    .unwrap();
    page.wait_for(
        "document.body.textContent.includes('invalidate lists and counts of MARI')",
        LIMIT,
    )
    .await
    .unwrap();
    page.evaluate(
        "document.querySelector('#level').value = 'trace'; \
         document.querySelector('form[action=\"/actions/log-level\"]').requestSubmit()",
    )
    .await
    .unwrap();
    eventually(LIMIT, async || {
        operated.json("/").await["replica"]["log_level"] == "trace"
    })
    .await;
    page.wait_for(
        "document.body.textContent.includes('log level TRACE')",
        LIMIT,
    )
    .await
    .unwrap();
    assert_eq!(page.logged(), Vec::<String>::new());
}

/// Only the keyboard, and no scripts: signs in, and invalidates the lists of an instrument.
#[tokio::test]
async fn an_operator_acts_by_keyboard_without_scripts() {
    let Some(browser) = browser() else {
        return;
    };
    let fixture = Fixture::new().await;
    let operated = Operated::new(&fixture).await;
    let page = browser.page((1280, 800), false).await.unwrap();
    page.disable_scripts().await.unwrap();
    page.open(&serve(&operated)).await.unwrap();
    sentence_contains(&page, CURRENT).await;
    press_until(
        &page,
        "document.activeElement.matches('details.session > summary')",
    )
    .await;
    page.press("Enter").await.unwrap();
    press_until(&page, "document.activeElement.id === 'credential'").await;
    page.enter_text(KEY).await.unwrap();
    page.press("Enter").await.unwrap();
    let signed_in = "document.body.textContent.includes('Acting as operator key')";
    page.wait_for(signed_in, LIMIT).await.unwrap();
    press_until(&page, "document.activeElement.id === 'group'").await;
    page.enter_text("MARI").await.unwrap();
    page.press("Enter").await.unwrap();
    let done = "document.querySelector('#actions').textContent\
        .includes('invalidate lists and counts of MARI')";
    page.wait_for(done, LIMIT).await.unwrap();
    assert_eq!(page.logged(), Vec::<String>::new());
}

/// Presses Tab until a condition holds; each element has the focus visibly.
async fn press_until(page: &Page, condition: &str) {
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    for _ in 0..60 {
        page.press("Tab").await.unwrap();
        assert_eq!(
            page.evaluate(outline).await.unwrap(),
            "solid",
            "{condition}"
        );
        if page.evaluate(condition).await.unwrap() == true {
            return;
        }
    }
    panic!("not reached with Tab: {condition}");
}

/// Loads four pages, each with an image.
#[tokio::test]
async fn the_page_is_accessible_at_every_size() {
    let Some(browser) = browser() else {
        return;
    };
    let fixture = Fixture::new().await;
    let operated = Operated::new(&fixture).await;
    for _ in 0..30 {
        operated
            .replica
            .get("/instrument/MARI/specification", "staff")
            .await;
        operated.replica.get("/jobs?limit=10", "staff").await;
    }
    let url = serve(&operated);
    for is_dark in [false, true] {
        for (name, size) in SIZES {
            let page = browser.page(size, is_dark).await.unwrap();
            page.open(&url).await.unwrap();
            let fits = "document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(page.evaluate(fits).await.unwrap(), true, "{name}");
            check_with_axe(&page, name).await;
            assert_eq!(page.logged(), Vec::<String>::new());
        }
    }
}

/// Checks that axe finds nothing serious.
async fn check_with_axe(page: &Page, name: &str) {
    if !Path::new(AXE).is_file() {
        eprintln!("skipped: axe is not installed (scripts/install-axe)");
        return;
    }
    let script = fs::read_to_string(AXE).unwrap();
    page.evaluate(&format!("{script}; true")).await.unwrap();
    let run = "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations \
         .filter(one => ['serious', 'critical'].includes(one.impact)) \
         .map(one => one.id + ': ' + one.nodes.map(node => node.html).slice(0, 3).join(' ')))";
    let found = page.evaluate(run).await.unwrap();
    assert_eq!(found, json!([]), "{name}");
}
