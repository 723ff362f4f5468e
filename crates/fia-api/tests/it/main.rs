//! Integration tests of the service, in one binary so that they share one PostgreSQL.
//!
//! Most drive the router in process, against real servers that `devstack` starts.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test cannot go on without ends it, in its helpers too"
)]

mod access_log;
mod archives;
mod auth;
mod cache;
mod compression;
mod consumer;
mod deploy;
mod drain;
mod failover;
mod faults;
mod feed;
mod files;
mod freshness;
mod github;
mod harness;
mod healthcheck;
mod jobs;
mod layering;
mod local_cache;
mod logs;
mod metrics;
mod monitoring;
mod new_jobs;
mod openapi;
mod operator;
mod outbox;
mod overload;
mod pooler;
mod prepared;
mod races;
mod recorded;
mod refused_uploads;
mod sample_files;
mod schedules;
mod schema;
mod scripts;
mod secrets;
mod settings;
mod shared_lookups;
mod sockets;
mod startup;
mod traces;
mod uploads;
mod wire;
