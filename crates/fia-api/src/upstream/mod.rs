//! Clients of the HTTP services that this server depends on.

mod auth_service;
mod experiments;
mod github;
mod packages;
mod probe;
mod script_repository;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode};
use tokio::time::timeout;

use crate::model::error_chain::error_chain;
use crate::observe::{Calls, ChildSpan, Failure, Recipient, in_context, trace_headers};

pub use auth_service::{AuthService, Precedence};
pub use experiments::Experiments;
pub use packages::Packages;
pub use probe::Probe;
pub use script_repository::{Revalidated, ScriptRepository};

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A service gave no usable response.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// No connection, or no complete response in time.
    #[error("{0}")]
    Unreachable(String),
    /// A response that cannot be used.
    #[error("{0}")]
    Response(String),
}

impl UpstreamError {
    fn timeout() -> Self {
        Self::Unreachable("response timeout".to_owned())
    }

    fn status(status: StatusCode) -> Self {
        Self::Response(status.to_string())
    }

    /// The failure, for metrics.
    fn kind(&self) -> Failure {
        match self {
            Self::Unreachable(_) => Failure::Unavailable,
            Self::Response(_) => Failure::Faulty,
        }
    }
}

impl From<reqwest::Error> for UpstreamError {
    /// Omits the URL, whose query may identify a person, and includes the causes.
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(error_chain(&error.without_url()))
    }
}

/// Creates an HTTP client that follows no redirects and uses no proxy.
fn client() -> Result<Client, UpstreamError> {
    Ok(builder().redirect(Policy::none()).build()?)
}

/// Starts a client without a proxy: those of the environment are read by the configuration only.
fn builder() -> ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .no_proxy()
        .user_agent(concat!("fia-api/", env!("CARGO_PKG_VERSION")))
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
    calls.observe(limited, |error| Some(error.kind())).await
}

/// An operation of a service, as traces name it: without the values in its URL.
#[derive(Debug, Clone, Copy)]
struct Operation {
    service: &'static str,
    name: &'static str,
    recipient: Recipient,
}

/// Sends a request in a span, with the headers that carry the trace.
async fn send(request: RequestBuilder, operation: Operation) -> Result<Response, UpstreamError> {
    let span = ChildSpan::start(SpanKind::Client, || {
        let service = KeyValue::new("service.peer.name", operation.service);
        (operation.name, vec![service])
    });
    let sending = async {
        let headers = trace_headers(operation.recipient).into_iter();
        let request = headers.fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        request.send().await
    };
    let sent = in_context(span.as_ref().map(ChildSpan::context), sending).await;
    if let Some(span) = span {
        match &sent {
            Ok(response) => {
                let status = i64::from(response.status().as_u16());
                span.set(KeyValue::new("http.response.status_code", status));
            }
            Err(_) => span.fail(),
        }
    }
    Ok(sent?)
}

/// Reads the body of a response of at most `limit` bytes.
async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, UpstreamError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(UpstreamError::Response(format!(
                "a response of more than {limit} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
