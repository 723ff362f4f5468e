//! The rules of the `HTTPRoute`: where requests lead, and how long they may take.

use fia_api::routes;
use serde::Deserialize;
use serde_json::Value;

use crate::deploy::{list, render, text};

/// A rule of the `HTTPRoute`. Fields that the server's manifests do not use are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    matches: Vec<Match>,
    #[serde(default)]
    filters: Vec<Filter>,
    timeouts: Timeouts,
    backend_refs: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    path: PathMatch,
    method: Option<String>,
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PathMatch {
    r#type: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Filter {
    r#type: String,
    url_rewrite: Rewrite,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rewrite {
    path: RewritePath,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RewritePath {
    r#type: String,
    replace_prefix_match: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Timeouts {
    request: String,
}

const DOWNLOAD: &str = "/job/[0-9]+/filename/.+";

impl Match {
    /// The precedence of this match for a request, if it matches: a regular expression before
    /// prefixes, a longer prefix before a shorter one, then a method, then headers.
    fn precedence(&self, method: &str, path: &str, accept: &str) -> Option<(usize, usize, usize)> {
        let path = match self.path.r#type.as_str() {
            "PathPrefix" => {
                let rest = path.strip_prefix(self.path.value.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then_some(self.path.value.len())?
            }
            "RegularExpression" => {
                assert_eq!(self.path.value, format!("/api{DOWNLOAD}"));
                is_download(path.strip_prefix("/api")?).then_some(usize::MAX)?
            }
            other => panic!("{other} is not supported"),
        };
        let is_method = self.method.as_ref().is_none_or(|own| own == method);
        let is_accepted = |header: &Header| header.name == "Accept" && header.value == accept;
        let matches = is_method && self.headers.iter().all(is_accepted);
        matches.then_some((path, usize::from(self.method.is_some()), self.headers.len()))
    }
}

/// [`DOWNLOAD`], as a regular expression matches it.
fn is_download(path: &str) -> bool {
    let rest = path.strip_prefix("/job/").unwrap_or_default();
    let Some((job, name)) = rest.split_once("/filename/") else {
        return false;
    };
    !job.is_empty() && job.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty()
}

impl Rule {
    /// The path as the server receives it.
    fn rewritten(&self, path: &str) -> String {
        let Some(filter) = self.filters.first() else {
            return path.to_owned();
        };
        assert_eq!(filter.r#type, "URLRewrite");
        let rewrite = &filter.url_rewrite.path;
        assert_eq!(rewrite.r#type, "ReplacePrefixMatch");
        let rest = path
            .strip_prefix(self.matches[0].path.value.as_str())
            .unwrap();
        let prefix = rewrite.replace_prefix_match.trim_end_matches('/');
        format!("{prefix}{rest}")
    }
}

/// The rule that the gateway selects.
fn select<'a>(rules: &'a [Rule], method: &str, path: &str, accept: &str) -> &'a Rule {
    let matching = rules.iter().filter_map(|rule| {
        let matches = rule.matches.iter();
        let precedences = matches.filter_map(|one| one.precedence(method, path, accept));
        Some((precedences.max()?, rule))
    });
    let best = matching.max_by_key(|(precedence, _)| *precedence);
    best.unwrap_or_else(|| panic!("no rule for {path}")).1
}

#[test]
fn every_route_is_reached_and_only_transfers_are_untimed() {
    let Some(manifests) = render("production") else {
        return;
    };
    let service = &manifests["Service"];
    let rules: Vec<Rule> = list(&manifests["HTTPRoute"]["spec"]["rules"])
        .iter()
        .map(|rule| serde_json::from_value(rule.clone()).unwrap())
        .collect();
    for rule in &rules {
        for backend in &rule.backend_refs {
            assert_eq!(backend["name"], service["metadata"]["name"]);
            assert_eq!(backend["port"], service["spec"]["ports"][0]["port"]);
        }
    }
    let json = "application/json";
    for template in routes::paths() {
        let path = template
            .replace("{job_id}", "17")
            .replace("{filename}", "a.nxs")
            .replace("{instrument}", "MARI")
            .replace(['{', '}'], "");
        let public = format!("/api{path}");
        for method in ["GET", "POST", "PUT", "PATCH"] {
            let untimed = match template {
                "/job/{job_id}/filename/{filename}" | "/job/download-zip" => true,
                "/extras/" | "/extras/{subdir}" | "/extras/{instrument}/{filename}" => {
                    method == "POST"
                }
                _ => false,
            };
            let rule = select(&rules, method, &public, json);
            let limit = if untimed { "0s" } else { "15s" };
            assert_eq!(rule.timeouts.request, limit, "{method} {public}");
            // The server strips the prefix itself where the gateway does not.
            let received = rule.rewritten(&public);
            assert_eq!(received.strip_prefix("/api").unwrap_or(&received), path);
        }
    }
    let stream = select(
        &rules,
        "GET",
        "/api/live-data/MARI/logs",
        "text/event-stream",
    );
    assert_eq!(stream.timeouts.request, "0s");
    assert_eq!(
        stream.rewritten("/api/live-data/MARI/logs"),
        "/live-data/MARI/logs"
    );
    let parent = &manifests["HTTPRoute"]["spec"]["parentRefs"][0]["name"];
    assert!(!text(parent).is_empty());
}
