//! The HTTP services that this one asks.

mod auth_service;
mod experiments;
mod packages;
mod script_repository;

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};

use crate::model::error_chain::error_chain;

pub use auth_service::AuthService;
pub use experiments::Experiments;
pub use packages::Packages;
pub use script_repository::{News, ScriptRepository};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(1);

/// A service gave no answer that could be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct UpstreamError(String);

impl UpstreamError {
    fn late() -> Self {
        Self("no answer in time".to_owned())
    }

    fn status(status: StatusCode) -> Self {
        Self(status.to_string())
    }
}

impl From<reqwest::Error> for UpstreamError {
    /// Without the address, whose query may name a person, and with what lies behind the error.
    fn from(error: reqwest::Error) -> Self {
        Self(error_chain(&error.without_url()))
    }
}

/// A client that goes where it is sent and nowhere else.
fn client() -> Result<Client, UpstreamError> {
    let client = Client::builder()
        .connect_timeout(CONNECT)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("fia-api/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}

/// The body of an answer, which may not be larger than this many bytes.
async fn body(mut answer: Response, limit: usize) -> Result<Vec<u8>, UpstreamError> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > limit {
            return Err(UpstreamError(format!(
                "an answer of more than {limit} bytes"
            )));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
