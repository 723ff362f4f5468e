//! Whole stacks: their settings, and cleanup after drop, SIGTERM and SIGKILL.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use devstack::Stack;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::footprint::is_running;
use crate::wait::until;

#[tokio::test]
async fn settings_cover_the_selected_servers() {
    let stack = Stack::builder()
        .postgres()
        .valkey()
        .upstreams()
        .start()
        .await
        .unwrap();
    assert!(stack.rabbitmq().is_none());
    let env: HashMap<String, String> = stack.env().into_iter().collect();
    assert_eq!(env["DB_PORT"], stack.postgres().unwrap().port().to_string());
    assert_eq!(env["VALKEY_URL"], stack.valkey().unwrap().url());
    assert_eq!(env["AUTH_API_URL"], stack.upstreams().unwrap().url());
    assert!(Path::new(&env["CEPH_DIR"]).join("secret.txt").is_file());
    assert!(
        Path::new(&env["EXTRAS_DIRECTORY"])
            .join("readme.txt")
            .is_file()
    );
    assert!(!env.contains_key("QUEUE_HOST"));
    let files = stack.files();
    drop(stack);
    assert!(!files.exists());

    let empty = Stack::builder().start().await.unwrap();
    let env: HashMap<String, String> = empty.env().into_iter().collect();
    assert_eq!(env["VALKEY_URL"], "", "a shared cache is configured");
}

/// A `devstack up` process with its own temporary directory.
struct Up {
    child: Child,
    dir: TempDir,
}

impl Up {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The servers may run as another user, who must be able to traverse it.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_devstack"))
            .args(["up", "--env-file"])
            .arg(dir.path().join("env"))
            .env("TMPDIR", dir.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    fn env_file(&self) -> String {
        fs::read_to_string(self.dir.path().join("env")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// The processes whose working directory is below the temporary directory: pid and name.
    fn processes(&self) -> HashMap<i32, String> {
        let cwd = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let pids = fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| cwd(pid).starts_with(self.dir.path()))
            .map(|pid| (pid, name(pid).trim().to_owned()))
            .collect()
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path())
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        let kept = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name == "env" || name.starts_with("devstack-cache-")
        };
        entries.filter(|path| !kept(path)).collect()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn concurrent_stacks_leave_nothing_after_sigkill_and_sigterm() {
    let (mut killed, mut terminated) = (Up::start(), Up::start());
    for up in [&killed, &terminated] {
        until("the stack is up", || {
            up.env_file().contains("GITHUB_PACKAGE_TOKEN")
        })
        .await;
    }
    assert_ne!(killed.env_file(), terminated.env_file());
    let orphans = killed.processes();
    for name in ["postgres", "valkey-server", "beam.smp", "epmd"] {
        assert!(
            orphans.values().any(|found| found == name),
            "no {name} in {orphans:?}"
        );
    }

    killed.signal(Signal::SIGKILL);
    killed.child.wait().unwrap();
    until("the killed stack's processes exit", || {
        !orphans.keys().any(|pid| is_running(*pid))
    })
    .await;
    until("the killed stack's files are deleted", || {
        killed.leftovers().is_empty()
    })
    .await;
    assert!(terminated.processes().len() > 5, "the other stack stopped");

    let processes = terminated.processes();
    terminated.signal(Signal::SIGTERM);
    assert!(terminated.child.wait().unwrap().success());
    assert!(
        !processes.keys().any(|pid| is_running(*pid)),
        "some of {processes:?} still run"
    );
    assert_eq!(terminated.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_kill_during_startup_leaves_nothing() {
    let mut up = Up::start();
    until("the first server starts", || !up.processes().is_empty()).await;
    up.signal(Signal::SIGKILL);
    up.child.wait().unwrap();
    until("no process runs", || up.processes().is_empty()).await;
    until("no file remains", || up.leftovers().is_empty()).await;
}
