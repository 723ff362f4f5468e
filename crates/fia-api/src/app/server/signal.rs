//! The signals that end the process.

use tokio::signal::unix::{SignalKind, signal};

/// Completes on SIGTERM, SIGINT (Ctrl-C) or SIGHUP, also on one that arrives after this call and before
/// its result is polled: the handlers are installed at once.
///
/// # Panics
/// Outside of a Tokio runtime.
pub fn shutdown_signal() -> impl Future<Output = ()> {
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ];
    let received = kinds.map(signal).map(|signals| {
        Box::pin(async move {
            match signals {
                Ok(mut signals) => signals.recv().await,
                Err(_) => std::future::pending().await,
            }
        })
    });
    async move {
        let (_, index, _) = futures_util::future::select_all(received).await;
        let name = ["SIGTERM", "SIGINT", "SIGHUP"][index];
        tracing::info!(signal = name, "shutdown signal received");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a handler the signal would end the process: in `serve`, between the listener and the
    /// first poll of the server.
    #[tokio::test]
    async fn a_signal_before_the_first_poll_is_received() {
        let signal = shutdown_signal();
        let own = std::process::id().to_string();
        let mut kill = std::process::Command::new("kill");
        assert!(kill.args(["-s", "HUP", &own]).status().unwrap().success());
        signal.await;
    }
}
