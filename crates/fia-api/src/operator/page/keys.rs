//! The table of keys.

use std::time::Duration;

use maud::{Markup, html};

use crate::operator::at::duration_text;
use crate::operator::page::format::{bytes, count, millis};
use crate::operator::page::reads::breakable;
use crate::operator::page::{Context, parts};
use crate::operator::view::{KeyQuery, KeyRow, Keys, Overview};

pub(super) fn section(overview: &Overview, context: &Context<'_>) -> Markup {
    let keys = &overview.keys;
    html! {
        section.wide id="keys" aria-labelledby="keys-title" {
            div.heading {
                h2 id="keys-title" { "Keys" }
                nav.tabs aria-label="Order of the keys" {
                    @for (by, text) in KeyQuery::ORDERS {
                        @let is_current = keys.search.is_empty() && keys.by == by;
                        a href={ "/?by=" (by) "#keys" } aria-current=[is_current.then_some("true")] { (text) }
                    }
                }
                form.search method="get" action="/#keys" role="search" {
                    label.hidden for="key" { "Part of a key" }
                    input id="key" name="key" type="search" value=(keys.search) placeholder="Find keys" maxlength="200";
                    button type="submit" { "Find" }
                }
            }
            div.scroll tabindex="0" role="region" aria-labelledby="keys-title" data-live="keys" {
                @if let Some(note) = &keys.note { p.note { (note) } }
                @if keys.rows.is_empty() {
                    p.quiet {
                        @if keys.search.is_empty() { "No reads since the start." } @else { "No key contains this text." }
                    }
                } @else {
                    (table(keys, context))
                }
            }
        }
    }
}

fn table(keys: &Keys, context: &Context<'_>) -> Markup {
    let amount = match keys.by {
        _ if !keys.search.is_empty() => None,
        "bytes" => None,
        "load_time" => Some("Load time"),
        _ => Some("Hits (est.)"),
    };
    html! {
        table.cards.keys {
            thead { tr {
                th scope="col" { "Key" }
                @if let Some(amount) = amount { th.number scope="col" { (amount) } }
                th.number scope="col" { "Size" }
                th scope="col" { "Memory" }
                th scope="col" { "Valkey" }
                th scope="col" { "Stored by" }
                th.number scope="col" { "Age" }
                th.number scope="col" { "TTL left" }
                @if context.may_act() { th.actions scope="col" { span.hidden { "Actions" } } }
            } }
            tbody { @for row in &keys.rows { (one(row, keys.by, amount, context)) } }
        }
    }
}

fn one(row: &KeyRow, by: &str, amount: Option<&'static str>, context: &Context<'_>) -> Markup {
    let seconds = |seconds: u64| duration_text(Duration::from_secs(seconds));
    html! {
        tr {
            th scope="row" { code title=(row.key) { (breakable(&row.key)) } }
            @if let Some(label) = amount {
                td.number data-label=(label) {
                    @match (by, row.amount) {
                        ("load_time", Some(micros)) => { (millis(micros as f64 / 1e3)) " ms" },
                        (_, Some(hits)) => { (count(hits)) },
                        (_, None) => { "–" },
                    }
                }
            }
            td.number data-label="Size" { (row.bytes.map_or("–".to_owned(), bytes)) }
            td data-label="Memory" { (level(row.memory.unwrap_or("–"))) }
            td data-label="Valkey" {
                (level(row.valkey.unwrap_or("unknown")))
                @if let Some(size) = row.valkey_bytes { " " small.size { (bytes(size)) } }
                @if row.is_invalidation_pending { " " span.tag.bad { "invalidation pending" } }
            }
            td data-label="Stored by" {
                @match row.stored_by {
                    Some("older") => { span.tag data-kind="older" title="by a replica of the older server" { "older" } },
                    Some(_) => { span title="by a replica of this server" { "this" } },
                    None => { span.zero { "–" } },
                }
            }
            td.number data-label="Age" { (row.age_seconds.map_or("–".to_owned(), seconds)) }
            td.number data-label="TTL left" { (row.ttl_seconds.map_or("–".to_owned(), |left| seconds(left.ceil() as u64))) }
            @if context.may_act() {
                td.act {
                    @if row.is_masked {
                        span.zero title="Search for the whole key to invalidate it." { "masked" }
                    } @else {
                        (parts::button(context, "invalidate-key", &[("key", &row.key)], ("Invalidate", &format!("Invalidate {}", row.key))))
                    }
                }
            }
        }
    }
}

fn level(text: &str) -> Markup {
    match text {
        "–" | "unknown" | "absent" => html! { span.zero { (text) } },
        text => html! { span.tag data-kind=(text) { (text) } },
    }
}
