//! The repository of reduction scripts, on GitHub.

use std::time::Duration;

use reqwest::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::timeout;

use crate::config;

const REPOSITORY: &str = "fiaisis/autoreduction-scripts";
const CONNECT: Duration = Duration::from_secs(1);
/// The longest script, and the longest description of a commit, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// GitHub gave no answer, or none that says anything.
#[derive(Debug, Clone, thiserror::Error)]
#[error("GitHub cannot be asked: {0}")]
pub struct Unreachable(String);

/// What GitHub says of something that was there before, or was not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News<T> {
    /// It is this now; the tag names this version of it.
    Changed(T, Option<String>),
    /// It still is what the given tag names.
    Unchanged,
    /// There is no such thing.
    Missing,
}

/// A client of GitHub's two hosts.
pub(super) struct GitHub {
    client: Client,
    raw_url: String,
    api_url: String,
    /// Sent with look-ups of commits, for a larger allowance.
    token: SecretString,
}

impl GitHub {
    pub(super) fn new(config: &config::GitHub) -> Result<Self, Unreachable> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .redirect(Policy::none())
            // GitHub refuses requests that do not say who sends them.
            .user_agent(concat!("fia-api/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(unreachable)?;
        Ok(Self {
            client,
            raw_url: config.raw_url.clone(),
            api_url: config.api_url.clone(),
            token: config.api_token.clone(),
        })
    }

    /// The script in an instrument's folder.
    pub(super) async fn script(
        &self,
        folder: &str,
        known: Option<&str>,
        limit: Duration,
    ) -> Result<News<String>, Unreachable> {
        let url = format!("{}/{REPOSITORY}/main/{folder}/reduce.py", self.raw_url);
        let news = within(limit, ask(self.client.get(url), known)).await?;
        Ok(match news {
            News::Changed(bytes, tag) => {
                News::Changed(String::from_utf8_lossy(&bytes).into_owned(), tag)
            }
            News::Unchanged => News::Unchanged,
            News::Missing => News::Missing,
        })
    }

    /// The id of the latest commit.
    pub(super) async fn commit(
        &self,
        known: Option<&str>,
        limit: Duration,
    ) -> Result<News<String>, Unreachable> {
        let url = format!("{}/repos/{REPOSITORY}/commits/HEAD", self.api_url);
        let mut request = self
            .client
            .get(url)
            .header(ACCEPT, "application/vnd.github+json");
        if !self.token.expose_secret().is_empty() {
            request = request.bearer_auth(self.token.expose_secret());
        }
        Ok(match within(limit, ask(request, known)).await? {
            News::Changed(bytes, tag) => {
                let commit: Commit = serde_json::from_slice(&bytes)
                    .map_err(|_| Unreachable("no commit in its answer".to_owned()))?;
                News::Changed(commit.sha, tag)
            }
            News::Unchanged => News::Unchanged,
            News::Missing => News::Missing,
        })
    }
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Unreachable>>,
) -> Result<T, Unreachable> {
    timeout(limit, work)
        .await
        .map_err(|_| Unreachable("no answer in time".to_owned()))?
}

async fn ask(
    mut request: RequestBuilder,
    known: Option<&str>,
) -> Result<News<Vec<u8>>, Unreachable> {
    if let Some(tag) = known {
        request = request.header(IF_NONE_MATCH, tag);
    }
    let response = request.send().await.map_err(unreachable)?;
    match response.status() {
        StatusCode::OK => {
            let tag = response.headers().get(ETAG);
            let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
            Ok(News::Changed(receive(response).await?, tag))
        }
        StatusCode::NOT_MODIFIED => Ok(News::Unchanged),
        StatusCode::NOT_FOUND => Ok(News::Missing),
        other => Err(Unreachable(other.to_string())),
    }
}

async fn receive(mut response: Response) -> Result<Vec<u8>, Unreachable> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_BYTES {
            return Err(Unreachable(format!("more than {MAX_BYTES} bytes")));
        }
    }
    Ok(bytes)
}

/// Without the address: a log line names what was asked for in its own words.
fn unreachable(error: reqwest::Error) -> Unreachable {
    Unreachable(error.without_url().to_string())
}
