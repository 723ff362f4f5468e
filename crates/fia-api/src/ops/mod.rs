//! Work that touches more than one system.

pub mod job_access;
