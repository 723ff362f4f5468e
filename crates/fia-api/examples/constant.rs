//! The server with a constant response instead of its routes, to measure the cost of its edge in
//! `fia-bench routes`. Settings are those of the server; `CONSTANT_BYTES` is the size of the body.
#![expect(
    clippy::disallowed_methods,
    reason = "the size of the body is no setting of the server"
)]

use std::error::Error;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use fia_api::app::{Edge, Server, shutdown_signal};
use fia_api::config::Config;
use fia_api::state::AppState;
use tracing::Level;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_max_level(Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let config = Config::from_env().map_err(|errors| format!("{errors:?}"))?;
    let bytes: usize = std::env::var("CONSTANT_BYTES")?.parse()?;
    let body: &'static str =
        Box::leak(format!("\"{}\"", "x".repeat(bytes.saturating_sub(2))).into());
    let handler = get(move || async move { ([(CONTENT_TYPE, "application/json")], body) });
    let routes = Router::new().fallback(handler);
    let edge = Edge::around(routes, &config, AppState::new(&config)?);
    let server = Server::bind(config.server.bind, edge)?;
    server.run(shutdown_signal()).await;
    Ok(())
}
