//! The local engine over the memory store with a folder: power cuts, and a store that is damaged, gone or left behind.

// A panic in a test is its failure, in helpers too.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ml_persistence::engine::local::disk::Disk;
use ml_persistence::engine::local::sim::SimDisk;
use ml_persistence::engine::local::{LocalEngine, OpenReport};
use ml_persistence::engine::memory::MemoryOpener;
use ml_persistence::engine::{Direction, Engine, KeyRange, Reader, Tree, TxnOptions, Value};
use ml_persistence::{Config, ErrorKind, Result};

fn open(disk: &SimDisk) -> Result<(LocalEngine, OpenReport)> {
    open_keeping(disk, 64 << 20)
}

/// Opens it with a journal that keeps so much of what the store holds already.
fn open_keeping(disk: &SimDisk, journal_retention_bytes: u64) -> Result<(LocalEngine, OpenReport)> {
    let mut config = Config::new()?;
    config.memtable_bytes = 1 << 20;
    config.journal_retention_bytes = journal_retention_bytes;
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    LocalEngine::open(Arc::clone(&disk), Path::new("/data"), &MemoryOpener::in_folder(disk), &config)
}

fn put(engine: &LocalEngine, key: &str, bytes: usize) -> Result<()> {
    let value = Value::from("x".repeat(bytes).as_bytes());
    let done = engine.transact(&TxnOptions::default(), &mut |txn| {
        txn.put(Tree::Kv, key.as_bytes(), value.clone())?;
        txn.add(Tree::Counter, b"sum", 1)
    });
    done.map(drop)
}

fn keys(engine: &LocalEngine) -> Vec<String> {
    let page = engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 10_000).unwrap();
    assert_eq!(page.resume, None);
    page.entries.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

fn store_folder() -> PathBuf {
    Path::new("/data").join("gen-00000001/store")
}

fn store_files(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |name: String| {
        let path = store_folder().join(name);
        let file = disk.open(&path, false).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        (path, bytes)
    };
    disk.list(&store_folder()).unwrap().into_iter().map(read).collect()
}

/// Commits ten keys, each third followed by a checkpoint. Answers those acknowledged, and whether it came to the end.
fn run(disk: &SimDisk) -> (Vec<String>, bool) {
    let mut acknowledged = Vec::new();
    let ended = (|| {
        let (engine, _) = open(disk)?;
        for number in 0..10 {
            let key = format!("key {number}");
            put(&engine, &key, 900)?;
            acknowledged.push(key);
            if number % 3 == 2 {
                engine.checkpoint()?;
            }
        }
        engine.close()
    })();
    (acknowledged, ended.is_ok())
}

#[test]
fn a_power_cut_at_any_call_takes_nothing_that_was_acknowledged() {
    let mut call = 0;
    loop {
        call += 1;
        let disk = SimDisk::recording();
        disk.crash_at(call);
        let (acknowledged, ended) = run(&disk);
        if ended && !disk.is_off() {
            break;
        }
        for seed in 0..5 {
            let after = disk.crash(seed);
            let doing = format!("call {call}, seed {seed}");
            if seed == 0 {
                // The power goes again while it is being opened.
                let again = disk.crash(seed);
                again.crash_at(call % 40 + 1);
                drop(open(&again));
                let (engine, _) = open(&again.crash(seed)).expect(&doing);
                assert!(acknowledged.iter().all(|key| keys(&engine).contains(key)), "{doing}, again");
            }
            let (engine, _) = open(&after).expect(&doing);
            let found = keys(&engine);
            assert!(found.starts_with(&acknowledged) && found.len() <= acknowledged.len() + 1, "{doing}: {found:?}");
            put(&engine, "key z", 1).unwrap();
            engine.checkpoint().unwrap();
            let after = after.crash(seed);
            drop(engine);
            let (engine, report) = open(&after).expect(&doing);
            assert!(!report.rebuilt, "{doing}");
            assert_eq!(keys(&engine).len(), found.len() + 1, "{doing}");
        }
    }
    assert!(call > 60, "{call} calls");
}

/// A disk with one key in the store, and that disk later on, with two; closed both times.
fn two_moments() -> (SimDisk, SimDisk) {
    let disk = SimDisk::recording();
    let moment = |key: &str| {
        let (engine, _) = open(&disk).unwrap();
        put(&engine, key, 900).unwrap();
        engine.checkpoint().unwrap();
        engine.close().unwrap();
        disk.kill()
    };
    (moment("a"), moment("b"))
}

