//! The upper bound: axum with one handler and a constant body.

use std::net::Ipv4Addr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::Outcome;

/// What a constant server serves, and where.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Port on 127.0.0.1.
    #[arg(long)]
    pub(super) port: u16,
    /// Size of the body.
    #[arg(long)]
    bytes: usize,
}

impl Options {
    /// A JSON string of the size.
    pub(super) fn body(&self) -> String {
        format!("\"{}\"", "x".repeat(self.bytes.saturating_sub(2)))
    }
}

/// Serves until the process is killed.
pub(super) async fn serve(options: &Options) -> Outcome {
    let body: &'static str = Box::leak(options.body().into());
    let handler = get(move || async move { ([(CONTENT_TYPE, "application/json")], body) });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    axum::serve(listener, Router::new().fallback(handler)).await?;
    Ok(())
}
