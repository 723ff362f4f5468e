//! The auth service: is this token valid?

use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config;

/// How long an answer may take, the wait for one's turn included.
const ANSWER: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(1);
/// How many questions may be under way at once; more would only queue up over there.
const AT_ONCE: usize = 32;

/// The auth service gave no answer that says anything about a token.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the auth service cannot be asked: {0}")]
pub struct Unreachable(String);

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
    pub fn new(config: &config::Auth) -> Result<Self, Unreachable> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Unreachable(error.to_string()))?;
        Ok(Self {
            client,
            verify_url: format!("{}/verify", config.service_url),
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// Asks whether a token is valid.
    ///
    /// # Errors
    /// When there is no answer within 5 s, or one that only says that the service is in
    /// trouble (a 5xx).
    pub async fn verify(&self, token: &str) -> Result<bool, Unreachable> {
        timeout(ANSWER, self.ask(token))
            .await
            .map_err(|_| Unreachable("no answer in time".to_owned()))?
    }

    async fn ask(&self, token: &str) -> Result<bool, Unreachable> {
        let _turn = self.turns.acquire().await;
        let answer = self
            .client
            .post(&self.verify_url)
            .json(&Question { token })
            .send()
            .await
            .map_err(|error| Unreachable(error.without_url().to_string()))?;
        match answer.status() {
            status if status.is_server_error() => Err(Unreachable(status.to_string())),
            status => Ok(status == reqwest::StatusCode::OK),
        }
    }
}

#[derive(Serialize)]
struct Question<'a> {
    token: &'a str,
}
