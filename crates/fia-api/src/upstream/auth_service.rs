//! The auth service, which verifies tokens.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::config;
use crate::observe::{Calls, Recipient};
use crate::upstream::{Operation, UpstreamError, call, client, send};

/// Timeout for a response, the wait for a permit included.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of in-flight requests; more would only queue in the service.
const MAX_IN_FLIGHT: usize = 32;
/// The same for tokens that were accepted before, apart from the others.
const MAX_IN_FLIGHT_KNOWN: usize = 16;

/// The name in traces.
const VERIFY: Operation = Operation {
    service: "auth_service",
    name: "POST /verify",
    recipient: Recipient::Internal,
};

/// The permits that a verification needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// Those of tokens that the service has accepted before: they do not wait for others.
    Known,
    /// Those of all other tokens, which anyone can send.
    Unknown,
}

/// A client of the auth service.
#[derive(Debug)]
pub struct AuthService {
    client: Client,
    verify_url: String,
    permits: Semaphore,
    known_permits: Semaphore,
    calls: Arc<Calls>,
}

impl AuthService {
    /// Creates the client without connecting.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub fn new(config: &config::Auth) -> Result<Self, UpstreamError> {
        Ok(Self {
            client: client()?,
            verify_url: format!("{}/verify", config.service_url),
            permits: Semaphore::new(MAX_IN_FLIGHT),
            known_permits: Semaphore::new(MAX_IN_FLIGHT_KNOWN),
            calls: Arc::default(),
        })
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// When there is no response within 5 s, or a 5xx.
    pub async fn verify(&self, token: &str, precedence: Precedence) -> Result<bool, UpstreamError> {
        let sending = self.send(token, precedence);
        call(&self.calls, RESPONSE_TIMEOUT, sending).await
    }

    /// The calls since the start.
    #[must_use]
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    async fn send(&self, token: &str, precedence: Precedence) -> Result<bool, UpstreamError> {
        let permits = match precedence {
            Precedence::Known => &self.known_permits,
            Precedence::Unknown => &self.permits,
        };
        let _permit = permits.acquire().await;
        let request = self.client.post(&self.verify_url);
        let response = send(request.json(&VerifyRequest { token }), VERIFY).await?;
        match response.status() {
            status if status.is_server_error() => Err(UpstreamError::status(status)),
            status => Ok(status == reqwest::StatusCode::OK),
        }
    }
}

#[derive(Serialize)]
struct VerifyRequest<'a> {
    token: &'a str,
}
