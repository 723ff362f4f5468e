//! The auth service: is this token valid?

use std::time::Duration;

use reqwest::Client;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config;
use crate::upstream::{UpstreamError, client};

/// How long an answer may take, the wait for one's turn included.
const ANSWER: Duration = Duration::from_secs(5);
/// How many questions may be under way at once; more would only queue up over there.
const AT_ONCE: usize = 32;

/// A client of the auth service. What it answers about a token is never kept.
#[derive(Debug)]
pub struct AuthService {
    client: Client,
    verify_url: String,
    turns: Semaphore,
}

impl AuthService {
    /// Prepares the client; nothing is connected yet.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(config: &config::Auth) -> Result<Self, UpstreamError> {
        Ok(Self {
            client: client()?,
            verify_url: format!("{}/verify", config.service_url),
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// Asks whether a token is valid.
    ///
    /// # Errors
    /// When there is no answer within 5 s, or one that only says that the service is in
    /// trouble (a 5xx).
    pub async fn verify(&self, token: &str) -> Result<bool, UpstreamError> {
        timeout(ANSWER, self.ask(token))
            .await
            .map_err(|_| UpstreamError::late())?
    }

    async fn ask(&self, token: &str) -> Result<bool, UpstreamError> {
        let _turn = self.turns.acquire().await;
        let answer = self
            .client
            .post(&self.verify_url)
            .json(&Question { token })
            .send()
            .await?;
        match answer.status() {
            status if status.is_server_error() => Err(UpstreamError::status(status)),
            status => Ok(status == reqwest::StatusCode::OK),
        }
    }
}

#[derive(Serialize)]
struct Question<'a> {
    token: &'a str,
}
