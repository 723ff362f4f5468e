//! What the fuzz targets share: servers without dependencies.

use std::sync::LazyLock;

use fia_api::app::Edge;
use fia_api::config::Config;
use fia_api::state::AppState;
use tokio::runtime::Runtime;

/// The API key of the servers.
pub const API_KEY: &str = "fuzz-api-key";
/// The secret of their tokens.
pub const JWT_SECRET: &str = "fuzz-secret-of-32-characters-....";

/// The runtime of the servers.
pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("a runtime can be started"));

/// The settings of a server whose dependencies refuse connections.
#[must_use]
pub fn config() -> Config {
    let get = |name: &str| {
        let value = match name {
            "FIA_AUTH_API_KEY" => API_KEY,
            "JWT_SECRET" => JWT_SECRET,
            "DB_IP" | "QUEUE_HOST" => "127.0.0.1:1",
            "VALKEY_URL" => "",
            "AUTH_API_URL" | "GITHUB_RAW_URL" | "GITHUB_API_URL" => "http://127.0.0.1:1",
            "LOG_LEVEL" => "error",
            _ => return None,
        };
        Some(value.to_owned())
    };
    Config::from_vars(&get).expect("the settings are valid")
}

/// A server without its sockets.
#[must_use]
pub fn edge() -> Edge {
    let _entered = RUNTIME.enter();
    let config = config();
    let state = AppState::new(&config).expect("the server starts without dependencies");
    Edge::new(&config, state)
}
