//! The top of the page: who and where, the sentence, what is wrong, the strip of dependencies.

use maud::{Markup, html};

use crate::operator::at::duration_text;
use crate::operator::page::format::unbroken;
use crate::operator::page::parts::time;
use crate::operator::page::{Context, format};
use crate::operator::verdict::{Level, Problem};
use crate::operator::view::{Dependency, Overview, State};

pub(super) fn header(overview: &Overview, context: &Context<'_>) -> Markup {
    let replica = &overview.replica;
    html! {
        header.bar {
            p.brand {
                strong { "fia-api" }
                span { (replica.id) }
            }
            p.load data-live="load" {
                span.number { (format::rate(replica.requests_per_second)) }
                " requests/s · up "
                (duration_text(replica.started.elapsed()))
            }
            (session(context))
        }
    }
}

fn session(context: &Context<'_>) -> Markup {
    let Some(session) = context.session else {
        let what = match context.has_key {
            true => "Operator's key or staff token",
            false => "Staff token (no operator's key is configured)",
        };
        return html! {
            details.session open[context.refusal.is_some()] {
                summary { "View only · sign in to act" }
                form method="post" action="/sign-in" {
                    label for="credential" { (what) }
                    // Password managers want one.
                    input.hidden type="text" name="username" value="operator" autocomplete="username" tabindex="-1" aria-hidden="true";
                    div.row {
                        input id="credential" name="credential" type="password" required autocomplete="current-password";
                        button type="submit" { "Sign in" }
                    }
                }
            }
        };
    };
    html! {
        div.session {
            span { "Acting as " (session.actor.shown()) }
            form.inline method="post" action="/sign-out" { button type="submit" { "Sign out" } }
        }
    }
}

pub(super) fn verdict(overview: &Overview, context: &Context<'_>) -> Markup {
    let verdict = &overview.verdict;
    html! {
        section.verdict aria-label="State" {
            @if let Some(refusal) = context.refusal {
                p.refusal role="alert" { (refusal.to_string()) }
            }
            // Replaced only when the state changes, so that it is not read out each second.
            p.hidden role="status" aria-live="polite" data-live="announcement" { (verdict.announcement) }
            div data-live="verdict" {
                h1 { (mark(verdict.level)) span { (unbroken(&verdict.sentence)) } }
                @if verdict.problems.is_empty() {
                    p.bounds { (unbroken(&verdict.bounds)) }
                } @else {
                    ul.problems {
                        @for problem in &verdict.problems { (one_problem(problem)) }
                    }
                    details.bounds {
                        summary { "Bounds in normal operation" }
                        p { (unbroken(&verdict.bounds)) }
                    }
                }
            }
        }
    }
}

/// The level by shape and colour.
fn mark(level: Level) -> Markup {
    let (class, text) = match level {
        Level::Ok => ("up", "Fine"),
        Level::Degraded => ("degraded", "Degraded"),
        Level::Failing => ("down", "Failing"),
    };
    html! { span class={ "mark " (class) } role="img" aria-label=(text) {} }
}

fn one_problem(problem: &Problem) -> Markup {
    html! {
        li data-level=(problem.level.as_str()) {
            h2 {
                (problem.what)
                @if let Some(since) = problem.since {
                    span.since { " since " (time(since)) " (" (duration_text(since.elapsed())) ")" }
                }
            }
            p { (problem.effect) }
            p.remedy { strong { "Do: " } (problem.remedy) }
            p.meta {
                @if let Some(cause) = &problem.cause { code { (cause) } " · " }
                "runbook: " span.runbook { (problem.runbook) }
            }
        }
    }
}

pub(super) fn strip(overview: &Overview) -> Markup {
    html! {
        section.strip aria-label="Dependencies" data-live="strip" {
            ul {
                @for dependency in &overview.dependencies { (cell(dependency)) }
            }
        }
    }
}

fn cell(dependency: &Dependency) -> Markup {
    let (class, word) = match dependency.state {
        State::Up => ("up", "up"),
        State::Down => ("down", "down"),
        State::Unknown => ("unknown", "unknown"),
        State::Off => ("off", "off"),
    };
    html! {
        li data-dependency=(dependency.id) data-state=(class) {
            h3 { span class={ "mark " (class) } role="img" aria-label=(word) {} (dependency.name) }
            p.state { (dependency.text) }
            @match (dependency.state, dependency.since) {
                (State::Up | State::Down, Some(since)) => {
                    p.meta title=(since.rfc3339()) { (word) " for " (duration_text(since.elapsed())) }
                }
                _ => { p.meta { "\u{a0}" } }
            }
            @match &dependency.last_failure {
                Some(failure) => {
                    p.failure title=(failure.text) { "last failure " (time(failure.at)) ": " (failure.text) }
                }
                None => { p.failure.none { "no failure" } }
            }
        }
    }
}
