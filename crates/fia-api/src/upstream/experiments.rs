//! The auth service's list of a user's experiments.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::config;
use crate::observe::{Calls, Recipient};
use crate::upstream::{Operation, UpstreamError, body, call, client, send};

/// Timeout for a response, the wait for a permit included; shorter than the cache lease under
/// which it is loaded.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);
/// Maximum number of in-flight requests.
const MAX_IN_FLIGHT: usize = 16;
/// Maximum size of a response in bytes, far above any real list.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// The name in traces.
const EXPERIMENTS: Operation = Operation {
    service: "auth_service",
    name: "GET /experiments",
    recipient: Recipient::Internal,
};

/// A client for the experiments of users.
#[derive(Debug)]
pub struct Experiments {
    client: Client,
    url: String,
    key: SecretString,
    permits: Semaphore,
    calls: Arc<Calls>,
}

impl Experiments {
    /// Creates the client without connecting.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub fn new(config: &config::Auth) -> Result<Self, UpstreamError> {
        Ok(Self {
            client: client()?,
            url: format!("{}/experiments", config.service_url),
            key: config.experiments_key().clone(),
            permits: Semaphore::new(MAX_IN_FLIGHT),
            calls: Arc::default(),
        })
    }

    /// Returns the experiment (RB) numbers of a user.
    ///
    /// # Errors
    /// When there is no list of numbers within 4 s. Any other response is an error, never an empty
    /// list.
    pub async fn of(&self, user_number: i32) -> Result<Arc<[i64]>, UpstreamError> {
        call(&self.calls, RESPONSE_TIMEOUT, self.send(user_number)).await
    }

    /// The calls since the start.
    #[must_use]
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    async fn send(&self, user_number: i32) -> Result<Arc<[i64]>, UpstreamError> {
        let _permit = self.permits.acquire().await;
        let request = self
            .client
            .get(&self.url)
            .query(&[("user_number", user_number)])
            .bearer_auth(self.key.expose_secret());
        let response = send(request, EXPERIMENTS).await?;
        if response.status() != StatusCode::OK {
            return Err(UpstreamError::status(response.status()));
        }
        let body = body(response, MAX_BODY).await?;
        let numbers: Vec<i64> = serde_json::from_slice(&body).map_err(|_| {
            UpstreamError::Response("the response is not a list of numbers".to_owned())
        })?;
        Ok(numbers.into())
    }
}
