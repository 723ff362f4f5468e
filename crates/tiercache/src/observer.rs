//! Hooks by which a service observes the cache's work, for example to trace it.

use std::any::Any;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::JoinHandle;

use crate::seams;

/// Observes the work of a cache on behalf of its callers.
pub trait Observer: Send + Sync + 'static {
    /// Captures the context of the current call, in which the tasks that it starts then run;
    /// `None` if there is none.
    fn scope(&self) -> Option<Box<dyn Scope>>;

    /// A command of the protocol is about to be sent. The returned value is dropped when its reply
    /// has arrived or it has timed out.
    fn command(&self, name: &'static str) -> Option<Box<dyn Any + Send + Sync>>;
}

/// The context of a call.
pub trait Scope: Send + Sync + 'static {
    /// Runs `poll` within the context.
    fn enter(&self, poll: &mut dyn FnMut());
}

/// An observer; `None` for none.
#[derive(Clone, Default)]
pub(crate) struct Observed(pub(crate) Option<Arc<dyn Observer>>);

impl Observed {
    /// Spawns a task that runs in the context of the current call.
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        // Boxed: tokio aligns its tasks to cache lines, and glibc before 2.38 does not reuse the memory of an
        // aligned block for the next one of its size, so that each fetch that leaves an entry behind
        // would cost the size of its task.
        let mut task = Box::pin(task);
        let Some(scope) = self.0.as_ref().and_then(|observer| observer.scope()) else {
            return seams::spawn(task);
        };
        seams::spawn(async move {
            poll_fn(|waker| {
                let mut polled = Poll::Pending;
                scope.enter(&mut || polled = task.as_mut().poll(waker));
                polled
            })
            .await
        })
    }
}