#[test]
fn a_store_that_is_damaged_gone_or_left_behind_is_rebuilt_while_the_journal_reaches_back() {
    let (earlier, now) = two_moments();
    let damaged = |part: &str| {
        let disk = now.kill();
        let (path, bytes) = store_files(&disk).into_iter().find(|(path, _)| path.is_named(part)).unwrap();
        disk.damage(&path, |content| content[bytes.len().min(40) - 1] ^= 1).unwrap();
        disk
    };
    let gone = now.kill();
    gone.remove_dir_all(&store_folder()).unwrap();
    let left_behind = now.kill();
    left_behind.remove_dir_all(&store_folder()).unwrap();
    left_behind.create_dir(&store_folder()).unwrap();
    for (path, bytes) in store_files(&earlier) {
        left_behind.create(&path).unwrap().write_at(0, &bytes).unwrap();
    }
    for disk in [damaged("snapshot"), damaged("log"), gone, left_behind] {
        let (engine, report) = open(&disk).unwrap();
        assert!(report.rebuilt);
        assert_eq!(keys(&engine), ["a", "b"]);
        engine.checkpoint().unwrap();
        engine.close().unwrap();
        let (engine, report) = open(&disk).unwrap();
        assert!(!report.rebuilt);
        assert_eq!(keys(&engine), ["a", "b"]);
    }
}

#[test]
fn a_store_that_the_journal_cannot_make_up_for_is_corrupt_and_never_empty() {
    let (earlier, disk) = two_moments();
    let (engine, _) = open_keeping(&disk, 0).unwrap();
    for number in 0..300 {
        put(&engine, &format!("key {number}"), 9_000).unwrap();
    }
    engine.checkpoint().unwrap();
    engine.close().unwrap();
    // The journal frees its segments at the next opening at the latest.
    drop(open_keeping(&disk, 0).unwrap());
    let first = store_files(&disk);
    let gone = disk.kill();
    gone.remove_dir_all(&store_folder()).unwrap();
    let without_snapshot = disk.kill();
    without_snapshot.remove(&first.iter().find(|(path, _)| path.is_named("snapshot")).unwrap().0).unwrap();
    let left_behind = gone.kill();
    left_behind.create_dir(&store_folder()).unwrap();
    for (path, bytes) in store_files(&earlier) {
        left_behind.create(&path).unwrap().write_at(0, &bytes).unwrap();
    }
    for disk in [gone, without_snapshot, left_behind] {
        assert_eq!(open(&disk).map(drop).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_small_disk_holds_a_churn_of_few_data_and_when_it_is_full_nothing_is_lost() {
    let capacity = 4u64 << 20;
    let disk = SimDisk::recording().with_capacity(capacity);
    let (engine, _) = open_keeping(&disk, 0).unwrap();
    for number in 0..3 * capacity / 8_000 {
        put(&engine, &format!("churn {}", number % 10), 8_000).unwrap();
        if number % 20 == 0 {
            engine.checkpoint().unwrap();
        }
    }
    let mut acknowledged = 0;
    let refused = loop {
        match put(&engine, &format!("key {acknowledged}"), 8_000) {
            Ok(()) => acknowledged += 1,
            Err(refused) => break refused,
        }
    };
    // Where the store is what finds the disk full, the engine is closed, and says why.
    assert!(matches!(refused.kind(), ErrorKind::Full | ErrorKind::Closed), "{refused}");
    assert!(refused.to_string().contains("no storage space") || refused.kind() == ErrorKind::Full, "{refused}");
    assert!(acknowledged > capacity / 8 / 8_000, "{acknowledged}");
    disk.set_capacity(Some(10 * capacity));
    let engine = if refused.kind() == ErrorKind::Full {
        engine
    } else {
        drop(engine);
        open(&disk).unwrap().0
    };
    put(&engine, "after", 8_000).unwrap();
    engine.checkpoint().unwrap();
    for seed in 0..3 {
        let (engine, _) = open(&disk.crash(seed)).unwrap();
        assert_eq!(keys(&engine).len() as u64, 11 + acknowledged);
    }
}

trait Named {
    fn is_named(&self, prefix: &str) -> bool;
}

impl Named for PathBuf {
    fn is_named(&self, prefix: &str) -> bool {
        self.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    }
}
