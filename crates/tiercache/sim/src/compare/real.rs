//! A real Valkey of this process's own, and its clients.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::compare::commands::Expiries;
use crate::valkey::resp::take_reply;

/// A server on a free port of the loopback interface.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    /// The port for the other nodes of a cluster.
    pub(crate) bus: u16,
    directory: PathBuf,
}

impl Server {
    /// Starts one; a node of a cluster has no slots yet.
    pub(crate) fn start(is_node: bool) -> io::Result<Self> {
        let (port, bus) = (free_port()?, free_port()?);
        let directory = std::env::temp_dir().join(format!("tiercache-sim-{port}"));
        std::fs::create_dir_all(&directory)?;
        let mut command_line = Command::new("valkey-server");
        if is_node {
            command_line.args(["--cluster-enabled", "yes", "--cluster-port"]);
            command_line.arg(bus.to_string());
        }
        let process = command_line
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--enable-debug-command", "yes", "--port", &port.to_string()])
            .current_dir(&directory)
            .stdout(Stdio::null())
            .spawn()?;
        let server = Self {
            process,
            port,
            bus,
            directory,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match server.connect(&[]) {
                // Keys expire when they are accessed, as they do in the simulation.
                Ok(mut client) => {
                    let off = command(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
                    client.call_all(&off, 1)?;
                    return Ok(server);
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Connects a client that tracks these prefixes, with RESP2 if there are none.
    pub(crate) fn connect(&self, prefixes: &[&str]) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut client = Client {
            stream,
            received: BytesMut::new(),
            pushes: Vec::new(),
            expiries: Expiries::new(),
        };
        for command in greeting(prefixes) {
            client.call_all(&command, 1)?;
        }
        Ok(client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The text of a bulk string.
pub(crate) fn text(reply: &Bytes) -> String {
    let text = String::from_utf8_lossy(reply);
    text.lines().nth(1).unwrap_or_default().to_owned()
}

/// The first commands of a client.
pub(crate) fn greeting(prefixes: &[&str]) -> Vec<Vec<u8>> {
    if prefixes.is_empty() {
        return vec![command(&["PING"])];
    }
    let mut tracking = vec!["CLIENT", "TRACKING", "ON", "BCAST"];
    for prefix in prefixes {
        tracking.extend(["PREFIX", prefix]);
    }
    vec![command(&["HELLO", "3"]), command(&tracking)]
}

/// The bytes of a command.
pub(crate) fn command(args: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len());
    for arg in args {
        bytes += &format!("${}\r\n{arg}\r\n", arg.len());
    }
    bytes.into_bytes()
}

/// A client.
pub(crate) struct Client {
    stream: TcpStream,
    received: BytesMut,
    /// The pushes since they were last taken.
    pub(crate) pushes: Vec<Bytes>,
    /// The last replies to PEXPIRETIME.
    pub(crate) expiries: Expiries,
}

impl Client {
    /// Sends commands in one packet, and returns their replies.
    pub(crate) fn call_all(&mut self, bytes: &[u8], count: usize) -> io::Result<Vec<Bytes>> {
        self.stream.write_all(bytes)?;
        let mut replies = Vec::with_capacity(count);
        let mut buffer = [0; 16_384];
        loop {
            while let Some(reply) = take_reply(&mut self.received) {
                match reply[0] {
                    b'>' => self.pushes.push(reply),
                    _ => replies.push(reply),
                }
            }
            if replies.len() >= count {
                return Ok(replies);
            }
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&buffer[..read]);
        }
    }
}
