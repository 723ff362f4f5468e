//! Several servers at once, and the settings to reach them.
use crate::{Error, Postgres, RabbitMq, Result, Upstreams, Valkey};
use std::path::Path;
/// What to start.
#[derive(Debug, Default, Clone)]
pub struct StackBuilder {}
/// Several private servers.
#[derive(Debug)]
pub struct Stack {
    postgres: Option<Postgres>,
    valkey: Option<Valkey>,
    rabbitmq: Option<RabbitMq>,
    upstreams: Option<Upstreams>,
    dir: std::path::PathBuf,
}
impl StackBuilder {
    /// With PostgreSQL; database `fia` holds the seed data.
    pub fn postgres(self) -> Self {
        self
    }
    /// With Valkey.
    pub fn valkey(self) -> Self {
        self
    }
    /// With RabbitMQ.
    pub fn rabbitmq(self) -> Self {
        self
    }
    /// With the stand-ins.
    pub fn upstreams(self) -> Self {
        self
    }
    /// With everything.
    pub fn everything(self) -> Self {
        self
    }
    /// Starts all of it at the same time.
    pub async fn start(self) -> Result<Stack> {
        Err(Error::Task("x"))
    }
}
impl Stack {
    /// Nothing chosen yet.
    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }
    /// PostgreSQL, when asked for.
    pub fn postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }
    /// Valkey, when asked for.
    pub fn valkey(&self) -> Option<&Valkey> {
        self.valkey.as_ref()
    }
    /// RabbitMQ, when asked for.
    pub fn rabbitmq(&self) -> Option<&RabbitMq> {
        self.rabbitmq.as_ref()
    }
    /// The stand-ins, when asked for.
    pub fn upstreams(&self) -> Option<&Upstreams> {
        self.upstreams.as_ref()
    }
    /// The sample files: `ceph/` and `extras/`.
    pub fn files(&self) -> &Path {
        &self.dir
    }
    /// The settings of the API for this stack, `FIA_API_BIND=127.0.0.1:0` included.
    pub fn env(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
