//! Checks that a stopped server leaves no process, file or listener behind.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use devstack::Server;

/// The directory, processes and address of a server, recorded while it runs.
pub(crate) struct Footprint {
    dir: PathBuf,
    pub(crate) pids: Vec<i32>,
    addr: SocketAddr,
}

impl Footprint {
    pub(crate) fn of(server: &Server, addr: SocketAddr) -> Self {
        let pids: Vec<i32> = server
            .scratch()
            .processes()
            .iter()
            .map(|pid| pid.as_raw())
            .collect();
        assert!(!pids.is_empty());
        Self {
            dir: server.scratch().dir().to_owned(),
            pids,
            addr,
        }
    }

    pub(crate) fn assert_gone(&self) {
        assert!(!self.dir.exists(), "{} still exists", self.dir.display());
        for pid in &self.pids {
            assert!(!is_running(*pid), "process {pid} still runs");
        }
        assert_refused(self.addr);
    }
}

/// True if the process exists and is no zombie: orphaned zombies are reaped by process 1.
pub(crate) fn is_running(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains('Z'))
}

pub(crate) fn assert_refused(addr: SocketAddr) {
    assert_eq!(
        TcpStream::connect(addr).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
}
