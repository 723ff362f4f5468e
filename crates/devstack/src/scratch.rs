//! A scratch directory for one server. Neither it nor the processes in it outlive this process.
//!
//! Each directory has a *reaper*: a shell that waits for the end of its standard input. This
//! process holds the other end of that pipe, so it closes when the [`Scratch`] is dropped, when the
//! process exits (statics are never dropped) and when the process is killed with SIGKILL. The
//! reaper then kills every process whose working directory is the scratch directory, and deletes
//! the directory. A parent-death signal would be simpler, but it fires when the *thread* that
//! started the server ends, does not reach grandchildren (PostgreSQL's backends) and leaves the
//! files behind.

use std::fs::Permissions;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, io};

use nix::unistd::{Pid, geteuid};
use parking_lot::Mutex;

use crate::programs::ServerUser;
use crate::{Error, Result};

/// The first argument is the directory. The reaper creates it itself, so that it exists only while
/// a reaper runs. Processes are found by their working directory, which PostgreSQL's backends share
/// although each has its own process group. A killed PostgreSQL leaves a System V shared memory
/// segment, whose id is on line 7 of its pid file.
const REAPER: &str = r#"
trap '' HUP INT PIPE QUIT TERM
cd / && umask 077 && mkdir "$1" "$1/run" || exit
echo created
exec >/dev/null
read -r _
tries=0
while [ -e "$1" ] && [ $tries -lt 1000 ]; do
  tries=$((tries + 1))
  pids=$(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1/run*" 2>/dev/null | cut -d/ -f3)
  if [ -n "$pids" ]; then
    kill -KILL $pids 2>/dev/null
    continue
  fi
  segment=$(sed -n '7s/.* //p' "$1/run/data/postmaster.pid" 2>/dev/null)
  [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
  rm -rf -- "$1" 2>/dev/null
done
"#;

/// An in-memory file system on Linux.
const SHARED_MEMORY: &str = "/dev/shm";

/// A temporary directory that contains the server's `run` directory, and its reaper.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    reaper: Mutex<Option<Child>>,
}

impl Scratch {
    /// Creates a directory whose name contains `name`. Its `run` directory belongs to `user`, or to
    /// this process's user if none.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be created or `sh` cannot be started.
    pub fn new(name: &str, user: Option<&ServerUser>) -> Result<Self> {
        Self::new_in(base_dir(), name, user)
    }

    /// Variant of [`new`](Self::new) on an in-memory file system, if there is one.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn in_memory(name: &str, user: Option<&ServerUser>) -> Result<Self> {
        // Other users must be able to traverse it and to create files in it, as in `/tmp`.
        let usable = fs::metadata(SHARED_MEMORY).is_ok_and(|m| m.permissions().mode() & 0o003 == 3);
        let base = if usable {
            PathBuf::from(SHARED_MEMORY)
        } else {
            base_dir()
        };
        Self::new_in(base, name, user)
    }

    fn new_in(base: PathBuf, name: &str, user: Option<&ServerUser>) -> Result<Self> {
        let dir = base.join(format!(
            "devstack-{name}-{:016x}",
            RandomState::new().hash_one(name)
        ));
        let mut reaper = start_reaper(&dir).map_err(Error::io("starting sh"))?;
        let mut reply = String::new();
        if let Some(output) = reaper.stdout.take() {
            BufReader::new(output)
                .read_line(&mut reply)
                .map_err(Error::io("reading from sh"))?;
        }
        let scratch = Self {
            dir,
            reaper: Mutex::new(Some(reaper)),
        };
        if reply != "created\n" {
            let problem = io::Error::other("check free space and write permission");
            return Err(Error::io(format!("creating {}", scratch.dir.display()))(
                problem,
            ));
        }
        if let Some(user) = user {
            let traversable = fs::set_permissions(&scratch.dir, Permissions::from_mode(0o711));
            traversable.map_err(Error::io(format!("chmod of {}", scratch.dir.display())))?;
            user.own(&scratch.run())?;
        }
        Ok(scratch)
    }

    /// The directory itself, which contains the log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory that the server owns and runs in.
    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Writes a file to [`run`](Self::run), owned by `user`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, name: &str, text: &str, user: Option<&ServerUser>) -> Result<PathBuf> {
        let file = self.run().join(name);
        fs::write(&file, text).map_err(Error::io(format!("writing {}", file.display())))?;
        if let Some(user) = user {
            user.own(&file)?;
        }
        Ok(file)
    }

    /// The processes whose working directory is in [`run`](Self::run): the server and its
    /// descendants.
    pub fn processes(&self) -> Vec<Pid> {
        let run = self.run();
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &i32| {
                fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&run))
            })
            .map(Pid::from_raw)
            .collect()
    }

    /// Kills all processes in the directory, deletes it, and waits until both are done.
    pub fn remove(&self) {
        let reaper = self.reaper.lock().take();
        if let Some(mut reaper) = reaper {
            drop(reaper.stdin.take());
            // Not reported: the reaper finishes by itself even if waiting for it fails.
            let _ = reaper.wait();
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Starts the reaper in its own process group, so that Ctrl-C and `kill -PGID` do not reach it.
fn start_reaper(dir: &Path) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", REAPER, "devstack-reaper"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// The system's temporary directory, or `/tmp` if other users cannot traverse that.
fn base_dir() -> PathBuf {
    let preferred = std::env::temp_dir();
    let reachable = |dir: &Path| {
        dir.ancestors()
            .all(|a| fs::metadata(a).is_ok_and(|m| m.permissions().mode() & 0o001 != 0))
    };
    if geteuid().is_root() && !reachable(&preferred) {
        PathBuf::from("/tmp")
    } else {
        preferred
    }
}

/// A private directory that is kept between runs, for the port locks and the PostgreSQL template.
///
/// # Errors
/// [`Error::Io`] when it cannot be created, or when the path belongs to another user.
pub(crate) fn cache_dir(name: &str) -> Result<PathBuf> {
    let uid = geteuid();
    let base = base_dir().join(format!("devstack-cache-{uid}"));
    match fs::create_dir(&base) {
        Ok(()) => {
            fs::set_permissions(&base, Permissions::from_mode(0o700))
                .map_err(Error::io("chmod of the cache"))?;
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(Error::io(format!("creating {}", base.display()))(e)),
    }
    let found =
        fs::symlink_metadata(&base).map_err(Error::io(format!("reading {}", base.display())))?;
    if !found.is_dir() || found.uid() != uid.as_raw() {
        let problem = io::Error::other(
            "not a directory of this user: remove it, or set TMPDIR to another directory",
        );
        return Err(Error::io(format!("using {}", base.display()))(problem));
    }
    let dir = base.join(name);
    fs::create_dir_all(&dir).map_err(Error::io(format!("creating {}", dir.display())))?;
    Ok(dir)
}

impl ServerUser {
    /// Makes this user the owner of a file or directory.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
            .map_err(Error::io(format!("chown of {}", path.display())))
    }
}
