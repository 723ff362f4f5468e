//! Tests of the ring.

use super::*;

fn id(n: u64) -> EntryId {
    EntryId::parse(&n.to_string()).unwrap()
}

fn frame(n: u64, size: usize) -> Frame {
    Frame {
        id: id(n),
        event: vec![b'x'; size].into(),
    }
}

/// What a reader gets that reads all entries, the last of which is `last`.
fn reply(last: u64, added: u64, frames: Vec<Frame>) -> StreamRead {
    StreamRead {
        last: id(last),
        added: Some(added),
        frames,
    }
}

fn ring(last: u64) -> Ring {
    Ring::new(&reply(last, last, Vec::new()))
}

fn add(ring: &mut Ring, frames: Vec<Frame>) {
    let last = frames.last().unwrap().id;
    let added = Some(ring.progress.added + frames.len() as u64);
    let read = StreamRead {
        last,
        added,
        frames,
    };
    let count = read.frames.len();
    assert!(!ring.progress().is_contradicted_by(&read, count));
    ring.extend(read);
}

fn read(ring: &Ring, next: u64) -> Option<Vec<EntryId>> {
    let from = RingPosition {
        next,
        after: id(0),
        generation: 0,
    };
    match ring.read(from) {
        RingRead::Frames(frames, _) => Some(frames.iter().map(|frame| frame.id).collect()),
        _ => None,
    }
}

fn joined(ring: &Ring, after: u64) -> Option<u64> {
    match ring.join(ring.progress.generation, id(after)) {
        Joined::Ring(position) => Some(position.next),
        _ => None,
    }
}

#[test]
fn a_viewer_joins_where_the_ring_is_complete() {
    let mut ring = ring(5);
    assert_eq!(joined(&ring, 4), None);
    assert_eq!(joined(&ring, 5), Some(0));
    add(&mut ring, vec![frame(6, 1), frame(8, 1)]);
    assert_eq!(joined(&ring, 5), Some(0));
    assert_eq!(joined(&ring, 7), Some(1));
    assert_eq!(joined(&ring, 100), Some(2));
    assert_eq!(ring.join(1, id(7)), Joined::OtherGeneration);
    assert_eq!(read(&ring, 1), Some(vec![id(8)]));
    assert_eq!(read(&ring, 2), Some(vec![]));
}

#[test]
fn a_viewer_ahead_of_the_ring_gets_no_entry_twice() {
    let mut ring = ring(5);
    let Joined::Ring(position) = ring.join(0, id(7)) else {
        panic!()
    };
    add(&mut ring, vec![frame(6, 1), frame(7, 1), frame(8, 1)]);
    ring.begin_again();
    add(&mut ring, vec![frame(2, 1)]);
    let RingRead::Frames(frames, next) = ring.read(position) else {
        panic!()
    };
    let ids: Vec<EntryId> = frames.iter().map(|frame| frame.id).collect();
    assert_eq!(ids, [id(8), id(2)]);
    assert_eq!((next.next, next.after, next.generation), (4, id(2), 1));
}

#[test]
fn a_ring_is_limited_in_entries_and_bytes() {
    let mut ring = ring(0);
    add(&mut ring, (1..=3000).map(|n| frame(n, 10)).collect());
    assert_eq!(ring.progress.floor, id(3000 - MAX_FRAMES as u64));
    add(&mut ring, vec![frame(3001, MAX_BYTES - 15)]);
    assert_eq!(ring.progress.floor, id(2999));
    add(&mut ring, vec![frame(3002, 2 * MAX_BYTES)]);
    assert_eq!(ring.progress.floor, id(3001));
    assert_eq!(read(&ring, 3001), Some(vec![id(3002)]));
}

#[test]
fn a_read_is_limited_in_entries_and_bytes() {
    let mut ring = ring(0);
    add(&mut ring, (1..=100).map(|n| frame(n, 10)).collect());
    assert_eq!(read(&ring, 0).unwrap().len(), MAX_READ);
    assert_eq!(read(&ring, 64).unwrap().len(), 36);
    let large = MAX_READ_BYTES / 2;
    add(&mut ring, (101..=103).map(|n| frame(n, large)).collect());
    assert_eq!(read(&ring, 100), Some(vec![id(101), id(102)]));
}

#[test]
fn a_viewer_behind_large_entries_catches_up_and_one_behind_many_does_not() {
    let mut ring = ring(0);
    add(&mut ring, (1..=10).map(|n| frame(n, MAX_BYTES)).collect());
    let from = RingPosition {
        next: 2,
        after: id(2),
        generation: 0,
    };
    let RingRead::CatchUp { generation, after } = ring.read(from) else {
        panic!()
    };
    assert_eq!((generation, after), (0, id(2)));
    let many = MAX_FRAMES as u64;
    add(&mut ring, (11..=many).map(|n| frame(n, 1)).collect());
    assert!(matches!(ring.read(from), RingRead::CatchUp { .. }));
    add(
        &mut ring,
        (many + 1..many + 4).map(|n| frame(n, 1)).collect(),
    );
    assert!(matches!(ring.read(from), RingRead::Evicted));
}

#[test]
fn a_stream_that_begins_again_starts_a_generation() {
    for (case, last, added, new) in [
        ("deleted", 0, 0, 0),
        ("ids go back", 5, 100, 0),
        ("recreated, ids go on", 12, 2, 2),
    ] {
        let mut ring = ring(8);
        add(&mut ring, vec![frame(9, 1), frame(10, 1)]);
        let read_again = reply(last, added, vec![]);
        let contradicted = ring.progress().is_contradicted_by(&read_again, new);
        assert!(contradicted, "{case}");
        ring.begin_again();
        assert_eq!(ring.progress.tail, EntryId::ZERO, "{case}");
        add(&mut ring, vec![frame(3, 2), frame(12, 2)]);
        assert_eq!(
            read(&ring, 0),
            Some([9, 10, 3, 12].map(id).to_vec()),
            "{case}"
        );
        assert_eq!(joined(&ring, 0), Some(2), "{case}");
        assert_eq!(joined(&ring, 3), Some(3), "{case}");
    }
}

#[test]
fn a_stream_that_lost_its_last_entries_is_followed_from_its_end() {
    let mut ring = ring(0);
    add(&mut ring, (1..=4).map(|n| frame(n, 1)).collect());
    let restored = reply(3, 3, vec![]);
    assert!(ring.progress().is_contradicted_by(&restored, 0));
    let witnesses = ring.witnesses(restored.last);
    let ids: Vec<EntryId> = witnesses.iter().map(|frame| frame.id).collect();
    assert_eq!(ids, [id(1), id(3)]);
    ring.roll_back(&restored);
    add(&mut ring, vec![frame(5, 1)]);
    assert_eq!(read(&ring, 0), Some([1, 2, 3, 4, 5].map(id).to_vec()));
}
