//! The page in HTML. It works without its script, which only updates it in place.

mod fleet;
mod format;
mod keys;
mod lists;
mod parts;
mod reads;
mod spark;
mod top;

use maud::{DOCTYPE, Markup, html};

use crate::operator::access::{Refusal, Session};
use crate::operator::view::Overview;

/// What the page depends on beside its content.
pub(super) struct Context<'a> {
    /// The session of a signed-in browser.
    pub(super) session: Option<&'a Session>,
    /// Whether a key is configured.
    pub(super) has_key: bool,
    /// Why the last request was refused.
    pub(super) refusal: Option<Refusal>,
}

impl Context<'_> {
    /// Whether to show what acts.
    fn may_act(&self) -> bool {
        self.session.is_some()
    }
}

/// Renders the page.
pub(super) fn render(overview: &Overview, context: &Context<'_>) -> String {
    let title = match overview.verdict.level.as_str() {
        "ok" => "fia-api: current".to_owned(),
        level => format!("fia-api: {level}"),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/operator.css";
                script src="/assets/operator.js" defer {}
            }
            body data-level=(overview.verdict.level.as_str()) data-state=(overview.state) {
                a.skip href="#main" { "Skip to the content" }
                (top::header(overview, context))
                main id="main" {
                    (top::verdict(overview, context))
                    (top::strip(overview))
                    (reads::section(overview, context))
                    div.columns {
                        div {
                            (keys::section(overview, context))
                            (lists::outbox(overview, context))
                            (lists::slow(overview))
                        }
                        div {
                            (fleet::section(overview))
                            (parts::actions(overview, context))
                            (lists::streams(overview))
                        }
                    }
                }
                (footer(overview))
            }
        }
    };
    page.into_string()
}

fn footer(overview: &Overview) -> Markup {
    html! {
        footer {
            p data-live="footer" {
                "As of " (parts::time(overview.at)) " UTC. "
                "Counters are those of " code { "/metrics" } ", since this process started. "
                "For programs: this address with " code { "Accept: application/json" } "."
            }
        }
    }
}
