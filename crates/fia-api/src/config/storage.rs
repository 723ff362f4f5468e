//! Settings of PostgreSQL and of the file trees.

use std::path::PathBuf;

use secrecy::SecretString;

use super::hosts::Host;
use super::kinds::Choice;
use super::macros::settings;

settings! {
    /// PostgreSQL.
    "PostgreSQL"
    pub struct Database {
        /// Host of PostgreSQL or of its connection pooler, or several, separated by commas and each
        /// with a port if need be (`db1:5432,db2`): the first that is reachable and allows writes.
        pub hosts: Vec<Host> = hosts("DB_IP", "localhost");
        /// Port of PostgreSQL or of its connection pooler, where `DB_IP` gives none.
        pub port: u16 = number("DB_PORT", 5432);
        /// Role at PostgreSQL.
        pub username: String = text("DB_USERNAME", "postgres");
        /// Password of the role.
        pub password: SecretString = secret("DB_PASSWORD", "password");
        /// Database.
        pub name: String = text("DB_NAME", "fia");
        /// Most connections that this process opens.
        pub pool_size: usize = number_in("DB_POOL_SIZE", 16, 1..=1000);
        /// Encryption of connections; only verify-full checks the certificate.
        pub ssl_mode: SslMode = choice("DB_SSLMODE", SslMode::Prefer);
        /// Named prepared statements: auto = where the connection leads to the server itself; on =
        /// also through a pooler that supports them (`PgBouncer` 1.21 with `max_prepared_statements`);
        /// off = never.
        pub prepared: Prepared = choice("DB_PREPARED", Prepared::Auto);
        /// URL (postgres://…) of PostgreSQL itself, not of a pooler, for the change feed; it
        /// defaults to the role, password and database above; unset = no change feed.
        pub listen_url: Option<SecretString> = optional_postgres_url("DB_LISTEN_URL");
    }
}

settings! {
    /// The file trees.
    "Files"
    pub struct Files {
        /// Root of the reduced data (read only).
        pub ceph_dir: PathBuf = folder("CEPH_DIR", "/ceph");
        /// Root of the uploaded files.
        pub extras_dir: PathBuf = folder("EXTRAS_DIRECTORY", "/extras");
        /// Largest upload in bytes; 413 beyond.
        pub extras_max_bytes: u64 = number("EXTRAS_MAX_BYTES", 104_857_600);
        /// Most files in one archive; 413 beyond.
        pub max_zip_files: usize = number("MAX_ZIP_FILES", 10_000);
        /// Largest total size of the files in one archive, in bytes; 413 beyond.
        pub max_zip_bytes: u64 = number("MAX_ZIP_BYTES", 68_719_476_736);
    }
}

/// The encryption of database connections, as libpq names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Where the server offers it; its certificate is not checked.
    Prefer,
    /// Always; its certificate is not checked.
    Require,
    /// Always; its certificate must be valid for the host.
    VerifyFull,
}

impl Choice for SslMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("disable", Self::Disable),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-full", Self::VerifyFull),
    ];
}

/// The use of named prepared statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// Where the connection leads to the server itself.
    Auto,
    /// Also through a pooler.
    On,
    /// Never.
    Off,
}

impl Choice for Prepared {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("on", Self::On), ("off", Self::Off)];
}
