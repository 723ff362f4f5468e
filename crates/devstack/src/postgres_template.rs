//! A data directory that is made once for this user of the machine, and copied for each PostgreSQL: `initdb` and the
//! seed take seconds, a copy takes a tenth of one.

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

/// Run after the seed, in the database `postgres`.
const FINISH: [&str; 2] = [
    "CREATE DATABASE fia TEMPLATE fia_seeded",
    "ALTER DATABASE fia_seeded WITH IS_TEMPLATE true ALLOW_CONNECTIONS false",
];

/// The template's directory; makes it when this user has none yet for this PostgreSQL and this seed.
///
/// # Errors
/// [`Error`] when `initdb` fails, or the server that loads the seed.
pub(crate) fn prepare(user: Option<&ServerUser>) -> Result<PathBuf> {
    let cache = cache_dir("postgres")?;
    let template = cache.join(key(user)?);
    if template.exists() {
        return Ok(template);
    }
    // Other processes wait here rather than do the same work; the rename makes it visible as a whole.
    let lock =
        File::create(cache.join("lock")).map_err(Error::io("locking the PostgreSQL template"))?;
    lock.lock()
        .map_err(Error::io("locking the PostgreSQL template"))?;
    if !template.exists() {
        make(&template, user)?;
    }
    Ok(template)
}

/// Copies the template to `run/data` of a server's directory.
///
/// # Errors
/// [`Error::Command`] when the copy fails, for lack of space for instance.
pub(crate) fn copy(template: &Path, scratch: &Scratch) -> Result<()> {
    copy_dir(template, &scratch.run().join("data"), &scratch.run())
}

/// Runs in `work_dir`: a copy into a server's directory has to work there, so that it ends with this process.
fn copy_dir(from: &Path, to: &Path, work_dir: &Path) -> Result<()> {
    let mut command = Command::new("cp");
    run(command
        .args(["-a", "--reflink=auto", "--"])
        .args([from, to])
        .current_dir(work_dir))?;
    Ok(())
}

/// Changes with the server's programs, the user it runs as, the seed and how the template is made.
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
        FINISH,
    )
        .hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

fn make(template: &Path, user: Option<&ServerUser>) -> Result<()> {
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
    for statement in FINISH {
        psql("postgres", &["--command".into(), statement.into()])?;
    }
    let server = postgres.server();
    server.stop()?;
    publish(server, template)
}

/// Through a copy beside the template, as the temporary directory may be another file system.
fn publish(server: &Server, template: &Path) -> Result<()> {
    let beside = template.with_extension("new");
    match fs::remove_dir_all(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("removing a broken template")(e));
        }
        _ => {}
    }
    let scratch = server.scratch();
    copy_dir(&scratch.run().join("data"), &beside, &scratch.run())?;
    fs::rename(&beside, template).map_err(Error::io("publishing the PostgreSQL template"))
}
