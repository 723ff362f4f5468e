//! A cluster: three primaries, with a replica each or without.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Valkey;
use super::sentinel::wait_until;
use crate::ports::Port;
use crate::process::blocking;
use crate::{Error, Result};

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;
/// Limit of an administrative command.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// Keys that are moved with one command.
const MOVED_AT_ONCE: usize = 100;

/// Three primaries, with a replica each or without.
#[derive(Debug)]
pub struct ValkeyCluster {
    servers: Vec<Valkey>,
    _bus: Vec<Port>,
}

impl ValkeyCluster {
    /// Starts three primaries with a replica each, and waits until all slots are served and the
    /// replicas are in sync. A primary that is unavailable for 2 s is replaced by its replica. Takes
    /// some seconds: the nodes find each other by gossip.
    ///
    /// # Errors
    /// As [`Valkey::start`].
    pub async fn start() -> Result<Self> {
        Self::start_nodes(2 * PRIMARIES, Duration::from_secs(2)).await
    }

    /// Starts three primaries without replicas. The others do not mind a primary that is unavailable
    /// for less than a minute.
    ///
    /// # Errors
    /// As [`Valkey::start`].
    pub async fn start_primaries() -> Result<Self> {
        Self::start_nodes(PRIMARIES, Duration::from_secs(60)).await
    }

    async fn start_nodes(count: usize, timeout: Duration) -> Result<Self> {
        let (mut servers, mut bus) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (server, port) = node(timeout).await?;
            servers.push(server);
            bus.push(port);
        }
        let addrs: Vec<SocketAddr> = servers.iter().map(Valkey::addr).collect();
        let buses: Vec<u16> = bus.iter().map(Port::number).collect();
        let joining = addrs.clone();
        blocking(move || join(&joining, &buses)).await?;
        let knows_all = {
            let addrs = addrs.clone();
            let known = format!("cluster_known_nodes:{count}\r");
            move || {
                let knows = |addr: &SocketAddr| says(*addr, "CLUSTER INFO", &known);
                addrs.iter().all(knows)
            }
        };
        wait_until("the nodes know each other", knows_all).await?;
        let replicating = addrs.clone();
        blocking(move || replicate(&replicating)).await?;
        wait_until("all slots are served", move || {
            // And until all nodes know which is whose replica: Valkey 8.0 does not start again with
            // two ids of a shard.
            let is_ok = |addr: &SocketAddr| {
                says(*addr, "CLUSTER INFO", "cluster_state:ok")
                    && says(*addr, "CLUSTER SHARDS", &format!("*{PRIMARIES}\r"))
            };
            let is_in_sync = |addr: &SocketAddr| says(*addr, "WAIT 1 100", ":1\r");
            let replicated = &addrs[..addrs.len() - PRIMARIES];
            addrs.iter().all(is_ok) && replicated.iter().all(is_in_sync)
        })
        .await?;
        Ok(Self { servers, _bus: bus })
    }

    /// The servers: at the start three primaries, then the replica of each if there are any.
    pub fn servers(&self) -> &[Valkey] {
        &self.servers
    }

    /// `redis+cluster://127.0.0.1:PORT,…`, with the primaries of the start.
    pub fn url(&self) -> String {
        let primaries = self.servers.iter().take(PRIMARIES);
        let addrs = primaries.map(|server| server.addr().to_string());
        format!("redis+cluster://{}", addrs.collect::<Vec<_>>().join(","))
    }

    /// The slot of a key.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn slot_of(&self, key: &str) -> Result<u16> {
        let (addr, command) = (self.servers[0].addr(), format!("CLUSTER KEYSLOT {key}"));
        let reply = blocking(move || ask(addr, &command)).await?;
        let number = reply
            .trim_start_matches(':')
            .lines()
            .next()
            .unwrap_or_default();
        number.parse().map_err(|_| refused(reply.clone()))
    }

    /// The index of the server that has a slot.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub async fn owner_of(&self, slot: u16) -> Result<usize> {
        let addrs: Vec<SocketAddr> = self.servers.iter().map(Valkey::addr).collect();
        let (addr, command) = (addrs[0], "CLUSTER SLOTS");
        let reply = blocking(move || ask(addr, command)).await?;
        // Ranges: two integers each, then nodes: a host and a port, the primary first.
        let mut integers = reply
            .lines()
            .filter_map(|line| line.strip_prefix(':')?.parse().ok());
        let mut range: [u16; 2] = [0, 0];
        let mut found = None;
        while let Some(number) = integers.next() {
            let index = addrs.iter().position(|addr| addr.port() == number);
            match index {
                Some(index) if range[0] <= slot && slot <= range[1] && found.is_none() => {
                    found = Some(index);
                }
                Some(_) => {}
                None => range = [number, integers.next().unwrap_or_default()],
            }
        }
        found.ok_or_else(|| refused(reply.clone()))
    }

    /// Moves a slot with its keys from one server to another, both by index, while they are in use.
    ///
    /// # Errors
    /// [`Error::Io`], with the reply of a server that refuses.
    pub async fn move_slot(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let addrs: Vec<SocketAddr> = self.servers.iter().map(Valkey::addr).collect();
        blocking(move || move_slot(&addrs, slot, from, to)).await
    }
}

