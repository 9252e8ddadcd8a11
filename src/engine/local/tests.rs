//! The engine as a whole, on the simulated disk: durability, isolation, recovery, failure.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};

use super::disk::{Disk, DiskFile, LockGuard};
use super::sim::{Call, Fault, SimDisk};
use super::{LocalEngine, OpenReport};
use crate::config::{Config, Durability};
use crate::engine::memory::{MemoryOpener, MemoryStore};
use crate::engine::{Change, Cursor, Direction, Engine, KeyRange, Reader, Tree, TxnOptions, Value, read_counter};
use crate::error::{ErrorKind, Result};

const FOLDER: &str = "/data";

/// A disk and a store that outlive the engine, so that closing and reopening is an operation like any other.
struct Machine {
    disk: SimDisk,
    store: Arc<MemoryStore>,
    config: Config,
}

impl Machine {
    fn new() -> Self {
        let mut config = Config::new().unwrap();
        config.memtable_bytes = 1 << 20;
        Machine { disk: SimDisk::recording(), store: Arc::new(MemoryStore::new()), config }
    }

    fn open(&self) -> Result<(LocalEngine, OpenReport)> {
        let opener = MemoryOpener::shared(Arc::clone(&self.store));
        LocalEngine::open(Arc::new(self.disk.clone()), Path::new(FOLDER), &opener, &self.config)
    }

    fn engine(&self) -> LocalEngine {
        self.open().unwrap().0
    }

    /// The machine after a kill: what was written stays, the process's memory is gone.
    fn killed(&self) -> Machine {
        Machine { disk: self.disk.kill(), store: Arc::clone(&self.store), config: self.config.clone() }
    }

    /// The machine after a power cut.
    fn power_cut(&self, seed: u64) -> Machine {
        Machine { disk: self.disk.crash(seed), store: Arc::clone(&self.store), config: self.config.clone() }
    }
}

fn put(engine: &LocalEngine, durability: Durability, key: &str, value: &str) -> Result<()> {
    let options = TxnOptions::durability(durability);
    engine.transact(&options, &mut |txn| txn.put(Tree::Kv, key.as_bytes(), Value::from(value.as_bytes()))).map(drop)
}

fn get(engine: &dyn Reader, key: &str) -> Option<String> {
    engine.get(Tree::Kv, key.as_bytes()).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn an_acknowledged_commit_survives_a_power_cut_and_a_buffered_one_survives_it_after_sync() {
    let machine = Machine::new();
    let engine = machine.engine();
    put(&engine, Durability::PowerLoss, "a", "1").unwrap();
    put(&engine, Durability::Buffered, "b", "2").unwrap();
    assert_eq!(get(&engine, "b").as_deref(), Some("2"));
    engine.sync().unwrap();
    for seed in 0..20 {
        let after = machine.power_cut(seed);
        let (engine, report) = after.open().unwrap();
        assert!(!report.created && report.replayed >= 2);
        assert_eq!(get(&engine, "a").as_deref(), Some("1"));
        assert_eq!(get(&engine, "b").as_deref(), Some("2"));
        assert_eq!(engine.epoch().number, 2);
    }
}

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

/// A disk whose syncs of journal segments wait while its gate is shut.
#[derive(Debug, Clone)]
struct GatedDisk {
    disk: SimDisk,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set(&self, shut: bool) {
        *self.shut.lock() = shut;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut shut = self.shut.lock();
        while *shut {
            self.opened.wait(&mut shut);
        }
    }
}

#[derive(Debug)]
struct GatedFile(Box<dyn DiskFile>, Arc<Gate>);

impl DiskFile for GatedFile {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn sync_data(&self) -> Result<()> {
        self.1.pass();
        self.0.sync_data()
    }
}

impl Disk for GatedDisk {
    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(self.disk.create(path)?, Arc::clone(&self.gate))))
    }

    fn open(&self, path: &Path, write: bool) -> Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(self.disk.open(path, write)?, Arc::clone(&self.gate))))
    }

    fn create_dir(&self, path: &Path) -> Result<()> {
        self.disk.create_dir(path)
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.disk.remove(path)
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn sync_dir(&self, folder: &Path) -> Result<()> {
        self.disk.sync_dir(folder)
    }

    fn lock(&self, folder: &Path) -> Result<Box<dyn LockGuard>> {
        self.disk.lock(folder)
    }

    fn free_bytes(&self, folder: &Path) -> Result<Option<u64>> {
        self.disk.free_bytes(folder)
    }

    fn syncs_folders(&self) -> bool {
        self.disk.syncs_folders()
    }
}

