//! HTTP behaviour outside the routes: paths, methods, redirects, CORS, limits, documents.

mod bodies;
mod cors;
mod requests;
mod routing;

use crate::harness::Replica;

/// A replica without a database.
fn replica() -> Replica {
    Replica::new(&[])
}
