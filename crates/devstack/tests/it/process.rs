//! Server processes in general: what is told about one that fails.

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
fn one_that_ends_at_its_start_is_reported_with_its_log() {
    let error = start(
        shell("echo no luck today >&2; exit 3", Duration::from_secs(10)),
        false,
    );
    let error = error.unwrap_err();
    let Error::Ended {
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
    assert!(!log.exists(), "its directory is removed");
}

#[test]
fn one_that_is_never_ready_is_reported_with_its_log() {
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
fn one_that_ends_by_itself_is_noticed() {
    let server = start(
        shell("read -r _ < /dev/null; exit 7", Duration::from_secs(10)),
        true,
    );
    // Ready at once, unless it had ended even before.
    let Ok(server) = server else { return };
    let status = server.wait(Duration::from_secs(10)).unwrap().unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!(
        server.wait(Duration::ZERO).unwrap(),
        Some(status),
        "asked again, the same"
    );
    assert!(matches!(server.stop(), Err(Error::NotRunning { .. })));
    assert_eq!(server.pid(), None);
}

#[test]
fn what_a_server_started_ends_with_it() {
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
    assert!(crate::traces::is_running(pid));
    drop(server);
    assert!(!crate::traces::is_running(pid));
}