#[test]
fn commits_that_come_during_a_sync_share_the_next_one_and_none_is_seen_or_acknowledged_before_its_own() {
    let machine = Machine::new();
    let gate = Arc::new(Gate::default());
    let disk = GatedDisk { disk: machine.disk.clone(), gate: Arc::clone(&gate) };
    let opener = MemoryOpener::shared(Arc::clone(&machine.store));
    let (engine, _) = LocalEngine::open(Arc::new(disk), Path::new(FOLDER), &opener, &machine.config).unwrap();
    let before = engine.stats();
    let acknowledged = AtomicUsize::new(0);
    gate.set(true);
    std::thread::scope(|scope| {
        for thread in 0..64 {
            let (engine, acknowledged) = (&engine, &acknowledged);
            scope.spawn(move || {
                let options = TxnOptions::default();
                let key = format!("key {thread}");
                engine
                    .transact(&options, &mut |txn| {
                        txn.put(Tree::Kv, key.as_bytes(), Value::from(&b"x"[..]))?;
                        txn.add(Tree::Counter, b"sum", 1)
                    })
                    .unwrap();
                acknowledged.fetch_add(1, Ordering::SeqCst);
            });
        }
        // All 64 have committed, to the batch whose sync is held up and to the one behind it.
        let committed = || {
            let pipeline = engine.core.pipeline.lock();
            pipeline.open.commits + pipeline.sealed.as_ref().map_or(0, |sealed| sealed.commits)
        };
        while committed() < 64 {
            std::thread::yield_now();
        }
        assert_eq!(acknowledged.load(Ordering::SeqCst), 0);
        assert_eq!(engine.get(Tree::Counter, b"sum").unwrap(), None);
        // A power cut here may take any of it, but a counter and its keys go together.
        for seed in 0..20 {
            let engine = machine.power_cut(seed).engine();
            let keys = engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 100).unwrap().entries.len();
            let sum = engine.get(Tree::Counter, b"sum").unwrap();
            assert_eq!(read_counter(Tree::Counter, b"sum", sum.as_deref()).unwrap(), keys as i64);
        }
        gate.set(false);
    });
    let stats = engine.stats();
    assert_eq!(stats.commits - before.commits, 64);
    assert_eq!(stats.journal_syncs - before.journal_syncs, 2);
    for seed in 0..20 {
        let engine = machine.power_cut(seed).engine();
        let sum = engine.get(Tree::Counter, b"sum").unwrap();
        assert_eq!(read_counter(Tree::Counter, b"sum", sum.as_deref()).unwrap(), 64);
    }
}

