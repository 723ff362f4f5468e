//! What is sent over the connections of the simulated network, and when it arrives.

use bytes::Bytes;
use rand::RngExt as _;

use crate::events::Event;
use crate::net::{Connection, End, Link};
use crate::world::State;

/// More bytes than these arrive in several pieces.
const LARGE: usize = 64 << 10;

impl State {
    /// The way of a process to a server.
    pub(crate) fn link(&self, process: usize, server: usize) -> &Link {
        &self.links[process * self.servers.all.len() + server]
    }

    /// The way of a connection.
    fn link_of(&self, id: usize) -> &Link {
        let connection = &self.connections[id];
        self.link(connection.process, connection.server)
    }

    /// The ways of a process that a fault concerns: to all servers, or half of the time to one of
    /// several.
    pub(crate) fn links_of(&mut self, process: usize, choice: u64) -> &mut [Link] {
        let count = self.servers.all.len();
        let first = process * count;
        match choice % 2 {
            1 if count > 1 => {
                let one = first + choice as usize / 2 % count;
                &mut self.links[one..=one]
            }
            _ => &mut self.links[first..first + count],
        }
    }

    /// The delay of a message of a process. Now and then it is long.
    pub(crate) fn delay(&mut self, process: usize, server: usize) -> u64 {
        let link = self.link(process, server);
        if link.is_fast {
            let longest = link.delay.min(5);
            return self.random.random_range(0..=longest);
        }
        let longest = link.delay;
        match self.random.random_range(0..64_u32) {
            0..32 => 0,
            63 => self.random.random_range(0..=longest * 16),
            _ => self.random.random_range(0..=longest),
        }
    }

    /// Sends bytes to Valkey.
    pub(crate) fn send_out(&mut self, id: usize, bytes: Bytes) {
        self.in_pieces(bytes, |state, piece| {
            let held = state.link_of(id).held_out;
            let at = state.arrival(id, held, |connection| &mut connection.last_out);
            state.schedule(at, Event::Out(id, piece));
        });
    }

    /// Sends bytes to a client.
    pub(crate) fn send_in(&mut self, id: usize, bytes: Bytes) {
        self.in_pieces(bytes, |state, piece| {
            let held = state.link_of(id).held_in;
            let at = state.arrival(id, held, |connection| &mut connection.last_in);
            state.schedule(at, Event::In(id, piece));
        });
    }

    /// The time at which bytes that are sent now arrive: not while the link is `held`, and not
    /// before the `last` ones in their direction.
    fn arrival(&mut self, id: usize, held: u64, last: fn(&mut Connection) -> &mut u64) -> u64 {
        let (process, server) = (self.connections[id].process, self.connections[id].server);
        let at = self.now().max(held) + self.delay(process, server);
        let last = last(&mut self.connections[id]);
        *last = at.max(*last);
        *last
    }

    /// Now and then bytes arrive in two pieces, and many bytes in more.
    fn in_pieces(&mut self, bytes: Bytes, mut send: impl FnMut(&mut Self, Bytes)) {
        if bytes.len() > LARGE {
            let mut rest = bytes;
            while !rest.is_empty() {
                let len = self.random.random_range(1..=LARGE * 4).min(rest.len());
                send(self, rest.split_to(len));
            }
            return;
        }
        if bytes.len() > 1 && self.random.random_range(0..32_u32) == 0 {
            let at = self.random.random_range(1..bytes.len());
            send(self, bytes.slice(..at));
            return send(self, bytes.slice(at..));
        }
        send(self, bytes);
    }

    /// The connections of a process lose what is sent from now on: that for client tracking, or the
    /// other ones.
    pub(crate) fn mute(&mut self, process: usize, tracking: bool) {
        for connection in &mut self.connections {
            let is_meant = connection.session.is_tracking() == tracking;
            connection.is_mute |= connection.process == process && is_meant;
        }
    }

    /// Cuts the connections of a process, or all of them.
    pub(crate) fn cut(&mut self, process: Option<usize>, end: End) {
        for connection in &mut self.connections {
            if process.is_none_or(|process| connection.process == process) && connection.is_open {
                connection.end(end);
            }
        }
    }

    /// Cuts the connections to a server.
    pub(crate) fn cut_server(&mut self, server: usize, end: End) {
        for connection in &mut self.connections {
            if connection.server == server && connection.is_open {
                connection.end(end);
            }
        }
    }
}
