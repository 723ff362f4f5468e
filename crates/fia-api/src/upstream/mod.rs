//! The HTTP services that this one asks.

mod auth_service;

pub use auth_service::{AuthService, Unreachable};