#[test]
fn a_failed_sync_closes_the_engine_and_the_commit_is_unknown() {
    let machine = Machine::new();
    let engine = machine.engine();
    put(&engine, Durability::PowerLoss, "a", "1").unwrap();
    machine.disk.power_off();
    let error = put(&engine, Durability::PowerLoss, "b", "2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitUnknown);
    assert_eq!(put(&engine, Durability::PowerLoss, "c", "3").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(engine.get(Tree::Kv, b"a").unwrap_err().kind(), ErrorKind::Closed);
    drop(engine);
    let engine = machine.power_cut(1).engine();
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
    assert_eq!(get(&engine, "c"), None);
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
fn a_scan_under_writers_and_a_moving_applier_is_one_point_in_time() {
    let machine = Machine::new();
    let engine = machine.engine();
    let keys: Vec<String> = (0..50).map(|i| format!("k{i:02}")).collect();
    let write = |round: u32| {
        let options = TxnOptions::durability(Durability::Buffered);
        let value = Value::from(vec![round as u8; 2_000]);
        engine
            .transact(&options, &mut |txn| {
                keys.iter().try_for_each(|key| txn.put(Tree::Kv, key.as_bytes(), value.clone()))
            })
            .unwrap();
    };
    write(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..300 {
                write(round);
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                engine.checkpoint().unwrap();
            }
        });
        let mut pages = 0;
        while !done.load(Ordering::SeqCst) {
            let page = engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 100).unwrap();
            assert_eq!(page.entries.len(), 50);
            assert!(page.entries.windows(2).all(|pair| pair[0].1 == pair[1].1), "a torn page");
            engine
                .read_view(&mut |view| {
                    let first = view.get(Tree::Kv, b"k00")?;
                    let last = view.get(Tree::Kv, b"k49")?;
                    assert_eq!(first, last);
                    Ok(())
                })
                .unwrap();
            pages += 1;
        }
        assert!(pages > 0);
    });
    assert!(engine.stats().store_syncs > 0);
}

