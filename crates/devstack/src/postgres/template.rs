//! A template data directory, created once per system user and copied for each PostgreSQL server:
//! `initdb` and the seed take seconds, a copy about 100 ms.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Server;
use crate::programs::{ServerUser, command_as, find_program, postgres_dirs, run};
use crate::scratch::{Scratch, cache_dir};
use crate::{Error, Postgres, Result, SEED_SQL};

const INITDB: [&str; 8] = [
    "--username=postgres",
    "--pwfile=password",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--wal-segsize=4",
    "--no-sync",
    "--no-instructions",
];

/// Statements to run in the database `postgres` after the seed.
const AFTER_SEED: [&str; 2] = [
    "CREATE DATABASE fia TEMPLATE fia_seeded",
    "ALTER DATABASE fia_seeded WITH IS_TEMPLATE true ALLOW_CONNECTIONS false",
];

/// Returns the template directory; creates it if this user has none for this PostgreSQL and this
/// seed.
///
/// # Errors
/// [`Error`] when `initdb` or the server that loads the seed fails.
pub(crate) fn prepare(user: Option<&ServerUser>) -> Result<PathBuf> {
    let cache = cache_dir("postgres")?;
    let template = cache.join(key(user)?);
    if template.exists() {
        return Ok(template);
    }
    // Other processes wait here instead of repeating the work. The final rename publishes the
    // template atomically.
    let lock =
        File::create(cache.join("lock")).map_err(Error::io("locking the PostgreSQL template"))?;
    lock.lock()
        .map_err(Error::io("locking the PostgreSQL template"))?;
    if !template.exists() {
        create(&template, user)?;
    }
    Ok(template)
}

/// Copies the template to `run/data` of a server's directory.
///
/// # Errors
/// [`Error::Command`] when the copy fails, for example for lack of space.
pub(crate) fn copy(template: &Path, scratch: &Scratch) -> Result<()> {
    copy_dir(template, &scratch.run().join("data"), &scratch.run())
}

/// Runs `cp` with `work_dir` as its working directory. For a copy into a server's directory that is
/// the directory itself, so that its reaper also kills the copy.
fn copy_dir(from: &Path, to: &Path, work_dir: &Path) -> Result<()> {
    let mut command = Command::new("cp");
    run(command
        .args(["-a", "--reflink=auto", "--"])
        .args([from, to])
        .current_dir(work_dir))?;
    Ok(())
}

/// The template's name: a hash of the server programs, the user, the seed and the creation steps.
fn key(user: Option<&ServerUser>) -> Result<String> {
    let initdb = find_program("initdb", &postgres_dirs())?;
    let modified = fs::metadata(&initdb)
        .and_then(|m| m.modified())
        .map_err(Error::io("reading initdb's date"))?;
    let mut hasher = DefaultHasher::new();
    (
        initdb,
        modified,
        user.map(|user| user.uid),
        SEED_SQL,
        INITDB,
        AFTER_SEED,
    )
        .hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

fn create(template: &Path, user: Option<&ServerUser>) -> Result<()> {
    let scratch = Scratch::new("template", user)?;
    scratch.write("password", Postgres::PASSWORD, user)?;
    let initdb = find_program("initdb", &postgres_dirs())?;
    run(command_as(user, &initdb)?
        .args(INITDB)
        .arg("--pgdata=data")
        .current_dir(scratch.run()))?;
    let seed = scratch.dir().join("seed.sql");
    fs::write(&seed, SEED_SQL).map_err(Error::io("writing the seed"))?;

    let postgres = Postgres::launch(scratch, user.cloned(), &[])?;
    let psql = |database: &str, args: &[OsString]| {
        let mut command = Command::new(find_program("psql", &postgres_dirs())?);
        command
            .args([
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "--dbname",
            ])
            .arg(postgres.url(database));
        run(command.args(args))
    };
    psql(
        "postgres",
        &["--command=CREATE DATABASE fia_seeded TEMPLATE template0".into()],
    )?;
    psql("fia_seeded", &["--file".into(), seed.into()])?;
    psql("fia_seeded", &["--command=VACUUM (ANALYZE, FREEZE)".into()])?;
    for statement in AFTER_SEED {
        psql("postgres", &["--command".into(), statement.into()])?;
    }
    let server = postgres.server();
    server.stop()?;
    publish(server, template)
}

/// Copies the data next to the template before the rename, as the scratch directory may be on
/// another file system.
fn publish(server: &Server, template: &Path) -> Result<()> {
    let staging = template.with_extension("new");
    match fs::remove_dir_all(&staging) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("removing an incomplete template")(e));
        }
        _ => {}
    }
    let scratch = server.scratch();
    copy_dir(&scratch.run().join("data"), &staging, &scratch.run())?;
    fs::rename(&staging, template).map_err(Error::io("publishing the PostgreSQL template"))
}
