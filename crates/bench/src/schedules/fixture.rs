//! The servers of a run and the fault proxies between them.

use std::path::Path;
use std::sync::Arc;

use devstack::{Api, Error, FaultProxy, Postgres, Result, Stack, Valkey};

use super::keys::{self, Keys};
use super::{DATABASE, Plan, database};
use crate::checker::REPLICAS;

/// All servers of a run.
pub(super) struct Fixture {
    stack: Stack,
    /// From each replica to Valkey.
    pub(super) links: [Arc<FaultProxy>; REPLICAS],
    /// From all replicas to PostgreSQL.
    pub(super) database: Arc<FaultProxy>,
    pub(super) replicas: Vec<Api>,
}

impl Fixture {
    pub(super) async fn start(server: &Path, plan: &Plan, keys: &Keys) -> Result<Self> {
        let stack = Stack::builder().postgres().valkey().start().await?;
        let (postgres, valkey) = (postgres(&stack)?, valkey(&stack)?);
        database::prepare(&postgres.connect(DATABASE).await?, keys).await?;
        let database = Arc::new(FaultProxy::start(postgres.addr()).await?);
        let links = [
            Arc::new(FaultProxy::start(valkey.addr()).await?),
            Arc::new(FaultProxy::start(valkey.addr()).await?),
        ];
        let mut replicas = Vec::new();
        for link in &links {
            let mut env = stack.env();
            let settings = [
                ("VALKEY_URL", format!("redis://{}/0", link.addr())),
                ("DB_PORT", database.port().to_string()),
                ("CACHE_MIGRATION_GUARD", plan.guard.to_string()),
                ("LOG_LEVEL", "warn".to_owned()),
            ];
            let settings = settings.map(|(name, value)| (name.to_owned(), value));
            env.extend(settings.into_iter().chain(keys::ttl_settings()));
            replicas.push(Api::start(server, env).await?);
        }
        Ok(Self {
            stack,
            links,
            database,
            replicas,
        })
    }

    pub(super) fn postgres(&self) -> Result<&Postgres> {
        postgres(&self.stack)
    }

    pub(super) fn valkey(&self) -> Result<&Valkey> {
        valkey(&self.stack)
    }
}

fn postgres(stack: &Stack) -> Result<&Postgres> {
    stack.postgres().ok_or_else(|| not_running("postgres"))
}

fn valkey(stack: &Stack) -> Result<&Valkey> {
    stack.valkey().ok_or_else(|| not_running("valkey"))
}

fn not_running(server: &str) -> Error {
    Error::NotRunning {
        server: server.to_owned(),
    }
}
