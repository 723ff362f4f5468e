//! The comparison of a simulated cluster of two nodes with a real one: commands with keys of each
//! node, with and without ASKING, while slots move between the nodes.

use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::compare::commands::{Batch, Commands};
use crate::compare::real::{self, Client, Server};
use crate::compare::{Received, Report, Simulated, TOO_LONG, is_same, now};
use crate::valkey::Mode;
use crate::valkey::cluster::{Member, SLOTS, View, slot_of};

/// The node that the clients are connected to, and the other one.
const THIS: usize = 0;
const OTHER: usize = 1;
/// The batches between two changes of the cluster.
const BATCHES: u64 = 40;

/// Two real nodes.
struct Nodes {
    this: Server,
    other: Server,
    ids: [String; 2],
    clients: Vec<Client>,
    other_client: Client,
}

impl Nodes {
    fn start(view: &View) -> std::io::Result<Self> {
        let (this, other) = (Server::start(true)?, Server::start(true)?);
        let mut clients = super::connect_all(&this)?;
        let mut other_client = other.connect(&[])?;
        let mut ids = [String::new(), String::new()];
        for (node, client) in [(THIS, &mut clients[0]), (OTHER, &mut other_client)] {
            let id = client.call_all(&real::command(&["CLUSTER", "MYID"]), 1)?;
            ids[node] = real::text(&id[0]);
            let slots: Vec<String> = (0..SLOTS)
                .filter(|slot| view.owner(*slot) == node)
                .map(|slot| slot.to_string())
                .collect();
            let mut add = vec!["CLUSTER", "ADDSLOTS"];
            add.extend(slots.iter().map(String::as_str));
            client.call_all(&real::command(&add), 1)?;
        }
        let (port, bus) = (other.port.to_string(), other.bus.to_string());
        let meet = real::command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        clients[0].call_all(&meet, 1)?;
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        for client in [&mut clients[0], &mut other_client] {
            loop {
                let info = client.call_all(&real::command(&["CLUSTER", "INFO"]), 1)?;
                let info = String::from_utf8_lossy(&info[0]).into_owned();
                let is_whole = info.contains("cluster_state:ok");
                if is_whole && info.contains("cluster_known_nodes:2") {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(std::io::ErrorKind::TimedOut.into());
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
        Ok(Self {
            this,
            other,
            ids,
            clients,
            other_client,
        })
    }

    /// Sets the state of a slot on both nodes.
    fn set(&mut self, slot: usize, state: Moving) -> std::io::Result<()> {
        let slot = slot.to_string();
        let [this, other] = [&*self.ids[THIS], &*self.ids[OTHER]];
        let (here, there) = match state {
            Moving::No => (vec!["STABLE"], vec!["STABLE"]),
            Moving::Out => (vec!["MIGRATING", other], vec!["IMPORTING", this]),
            Moving::In => (vec!["IMPORTING", other], vec!["MIGRATING", this]),
        };
        let command = |state: &[&str]| {
            let words = [&["CLUSTER", "SETSLOT", &slot][..], state].concat();
            real::command(&words)
        };
        self.clients[0].call_all(&command(&here), 1)?;
        self.other_client.call_all(&command(&there), 1)?;
        Ok(())
    }
}

/// The state of a slot, for the node of the clients.
#[derive(Clone, Copy, Debug)]
enum Moving {
    No,
    Out,
    In,
}

/// Sets the state of a slot on the real nodes and on the simulated one.
fn set(
    nodes: &mut Nodes,
    simulated: &mut Simulated,
    slot: usize,
    state: Moving,
) -> std::io::Result<()> {
    nodes.set(slot, state)?;
    if let Some(member) = simulated.valkey.member() {
        set_simulated(member, slot, state);
    }
    Ok(())
}

fn set_simulated(member: &mut Member, slot: usize, state: Moving) {
    match state {
        Moving::No => (member.migrating, member.importing) = (None, None),
        Moving::Out => member.migrating = Some((slot, OTHER)),
        Moving::In => member.importing = Some((slot, OTHER)),
    }
}

/// Compares, and stops after a few differences.
pub(crate) fn compare(count: u64, seed: u64) -> std::io::Result<Report> {
    let mut view = View::new(2);
    let mut nodes = Nodes::start(&view)?;
    let ports = [nodes.this.port, nodes.other.port];
    for (node, port) in ports.into_iter().enumerate() {
        view.nodes[node].address = format!("127.0.0.1:{port}");
    }
    let view = Arc::new(view);
    let mut simulated = Simulated::new();
    simulated.valkey.mode = Mode::Node(Member::new(THIS, &view));
    let mut commands = Commands::new(StdRng::seed_from_u64(seed));
    commands.is_cluster = true;
    let mut report = Report::default();
    let (mut batches, mut moved) = (0, None);
    while report.commands < count && report.differences.len() < 5 {
        if batches % BATCHES == 0 {
            move_slot(&mut nodes, &mut simulated, batches / BATCHES, &mut moved)?;
        }
        batches += 1;
        if simulated.valkey.store.is_near_expiry(now()) {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let batch = commands.next();
        report.commands += batch.commands.len() as u64;
        step(&mut nodes, &mut simulated, &batch, &mut report)?;
    }
    Ok(report)
}

fn step(
    nodes: &mut Nodes,
    simulated: &mut Simulated,
    batch: &Batch,
    report: &mut Report,
) -> std::io::Result<()> {
    let (began, now) = (Instant::now(), now());
    let expected: Received = super::execute_real(&mut nodes.clients, batch)?;
    if began.elapsed() > TOO_LONG {
        report.skipped += 1;
        super::begin_again(&mut nodes.clients)?;
        simulated.begin_again();
        return Ok(());
    }
    let found = simulated.execute(batch, now);
    report.pushes += found.push_count();
    if !is_same(&expected, &found) {
        let difference = format!("{batch:?}\nreal:      {expected:?}\nsimulated: {found:?}");
        report.differences.push(difference);
    }
    if batch.pause_millis > 0 {
        std::thread::sleep(std::time::Duration::from_millis(batch.pause_millis));
    }
    Ok(())
}

/// Ends the move of a slot, and begins that of another one: each is in each state in turn.
fn move_slot(
    nodes: &mut Nodes,
    simulated: &mut Simulated,
    turn: u64,
    moved: &mut Option<usize>,
) -> std::io::Result<()> {
    super::begin_again(&mut nodes.clients)?;
    simulated.begin_again();
    if let Some(slot) = moved.take() {
        set(nodes, simulated, slot, Moving::No)?;
    }
    let keys = super::commands::KEYS;
    let slot = slot_of(keys[turn as usize % keys.len()].as_bytes());
    let owner = simulated
        .valkey
        .member()
        .map(|member| member.view.owner(slot));
    let owner = owner.unwrap_or_default();
    let state = match owner {
        THIS => Moving::Out,
        _ => Moving::In,
    };
    if !turn.is_multiple_of(3) {
        set(nodes, simulated, slot, state)?;
        *moved = Some(slot);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_simulated_node_of_a_cluster_replies_and_pushes_as_a_real_one() {
        let report = super::compare(10_000, 1).unwrap();
        assert_eq!(report.differences, Vec::<String>::new());
        assert!(report.pushes > 300);
    }
}
