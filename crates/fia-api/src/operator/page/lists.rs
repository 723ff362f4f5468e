//! The outbox, the live logs and the slow operations.

use std::time::Duration;

use maud::{Markup, html};

use crate::operator::at::duration_text;
use crate::operator::page::Context;
use crate::operator::page::format::{bytes, count};
use crate::operator::page::parts::{button, confirmed, time};
use crate::operator::view::{OutboxRow, Overview};

pub(super) fn outbox(overview: &Overview, context: &Context<'_>) -> Markup {
    let outbox = &overview.outbox;
    html! {
        section.wide id="outbox" aria-labelledby="outbox-title" {
            div.heading { h2 id="outbox-title" { "Outbox" } }
            div.panel data-live="outbox" {
                dl.facts {
                    div { dt { "Waiting" } dd data-field="backlog" { (count(outbox.backlog)) } }
                    div { dt { "Oldest" } dd { (duration_text(Duration::from_secs(outbox.oldest_seconds))) } }
                    div { dt { "Parked" } dd data-field="parked" .bad[outbox.parked > 0] { (count(outbox.parked)) } }
                    div { dt { "Published" } dd data-field="published" { (count(outbox.published)) } }
                    div { dt { "Failed attempts" } dd { (count(outbox.failed_attempts)) } }
                }
                @if !outbox.messages.is_empty() {
                    table.cards {
                        caption.hidden { "Messages in the outbox, parked ones first" }
                        thead { tr {
                            th scope="col" { "Message" } th scope="col" { "State" } th.number scope="col" { "Job" }
                            th.number scope="col" { "Size" } th.number scope="col" { "Age" }
                            th scope="col" { "Refusals" }
                            @if context.may_act() { th scope="col" { span.hidden { "Actions" } } }
                        } }
                        tbody { @for message in &outbox.messages { (row(message, context)) } }
                    }
                }
            }
        }
    }
}

fn row(message: &OutboxRow, context: &Context<'_>) -> Markup {
    let id = message.id.to_string();
    let fields = [("id", id.as_str())];
    html! {
        tr data-message=(id) {
            th scope="row" { (id) small { (message.exchange) } }
            td data-label="State" { span.tag data-kind=(message.state) { (message.state) } }
            td.number data-label="Job" { @match message.job { Some(job) => { (job) }, None => { "–" } } }
            td.number data-label="Size" { (bytes(message.bytes.unsigned_abs())) }
            td.number data-label="Age" { (duration_text(Duration::from_secs(message.age_seconds))) }
            td data-label="Refusals" {
                (message.attempts)
                @if let Some(error) = &message.error { " " code { (error) } }
            }
            @if context.may_act() {
                td.act {
                    @if message.state != "in flight" {
                        (button(context, "retry-message", &fields, ("Retry", &format!("Retry message {id}"))))
                        (confirmed(context, "drop-message", &fields, (
                            "Drop …",
                            "The message is deleted; its job is never announced.",
                            "Drop the message",
                        )))
                    }
                }
            }
        }
    }
}

pub(super) fn streams(overview: &Overview) -> Markup {
    let streams = &overview.streams;
    html! {
        section id="streams" aria-labelledby="streams-title" {
            div.heading { h2 id="streams-title" { "Live logs" } }
            div.panel data-live="streams" {
                dl.facts {
                    div { dt { "Viewers" } dd data-field="viewers" { (count(streams.viewers as u64)) } }
                    div { dt { "At most" } dd { (count(streams.max_viewers as u64)) } }
                }
                @if !streams.instruments.is_empty() {
                    ul.plain {
                        @for log in &streams.instruments {
                            li { span { (log.instrument) } span.number { (log.viewers) } }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn slow(overview: &Overview) -> Markup {
    html! {
        section id="slow" aria-labelledby="slow-title" {
            div.heading { h2 id="slow-title" { "Slow loads and calls" } p.quiet { "100 ms and more, the last 20" } }
            div.scroll tabindex="0" role="region" aria-labelledby="slow-title" data-live="slow" {
                @if overview.slow.is_empty() {
                    p.quiet { "None since this process started." }
                } @else {
                    table.cards {
                        thead { tr {
                            th scope="col" { "Time" } th scope="col" { "What" } th.number scope="col" { "Took" }
                            th scope="col" { "Result" } th scope="col" { "Request id" }
                        } }
                        tbody {
                            @for one in &overview.slow {
                                tr {
                                    td data-label="Time" { (time(one.at)) }
                                    th scope="row" { (one.what) }
                                    td.number data-label="Took" { (count(one.milliseconds)) " ms" }
                                    td data-label="Result" .bad[one.is_failed] { (if one.is_failed { "failed" } else { "done" }) }
                                    td data-label="Request id" {
                                        @match &one.request_id { Some(id) => code { (id) }, None => span.zero { "background" } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
