//! The repository of reduction scripts, on GitHub.

use std::time::Duration;

use reqwest::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use reqwest::{Client, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::timeout;

use crate::config;
use crate::upstream::{UpstreamError, body, client};

const REPOSITORY: &str = "fiaisis/autoreduction-scripts";
/// Far more than a script or the description of a commit takes, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// What GitHub says of something whose tag is known, or is not.
#[derive(Debug, PartialEq, Eq)]
pub enum News<T> {
    /// It is this now; the tag names this version of it.
    Changed(T, Option<String>),
    /// It still is what the known tag names.
    Unchanged,
    /// There is no such thing.
    Missing,
}

impl<T> News<T> {
    fn try_map<U>(
        self,
        read: impl FnOnce(T) -> Result<U, UpstreamError>,
    ) -> Result<News<U>, UpstreamError> {
        Ok(match self {
            Self::Changed(thing, tag) => News::Changed(read(thing)?, tag),
            Self::Unchanged => News::Unchanged,
            Self::Missing => News::Missing,
        })
    }
}

/// A client for the scripts and their latest commit.
#[derive(Debug)]
pub struct ScriptRepository {
    client: Client,
    raw_url: String,
    api_url: String,
    /// Sent with look-ups of commits, for a larger allowance.
    token: SecretString,
}

impl ScriptRepository {
    /// Prepares the client; nothing is connected yet.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(config: &config::GitHub) -> Result<Self, UpstreamError> {
        Ok(Self {
            client: client()?,
            raw_url: format!("{}/{REPOSITORY}/main", config.raw_url),
            api_url: format!("{}/repos/{REPOSITORY}", config.api_url),
            token: config.api_token.clone(),
        })
    }

    /// The script in an instrument's folder.
    ///
    /// # Errors
    /// When GitHub does not tell within the limit.
    pub async fn script(
        &self,
        folder: &str,
        tag: Option<&str>,
        limit: Duration,
    ) -> Result<News<String>, UpstreamError> {
        let request = self
            .client
            .get(format!("{}/{folder}/reduce.py", self.raw_url));
        let news = within(limit, ask(request, tag)).await?;
        news.try_map(|bytes| Ok(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The id of the latest commit.
    ///
    /// # Errors
    /// When GitHub does not tell within the limit.
    pub async fn commit(
        &self,
        tag: Option<&str>,
        limit: Duration,
    ) -> Result<News<String>, UpstreamError> {
        let request = self.client.get(format!("{}/commits/HEAD", self.api_url));
        let mut request = request.header(ACCEPT, "application/vnd.github+json");
        if !self.token.expose_secret().is_empty() {
            request = request.bearer_auth(self.token.expose_secret());
        }
        let news = within(limit, ask(request, tag)).await?;
        news.try_map(|bytes| {
            let commit: Result<Commit, _> = serde_json::from_slice(&bytes);
            let commit =
                commit.map_err(|_| UpstreamError("an answer without a commit".to_owned()))?;
            Ok(commit.sha)
        })
    }
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    timeout(limit, work)
        .await
        .map_err(|_| UpstreamError::late())?
}

async fn ask(
    mut request: RequestBuilder,
    tag: Option<&str>,
) -> Result<News<Vec<u8>>, UpstreamError> {
    if let Some(tag) = tag {
        request = request.header(IF_NONE_MATCH, tag);
    }
    let answer = request.send().await?;
    match answer.status() {
        StatusCode::OK => {
            let tag = answer.headers().get(ETAG);
            let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
            Ok(News::Changed(body(answer, MAX_BYTES).await?, tag))
        }
        StatusCode::NOT_MODIFIED => Ok(News::Unchanged),
        StatusCode::NOT_FOUND => Ok(News::Missing),
        other => Err(UpstreamError::status(other)),
    }
}
