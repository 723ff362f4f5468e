//! Clients of the HTTP services that this server depends on.

mod auth_service;
mod experiments;
mod packages;
mod script_repository;

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use tokio::time::timeout;

use crate::model::error_chain::error_chain;
use crate::observe::{Calls, Failure};

pub use auth_service::AuthService;
pub use experiments::Experiments;
pub use packages::Packages;
pub use script_repository::{Revalidated, ScriptRepository};

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A service gave no usable response.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct UpstreamError(String);

impl UpstreamError {
    fn timeout() -> Self {
        Self("response timeout".to_owned())
    }

    fn status(status: StatusCode) -> Self {
        Self(status.to_string())
    }
}

impl From<reqwest::Error> for UpstreamError {
    /// Omits the URL, whose query may identify a person, and includes the causes.
    fn from(error: reqwest::Error) -> Self {
        Self(error_chain(&error.without_url()))
    }
}

/// Creates an HTTP client that follows no redirects and uses no proxy.
fn client() -> Result<Client, UpstreamError> {
    let client = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("fia-api/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}

/// Awaits a usable response for at most `limit`, and records the call.
async fn call<T>(
    calls: &Calls,
    limit: Duration,
    work: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    let limited = async {
        let result = timeout(limit, work).await;
        result.unwrap_or_else(|_| Err(UpstreamError::timeout()))
    };
    calls.observe(limited, |_| Some(Failure::Unavailable)).await
}

/// Reads the body of a response of at most `limit` bytes.
async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, UpstreamError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(UpstreamError(format!(
                "a response of more than {limit} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
