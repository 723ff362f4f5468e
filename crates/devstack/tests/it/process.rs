//! Server processes in general: startup failures, exits, descendants.

use std::path::PathBuf;
use std::time::Duration;

use devstack::process::Launch;
use devstack::{Error, Scratch, Server};
use nix::sys::signal::Signal;

fn shell(script: &str, limit: Duration) -> Launch {
    Launch {
        program: PathBuf::from("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        env: Vec::new(),
        user: None,
        stop: Signal::SIGTERM,
        quit: Signal::SIGKILL,
        limit,
    }
}

fn start(launch: Launch, ready: bool) -> Result<Server, Error> {
    let scratch = Scratch::new("test", None).unwrap();
    Server::start("shell", scratch, launch, Box::new(move || ready))
}

#[test]
fn an_exit_during_startup_is_reported_with_the_log() {
    let error = start(
        shell("echo no luck today >&2; exit 3", Duration::from_secs(10)),
        false,
    );
    let error = error.unwrap_err();
    let Error::Exited {
        ref status,
        ref log,
        ref tail,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (status.as_str(), tail.as_str()),
        ("exit status: 3", "no luck today\n")
    );
    assert!(error.to_string().contains("no luck today"));
    assert!(!log.exists(), "the directory still exists");
}

#[test]
fn a_start_timeout_is_reported_with_the_log() {
    let error = start(
        shell("echo waiting; exec sleep 600", Duration::from_millis(200)),
        false,
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("was not ready") && error.contains("waiting"),
        "{error}"
    );
}

#[test]
fn an_unexpected_exit_is_reported() {
    let server = start(
        shell("read -r _ < /dev/null; exit 7", Duration::from_secs(10)),
        true,
    );
    // Startup fails only if the process exits before the first probe.
    let Ok(server) = server else { return };
    let status = server.wait(Duration::from_secs(10)).unwrap().unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!(
        server.wait(Duration::ZERO).unwrap(),
        Some(status),
        "the status is not repeatable"
    );
    assert!(matches!(server.stop(), Err(Error::NotRunning { .. })));
    assert_eq!(server.pid(), None);
}

#[test]
fn descendants_are_killed_with_the_server() {
    let script = "sleep 600 & echo $! > child; exec sleep 600";
    let server = start(shell(script, Duration::from_secs(10)), true).unwrap();
    let child = server.scratch().run().join("child");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let pid: i32 = loop {
        match std::fs::read_to_string(&child)
            .unwrap_or_default()
            .trim()
            .parse()
        {
            Ok(pid) => break pid,
            Err(_) => assert!(std::time::Instant::now() < deadline),
        }
    };
    assert!(crate::footprint::is_running(pid));
    drop(server);
    assert!(!crate::footprint::is_running(pid));
}
