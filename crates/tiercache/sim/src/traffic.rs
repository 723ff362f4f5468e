//! What is sent over the connections of the simulated network, and when it arrives.

use bytes::Bytes;
use rand::RngExt as _;

use crate::net::End;
use crate::world::{Event, State};

impl State {
    /// The delay of a message of a process. Now and then it is long.
    pub(crate) fn delay(&mut self, process: usize) -> u64 {
        let link = &self.links[process];
        if link.is_fast {
            return self.random.random_range(0..=link.delay.min(5));
        }
        let longest = link.delay;
        match self.random.random_range(0..64_u32) {
            0..32 => 0,
            63 => self.random.random_range(0..=longest * 16),
            _ => self.random.random_range(0..=longest),
        }
    }

    /// Sends bytes to Valkey, now and then in two pieces.
    pub(crate) fn send_out(&mut self, id: usize, bytes: Bytes) {
        self.in_pieces(bytes, |state, piece| {
            let process = state.connections[id].process;
            let sent = state.now().max(state.links[process].held_out);
            let at = sent + state.delay(process);
            let at = at.max(state.connections[id].last_out);
            state.connections[id].last_out = at;
            state.schedule(at, Event::Out(id, piece));
        });
    }

    /// Sends bytes to a client.
    pub(crate) fn send_in(&mut self, id: usize, bytes: Bytes) {
        self.in_pieces(bytes, |state, piece| {
            let process = state.connections[id].process;
            let sent = state.now().max(state.links[process].held_in);
            let at = sent + state.delay(process);
            let at = at.max(state.connections[id].last_in);
            state.connections[id].last_in = at;
            state.schedule(at, Event::In(id, piece));
        });
    }

    fn in_pieces(&mut self, bytes: Bytes, mut send: impl FnMut(&mut Self, Bytes)) {
        if bytes.len() > 1 && self.random.random_range(0..32_u32) == 0 {
            let at = self.random.random_range(1..bytes.len());
            send(self, bytes.slice(..at));
            return send(self, bytes.slice(at..));
        }
        send(self, bytes);
    }

    /// Cuts the connections of a process, or all of them.
    pub(crate) fn cut(&mut self, process: Option<usize>, end: End) {
        for connection in &mut self.connections {
            if process.is_none_or(|process| connection.process == process) && connection.is_open {
                connection.end(end);
            }
        }
    }
}
