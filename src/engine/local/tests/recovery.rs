//! Opening again: after a clean stop, a kill, a power cut, and damage.

use super::*;
use crate::engine::ChainHash;
use crate::engine::local::segment::{
    FRAME_HEADER, FrameHeader, Frames, HeaderState, Link, SEGMENT_HEADER, SegmentHeader,
};

#[test]
fn a_checkpoint_moves_everything_to_the_store_and_leaves_nothing_to_replay() {
    let machine = Machine::new();
    let engine = machine.engine();
    for i in 0..2_000 {
        put(&engine, Durability::Buffered, &format!("key {i:05}"), "value").unwrap();
    }
    engine.checkpoint().unwrap();
    let stats = engine.stats();
    assert_eq!(stats.applied_sequence, stats.durable_sequence);
    assert_eq!(stats.memtable_bytes, 0);
    engine.close().unwrap();
    let (engine, report) = machine.open().unwrap();
    // Behind the checkpoint stands the closing frame; a frame that carries the checkpoint is what proves it.
    assert!(report.replayed <= 2, "{report:?}");
    let page = engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 3_000).unwrap();
    assert_eq!((page.entries.len(), page.resume), (2_000, None));
}

#[test]
fn a_second_opener_is_refused_and_a_closed_engine_lets_the_folder_go() {
    let machine = Machine::new();
    let engine = machine.engine();
    assert_eq!(machine.open().unwrap_err().kind(), ErrorKind::Unavailable);
    engine.close().unwrap();
    engine.close().unwrap();
    assert_eq!(put(&engine, Durability::Buffered, "a", "1").unwrap_err().kind(), ErrorKind::Closed);
    machine.engine();
}

#[test]
fn a_store_that_was_deleted_is_rebuilt_while_the_journal_reaches_back_to_the_start() {
    let machine = Machine::new();
    let engine = machine.engine();
    put(&engine, Durability::PowerLoss, "a", "1").unwrap();
    engine.checkpoint().unwrap();
    put(&engine, Durability::PowerLoss, "b", "2").unwrap();
    engine.close().unwrap();
    let fresh = Machine { store: Arc::new(MemoryStore::new()), ..machine.killed() };
    let (engine, report) = fresh.open().unwrap();
    assert!(report.rebuilt);
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
    assert_eq!(get(&engine, "b").as_deref(), Some("2"));
}

