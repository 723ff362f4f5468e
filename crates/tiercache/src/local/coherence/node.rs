//! The nodes of the shared level, and the state of client tracking on each.

use std::collections::BTreeMap;

use crate::clock::Moment;

/// A server with a command connection and a tracking connection: the only one, or in a cluster
/// each primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(u64);

impl NodeId {
    /// The node of a shared level that is one server.
    pub(crate) const ONLY: Self = Self(0);
}

/// A server process, by its `run_id`; `None` if it does not disclose it. Two servers that do not
/// disclose it may be different ones.
pub(crate) type ServerId = Option<String>;

/// The result of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// The local cache may be used.
    Live,
    /// As far as this node is concerned, the local cache may be used. Another one is missing.
    Waiting,
    /// A prefix was added, and must be subscribed to first.
    PrefixMissing,
    /// The connection was lost or replaced, or its server is not the one for commands.
    Rejected,
    /// The server does not disclose its identity, so changes on the server for commands may not
    /// be pushed here. The local cache stays bypassed until that they are is
    /// proved (`Coherence::proved`).
    Unidentified,
}

#[derive(Default)]
pub(super) struct TrackingState {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    /// The last node and the last tracking connection.
    last_node: u64,
    last_connection: u64,
    /// The time since when all nodes are confirmed.
    pub(super) live_since: Option<Moment>,
    /// The prefixes to subscribe to. Only appended to, so their number identifies a state.
    pub(super) prefixes: Vec<String>,
}

/// A node and its two connections.
#[derive(Default)]
pub(super) struct Node {
    /// Identifies the tracking connection; earlier ones are ignored.
    connection: u64,
    is_connected: bool,
    /// The server of the tracking connection.
    pub(super) tracking_server: ServerId,
    /// The server that commands are sent to. Changes on another one would not be pushed.
    command_server: ServerId,
    /// The number of command connections so far.
    pub(super) command_connection: u64,
    /// The command connection whose changes are known to be pushed, where the servers do not
    /// disclose their identity.
    pub(super) proof: Option<u64>,
    /// The sending of the last heartbeat that got a reply, if pushes are complete since.
    confirmed: Option<Moment>,
}

impl Node {
    pub(super) fn disconnect(&mut self) {
        (self.is_connected, self.confirmed, self.proof) = (false, None, None);
    }
}

impl TrackingState {
    pub(super) fn add_node(&mut self) -> NodeId {
        self.last_node += 1;
        let node = NodeId(self.last_node);
        self.nodes.insert(node, Node::default());
        node
    }

    pub(super) fn connecting(&mut self, node: NodeId) -> u64 {
        self.last_connection += 1;
        if let Some(node) = self.nodes.get_mut(&node) {
            node.disconnect();
            (node.connection, node.is_connected) = (self.last_connection, true);
        }
        self.last_connection
    }

    /// The node, if this is its tracking connection.
    pub(super) fn connected(&mut self, node: NodeId, connection: u64) -> Option<&mut Node> {
        let node = self.nodes.get_mut(&node)?;
        (node.connection == connection && node.is_connected).then_some(node)
    }

    /// Whether the tracking connection does not lead to the same server for certain.
    pub(super) fn set_command_server(&mut self, node: NodeId, server: ServerId) -> bool {
        let Some(node) = self.nodes.get_mut(&node) else {
            return false;
        };
        node.command_server = server;
        node.command_connection += 1;
        let is_same = node.command_server.is_some() && node.tracking_server == node.command_server;
        if node.tracking_server != node.command_server {
            node.disconnect();
        } else if !is_same {
            node.confirmed = None;
        }
        !is_same
    }

    /// Records a heartbeat; the error is what is missing.
    pub(super) fn confirm(
        &mut self,
        node: NodeId,
        connection: u64,
        subscribed: usize,
        sent: Moment,
    ) -> Result<(), Confirmation> {
        let is_complete = self.prefixes.len() == subscribed;
        let node = self
            .connected(node, connection)
            .ok_or(Confirmation::Rejected)?;
        if node.tracking_server != node.command_server {
            return Err(Confirmation::Rejected);
        }
        if node.tracking_server.is_none() && node.proof != Some(node.command_connection) {
            return Err(Confirmation::Unidentified);
        }
        if !is_complete {
            return Err(Confirmation::PrefixMissing);
        }
        node.confirmed = Some(sent);
        Ok(())
    }

    /// The earliest of the nodes' last heartbeats; `None` if one has none.
    pub(super) fn earliest_confirmed(&self) -> Option<Moment> {
        let confirmed = self.nodes.values().map(|node| node.confirmed);
        confirmed.min().flatten()
    }

    /// Ends the confirmation of all nodes: their pushes are not complete any more.
    pub(super) fn unconfirm_all(&mut self) {
        for node in self.nodes.values_mut() {
            node.confirmed = None;
        }
    }
}
