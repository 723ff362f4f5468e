//! What a server must leave nothing of.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use devstack::Server;

/// A server's directory, processes and address, noted while it lives.
pub(crate) struct Traces {
    dir: PathBuf,
    pub(crate) pids: Vec<i32>,
    addr: SocketAddr,
}

impl Traces {
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
        assert!(!self.dir.exists(), "{} is left", self.dir.display());
        for pid in &self.pids {
            assert!(!is_running(*pid), "process {pid} is left");
        }
        assert_refused(self.addr);
    }
}

/// Zombies do not count: what a server left to process 1 is not ours to wait for.
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
