//! A check whether an HTTP service responds, without using it.

use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config;
use crate::upstream::{UpstreamError, client, github};

/// Requests that a service answers without work.
#[derive(Debug)]
pub struct Probe {
    client: Client,
    url: String,
    /// Sent as a bearer token unless empty.
    token: SecretString,
}

impl Probe {
    /// Requests for the root of the auth service, without a credential.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub fn auth_service(config: &config::Auth) -> Result<Self, UpstreamError> {
        Ok(Self {
            client: client()?,
            url: format!("{}/", config.service_url),
            token: SecretString::default(),
        })
    }

    /// Requests for the state of GitHub's rate limit, which do not count against it.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub fn github(config: &config::GitHub) -> Result<Self, UpstreamError> {
        Ok(Self {
            client: github::client(config)?,
            url: format!("{}/rate_limit", config.api_url),
            token: config.api_token.clone(),
        })
    }

    /// Sends a HEAD request and waits for its response. Has no time limit but that of the
    /// connection.
    ///
    /// # Errors
    /// Without a response, and for 5xx. Any other response shows that the service works.
    pub async fn check(&self) -> Result<(), UpstreamError> {
        let mut request = self.client.head(&self.url);
        if !self.token.expose_secret().is_empty() {
            request = request.bearer_auth(self.token.expose_secret());
        }
        match request.send().await?.status() {
            status if status.is_server_error() => Err(UpstreamError::status(status)),
            _ => Ok(()),
        }
    }
}