#[test]
fn a_full_disk_refuses_new_commits_and_they_go_on_when_room_is_back() {
    let machine = Machine::new();
    let engine = machine.engine();
    let big = "x".repeat(10_000);
    put(&engine, Durability::PowerLoss, "first", &big).unwrap();
    machine.disk.set_capacity(Some(machine.disk.used_bytes()));
    let mut acknowledged = Vec::new();
    let error = loop {
        let key = format!("key {}", acknowledged.len());
        match put(&engine, Durability::PowerLoss, &key, &big) {
            Ok(()) => acknowledged.push(key),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(get(&engine, "first").as_deref(), Some(big.as_str()));
    machine.disk.set_capacity(None);
    put(&engine, Durability::PowerLoss, "after", "room is back").unwrap();
    drop(engine);
    let engine = machine.power_cut(5).engine();
    for key in acknowledged {
        assert_eq!(get(&engine, &key).as_deref(), Some(big.as_str()));
    }
    assert_eq!(get(&engine, "after").as_deref(), Some("room is back"));
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

/// Every change after `cursor`, page by page.
fn feed(engine: &LocalEngine, mut cursor: Cursor, limit: usize) -> (Vec<Change>, Cursor) {
    let mut all = Vec::new();
    loop {
        let page = engine.changes(&cursor, limit).unwrap();
        if page.changes.is_empty() && page.cursor == cursor {
            return (all, cursor);
        }
        all.extend(page.changes);
        cursor = page.cursor;
    }
}

#[test]
fn the_change_feed_tells_every_durable_write_in_order_over_segments_and_reopenings() {
    let machine = Machine::new();
    let mut expected: Vec<(String, Option<String>)> = Vec::new();
    let mut engine = machine.engine();
    let start = engine.cursor();
    for round in 0..4 {
        for i in 0..150 {
            let (key, value) = (format!("key {}", i % 40), format!("{round} {i} {}", "x".repeat(1_500)));
            put(&engine, Durability::PowerLoss, &key, &value).unwrap();
            expected.push((key, Some(value)));
        }
        let gone = format!("key {round}");
        let options = TxnOptions::default();
        engine.transact(&options, &mut |txn| txn.delete(Tree::Kv, gone.as_bytes())).unwrap();
        expected.push((gone, None));
        if round == 1 {
            engine.checkpoint().unwrap();
        }
        engine.close().unwrap();
        engine = machine.engine();
    }
    for limit in [1, 7, 1_000] {
        let (changes, end) = feed(&engine, start, limit);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let seen: Vec<(String, Option<String>)> = changes
            .iter()
            .filter(|change| change.tree == Tree::Kv)
            .map(|change| (text(&change.key), change.value.as_deref().map(text)))
            .collect();
        assert!(seen == expected, "limit {limit}");
        assert!(changes.windows(2).all(|pair| pair[0].cursor <= pair[1].cursor));
        assert_eq!(end, engine.cursor());
    }
    assert_eq!(engine.stats().journal_pinned_bytes, 0);
}

#[test]
fn a_feed_reader_behind_the_journal_or_of_another_history_is_told_so() {
    let mut machine = Machine::new();
    machine.config.journal_retention_bytes = 0;
    let engine = machine.engine();
    let start = engine.cursor();
    for i in 0..2_000 {
        put(&engine, Durability::Buffered, &format!("key {i}"), &"x".repeat(1_500)).unwrap();
    }
    engine.checkpoint().unwrap();
    put(&engine, Durability::PowerLoss, "last", "1").unwrap();
    engine.checkpoint().unwrap();
    assert_eq!(engine.changes(&start, 10).unwrap_err().kind(), ErrorKind::NeedsFull);

    let here = engine.cursor();
    let of = |change: &dyn Fn(&mut Cursor)| {
        let mut cursor = here;
        change(&mut cursor);
        engine.changes(&cursor, 10).unwrap_err().kind()
    };
    assert_eq!(of(&|cursor| cursor.lineage ^= 1), ErrorKind::Invalid);
    assert_eq!(of(&|cursor| cursor.sequence += 1_000), ErrorKind::Invalid);
    assert_eq!(of(&|cursor| cursor.epoch.id ^= 1), ErrorKind::Invalid);
    assert_eq!(of(&|cursor| cursor.epoch.number += 1), ErrorKind::Invalid);
}

#[test]
fn a_body_that_swallows_the_error_of_a_write_past_the_limits_commits_nothing() {
    let machine = Machine::new();
    let engine = machine.engine();
    let value = Value::from(vec![0; 16 << 10]);
    let error = engine
        .transact(&TxnOptions::default(), &mut |txn| {
            for i in 0..2_000 {
                if txn.put(Tree::Kv, format!("key {i}").as_bytes(), value.clone()).is_err() {
                    break;
                }
            }
            Ok(())
        })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 1).unwrap().entries.is_empty());
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
fn small_disks_open_work_say_full_and_go_on_when_room_is_back() {
    for capacity in [4 << 20, 12 << 20] {
        let mut machine = Machine::new();
        machine.disk = SimDisk::recording().with_capacity(capacity);
        machine.config = Config::new().unwrap();
        let engine = machine.engine();
        let value = "x".repeat(8_000);
        let mut acknowledged = 0;
        let error = loop {
            match put(&engine, Durability::PowerLoss, &format!("key {acknowledged}"), &value) {
                Ok(()) => acknowledged += 1,
                Err(error) => break error,
            }
            // The memory store takes nothing of the disk, so with checkpoints the journal alone would never fill it.
            assert!(acknowledged < 10_000);
            if acknowledged > 3 * capacity / 8_000 {
                machine.disk.set_capacity(Some(machine.disk.used_bytes()));
            }
        };
        assert_eq!(error.kind(), ErrorKind::Full);
        assert!(acknowledged * 8_000 > capacity / 4, "only {acknowledged} commits on {capacity} bytes");
        assert_eq!(get(&engine, "key 0").as_deref(), Some(value.as_str()));
        machine.disk.set_capacity(Some(2 * capacity as u64));
        put(&engine, Durability::PowerLoss, "after", "room is back").unwrap();
        drop(engine);
        let engine = machine.power_cut(1).engine();
        for i in 0..acknowledged {
            assert_eq!(get(&engine, &format!("key {i}")).as_deref(), Some(value.as_str()));
        }
        assert_eq!(get(&engine, "after").as_deref(), Some("room is back"));
    }
}