#[test]
fn a_journal_that_was_deleted_is_reported_and_nothing_is_silently_empty() {
    let machine = Machine::new();
    let engine = machine.engine();
    put(&engine, Durability::PowerLoss, "a", "1").unwrap();
    engine.close().unwrap();
    let journal = Path::new(FOLDER).join("gen-00000001/journal");
    for name in machine.disk.list(&journal).unwrap() {
        machine.disk.remove(&journal.join(name)).unwrap();
    }
    assert_eq!(machine.open().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn the_last_frame_damaged_after_a_clean_stop_is_noticed() {
    let machine = Machine::new();
    let engine = machine.engine();
    put(&engine, Durability::PowerLoss, "a", "needle in the journal").unwrap();
    engine.close().unwrap();
    let journal = Path::new(FOLDER).join("gen-00000001/journal");
    let mut found = 0;
    for name in machine.disk.list(&journal).unwrap() {
        machine
            .disk
            .damage(&journal.join(name), |bytes| {
                if let Some(at) = bytes.windows(6).position(|window| window == b"needle") {
                    bytes[at] ^= 1;
                    found += 1;
                }
            })
            .unwrap();
    }
    assert_eq!(found, 1);
    assert_eq!(machine.open().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_frame_whose_chain_hash_does_not_follow_from_what_was_committed_is_corrupt() {
    let machine = Machine::new();
    let engine = machine.engine();
    put(&engine, Durability::PowerLoss, "a", "1").unwrap();
    engine.close().unwrap();
    let journal = Path::new(FOLDER).join("gen-00000001/journal");
    let forge = |bytes: &mut Vec<u8>, wrong: bool| {
        let HeaderState::Valid(segment) = SegmentHeader::decode(&bytes[..SEGMENT_HEADER]).unwrap() else { return 0 };
        let before: Vec<_> = Frames::new(segment, bytes).map(|frame| frame.header.link()).collect();
        let [.., before, _] = before.as_slice() else { return 0 };
        let frame = Frames::new(segment, bytes).last().unwrap();
        // Every checksum of it is right; only what it says of the past is not.
        let hash = if wrong { ChainHash::START } else { before.hash };
        let FrameHeader { sequence, committed_ms, checkpoint, .. } = frame.header;
        let before = Link { hash, ..*before };
        let forged = FrameHeader::new(&segment, sequence, committed_ms, checkpoint, before, frame.payload);
        let mut frames = Frames::new(segment, bytes);
        frames.by_ref().for_each(drop);
        let at = frames.offset() - FRAME_HEADER - frame.payload.len();
        bytes[at..at + FRAME_HEADER].copy_from_slice(&forged.encode());
        1
    };
    for wrong in [false, true] {
        let mut machine = Machine { disk: machine.disk.kill(), ..Machine::new() };
        machine.store = Arc::default();
        let mut forged = 0;
        for name in machine.disk.list(&journal).unwrap() {
            machine.disk.damage(&journal.join(name), |bytes| forged += forge(bytes, wrong)).unwrap();
        }
        assert_eq!(forged, 1);
        match machine.open() {
            Ok(_) => assert!(!wrong),
            Err(error) => assert!(wrong && error.kind() == ErrorKind::Corrupt, "{error}"),
        }
    }
}

#[test]
fn an_engine_opened_for_reading_sees_everything_writes_nothing_and_keeps_the_epoch() {
    let machine = Machine::new();
    let opener = MemoryOpener::shared(Arc::clone(&machine.store));
    let read_only = |machine: &Machine| {
        LocalEngine::open_read_only(Arc::new(machine.disk.clone()), Path::new(FOLDER), &opener, &machine.config)
    };
    assert_eq!(read_only(&machine).unwrap_err().kind(), ErrorKind::NotFound);
    let engine = machine.engine();
    put(&engine, Durability::PowerLoss, "in the store", "1").unwrap();
    engine.checkpoint().unwrap();
    put(&engine, Durability::PowerLoss, "in the journal", "2").unwrap();
    assert_eq!(read_only(&machine).unwrap_err().kind(), ErrorKind::Unavailable);
    drop(engine);
    let before = machine.disk.counts();
    let (engine, report) = read_only(&machine).unwrap();
    assert!(report.replayed > 0);
    assert_eq!(engine.epoch().number, 1);
    assert_eq!(get(&engine, "in the store").as_deref(), Some("1"));
    assert_eq!(get(&engine, "in the journal").as_deref(), Some("2"));
    assert_eq!(engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 10).unwrap().entries.len(), 2);
    assert_eq!(put(&engine, Durability::PowerLoss, "c", "3").unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(engine.checkpoint().unwrap_err().kind(), ErrorKind::Unsupported);
    engine.close().unwrap();
    let after = machine.disk.counts();
    assert_eq!(
        (before.writes, before.creates, before.renames, before.removes),
        (after.writes, after.creates, after.renames, after.removes)
    );
    assert_eq!(machine.engine().epoch().number, 2);
}

#[test]
fn a_replay_larger_than_the_memtable_opens_and_goes_on() {
    let mut machine = Machine::new();
    machine.config.memtable_bytes = 8 << 20;
    let engine = machine.engine();
    for i in 0..300 {
        put(&engine, Durability::Buffered, &format!("key {i}"), &"x".repeat(12_000)).unwrap();
    }
    engine.sync().unwrap();
    let mut after = machine.killed();
    after.config.memtable_bytes = 1 << 20;
    drop(engine);
    let engine = after.engine();
    put(&engine, Durability::PowerLoss, "after", "1").unwrap();
    assert_eq!(engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 1_000).unwrap().entries.len(), 301);
}

#[test]
fn a_creation_that_failed_at_its_last_step_is_made_again() {
    let machine = Machine::new();
    machine.disk.fail_after(1, Fault::full().only(Call::Rename).on("CURRENT"));
    assert_eq!(machine.open().unwrap_err().kind(), ErrorKind::Full);
    let fresh = Machine { store: Arc::new(MemoryStore::new()), ..machine.killed() };
    let (engine, report) = fresh.open().unwrap();
    assert!(report.created);
    put(&engine, Durability::PowerLoss, "a", "1").unwrap();
}

#[test]
fn a_store_or_a_segment_of_another_folder_is_refused() {
    let (machine, other) = (Machine::new(), Machine::new());
    for made in [&machine, &other] {
        let engine = made.engine();
        put(&engine, Durability::PowerLoss, "a", "1").unwrap();
        engine.checkpoint().unwrap();
    }
    let mixed = Machine { store: Arc::clone(&other.store), ..machine.killed() };
    assert_eq!(mixed.open().unwrap_err().kind(), ErrorKind::Corrupt);

    let journal = Path::new(FOLDER).join("gen-00000001/journal");
    let name = other.disk.list(&journal).unwrap().into_iter().next().unwrap();
    let mut foreign = Vec::new();
    other.disk.damage(&journal.join(&name), |bytes| foreign = bytes.clone()).unwrap();
    machine.disk.damage(&journal.join(&name), |bytes| *bytes = foreign).unwrap();
    assert_eq!(machine.open().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_segment_missing_from_the_middle_is_reported() {
    let mut machine = Machine::new();
    machine.config.memtable_bytes = 8 << 20;
    let engine = machine.engine();
    for i in 0..600 {
        put(&engine, Durability::PowerLoss, &format!("key {i}"), &"x".repeat(1_500)).unwrap();
    }
    drop(engine);
    let journal = Path::new(FOLDER).join("gen-00000001/journal");
    let names = machine.disk.list(&journal).unwrap();
    assert!(names.len() >= 3, "{names:?}");
    machine.disk.remove(&journal.join(&names[1])).unwrap();
    assert_eq!(machine.open().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn each_opening_has_an_epoch_of_its_own_and_two_copies_of_a_folder_can_be_told_apart() {
    let machine = Machine::new();
    let first = machine.engine().epoch();
    let copy = machine.killed();
    let (here, there) = (machine.engine().epoch(), copy.engine().epoch());
    assert_eq!((first.number, here.number, there.number), (1, 2, 2));
    assert_ne!(here.id, there.id);
}

#[test]
fn closing_writes_what_is_open_and_leaves_the_memtable_for_the_next_replay() {
    let machine = Machine::new();
    let engine = machine.engine();
    put(&engine, Durability::Buffered, "a", "1").unwrap();
    let applied = engine.stats().applied_sequence;
    engine.close().unwrap();
    let (engine, report) = machine.open().unwrap();
    assert_eq!(engine.stats().applied_sequence, applied);
    assert!(report.replayed >= 2);
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
}

#[test]
fn a_folder_that_lost_its_current_file_is_reported() {
    let machine = Machine::new();
    let engine = machine.engine();
    put(&engine, Durability::PowerLoss, "a", "1").unwrap();
    drop(engine);
    machine.disk.remove(&Path::new(FOLDER).join("CURRENT")).unwrap();
    assert_eq!(machine.open().unwrap_err().kind(), ErrorKind::Corrupt);
}
