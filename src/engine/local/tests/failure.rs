//! What goes wrong in the world: failing syncs, full disks, stores that panic or hang.

use super::*;
use crate::engine::local::core::Sabotage;
use crate::engine::local::mark::Mark;
use crate::engine::local::opener::StoreOpener;
use crate::engine::local::reserve::store_needs;
use crate::engine::wrap::{FaultStore, Mishap, StoreCall, Times};
use crate::engine::{KvStore, WriteBatch};

/// Hands out one store, or an error, whoever asks.
#[derive(Debug)]
struct OpenerOf(Result<Arc<dyn KvStore>>);

impl StoreOpener for OpenerOf {
    fn engine(&self) -> &'static str {
        "memory"
    }

    fn is_persistent(&self) -> bool {
        false
    }

    fn open(&self, _folder: &Path, _cache_bytes: usize) -> Result<Arc<dyn KvStore>> {
        self.0.clone()
    }
}

impl Machine {
    fn open_with(&self, store: Result<Arc<dyn KvStore>>) -> Result<(LocalEngine, OpenReport)> {
        LocalEngine::open(Arc::new(self.disk.clone()), Path::new(FOLDER), &OpenerOf(store), &self.config)
    }
}

/// A store whose `apply` waits at a gate.
#[derive(Debug)]
struct GatedStore(Arc<MemoryStore>, Arc<Gate>);

impl KvStore for GatedStore {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.0.get(tree, key)
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Vec<(Vec<u8>, Value)>> {
        self.0.scan(tree, range, direction, limit)
    }

    fn apply(&self, batch: &WriteBatch) -> Result<()> {
        self.1.pass();
        self.0.apply(batch)
    }

    fn sync(&self) -> Result<()> {
        self.0.sync()
    }

    fn mark(&self) -> Result<Option<Value>> {
        self.0.mark()
    }

    fn disk_bytes(&self) -> u64 {
        0
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
        machine.disk.set_capacity(Some(2 * capacity));
        put(&engine, Durability::PowerLoss, "after", "room is back").unwrap();
        drop(engine);
        let engine = machine.power_cut(1).engine();
        for i in 0..acknowledged {
            assert_eq!(get(&engine, &format!("key {i}")).as_deref(), Some(value.as_str()));
        }
        assert_eq!(get(&engine, "after").as_deref(), Some("room is back"));
    }
}

