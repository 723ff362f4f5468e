//! Work that touches more than one system.

pub mod job_access;
pub mod job_files;
