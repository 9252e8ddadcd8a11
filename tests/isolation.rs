//! Isolation: whatever concurrent bodies, reads and scans saw is explained by one order of all of them.
//!
//! ```text
//!   run      threads on 3..=6 keys, each call an event with what it saw and wrote     run.rs, stamp.rs, disk.rs
//!   check    events -> graph of "must stand before" -> no cycle                       history.rs, check.rs
//!   proof    hand-made bad histories, and engines that break one promise each         check.rs, sabotage.rs
//!   gate     step by step with the journal's sync held up                             gate.rs
//! ```
//!
//! `MLP_ISOLATION_SEED` repeats a run's choices (not how its threads meet), `MLP_ISOLATION_ROUNDS` makes it longer.

#[path = "isolation/check.rs"]
mod check;
#[path = "isolation/disk.rs"]
mod disk;
#[path = "isolation/gate.rs"]
mod gate;
#[path = "isolation/history.rs"]
mod history;
#[path = "isolation/run.rs"]
mod run;
#[path = "isolation/sabotage.rs"]
mod sabotage;
#[path = "isolation/stamp.rs"]
mod stamp;

use std::path::Path;
use std::sync::Arc;

use ml_persistence::engine::Engine;
use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::disk::Disk;
use ml_persistence::engine::local::opener::StoreOpener;
use ml_persistence::engine::local::sim::SimDisk;
use ml_persistence::engine::memory::MemoryOpener;
use ml_persistence::{Config, Ids};

use disk::{Ledger, WatchedDisk};
use history::{Event, Kind};
use run::Size;
use sabotage::{Sabotage, Sabotaged};

const ROUNDS: u64 = 8;
const SIZE: Size = Size { writers: 4, readers: 3, bodies: 120 };
/// A broken engine is caught within so many runs.
const TRIES: u64 = 40;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn rounds() -> u64 {
    setting("MLP_ISOLATION_ROUNDS").unwrap_or(ROUNDS)
}

/// The seed of the first round; the others count up.
fn first_seed() -> u64 {
    let random = || Ids::random().expect("the machine has randomness").next_u64() >> 32;
    setting("MLP_ISOLATION_SEED").unwrap_or_else(random)
}

fn open(disk: Arc<dyn Disk>, folder: &Path, opener: &dyn StoreOpener) -> (Arc<dyn Engine>, Arc<Ledger>) {
    let mut config = Config::new().expect("the machine has randomness");
    // Small, so that tables move to the store under the readers.
    config.memtable_bytes = 1 << 20;
    let (disk, ledger) = WatchedDisk::new(disk);
    let (engine, _) = LocalEngine::open(Arc::new(disk), folder, opener, &config).expect("a new folder opens");
    (Arc::new(engine), ledger)
}

fn in_memory() -> (Arc<dyn Engine>, Arc<Ledger>) {
    open(Arc::new(SimDisk::new()), Path::new("/ram"), &MemoryOpener::new())
}

/// Panics with the seed when no order explains what happened; answers a summary.
fn assert_isolated(name: &str, seed: u64, events: &[Event]) {
    if let Err(why) = check::check(events) {
        panic!("{name}, MLP_ISOLATION_SEED={seed} MLP_ISOLATION_ROUNDS=1: {why}");
    }
    let count = |wanted: &dyn Fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    let commits = count(&|event| !event.wrote.is_empty());
    let reads = count(&|event| event.kind == Kind::Plain);
    // A run in which nothing happened shows nothing.
    assert!(commits > 50 && reads > 20, "{name}, seed {seed}: {commits} commits, {reads} reads");
    println!("{name}, seed {seed}: {} events, {commits} commits, {reads} plain reads", events.len());
}

#[test]
fn random_histories_over_memory_are_serializable_and_every_read_is_one_point_in_time() {
    let (first, mut moved) = (first_seed(), 0);
    for seed in first..first.saturating_add(rounds()) {
        let (engine, ledger) = in_memory();
        let events = run::run(&*engine, &ledger, seed, SIZE);
        assert_isolated("memory", seed, &events);
        moved += engine.stats().store_syncs;
    }
    assert!(moved > 0, "the applier moved nothing under the readers");
}

#[cfg(feature = "sled")]
#[test]
fn random_histories_over_sled_are_serializable_and_every_read_is_one_point_in_time() {
    use ml_persistence::engine::local::disk::RealDisk;
    use ml_persistence::engine::sled::SledOpener;

    let first = first_seed();
    for seed in first..first.saturating_add(rounds().div_ceil(4)) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (engine, ledger) = open(Arc::new(RealDisk::new()), &folder.path().join("db"), &SledOpener);
        let events = run::run(&*engine, &ledger, seed, SIZE);
        assert_isolated("sled", seed, &events);
        engine.close().expect("it closes");
    }
}

#[test]
fn engines_that_break_one_promise_are_caught() {
    let first = first_seed();
    let size = Size { bodies: 60, ..SIZE };
    for how in Sabotage::ALL {
        let caught = (first..first.saturating_add(TRIES)).find_map(|seed| {
            let (engine, ledger) = in_memory();
            let engine = Sabotaged::new(engine, how);
            let mut events = run::run(&engine, &ledger, seed, size);
            if how != Sabotage::EarlyAnswer {
                // The order alone must tell, without what the run notices by itself.
                events.iter_mut().for_each(|event| event.faults.clear());
            }
            check::check(&events).err().map(|why| (seed - first + 1, why))
        });
        match caught {
            Some((tries, why)) => println!("{how:?}, try {tries}: {why}"),
            None => panic!("{how:?} was not caught in {TRIES} runs from seed {first}"),
        }
    }
}

#[test]
fn a_power_loss_write_is_never_seen_before_its_sync() {
    let (engine, ledger) = in_memory();
    gate::writes_are_seen_after_their_sync(&*engine, &ledger).unwrap();
}

#[test]
fn an_error_or_a_read_only_answer_never_comes_before_the_sync_of_what_it_saw() {
    let (engine, ledger) = in_memory();
    gate::answers_come_after_the_sync(&*engine, &ledger).unwrap();
}

#[test]
fn a_buffered_commit_returns_during_every_sync_also_one_that_begins_a_segment() {
    let (engine, ledger) = in_memory();
    gate::buffered_commits_return_during_every_sync(&*engine, &ledger).unwrap();
}

#[test]
fn an_engine_that_does_not_wait_for_its_sync_is_caught_by_both_steps() {
    for step in [gate::writes_are_seen_after_their_sync, gate::answers_come_after_the_sync] {
        let (engine, ledger) = in_memory();
        let engine = Sabotaged::new(engine, Sabotage::EarlyAnswer);
        println!("{}", step(&engine, &ledger).unwrap_err());
    }
}
