//! The runner images, listed by GitHub.

use std::sync::Arc;
use std::time::Duration;

use http::header::LINK;
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;

use crate::config;
use crate::observe::{Calls, Recipient};
use crate::upstream::{Operation, UpstreamError, body, call, github, send};

/// Timeout for all pages together; shorter than the cache lease under which they are loaded.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(4500);
/// Page size: the maximum of the API.
const PER_PAGE: &str = "100";
/// Maximum number of pages.
const MAX_PAGES: u32 = 100;
/// Maximum size of a page in bytes, far above any real one.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The name in traces.
const VERSIONS: Operation = Operation {
    service: "github",
    name: "GET package versions",
    recipient: Recipient::Public,
};

/// A client for the versions of a package.
#[derive(Debug)]
pub struct Packages {
    client: Client,
    url: String,
    token: SecretString,
    calls: Arc<Calls>,
}

/// A page, and whether there are more; `None` if the response has no `Link` header.
struct Page {
    items: Vec<Box<RawValue>>,
    has_next: Option<bool>,
}

impl Packages {
    /// Creates the client without connecting.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub fn new(config: &config::GitHub) -> Result<Self, UpstreamError> {
        Ok(Self {
            client: github::client(config)?,
            url: format!(
                "{}/orgs/fiaisis/packages/container/mantid/versions",
                config.api_url
            ),
            token: config.package_token.clone(),
            calls: Arc::default(),
        })
    }

    /// Returns every version of the runner image as GitHub describes it, newest first.
    ///
    /// # Errors
    /// When a page is unavailable, or all pages together take more than 4.5 s.
    pub async fn versions(&self) -> Result<Vec<Box<RawValue>>, UpstreamError> {
        call(&self.calls, RESPONSE_TIMEOUT, self.pages()).await
    }

    /// The calls since the start.
    #[must_use]
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Reads pages up to the last one by its `Link` header, or up to an empty one without links.
    async fn pages(&self) -> Result<Vec<Box<RawValue>>, UpstreamError> {
        let mut versions = Vec::new();
        for number in 1..=MAX_PAGES {
            let page = self.page(number).await?;
            let is_last = match page.has_next {
                Some(has_next) => !has_next,
                None => page.items.is_empty(),
            };
            versions.extend(page.items);
            if is_last {
                return Ok(versions);
            }
        }
        Err(UpstreamError::Response(format!(
            "more than {MAX_PAGES} pages"
        )))
    }

    async fn page(&self, number: u32) -> Result<Page, UpstreamError> {
        let request = self
            .client
            .get(&self.url)
            .query(&[("per_page", PER_PAGE), ("page", &number.to_string())])
            .header(ACCEPT, "application/vnd.github+json")
            .bearer_auth(self.token.expose_secret());
        let response = send(request, VERSIONS).await?;
        if response.status() != StatusCode::OK {
            return Err(UpstreamError::status(response.status()));
        }
        let has_next = has_next_link(response.headers());
        let body = body(response, MAX_PAGE_BYTES).await?;
        let items = serde_json::from_slice(&body)
            .map_err(|_| UpstreamError::Response("the response is not a list".to_owned()))?;
        Ok(Page { items, has_next })
    }
}

/// Whether the `Link` header of a response names a next page; `None` without the header.
fn has_next_link(headers: &HeaderMap) -> Option<bool> {
    let links = headers.get(LINK)?.to_str().ok()?;
    Some(links.contains(r#"rel="next""#))
}
