//! Admission: what may be in progress at the same time, and how much of it one client may take.
//!
//! Every limit refuses at once instead of queueing: a request that is going to be refused should
//! not cost anybody else.

mod bodies;
mod in_flight;
mod lists;
mod open_routes;

use std::net::IpAddr;

pub use bodies::{Receiving, Sender};
pub use in_flight::{InFlight, RequestPermit};
pub use lists::ListPermit;

use crate::config::Http;
use bodies::Bodies;
use lists::Lists;
use open_routes::OpenRoutes;

/// The address of a request's client, an extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

/// The limits of this process.
pub struct Admission {
    /// Requests that are complete, and whose response has not begun.
    pub in_flight: InFlight,
    /// Bodies that are being received.
    pub bodies: Bodies,
    /// Requests without a token.
    pub open_routes: OpenRoutes,
    /// Lists that are streamed.
    pub lists: Lists,
}

impl Admission {
    /// Creates the limits.
    #[must_use]
    pub fn new(config: &Http) -> Self {
        Self {
            in_flight: InFlight::new(config.max_in_flight),
            bodies: Bodies::new(config.max_receiving),
            open_routes: OpenRoutes::new(config.open_rate_limit),
            lists: Lists::default(),
        }
    }
}
