//! GitHub's list of the runner images.

use std::time::Duration;

use http::header::LINK;
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::config;
use crate::upstream::{UpstreamError, body, client};

/// How long all pages together may take: less than the life of the lease under which they are
/// loaded.
const ANSWER: Duration = Duration::from_millis(4500);
/// How many versions to ask for in a page: the most there are.
const PER_PAGE: &str = "100";
/// The most pages that are read.
const MAX_PAGES: u32 = 100;
/// Far more than a page takes, in bytes.
const MAX_PAGE: usize = 8 * 1024 * 1024;

/// A client for the versions of a package.
#[derive(Debug)]
pub struct Packages {
    client: Client,
    url: String,
    token: SecretString,
}

/// A page, and whether GitHub says that there are more; `None` where it says nothing of pages.
struct Page {
    items: Vec<Box<RawValue>>,
    goes_on: Option<bool>,
}

impl Packages {
    /// Prepares the client; nothing is connected yet.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(config: &config::GitHub) -> Result<Self, UpstreamError> {
        Ok(Self {
            client: client()?,
            url: format!(
                "{}/orgs/fiaisis/packages/container/mantid/versions",
                config.api_url
            ),
            token: config.package_token.clone(),
        })
    }

    /// Every version of the runner's image, as GitHub describes it, newest first.
    ///
    /// # Errors
    /// When not every page can be had, within 4.5 s in all.
    pub async fn versions(&self) -> Result<Vec<Box<RawValue>>, UpstreamError> {
        timeout(ANSWER, self.pages())
            .await
            .map_err(|_| UpstreamError::late())?
    }

    /// Page after page: up to one without a next where there are links, else up to an empty one.
    async fn pages(&self) -> Result<Vec<Box<RawValue>>, UpstreamError> {
        let mut versions = Vec::new();
        for number in 1..=MAX_PAGES {
            let page = self.page(number).await?;
            let is_last = match page.goes_on {
                Some(goes_on) => !goes_on,
                None => page.items.is_empty(),
            };
            versions.extend(page.items);
            if is_last {
                return Ok(versions);
            }
        }
        Err(UpstreamError(format!("more than {MAX_PAGES} pages")))
    }

    async fn page(&self, number: u32) -> Result<Page, UpstreamError> {
        let answer = self
            .client
            .get(&self.url)
            .query(&[("per_page", PER_PAGE), ("page", &number.to_string())])
            .header(ACCEPT, "application/vnd.github+json")
            .bearer_auth(self.token.expose_secret())
            .send()
            .await?;
        if answer.status() != StatusCode::OK {
            return Err(UpstreamError::status(answer.status()));
        }
        let goes_on = has_next(answer.headers());
        let body = body(answer, MAX_PAGE).await?;
        let items = serde_json::from_slice(&body)
            .map_err(|_| UpstreamError("an answer that is no list".to_owned()))?;
        Ok(Page { items, goes_on })
    }
}

/// Whether the links of an answer name a next page; `None` where there are none.
fn has_next(headers: &HeaderMap) -> Option<bool> {
    let links = headers.get(LINK)?.to_str().ok()?;
    Some(links.contains(r#"rel="next""#))
}
