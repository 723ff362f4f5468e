//! Discovery of server programs, and the user that they run as.

use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};

use crate::{Error, Result};

/// An unprivileged system user for the servers: PostgreSQL and `PgBouncer` refuse to run as root.
#[derive(Clone, Debug)]
pub struct ServerUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl ServerUser {
    /// Returns `postgres`, or `nobody` if that does not exist. None if this process is not root:
    /// the servers then run as its own user.
    pub fn find() -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let user = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())?;
        Some(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
    }

    /// A `setpriv` command that switches to this user; the program and its arguments are to be
    /// appended.
    fn command(&self) -> Result<Command> {
        let mut command = Command::new(find_program("setpriv", &[])?);
        command.args([
            "--reuid",
            &self.uid.to_string(),
            "--regid",
            &self.gid.to_string(),
            "--clear-groups",
            "--",
        ]);
        Ok(command)
    }
}

/// A command that runs `program` as `user`, without this process's environment and standard input.
///
/// # Errors
/// [`Error::ProgramNotFound`] if `setpriv` is needed and not installed.
pub(crate) fn command_as(user: Option<&ServerUser>, program: &Path) -> Result<Command> {
    let mut command = match user {
        Some(user) => {
            let mut command = user.command()?;
            command.arg(program);
            command
        }
        None => Command::new(program),
    };
    command
        .env_clear()
        .env("PATH", SYSTEM_PATH.join(":"))
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    Ok(command)
}

/// Runs a command to completion; returns its standard output.
///
/// # Errors
/// [`Error::Io`] when it cannot be executed, [`Error::Command`] with its output when it fails.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let words = iter::once(command.get_program()).chain(command.get_args());
    let line = words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let output = command
        .output()
        .map_err(Error::io(format!("starting {line}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let output_text = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    Err(Error::Command {
        command: line,
        status: output.status.to_string(),
        output: output_text,
    })
}

const SYSTEM_PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Finds a program in the directories `first`, then in the PATH, then in the system directories.
///
/// # Errors
/// [`Error::ProgramNotFound`].
pub fn find_program(program: &str, first: &[PathBuf]) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = first
        .iter()
        .cloned()
        .chain(std::env::split_paths(&path))
        .chain(SYSTEM_PATH.map(PathBuf::from))
        .collect();
    dirs.iter()
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| Error::ProgramNotFound {
            program: program.to_owned(),
            searched: dirs
                .iter()
                .map(|dir| dir.display().to_string())
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// The directories of PostgreSQL's server programs, newest version first.
pub(crate) fn postgres_dirs() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, bin)| bin.join("initdb").is_file())
        .collect();
    found.sort_unstable_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, bin)| bin).collect()
}
