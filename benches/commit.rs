//! What a commit and a read cost in the local engine over sled: for noticing that one got slower.
//!
//! `cargo bench --bench commit` compares with the run before; absolute numbers belong to the machine. How we stand
//! beside other stores, and with many callers, is what `benches/compare` measures.
//!
//! A commit is a record of 300 bytes, an index entry and a counter in one transaction, as in `benches/compare`.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::disk::{Disk, RealDisk};
use ml_persistence::engine::local::opener::StoreOpener;
use ml_persistence::engine::local::sim::SimDisk;
use ml_persistence::engine::memory::MemoryOpener;
use ml_persistence::engine::sled::SledOpener;
use ml_persistence::engine::{Engine, Reader, Tree, TxnOptions, Value};
use ml_persistence::{Config, Durability, Error};

const RECORD_BYTES: usize = 300;
/// Records that reads choose from.
const STORED: u64 = 10_000;
/// Commits in the batch whose frame is measured.
const BATCH: u64 = 64;

fn open(disk: Arc<dyn Disk>, folder: &Path, opener: &dyn StoreOpener) -> Result<LocalEngine, Error> {
    Ok(LocalEngine::open(disk, folder, opener, &Config::new()?)?.0)
}

/// Keys of a record and of its index entry.
fn keys(number: u64) -> ([u8; 16], [u8; 24]) {
    let (mut key, mut entry) = ([0; 16], [0; 24]);
    key[8..].copy_from_slice(&number.to_be_bytes());
    // Index entries fall all over the index: an odd multiplier reaches every number once.
    entry[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    entry[8..].copy_from_slice(&key);
    (key, entry)
}

fn commit(engine: &LocalEngine, durability: Durability, number: u64) -> Result<(), Error> {
    let (key, entry) = keys(number);
    let record: Value = Arc::from([number as u8; RECORD_BYTES]);
    let nothing: Value = Arc::from([]);
    engine.transact(&TxnOptions::durability(durability), &mut |txn| {
        txn.put(Tree::Records, &key, Arc::clone(&record))?;
        txn.put(Tree::Index, &entry, Arc::clone(&nothing))?;
        txn.add(Tree::Counter, b"records", 1)
    })?;
    Ok(())
}

fn commits(criterion: &mut Criterion) {
    let scratch = tempfile::tempdir().expect("a folder for the bench");
    let next = AtomicU64::new(0);
    let number = || next.fetch_add(1, Ordering::Relaxed);
    // What runs in memory alone must not fill it.
    let some_number = || number() % STORED;
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    let engine = open(Arc::new(RealDisk::new()), &scratch.path().join("sled"), &SledOpener).expect("a fresh store");
    // One device wait: the rest is ours.
    group.bench_function("durable, lone caller", |bench| {
        bench.iter(|| commit(&engine, Durability::PowerLoss, number()).expect("room"));
    });
    // Past half a memtable this is the applier's pace, which is what a host gets in the long run.
    group.bench_function("buffered, lone caller", |bench| {
        bench.iter(|| commit(&engine, Durability::Buffered, number()).expect("room"));
    });
    engine.close().expect("a clean end");
    // Without a device and a store to wait for: the engine's own work in a durable commit, wake-ups included.
    let engine = open(Arc::new(SimDisk::new()), Path::new("/bench"), &MemoryOpener::new()).expect("a fresh store");
    group.bench_function("durable, no device", |bench| {
        bench.iter(|| commit(&engine, Durability::PowerLoss, some_number()).expect("room"));
    });
    group.throughput(Throughput::Elements(BATCH));
    // 64 commits in one frame: merge, encode, checksum and publish.
    group.bench_function("a batch of 64, no device", |bench| {
        bench.iter(|| {
            for _ in 0..BATCH {
                commit(&engine, Durability::Buffered, some_number()).expect("room");
            }
            engine.sync().expect("the simulated device never fails")
        });
    });
    group.finish();
    engine.close().expect("a clean end");
}

fn reads(criterion: &mut Criterion) {
    let scratch = tempfile::tempdir().expect("a folder for the bench");
    let engine = open(Arc::new(RealDisk::new()), &scratch.path().join("sled"), &SledOpener).expect("a fresh store");
    let fill = |from: u64| {
        (from..from + STORED).try_for_each(|number| commit(&engine, Durability::Buffered, number)).expect("room");
    };
    fill(0);
    engine.checkpoint().expect("the store takes it");
    fill(STORED);
    let next = AtomicU64::new(0);
    let mut group = criterion.benchmark_group("get");
    for (name, from) in [("from the store", 0), ("from the memtable", STORED)] {
        group.bench_function(name, |bench| {
            bench.iter(|| {
                // A stride that shares no factor with STORED visits every record.
                let number = from + next.fetch_add(7_919, Ordering::Relaxed) % STORED;
                let found = engine.get(Tree::Records, black_box(&keys(number).0)).expect("the engine is open");
                assert!(found.is_some());
                found
            });
        });
    }
    group.finish();
    engine.close().expect("a clean end");
}

criterion_group!(benches, commits, reads);
criterion_main!(benches);
