//! All replicas side by side.

use maud::{Markup, html};

use crate::operator::at::{At, duration_text};
use crate::operator::fleet::Line;
use crate::operator::page::format::{count, rate};
use crate::operator::view::Overview;

pub(super) fn section(overview: &Overview) -> Markup {
    let fleet = &overview.fleet;
    html! {
        section id="fleet" aria-labelledby="fleet-title" {
            div.heading { h2 id="fleet-title" { "Fleet" } }
            div.panel data-live="fleet" {
                @if let Some(problem) = &fleet.problem {
                    p.note { "Only this replica is known. " (problem) "." }
                }
                ul.fleet {
                    @for line in &fleet.replicas { (replica(line, &overview.replica.id)) }
                    @for line in &fleet.silent { (silent(line)) }
                }
            }
        }
    }
}

fn replica(line: &Line, own: &str) -> Markup {
    let class = match line.level.as_str() {
        "ok" => "up",
        "failing" => "down",
        _ => "degraded",
    };
    html! {
        li data-replica=(line.replica) {
            h3 {
                span class={ "mark " (class) } role="img" aria-label=(line.level) {}
                (line.replica)
                @if line.replica == own { span.tag { "this one" } }
                @if line.is_draining { span.tag.bad { "draining" } }
            }
            p { (line.sentence) }
            p.meta {
                (rate(line.requests_per_second)) " requests/s · "
                (count(line.local_entries as u64)) " in memory · "
                @if line.pending_invalidations > 0 {
                    span.bad { (line.pending_invalidations) " pending" } " · "
                }
                (line.version) " · up " (duration_text(At::from_unix(line.started).elapsed()))
            }
        }
    }
}

fn silent(line: &Line) -> Markup {
    let written = At::from_unix(line.written);
    html! {
        li data-replica=(line.replica) data-silent {
            h3 { span.mark.down role="img" aria-label="silent" {} (line.replica) span.tag.bad { "silent" } }
            p { "Last update " (duration_text(written.elapsed())) " ago." }
        }
    }
}