#[test]
fn a_store_that_fails_or_panics_while_applying_closes_the_engine_and_nothing_acknowledged_is_lost() {
    let io = || Error::unavailable("planned");
    for (call, mishap) in [
        (StoreCall::Apply, Mishap::FailBefore(io())),
        (StoreCall::Apply, Mishap::FailAfter(io())),
        (StoreCall::Apply, Mishap::Panic),
        (StoreCall::Sync, Mishap::FailBefore(io())),
        (StoreCall::Sync, Mishap::Panic),
    ] {
        let machine = Machine::new();
        let faulty = Arc::new(FaultStore::new(Arc::clone(&machine.store) as Arc<dyn KvStore>));
        let (engine, _) = machine.open_with(Ok(Arc::clone(&faulty) as Arc<dyn KvStore>)).unwrap();
        put(&engine, Durability::PowerLoss, "a", "1").unwrap();
        faulty.plan(call, 1, Times::Once, mishap);
        assert_eq!(engine.checkpoint().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(put(&engine, Durability::PowerLoss, "b", "2").unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(engine.get(Tree::Kv, b"a").unwrap_err().kind(), ErrorKind::Closed);
        drop(engine);
        drop(faulty);
        let engine = machine.engine();
        assert_eq!(get(&engine, "a").as_deref(), Some("1"));
        assert_eq!(get(&engine, "b"), None);
    }
}

#[test]
fn a_store_that_panics_while_read_is_corrupt_and_closes_the_engine() {
    let machine = Machine::new();
    let faulty = Arc::new(FaultStore::new(Arc::clone(&machine.store) as Arc<dyn KvStore>));
    let (engine, _) = machine.open_with(Ok(Arc::clone(&faulty) as Arc<dyn KvStore>)).unwrap();
    faulty.plan(StoreCall::Get, 1, Times::Once, Mishap::Panic);
    assert_eq!(engine.get(Tree::Kv, b"absent").unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(engine.get(Tree::Kv, b"absent").unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn the_watchdog_closes_an_engine_whose_store_hangs_and_keeps_the_folder_locked() {
    let mut machine = Machine::new();
    machine.config.store_call_max_ms = 20;
    let gate = Arc::new(Gate::default());
    let store = Arc::new(GatedStore(Arc::clone(&machine.store), Arc::clone(&gate)));
    let (engine, _) = machine.open_with(Ok(store)).unwrap();
    put(&engine, Durability::PowerLoss, "a", "1").unwrap();
    gate.set(true);
    assert_eq!(engine.checkpoint().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(put(&engine, Durability::PowerLoss, "b", "2").unwrap_err().kind(), ErrorKind::Closed);
    let error = engine.close().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("restart the process"), "{error}");
    assert_eq!(machine.open().unwrap_err().kind(), ErrorKind::Unavailable);
    gate.set(false);
}

#[test]
fn a_damaged_store_is_moved_aside_and_rebuilt_when_the_journal_covers_it_all_else_reported() {
    let mut machine = Machine::new();
    let engine = machine.engine();
    put(&engine, Durability::PowerLoss, "a", "1").unwrap();
    engine.checkpoint().unwrap();
    drop(engine);
    let damaged = || Err(Error::corrupt("planned damage"));
    // The opener answers the same for the new store: what can't be replaced stays where it is.
    assert_eq!(machine.open_with(damaged()).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(machine.disk.list(&Path::new(FOLDER).join("gen-00000001")).unwrap(), ["journal", "store"]);
    let (engine, report) = machine.open_with(Ok(Arc::new(MemoryStore::new()))).unwrap();
    assert!(report.rebuilt);
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
    drop(engine);

    machine = Machine::new();
    machine.config.journal_retention_bytes = 0;
    let engine = machine.engine();
    for i in 0..600 {
        put(&engine, Durability::Buffered, &format!("key {i}"), &"x".repeat(1_500)).unwrap();
    }
    engine.checkpoint().unwrap();
    drop(engine);
    let error = machine.open_with(damaged()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("does not reach back to the start"), "{error}");
    let names = machine.disk.list(&Path::new(FOLDER).join("gen-00000001")).unwrap();
    assert!(names.iter().all(|name| !name.contains("damaged")), "{names:?}");
}

#[test]
fn what_the_operating_system_refuses_at_open_touches_nothing() {
    let machine = Machine::new();
    let engine = machine.engine();
    put(&engine, Durability::PowerLoss, "a", "1").unwrap();
    drop(engine);
    for kind in [ErrorKind::Full, ErrorKind::Unavailable] {
        let before = machine.disk.counts();
        let refused = machine.open_with(Err(Error::new(kind, "planned"))).unwrap_err();
        assert_eq!(refused.kind(), kind);
        let after = machine.disk.counts();
        assert_eq!((before.writes, before.renames, before.removes), (after.writes, after.renames, after.removes));
    }
    assert_eq!(get(&machine.engine(), "a").as_deref(), Some("1"));
}

#[test]
fn the_journal_never_grows_past_its_cap_while_the_store_keeps_up() {
    let mut machine = Machine::new();
    machine.config.journal_max_bytes = 4 << 20;
    let engine = machine.engine();
    for i in 0..6_000 {
        put(&engine, Durability::Buffered, &format!("key {i}"), &"x".repeat(1_500)).unwrap();
        assert!(engine.stats().journal_bytes <= 4 << 20);
    }
    engine.sync().unwrap();
    assert!(engine.stats().journal_appended_bytes > 8 << 20);
}

#[test]
fn a_mark_that_moves_before_the_last_chunk_is_noticed() {
    let lost = |sabotage| {
        let mut machine = Machine::new();
        machine.config.memtable_bytes = 8 << 20;
        let faulty = Arc::new(FaultStore::new(Arc::clone(&machine.store) as Arc<dyn KvStore>));
        let (engine, _) = machine.open_with(Ok(Arc::clone(&faulty) as Arc<dyn KvStore>)).unwrap();
        *engine.core.sabotage.lock() = sabotage;
        for i in 0..1_500 {
            put(&engine, Durability::Buffered, &format!("key {i:04}"), "x").unwrap();
        }
        engine.sync().unwrap();
        // The first of three chunks is in; then the store fails, and the process ends with a frame that says how far
        // the store came.
        faulty.plan(StoreCall::Apply, 2, Times::Forever, Mishap::FailBefore(Error::unavailable("planned")));
        assert_eq!(engine.checkpoint().unwrap_err().kind(), ErrorKind::Closed);
        drop(engine);
        drop(faulty);
        // What a store's mark promises is all that is left of frames once their segments are gone.
        let mark = Mark::decode(&machine.store.mark().unwrap().unwrap()).unwrap();
        let there = machine.store.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 2_000).unwrap().len();
        mark.applied > 1 && there < 1_500
    };
    assert!(!lost(None));
    assert!(lost(Some(Sabotage::MarkFirst)));
}

#[test]
fn a_memtable_waits_for_room_on_the_disk_instead_of_letting_the_store_meet_a_full_one() {
    // The disk is large until the table is in memory: on a small one the keeper might have it moved before.
    let machine = Machine::new();
    let engine = machine.engine();
    for i in 0..60 {
        put(&engine, Durability::PowerLoss, &format!("key {i}"), &"x".repeat(8_000)).unwrap();
    }
    machine.disk.set_capacity(Some(machine.disk.used_bytes() + (1 << 20)));
    assert_eq!(engine.checkpoint().unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(engine.stats().store_syncs, 0);
    put(&engine, Durability::PowerLoss, "still", "committed").unwrap();
    machine.disk.set_capacity(None);
    engine.checkpoint().unwrap();
    assert!(engine.stats().store_syncs > 0);
    assert_eq!(engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 100).unwrap().entries.len(), 61);
}

#[test]
fn the_journal_leaves_the_store_the_room_that_it_will_need_for_what_is_in_memory() {
    for (capacity, keys) in [(4 << 20, 10), (4 << 20, 1 << 20), (7 << 20, 100), (12 << 20, 1 << 20)] {
        let mut machine = Machine::new();
        machine.disk = SimDisk::recording().with_capacity(capacity);
        machine.config.journal_retention_bytes = 0;
        let engine = machine.engine();
        let value = "x".repeat(8_000);
        for i in 0..3 * capacity / 8_000 {
            let done = put(&engine, Durability::PowerLoss, &format!("key {}", i % keys), &value);
            done.unwrap_or_else(|error| panic!("commit {i} of {keys} keys on {capacity} bytes: {error}"));
            let free = capacity - machine.disk.used_bytes();
            // A commit that is between the journal and the memtable is in neither figure for a moment.
            let needed = store_needs(engine.stats().memtable_bytes.saturating_sub(8_200) as u64);
            assert!(free >= needed, "commit {i} of {keys} keys on {capacity} bytes: {free} < {needed}");
        }
        engine.checkpoint().unwrap();
    }
}

/// The keeper makes the segments beside the commits.
fn wait_for_a_spare(engine: &LocalEngine) {
    while engine.core.pipeline.lock().room.spare.is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn on_a_disk_that_others_filled_the_journal_gives_back_what_the_store_holds() {
    let machine = Machine::new();
    let engine = machine.engine();
    let value = "x".repeat(8_000);
    for i in 0..420 {
        put(&engine, Durability::Buffered, &format!("key {i}"), &value).unwrap();
        if i == 400 {
            engine.checkpoint().unwrap();
        }
    }
    wait_for_a_spare(&engine);
    let before = engine.stats().journal_bytes;
    machine.disk.set_capacity(Some(machine.disk.used_bytes() + (1 << 20)));
    engine.checkpoint().unwrap();
    assert!(engine.stats().journal_bytes < before);
    machine.disk.set_capacity(None);
    drop(engine);
    let engine = machine.power_cut(1).engine();
    assert_eq!(engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 1_000).unwrap().entries.len(), 420);
}

#[test]
fn on_a_disk_that_others_filled_the_journal_gives_back_the_segment_that_it_has_ready() {
    let mut machine = Machine::new();
    machine.config.journal_retention_bytes = 0;
    let engine = machine.engine();
    let value = "x".repeat(8_000);
    for i in 0..400 {
        put(&engine, Durability::PowerLoss, &format!("key {i}"), &value).unwrap();
    }
    engine.checkpoint().unwrap();
    for i in 400..410 {
        put(&engine, Durability::PowerLoss, &format!("key {i}"), &value).unwrap();
    }
    wait_for_a_spare(&engine);
    let before = engine.stats();
    machine.disk.set_capacity(Some(machine.disk.used_bytes() + (1 << 20)));
    engine.checkpoint().unwrap();
    let after = engine.stats();
    assert!(after.journal_bytes < before.journal_bytes, "{} bytes", after.journal_bytes);
    machine.disk.set_capacity(None);
    for i in 410..1_000 {
        put(&engine, Durability::PowerLoss, &format!("key {i}"), &value).unwrap();
    }
    drop(engine);
    let engine = machine.power_cut(1).engine();
    assert_eq!(engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 1_000).unwrap().entries.len(), 1_000);
}
