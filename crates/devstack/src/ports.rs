//! Leases of free ports on 127.0.0.1.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::scratch::cache_dir;
use crate::{Error, Result};

/// The range lies below Linux's ephemeral ports, so that no outgoing connection takes the port of a
/// server that is being restarted.
const FROM: u16 = 20_000;
const TO: u16 = 31_999;
/// Start attempts, each with another port.
const ATTEMPTS: u32 = 5;

/// A port of 127.0.0.1, locked against other stacks on this machine until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Leases a port that is free now.
    ///
    /// # Errors
    /// [`Error::NoPort`], or [`Error::Io`] when the lock file cannot be created.
    pub fn lease() -> Result<Self> {
        let locks = cache_dir("ports")?;
        let count = TO - FROM + 1;
        let start = u16::try_from(RandomState::new().hash_one(0) % u64::from(count)).unwrap_or(0);
        for offset in 0..count {
            let number = FROM + (start + offset) % count;
            let lock = File::create(locks.join(number.to_string()))
                .map_err(Error::io("locking a port"))?;
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self {
                    number,
                    _lock: lock,
                });
            }
        }
        Err(Error::NoPort { from: FROM, to: TO })
    }

    /// The port number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The address: 127.0.0.1 and this port.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// Calls `start`, and retries it if another program has taken the leased port in the meantime.
/// `start` leases a new port in each call.
///
/// # Errors
/// Those of `start`; after five attempts also "address in use".
pub fn retry_on_clash<T>(start: impl Fn() -> Result<T>) -> Result<T> {
    let mut attempt = 1;
    loop {
        match start() {
            Err(error) if attempt < ATTEMPTS && is_clash(&error) => attempt += 1,
            outcome => return outcome,
        }
    }
}

fn is_clash(error: &Error) -> bool {
    match error {
        Error::Exited { tail, .. } => {
            let log = tail.to_ascii_lowercase();
            log.contains("address already in use") || log.contains("eaddrinuse")
        }
        Error::Io { source, .. } => source.kind() == ErrorKind::AddrInUse,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_leases_have_different_ports() {
        let leases: Vec<Port> = (0..50).map(|_| Port::lease().unwrap()).collect();
        let numbers: std::collections::HashSet<u16> = leases.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), leases.len());
    }

    #[test]
    fn only_port_clashes_are_retried() {
        let failing = |tail: &str, calls: &std::cell::Cell<u32>| {
            calls.set(calls.get() + 1);
            let (server, status, log) = ("x".into(), "exit 1".into(), "log".into());
            Err::<(), _>(Error::Exited {
                server,
                status,
                log,
                tail: tail.to_owned(),
            })
        };
        let calls = std::cell::Cell::new(0);
        assert!(retry_on_clash(|| failing("bind: Address already in use", &calls)).is_err());
        assert_eq!(calls.replace(0), ATTEMPTS);
        assert!(retry_on_clash(|| failing("no such file", &calls)).is_err());
        assert_eq!(calls.replace(0), 1);

        let listening = |kind: ErrorKind| {
            calls.set(calls.get() + 1);
            Err::<(), _>(Error::io("listening")(kind.into()))
        };
        assert!(retry_on_clash(|| listening(ErrorKind::AddrInUse)).is_err());
        assert_eq!(calls.replace(0), ATTEMPTS);
        assert!(retry_on_clash(|| listening(ErrorKind::PermissionDenied)).is_err());
        assert_eq!(calls.get(), 1);
    }
}
