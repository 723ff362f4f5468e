//! Parts that several sections use, and the section of actions.

use maud::{Markup, html};

use crate::operator::at::{At, duration_text};
use crate::operator::page::{Context, format};
use crate::operator::view::Overview;

/// A time of day, with the date for programs.
pub(super) fn time(at: At) -> Markup {
    html! { time datetime=(at.rfc3339()) { (at.clock()) } }
}

/// A form of one button that acts. Nothing unless the browser is signed in.
pub(super) fn button(
    context: &Context<'_>,
    action: &str,
    fields: &[(&str, &str)],
    (text, description): (&str, &str),
) -> Markup {
    let Some(session) = context.session else {
        return html! {};
    };
    html! {
        form.inline method="post" action={ "/actions/" (action) } {
            input type="hidden" name="csrf" value=(session.csrf);
            @for (name, value) in fields {
                input type="hidden" name=(name) value=(value);
            }
            button type="submit" aria-label=(description) { (text) }
        }
    }
}

/// As [`button`], behind a question.
pub(super) fn confirmed(
    context: &Context<'_>,
    action: &str,
    fields: &[(&str, &str)],
    (text, question, yes): (&str, &str, &str),
) -> Markup {
    if !context.may_act() {
        return html! {};
    }
    html! {
        details.confirm {
            summary { (text) }
            div {
                p { (question) }
                (button(context, action, fields, (yes, yes)))
            }
        }
    }
}

/// The actions on this replica, and the last ones taken.
pub(super) fn actions(overview: &Overview, context: &Context<'_>) -> Markup {
    html! {
        section id="actions" aria-labelledby="actions-title" {
            h2 id="actions-title" { "This replica" }
            div.panel data-live="actions" {
                (facts(overview))
                @if let Some(session) = context.session {
                    div.controls {
                        form.inline method="post" action="/actions/log-level" {
                            input type="hidden" name="csrf" value=(session.csrf);
                            label for="level" { "Log level for 10 minutes" }
                            select id="level" name="level" {
                                @for level in ["debug", "trace", "info", "warn", "error"] {
                                    option value=(level) { (level) }
                                }
                            }
                            button type="submit" { "Set" }
                        }
                        (confirmed(context, "drain", &[], (
                            "Drain this replica …",
                            "It finishes its requests and ends, as after SIGTERM; its supervisor starts it again.",
                            "Drain now",
                        )))
                    }
                }
                @if overview.actions.is_empty() {
                    p.quiet { "No actions were taken on this replica since it started." }
                } @else {
                    (taken(overview))
                }
            }
        }
    }
}

fn facts(overview: &Overview) -> Markup {
    let replica = &overview.replica;
    html! {
        dl.facts {
            div { dt { "Version" } dd { (replica.version) } }
            div { dt { "Up for" } dd { (duration_text(replica.started.elapsed())) } }
            div { dt { "In memory" } dd {
                (format::count(replica.local_entries as u64)) " entries, " (format::bytes(replica.local_bytes))
            } }
            div { dt { "Log level" } dd {
                (replica.log_level)
                @if let Some(until) = replica.log_level_until { " until " (time(until)) }
            } }
        }
    }
}

fn taken(overview: &Overview) -> Markup {
    html! {
        table.cards {
            caption { "Last actions on this replica" }
            thead { tr { th scope="col" { "Time" } th scope="col" { "By" } th scope="col" { "Action" } th scope="col" { "Result" } } }
            tbody {
                @for record in &overview.actions {
                    tr {
                        td data-label="Time" { (time(record.at)) }
                        td data-label="By" { (record.by) }
                        td data-label="Action" { (record.action) }
                        td data-label="Result" .bad[!record.outcome.is_done] { (record.outcome.text) }
                    }
                }
            }
        }
    }
}
