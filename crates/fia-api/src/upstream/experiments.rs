//! The auth service's other side: which experiments a user takes part in.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config;
use crate::upstream::{UpstreamError, body, client};

/// How long an answer may take, the wait for one's turn included: less than the life of the
/// lease under which it is loaded.
const ANSWER: Duration = Duration::from_secs(4);
/// How many questions may be under way at once.
const AT_ONCE: usize = 16;
/// Far more than a user's experiments take, in bytes.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// A client for users' experiments.
#[derive(Debug)]
pub struct Experiments {
    client: Client,
    url: String,
    key: SecretString,
    turns: Semaphore,
}

impl Experiments {
    /// Prepares the client; nothing is connected yet.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(config: &config::Auth) -> Result<Self, UpstreamError> {
        Ok(Self {
            client: client()?,
            url: format!("{}/experiments", config.service_url),
            key: config.experiments_key.clone(),
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// The experiment (RB) numbers of a user.
    ///
    /// # Errors
    /// When there is no list of numbers within 4 s. No other answer says that a user has none.
    pub async fn of(&self, user_number: i32) -> Result<Arc<[i64]>, UpstreamError> {
        timeout(ANSWER, self.ask(user_number))
            .await
            .map_err(|_| UpstreamError::late())?
    }

    async fn ask(&self, user_number: i32) -> Result<Arc<[i64]>, UpstreamError> {
        let _turn = self.turns.acquire().await;
        let answer = self
            .client
            .get(&self.url)
            .query(&[("user_number", user_number)])
            .bearer_auth(self.key.expose_secret())
            .send()
            .await?;
        if answer.status() != StatusCode::OK {
            return Err(UpstreamError::status(answer.status()));
        }
        let body = body(answer, MAX_BODY).await?;
        let numbers: Vec<i64> = serde_json::from_slice(&body)
            .map_err(|_| UpstreamError("an answer that is no list of numbers".to_owned()))?;
        Ok(numbers.into())
    }
}
