//! The HTTP server of the stand-ins: a thread with its own runtime. Stopping it closes its
//! connections.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use tokio::runtime;
use tokio::sync::oneshot;

use super::handlers;
use super::state::State;
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct Listener {
    /// Dropped to stop the server.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(super) fn start(addr: SocketAddr, state: Arc<Mutex<State>>) -> Result<Self> {
        let socket = TcpListener::bind(addr).map_err(Error::io("listening for the stand-ins"))?;
        socket
            .set_nonblocking(true)
            .map_err(Error::io("listening for the stand-ins"))?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("starting the stand-ins' runtime"))?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(socket) else {
                    return;
                };
                let server = axum::serve(listener, handlers::router(state));
                tokio::select! {
                    _ = server => {}
                    _ = stopped => {}
                }
            });
            // Dropping the runtime aborts the tasks of the open connections.
        };
        let thread = thread::Builder::new()
            .name("stand-ins".to_owned())
            .spawn(serve);
        let thread = thread.map_err(Error::io("starting the stand-ins' thread"))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has already been printed by the thread.
            let _ = thread.join();
        }
    }
}
