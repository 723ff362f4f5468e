//! The slots of a cluster, and which node has each, as nodes tell it (`CLUSTER NODES`).

use crc::{CRC_16_XMODEM, Crc};

use crate::server::url::HostPort;

/// The number of slots.
pub(crate) const SLOTS: usize = 16_384;

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of a key: that of its part within braces, if it has one.
pub(crate) fn slot_of(key: &str) -> usize {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let hashed = tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty());
    usize::from(CRC.checksum(hashed.unwrap_or(key).as_bytes())) % SLOTS
}

/// A primary, as a node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Primary {
    pub(crate) address: HostPort,
    /// The other name of the same node, if it announces one.
    pub(crate) alias: Option<HostPort>,
    /// Who took over a slot last has the highest.
    epoch: u64,
    ranges: Vec<(usize, usize)>,
}

/// The primaries with slots, as a node knows them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) primaries: Vec<Primary>,
    /// Whether the keys of a slot are moving.
    pub(crate) is_resharding: bool,
}

impl View {
    /// Parses the reply to `CLUSTER NODES` of the node at `asked`. With `by_name`, nodes are known by
    /// the names that they announce: certificates are for names.
    pub(crate) fn parse(text: &str, asked: &HostPort, by_name: bool) -> Self {
        let mut view = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let [_, address, flags, _, _, _, epoch, _, slots @ ..] = fields.as_slice() else {
                continue;
            };
            if !flags.split(',').any(|flag| flag == "master") {
                continue;
            }
            view.is_resharding |= slots.iter().any(|slots| slots.starts_with('['));
            let ranges: Vec<_> = slots.iter().filter_map(|slots| range(slots)).collect();
            let (Some((address, alias)), Ok(epoch)) =
                (names(address, asked, by_name), epoch.parse())
            else {
                continue;
            };
            if !ranges.is_empty() {
                view.primaries.push(Primary {
                    address,
                    alias,
                    epoch,
                    ranges,
                });
            }
        }
        view
    }
}

/// A range of slots; `None` for one that is moving (`[93-<-…]`).
fn range(text: &str) -> Option<(usize, usize)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < SLOTS).then_some((first, last))
}

/// The address in `ip:port@bus-port,name`, and the other one.
fn names(text: &str, asked: &HostPort, by_name: bool) -> Option<(HostPort, Option<HostPort>)> {
    let (address, rest) = text.split_once('@')?;
    let mut address = parse_address(address)?;
    if address.host.is_empty() {
        // A node that does not know its own address yet.
        address.host.clone_from(&asked.host);
    }
    let name = rest.split(',').nth(1).filter(|name| !name.is_empty());
    let named = name.map(|name| HostPort {
        host: name.to_owned(),
        port: address.port,
    });
    Some(match (named, by_name) {
        (Some(named), true) => (named, Some(address)),
        (named, _) => (address, named),
    })
}

/// Parses `host:port`, where the host may be an IPv6 address.
pub(crate) fn parse_address(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    Some(HostPort {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: port.parse().ok()?,
    })
}

impl View {
    /// The address of the primary that has the slot of a key.
    pub(crate) fn owner(&self, key: &str) -> Option<&HostPort> {
        let slot = slot_of(key);
        let has_slot = |(first, last): &(usize, usize)| (*first..=*last).contains(&slot);
        let mut primaries = self.primaries.iter();
        let owner = primaries.find(|primary| primary.ranges.iter().any(has_slot))?;
        Some(&owner.address)
    }
}

/// The index of a primary among those that a merge returns.
pub(crate) type PrimaryIndex = u16;

