//! A set of servers started together, and the API's settings for them.

use std::path::PathBuf;

use crate::process::blocking;
use crate::scratch::Scratch;
use crate::tokens::{API_KEY, JWT_SECRET};
use crate::{Postgres, RabbitMq, Result, Upstreams, Valkey, materialise_files};

/// The selection of servers for a [`Stack`]; see [`Stack::builder`].
#[derive(Clone, Copy, Debug, Default)]
pub struct StackBuilder {
    postgres: bool,
    valkey: bool,
    rabbitmq: bool,
    upstreams: bool,
}

/// A set of private servers and the sample files. Dropping it stops the servers and deletes all
/// files.
#[derive(Debug)]
pub struct Stack {
    postgres: Option<Postgres>,
    valkey: Option<Valkey>,
    rabbitmq: Option<RabbitMq>,
    upstreams: Option<Upstreams>,
    files: Scratch,
}

impl StackBuilder {
    /// Adds PostgreSQL, with the seed data in the database `fia`.
    #[must_use]
    pub fn postgres(mut self) -> Self {
        self.postgres = true;
        self
    }

    /// Adds an empty Valkey.
    #[must_use]
    pub fn valkey(mut self) -> Self {
        self.valkey = true;
        self
    }

    /// Adds RabbitMQ without queues (takes several seconds to start).
    #[must_use]
    pub fn rabbitmq(mut self) -> Self {
        self.rabbitmq = true;
        self
    }

    /// Adds the stand-ins for the auth service and GitHub.
    #[must_use]
    pub fn upstreams(mut self) -> Self {
        self.upstreams = true;
        self
    }

    /// Adds all four.
    #[must_use]
    pub fn everything(self) -> Self {
        self.postgres().valkey().rabbitmq().upstreams()
    }

    /// Starts the selected servers concurrently and writes the sample files.
    ///
    /// # Errors
    /// The first [`Error`](crate::Error) of one of the servers; the others are stopped.
    pub async fn start(self) -> Result<Stack> {
        let files = blocking(|| {
            let files = Scratch::new("files", None)?;
            materialise_files(&files.run())?;
            Ok(files)
        });
        let (postgres, valkey, rabbitmq, upstreams, files) = tokio::try_join!(
            start_if(self.postgres, Postgres::start()),
            start_if(self.valkey, Valkey::start()),
            start_if(self.rabbitmq, RabbitMq::start()),
            start_if(self.upstreams, Upstreams::start()),
            files,
        )?;
        Ok(Stack {
            postgres,
            valkey,
            rabbitmq,
            upstreams,
            files,
        })
    }
}

impl Stack {
    /// A builder without any server.
    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }

    /// PostgreSQL, if selected.
    pub fn postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    /// Valkey, if selected.
    pub fn valkey(&self) -> Option<&Valkey> {
        self.valkey.as_ref()
    }

    /// RabbitMQ, if selected.
    pub fn rabbitmq(&self) -> Option<&RabbitMq> {
        self.rabbitmq.as_ref()
    }

    /// The stand-ins, if selected.
    pub fn upstreams(&self) -> Option<&Upstreams> {
        self.upstreams.as_ref()
    }

    /// The directory of the sample files: `ceph/` and `extras/`.
    pub fn files(&self) -> PathBuf {
        self.files.run()
    }

    /// The API's settings for this stack, as environment variables. `FIA_API_BIND` lets the system
    /// choose a port. Without Valkey, `VALKEY_URL` is empty, which disables the shared cache; the
    /// settings of other servers that were not selected are omitted.
    pub fn env(&self) -> Vec<(String, String)> {
        let file = |name| self.files().join(name).display().to_string();
        let mut env = vec![
            ("FIA_API_BIND", "127.0.0.1:0".to_owned()),
            ("FIA_API_API_KEY", API_KEY.to_owned()),
            ("AUTH_API_KEY", API_KEY.to_owned()),
            ("JWT_SECRET", JWT_SECRET.to_owned()),
            (
                "VALKEY_URL",
                self.valkey().map(Valkey::url).unwrap_or_default(),
            ),
            ("CEPH_DIR", file("ceph")),
            ("EXTRAS_DIRECTORY", file("extras")),
        ];
        if let Some(postgres) = self.postgres() {
            env.extend([
                ("DB_IP", "127.0.0.1".to_owned()),
                ("DB_PORT", postgres.port().to_string()),
                ("DB_USERNAME", Postgres::USER.to_owned()),
                ("DB_PASSWORD", Postgres::PASSWORD.to_owned()),
                ("DB_NAME", "fia".to_owned()),
            ]);
        }
        if let Some(rabbitmq) = self.rabbitmq() {
            env.extend([
                ("QUEUE_HOST", "127.0.0.1".to_owned()),
                ("QUEUE_PORT", rabbitmq.port().to_string()),
                ("QUEUE_USER", RabbitMq::USER.to_owned()),
                ("QUEUE_PASSWORD", RabbitMq::PASSWORD.to_owned()),
            ]);
        }
        if let Some(upstreams) = self.upstreams() {
            env.extend([
                ("AUTH_API_URL", upstreams.url()),
                ("GITHUB_RAW_URL", upstreams.url()),
                ("GITHUB_API_URL", upstreams.url()),
                ("GITHUB_API_TOKEN", "gh-token-value".to_owned()),
                ("GITHUB_PACKAGE_TOKEN", "shh".to_owned()),
            ]);
        }
        env.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

async fn start_if<T>(selected: bool, start: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    if selected {
        start.await.map(Some)
    } else {
        Ok(None)
    }
}
