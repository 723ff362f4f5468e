//! The HTTP server of the stand-ins: a thread with a runtime of its own. When it ends, its connections end too.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::oneshot;

use super::answers;
use super::state::State;
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct Listener {
    end: Option<oneshot::Sender<()>>,
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
        let (end, ended) = oneshot::channel();
        let work = move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(socket) else {
                    return;
                };
                let server = axum::serve(listener, answers::router(state));
                tokio::select! {
                    _ = server => {}
                    _ = ended => {}
                }
            });
            // Dropping the runtime drops the tasks of the open connections.
        };
        let thread = thread::Builder::new()
            .name("stand-ins".to_owned())
            .spawn(work);
        let thread = thread.map_err(Error::io("starting the stand-ins' thread"))?;
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed by its thread.
            let _ = thread.join();
        }
    }
}
