//! The table of cached reads.

use std::time::Duration;

use maud::{Markup, html};

use crate::operator::at::duration_text;
use crate::operator::page::format::{count, millis, percent, rate};
use crate::operator::page::{Context, parts, spark};
use crate::operator::view::{Overview, ReadRow};

pub(super) fn section(overview: &Overview, context: &Context<'_>) -> Markup {
    html! {
        section id="reads" aria-labelledby="reads-title" {
            div.heading {
                h2 id="reads-title" { "Cached reads" }
                ul.legend aria-label="Levels" {
                    li { span.swatch.memory {} "memory" }
                    li { span.swatch.valkey {} "Valkey" }
                    li { span.swatch.miss {} "miss" }
                    li { span.swatch.stale {} "stale" }
                }
            }
            div.scroll tabindex="0" role="region" aria-labelledby="reads-title" data-live="reads" {
                table.cards.reads {
                    thead { tr {
                        th scope="col" { "Read" }
                        th.number scope="col" { "TTL" }
                        th.number scope="col" { "Reads/s" }
                        th scope="col" { "Last 2 min" }
                        th.number scope="col" { "Memory" }
                        th.number scope="col" { "Valkey" }
                        th.number scope="col" { "Miss" }
                        th.number scope="col" { "Stale" }
                        th.number scope="col" { "Coalesced" }
                        th.number scope="col" { "Load ms" br; small { "p50 / p99" } }
                        th.number scope="col" { "Conflicts" br; small { "fill / lease / fence" } }
                        th.number scope="col" { "Samples" br; small { "stale / all" } }
                        th.number scope="col" { "304" }
                        @if context.may_act() { th scope="col" { span.hidden { "Actions" } } }
                    } }
                    tbody { @for read in &overview.reads { (row(read, context)) } }
                }
            }
            (group_form(context))
        }
    }
}

/// Invalidates lists and counts, whose keys are digests: by what they show.
fn group_form(context: &Context<'_>) -> Markup {
    let Some(session) = context.session else {
        return html! {};
    };
    html! {
        form.inline.controls method="post" action="/actions/invalidate-group" {
            input type="hidden" name="csrf" value=(session.csrf);
            label for="group" { "Lists and counts of the jobs of" }
            input id="group" name="group" required maxlength="100" placeholder="instrument, or all" autocomplete="off";
            button type="submit" { "Invalidate" }
        }
    }
}

fn row(read: &ReadRow, context: &Context<'_>) -> Markup {
    let ttl = match read.ttl_seconds {
        0 => "off".to_owned(),
        seconds => duration_text(Duration::from_secs(seconds)),
    };
    html! {
        tr data-read=(read.name) data-idle[read.requests == 0] {
            th scope="row" {
                span.name { (read.name) }
                code { (breakable(&read.pattern)) }
            }
            td.number data-label="TTL" { (ttl) }
            td.number data-label="Reads/s" data-field="requests_per_second" { (rate(read.requests_per_second)) }
            td.chart data-label="Last 2 min" { (spark::stacked(&read.history)) }
            (share("Memory", "hits_memory", read.hits_memory, read.requests))
            (share("Valkey", "hits_valkey", read.hits_valkey, read.requests))
            (share("Miss", "misses", read.misses, read.requests))
            (share("Stale", "stale", read.stale, read.requests))
            td.number.used data-label="Coalesced" data-field="coalesced" { (quiet(read.coalesced)) }
            td.number.used data-label="Load ms, p50 / p99" { (loads(read)) }
            td.number.used data-label="Conflicts" {
                (quiet(read.fills_refused)) " / " (quiet(read.lease_conflicts)) " / " (quiet(read.fence_conflicts))
            }
            td.number.used data-label="Samples, stale / all" .bad[read.samples_stale > 0] {
                (quiet(read.samples_stale)) " / " (quiet(read.samples))
            }
            td.number.used data-label="304" data-field="not_modified" {
                @match read.not_modified { Some(number) => (quiet(number)), None => span.zero { "–" } }
            }
            @if context.may_act() {
                td.act {
                    (parts::confirmed(context, "invalidate-read", &[("read", read.name)], (
                        "Invalidate …",
                        "All keys of this read are invalidated, on all replicas.",
                        "Invalidate all keys",
                    )))
                }
            }
        }
    }
}

/// A count, and its part of all reads.
fn share(label: &str, field: &str, part: u64, whole: u64) -> Markup {
    html! {
        td.number.used data-label=(label) data-field=(field) data-value=(part) {
            (quiet(part))
            small { (if part > 0 { percent(part, whole) } else { "\u{a0}".to_owned() }) }
        }
    }
}

/// A count; zero is set back.
fn quiet(number: u64) -> Markup {
    match number {
        0 => html! { span.zero { "0" } },
        number => html! { (count(number)) },
    }
}

fn loads(read: &ReadRow) -> Markup {
    let bound = |percentile: Option<f64>| match percentile {
        Some(bound) => format!("≤ {}", millis(bound)),
        None => "> 15 s".to_owned(),
    };
    html! {
        @if read.load_p50_ms.is_none() && read.load_p99_ms.is_none() {
            span.zero { "–" }
        } @else {
            (bound(read.load_p50_ms)) " / " (bound(read.load_p99_ms))
        }
        @if read.load_failures > 0 { small.bad { (count(read.load_failures)) " failed" } }
    }
}

/// A key that may be broken after its colons.
pub(super) fn breakable(key: &str) -> Markup {
    html! {
        @for (index, part) in key.split(':').enumerate() {
            @if index > 0 { ":" wbr; }
            (part)
        }
    }
}