/// A server, and its port for other nodes.
async fn node(timeout: Duration) -> Result<(Valkey, Port)> {
    let port = Port::lease()?;
    let timeout = timeout.as_millis().to_string();
    let number = port.number().to_string();
    let settings = [
        ("cluster-enabled", "yes"),
        ("cluster-port", &number),
        ("cluster-node-timeout", &timeout),
        ("cluster-replica-validity-factor", "0"),
        ("cluster-allow-replica-migration", "no"),
    ];
    Ok((Valkey::start_with(&settings).await?, port))
}

fn join(addrs: &[SocketAddr], buses: &[u16]) -> Result<()> {
    for (i, addr) in addrs.iter().enumerate() {
        order(*addr, &format!("CLUSTER SET-CONFIG-EPOCH {}", i + 1))?;
        if i < PRIMARIES {
            let (first, end) = (SLOTS * i / PRIMARIES, SLOTS * (i + 1) / PRIMARIES);
            order(*addr, &format!("CLUSTER ADDSLOTSRANGE {first} {}", end - 1))?;
        }
        if i > 0 {
            let (ip, port) = (addr.ip(), addr.port());
            order(addrs[0], &format!("CLUSTER MEET {ip} {port} {}", buses[i]))?;
        }
    }
    Ok(())
}

fn replicate(addrs: &[SocketAddr]) -> Result<()> {
    let (primaries, replicas) = addrs.split_at(PRIMARIES);
    for (primary, replica) in primaries.iter().zip(replicas) {
        order(*replica, &format!("CLUSTER REPLICATE {}", id(*primary)?))?;
    }
    Ok(())
}

fn move_slot(addrs: &[SocketAddr], slot: u16, from: usize, to: usize) -> Result<()> {
    let ids = [id(addrs[from])?, id(addrs[to])?];
    order(
        addrs[to],
        &format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0]),
    )?;
    order(
        addrs[from],
        &format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1]),
    )?;
    loop {
        let keys = ask(
            addrs[from],
            &format!("CLUSTER GETKEYSINSLOT {slot} {MOVED_AT_ONCE}"),
        )?;
        let keys: Vec<&str> = keys
            .lines()
            .filter(|line| !line.starts_with(['*', '$']))
            .collect();
        if keys.is_empty() {
            break;
        }
        let (ip, port) = (addrs[to].ip(), addrs[to].port());
        let migrate = format!(
            "MIGRATE {ip} {port} \"\" 0 5000 REPLACE KEYS {}",
            keys.join(" ")
        );
        let reply = ask(addrs[from], &migrate)?;
        // A key may have expired meanwhile.
        if !reply.starts_with("+OK") && !reply.starts_with("+NOKEY") {
            return Err(refused(reply));
        }
    }
    for addr in [addrs[to], addrs[from]] {
        order(addr, &format!("CLUSTER SETSLOT {slot} NODE {}", ids[1]))?;
    }
    Ok(())
}

/// The id of a node.
fn id(addr: SocketAddr) -> Result<String> {
    let reply = ask(addr, "CLUSTER MYID")?;
    let id = reply.lines().nth(1).map(str::to_owned);
    id.ok_or_else(|| refused(reply))
}

/// Sends a command that must be acknowledged.
fn order(addr: SocketAddr, command: &str) -> Result<()> {
    match ask(addr, command)? {
        reply if reply.starts_with("+OK") => Ok(()),
        reply => Err(refused(reply)),
    }
}

fn says(addr: SocketAddr, command: &str, text: &str) -> bool {
    ask(addr, command).is_ok_and(|reply| reply.contains(text))
}

fn refused(reply: String) -> Error {
    Error::io("administering a cluster")(std::io::Error::other(reply))
}

/// Sends a command; returns the text of the reply.
fn ask(addr: SocketAddr, command: &str) -> Result<String> {
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&addr, COMMAND_LIMIT)?;
        stream.set_read_timeout(Some(COMMAND_LIMIT))?;
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        std::io::Result::Ok(reply.strip_suffix("+OK\r\n").unwrap_or(&reply).to_owned())
    };
    exchange().map_err(Error::io(format!("sending {command}")))
}