/// The primaries according to several nodes, and for each slot the index of its primary. Of two that
/// claim a slot, the one with the higher epoch has it: the other is behind a failover or a move. A
/// primary that has no slot is left out: it may be a former one that does not know it yet.
pub(crate) fn merge(views: Vec<View>) -> (Vec<Primary>, Vec<Option<PrimaryIndex>>) {
    let mut claims: Vec<Primary> = views.into_iter().flat_map(|view| view.primaries).collect();
    // The last one has a slot; of those with the same epoch, that of the first view.
    claims.reverse();
    claims.sort_by_key(|claim| claim.epoch);
    let mut primaries: Vec<Primary> = Vec::new();
    let mut owners = vec![None; SLOTS];
    for claim in claims {
        let known = primaries
            .iter()
            .position(|known| known.address == claim.address);
        // A primary has a slot at least, so there are not more of them than slots.
        let index = PrimaryIndex::try_from(known.unwrap_or(primaries.len())).ok();
        for (first, last) in &claim.ranges {
            owners[*first..=*last].fill(index);
        }
        if known.is_none() {
            primaries.push(claim);
        }
    }
    let mut numbers: Vec<Option<PrimaryIndex>> = vec![None; primaries.len()];
    for owner in owners.iter().flatten() {
        numbers[usize::from(*owner)] = Some(0);
    }
    for (number, used) in (0..).zip(numbers.iter_mut().flatten()) {
        *used = number;
    }
    for owner in &mut owners {
        *owner = owner.and_then(|index| numbers[usize::from(index)]);
    }
    let mut numbers = numbers.iter();
    primaries.retain(|_| numbers.next().is_some_and(Option::is_some));
    (primaries, owners)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn address(port: u16) -> HostPort {
        HostPort {
            host: "127.0.0.1".to_owned(),
            port,
        }
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot_of("123456789"), 0x31c3);
        assert_eq!(slot_of("{user1000}.following"), slot_of("user1000"));
        assert_eq!(
            slot_of("foo{}{bar}"),
            usize::from(CRC.checksum(b"foo{}{bar}")) % SLOTS
        );
        assert_eq!(slot_of("foo{{bar}}zap"), slot_of("{bar"));
    }

    #[test]
    fn primaries_with_slots_are_read_and_replicas_are_not() {
        let text = "\
a 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460 [93-<-c] 9000
b 127.0.0.1:7001@17001,node-b master,fail - 0 0 2 connected 5461-8999
c 127.0.0.1:7002@17002 master - 0 0 3 connected
d 127.0.0.1:7003@17003 slave a 0 0 1 connected
e :0@0 master,noaddr - 0 0 0 disconnected 1
nonsense
";
        let view = View::parse(text, &address(7000), false);
        assert!(view.is_resharding);
        let found: Vec<_> = view
            .primaries
            .iter()
            .map(|primary| (primary.address.port, primary.ranges.as_slice()))
            .collect();
        let expected: [(u16, &[(usize, usize)]); 3] = [
            (7000, &[(0, 5460), (9000, 9000)]),
            (7001, &[(5461, 8999)]),
            (0, &[(1, 1)]),
        ];
        assert_eq!(found, expected);
        let named = View::parse(text, &address(7000), true);
        assert_eq!(named.primaries[1].address.host, "node-b");
        assert_eq!(named.primaries[1].alias, Some(address(7001)));
    }

    #[test]
    fn the_higher_epoch_has_a_slot() {
        let old = "a 127.0.0.1:7000@17000 master - 0 0 1 connected 0-16383";
        let new = "b 127.0.0.1:7001@17001 master - 0 0 2 connected 5";
        for views in [[old, new], [new, old]] {
            let views = views.map(|view| View::parse(view, &address(1), false));
            let (primaries, owners) = merge(views.into());
            let port = |slot: usize| Some(primaries[usize::from(owners[slot]?)].address.port);
            assert_eq!([4, 5, 6].map(port), [Some(7000), Some(7001), Some(7000)]);
        }
    }

    #[test]
    fn a_primary_whose_slots_others_have_is_left_out() {
        let former = "\
a 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-99
b 127.0.0.1:7001@17001 master - 0 0 2 connected 100-16383
";
        let present = "\
c 127.0.0.1:7002@17002 myself,master - 0 0 3 connected 0-99
b 127.0.0.1:7001@17001 master - 0 0 2 connected 100-16383
";
        for views in [[former, present], [present, former]] {
            let views = views.map(|view| View::parse(view, &address(1), false));
            let (primaries, owners) = merge(views.into());
            let port = |slot: usize| Some(primaries[usize::from(owners[slot]?)].address.port);
            assert_eq!([99, 100].map(port), [Some(7002), Some(7001)]);
            assert_eq!(primaries.len(), 2);
        }
    }
}
