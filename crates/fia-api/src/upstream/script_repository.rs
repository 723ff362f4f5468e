//! The repository of reduction scripts on GitHub.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use reqwest::{Client, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::config;
use crate::observe::{Calls, Recipient};
use crate::upstream::{Operation, UpstreamError, body, call, github, send};

/// The names in traces.
const SCRIPT: Operation = Operation {
    service: "github",
    name: "GET script",
    recipient: Recipient::Public,
};
const COMMIT: Operation = Operation {
    service: "github",
    name: "GET commit",
    recipient: Recipient::Public,
};
const REPOSITORY: &str = "fiaisis/autoreduction-scripts";
/// Maximum size of a response in bytes, far above any script or commit.
const MAX_BYTES: usize = 1024 * 1024;

/// The result of a conditional request (`If-None-Match`).
#[derive(Debug, PartialEq, Eq)]
pub enum Revalidated<T> {
    /// A new version, with its `ETag`.
    Modified(T, Option<String>),
    /// The known version is still current.
    NotModified,
    /// The resource does not exist.
    Missing,
}

impl<T> Revalidated<T> {
    fn try_map<U>(
        self,
        read: impl FnOnce(T) -> Result<U, UpstreamError>,
    ) -> Result<Revalidated<U>, UpstreamError> {
        Ok(match self {
            Self::Modified(value, etag) => Revalidated::Modified(read(value)?, etag),
            Self::NotModified => Revalidated::NotModified,
            Self::Missing => Revalidated::Missing,
        })
    }
}

/// A client for the scripts and their latest commit.
#[derive(Debug)]
pub struct ScriptRepository {
    client: Client,
    raw_url: String,
    api_url: String,
    /// Sent with requests for commits, for a higher rate limit.
    token: SecretString,
    calls: Arc<Calls>,
}

impl ScriptRepository {
    /// Creates the client without connecting.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub fn new(config: &config::GitHub) -> Result<Self, UpstreamError> {
        Ok(Self {
            client: github::client(config)?,
            raw_url: format!("{}/{REPOSITORY}/main", config.raw_url),
            api_url: format!("{}/repos/{REPOSITORY}", config.api_url),
            token: config.api_token.clone(),
            calls: Arc::default(),
        })
    }

    /// The calls since the start.
    #[must_use]
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Fetches the script in an instrument's folder.
    ///
    /// # Errors
    /// When GitHub gives no usable response within `limit`.
    pub async fn script(
        &self,
        folder: &str,
        etag: Option<&str>,
        limit: Duration,
    ) -> Result<Revalidated<String>, UpstreamError> {
        let request = self
            .client
            .get(format!("{}/{folder}/reduce.py", self.raw_url));
        let result = call(&self.calls, limit, revalidate(request, SCRIPT, etag)).await?;
        result.try_map(|bytes| Ok(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Fetches the id of the latest commit.
    ///
    /// # Errors
    /// When GitHub gives no usable response within `limit`.
    pub async fn commit(
        &self,
        etag: Option<&str>,
        limit: Duration,
    ) -> Result<Revalidated<String>, UpstreamError> {
        let request = self.client.get(format!("{}/commits/HEAD", self.api_url));
        let mut request = request.header(ACCEPT, "application/vnd.github+json");
        if !self.token.expose_secret().is_empty() {
            request = request.bearer_auth(self.token.expose_secret());
        }
        let result = call(&self.calls, limit, revalidate(request, COMMIT, etag)).await?;
        result.try_map(|bytes| {
            let commit: Result<Commit, _> = serde_json::from_slice(&bytes);
            let commit = commit
                .map_err(|_| UpstreamError::Response("the response is not a commit".to_owned()))?;
            Ok(commit.sha)
        })
    }
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

async fn revalidate(
    mut request: RequestBuilder,
    operation: Operation,
    etag: Option<&str>,
) -> Result<Revalidated<Vec<u8>>, UpstreamError> {
    if let Some(etag) = etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let response = send(request, operation).await?;
    match response.status() {
        StatusCode::OK => {
            let etag = response.headers().get(ETAG);
            let etag = etag.and_then(|etag| etag.to_str().ok()).map(str::to_owned);
            Ok(Revalidated::Modified(
                body(response, MAX_BYTES).await?,
                etag,
            ))
        }
        StatusCode::NOT_MODIFIED => Ok(Revalidated::NotModified),
        StatusCode::NOT_FOUND => Ok(Revalidated::Missing),
        other => Err(UpstreamError::status(other)),
    }
}
