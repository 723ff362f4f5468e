//! The upper bound: axum with one handler and a constant body.

use std::net::Ipv4Addr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::Outcome;

/// Serves until the process is killed.
pub(super) async fn serve(port: u16, bytes: usize) -> Outcome {
    let body: &'static str =
        Box::leak(format!("\"{}\"", "x".repeat(bytes.saturating_sub(2))).into());
    let handler = get(move || async move { ([(CONTENT_TYPE, "application/json")], body) });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, Router::new().fallback(handler)).await?;
    Ok(())
}
