//! Models of the commit pipeline: small programs of two or three callers beside the engine's own three threads, run
//! over and over on schedules that shuttle picks, half at random and half by priorities (PCT, depth 3).
//!
//! ```text
//! RUSTFLAGS='--cfg shuttle' cargo test --lib --target-dir target/shuttle engine::local::shuttle_tests
//! ```
//!
//! Every lock, signal, atomic, park, disk sync and store call is a place where another thread may go first. A model
//! fails when an assertion does, when everybody waits for somebody else, or when it never ends. What is durable is
//! asked of the disk: a power cut at this very moment, and the journal that it leaves. A failure prints its schedule;
//! `SHUTTLE_ITERATIONS` sets how many each scheduler picks, `SHUTTLE_RANDOM_SEED` starts both from one seed.
//!
//! What is not modelled: weak memory orderings, and a store or a disk that hangs.

// A panic here is a failed model; clippy sees that only for functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;

use super::LocalEngine;
use super::batch;
use super::core::panic_text;
use super::disk::{Disk, DiskFile, LockGuard};
use super::opener::StoreOpener;
use super::replay::Survey;
use super::sim::{Call, Fault, SimDisk};
use super::sync::modelled::{Lost, lose, pick};
use crate::clock::Ids;
use crate::config::{Config, Durability};
use crate::engine::memory::MemoryStore;
use crate::engine::{Direction, Engine, KeyRange, KvStore, Reader, Tree, TxnOptions, Value, WriteBatch, read_counter};
use crate::error::{ErrorKind, Result};

const FOLDER: &str = "/data";
const ITERATIONS: usize = 1_000;
/// Depth of the priority schedules: bugs that take this many decisions to meet are found with a known probability.
const PCT_DEPTH: usize = 3;

/// Runs a model on schedules of both kinds.
fn explore(model: fn()) {
    explore_times(ITERATIONS, model);
}

/// As [`explore`], with so many schedules of each kind, unless somebody asks for another number.
pub(crate) fn explore_times(iterations: usize, model: fn()) {
    let iterations = std::env::var("SHUTTLE_ITERATIONS").map_or(iterations, |text| text.parse().unwrap());
    let mut config = shuttle::Config::new();
    config.stack_size = 256 << 10;
    shuttle::Runner::new(RandomScheduler::new(iterations), config.clone()).run(model);
    shuttle::Runner::new(PctScheduler::new(PCT_DEPTH, iterations), config).run(model);
}

/// Lets the schedule decide who is next.
#[derive(Debug, Default)]
struct Turn(shuttle::sync::atomic::AtomicU64);

impl Turn {
    fn take(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A simulated disk whose syncs let others go first, before and after.
#[derive(Debug, Clone)]
struct TurnDisk {
    disk: SimDisk,
    turn: Arc<Turn>,
    /// The committer thread has synced something.
    committer_synced: Arc<AtomicBool>,
}

#[derive(Debug)]
struct TurnFile(Box<dyn DiskFile>, TurnDisk);

impl DiskFile for TurnFile {
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
        if thread::current().name() == Some("mlp-committer") {
            self.1.committer_synced.store(true, Ordering::SeqCst);
        }
        self.1.turn.take();
        let synced = self.0.sync_data();
        self.1.turn.take();
        synced
    }
}

impl Disk for TurnDisk {
    fn create_dir(&self, path: &Path) -> Result<()> {
        self.disk.create_dir(path)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        Ok(Box::new(TurnFile(self.disk.create(path)?, self.clone())))
    }

    fn open(&self, path: &Path, write: bool) -> Result<Box<dyn DiskFile>> {
        Ok(Box::new(TurnFile(self.disk.open(path, write)?, self.clone())))
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

/// A store in memory whose calls let others go first, before and after.
#[derive(Debug, Default)]
struct TurnStore(MemoryStore, Turn);

impl TurnStore {
    fn call<T>(&self, call: impl FnOnce(&MemoryStore) -> Result<T>) -> Result<T> {
        self.1.take();
        let answer = call(&self.0);
        self.1.take();
        answer
    }
}

impl KvStore for TurnStore {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.call(|store| store.get(tree, key))
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Vec<(Vec<u8>, Value)>> {
        self.call(|store| store.scan(tree, range, direction, limit))
    }

    fn apply(&self, batch: &WriteBatch) -> Result<()> {
        self.call(|store| store.apply(batch))
    }

    fn sync(&self) -> Result<()> {
        self.call(|store| store.sync())
    }

    fn mark(&self) -> Result<Option<Value>> {
        self.0.mark()
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}

#[derive(Debug)]
struct TurnOpener;

impl StoreOpener for TurnOpener {
    fn engine(&self) -> &'static str {
        "memory"
    }

    fn is_persistent(&self) -> bool {
        false
    }

    fn open(&self, _folder: &Path, _cache_bytes: usize) -> Result<Arc<dyn KvStore>> {
        Ok(Arc::new(TurnStore::default()))
    }
}

/// What the threads of a model share.
#[derive(Debug, Clone)]
struct Model {
    engine: Arc<LocalEngine>,
    disk: TurnDisk,
}

impl Model {
    fn open() -> Self {
        Model::open_with(|_| ())
    }

    fn open_with(set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new().unwrap();
        set(&mut config);
        config.memtable_bytes = 1 << 20;
        config.ids = Arc::new(Ids::seeded(1));
        let disk = TurnDisk { disk: SimDisk::recording(), turn: Arc::default(), committer_synced: Arc::default() };
        let (engine, _) = LocalEngine::open(Arc::new(disk.clone()), Path::new(FOLDER), &TurnOpener, &config).unwrap();
        Model { engine: Arc::new(engine), disk }
    }

    /// Adds one to the counter and puts `key`, in one transaction.
    fn commit(&self, durability: Durability, key: &str, bytes: usize) -> Result<()> {
        let options = TxnOptions::durability(durability);
        let write = self.engine.transact(&options, &mut |txn| {
            txn.add(Tree::Counter, b"sum", 1)?;
            txn.put(Tree::Kv, key.as_bytes(), Value::from(vec![7; bytes]))
        });
        write.map(drop)
    }

    fn sum(&self) -> i64 {
        let value = self.engine.get(Tree::Counter, b"sum").unwrap();
        read_counter(Tree::Counter, b"sum", value.as_deref()).unwrap()
    }

    /// What a power cut right now would leave.
    fn durable(&self) -> Durable {
        Durable::of(&self.disk.disk.crash(pick(u64::MAX)))
    }

    fn assert_durable(&self, key: &str) {
        assert!(self.durable().keys.contains(key), "`{key}` was acknowledged, and a power cut would lose it");
    }

    fn spawn(&self, run: impl FnOnce(&Model) + Send + 'static) -> thread::JoinHandle<()> {
        let model = self.clone();
        thread::spawn(move || run(&model))
    }
}

/// What a journal holds.
struct Durable {
    keys: BTreeSet<String>,
    sum: i64,
}

impl Durable {
    fn of(disk: &SimDisk) -> Self {
        let journal = PathBuf::from(FOLDER).join("gen-00000001").join("journal");
        let replay = Survey::read_any(disk, &journal).unwrap().replay(disk, 0).unwrap();
        let mut writes = BTreeMap::new();
        for super::replay::KeptFrame { payload, .. } in &replay.frames {
            let each = |tree, key: &[u8], value: Option<&[u8]>| {
                writes.insert((tree, key.to_vec()), value.map(<[u8]>::to_vec));
            };
            batch::decode(payload, each).unwrap();
        }
        let sum = writes.get(&(Tree::Counter, b"sum".to_vec())).cloned().flatten();
        let keys = writes.iter().filter(|((tree, _), value)| *tree == Tree::Kv && value.is_some());
        Durable {
            keys: keys.map(|((_, key), _)| String::from_utf8(key.clone()).unwrap()).collect(),
            sum: read_counter(Tree::Counter, b"sum", sum.as_deref()).unwrap(),
        }
    }
}

fn join(threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// `callers` threads with `rounds` durable commits each; answers the model after all of them, still open.
fn durable_commits(callers: usize, rounds: usize, bytes: usize) -> Model {
    let model = Model::open();
    let caller = |caller: usize| {
        model.spawn(move |model| {
            for round in 0..rounds {
                let key = format!("{caller}/{round}");
                model.commit(Durability::PowerLoss, &key, bytes).unwrap();
                model.assert_durable(&key);
            }
        })
    };
    join((0..callers).map(caller).collect());
    assert_eq!(model.sum(), (callers * rounds) as i64);
    assert_eq!(model.durable().sum, (callers * rounds) as i64);
    model
}

#[test]
fn two_durable_commits_are_acknowledged_once_durable_and_both_callers_wake_up() {
    explore(|| {
        durable_commits(2, 2, 1).engine.close().unwrap();
    });
}

#[test]
fn three_callers_hand_the_lead_to_the_committer_and_back() {
    static COMMITTER_LED: AtomicU64 = AtomicU64::new(0);
    static SHARED_A_SYNC: AtomicU64 = AtomicU64::new(0);
    explore(|| {
        let model = durable_commits(3, 2, 1);
        let shared = model.engine.stats().batch_commits_max > 1;
        SHARED_A_SYNC.fetch_add(u64::from(shared), Ordering::SeqCst);
        COMMITTER_LED.fetch_add(u64::from(model.disk.committer_synced.load(Ordering::SeqCst)), Ordering::SeqCst);
        model.engine.close().unwrap();
    });
    let (led, shared) = (COMMITTER_LED.load(Ordering::SeqCst), SHARED_A_SYNC.load(Ordering::SeqCst));
    println!("the committer led in {led} schedules, callers shared a sync in {shared}");
    assert!(led > 0 && shared > 0, "the schedules never got there");
}

#[test]
fn commits_that_fill_segments_wait_for_the_next_one_and_go_on() {
    explore(|| {
        // Segments of a model begin at 8 KiB.
        durable_commits(2, 3, 3 << 10).engine.close().unwrap();
    });
}

#[test]
fn buffered_commits_that_fill_their_window_wait_for_its_sync_and_go_on() {
    explore(|| {
        let model = Model::open_with(|config| config.sync_every_bytes = 600);
        let caller = |name: &'static str| {
            model.spawn(move |model| {
                for round in 0..3 {
                    model.commit(Durability::Buffered, &format!("{name}/{round}"), 250).unwrap();
                }
            })
        };
        join(vec![caller("a"), caller("b")]);
        model.engine.sync().unwrap();
        assert_eq!(model.durable().sum, 6);
        model.engine.close().unwrap();
    });
}

/// Appends `who` to a log kept in the store, in one body: `len`, and one key a place.
fn append_to_log(model: &Model, durability: Durability, who: &str) -> Result<()> {
    let options = TxnOptions::durability(durability);
    let appended = model.engine.transact(&options, &mut |txn| {
        let len = txn.get(Tree::Kv, b"len")?.map_or(0, |len| len[0]);
        txn.put(Tree::Kv, &[b'0' + len], Value::from(who.as_bytes()))?;
        txn.put(Tree::Kv, who.as_bytes(), Value::from(&b"x"[..]))?;
        txn.put(Tree::Kv, b"len", Value::from(vec![len + 1]))
    });
    appended.map(drop)
}

#[test]
fn plain_reads_see_a_prefix_of_the_commits_and_no_durable_one_too_early() {
    explore(|| {
        let model = Model::open();
        let durable = model.spawn(|model| {
            append_to_log(model, Durability::PowerLoss, "durable").unwrap();
            model.assert_durable("durable");
        });
        let buffered = model.spawn(|model| {
            append_to_log(model, Durability::Buffered, "first").unwrap();
            append_to_log(model, Durability::Buffered, "second").unwrap();
            model.engine.sync().unwrap();
            model.assert_durable("first");
            model.assert_durable("second");
        });
        let reader = model.spawn(|model| {
            let keys: [(Tree, &[u8]); 4] = [(Tree::Kv, b"len"), (Tree::Kv, b"0"), (Tree::Kv, b"1"), (Tree::Kv, b"2")];
            let mut before = 0;
            for _ in 0..3 {
                let seen = model.engine.get_many(&keys).unwrap();
                let len = seen[0].as_ref().map_or(0, |len| usize::from(len[0]));
                assert!(len >= before, "a commit that was visible has gone");
                before = len;
                let places: Vec<bool> = seen[1..].iter().map(Option::is_some).collect();
                assert_eq!(places, (0..3).map(|place| place < len).collect::<Vec<_>>(), "no prefix");
                for who in seen[1..].iter().flatten().filter(|who| ***who == b"durable"[..]) {
                    model.assert_durable(std::str::from_utf8(who).unwrap());
                }
            }
        });
        join(vec![durable, buffered, reader]);
        model.engine.close().unwrap();
        assert_eq!(model.durable().keys.len(), 7);
    });
}

#[test]
fn a_body_that_only_read_answers_once_what_it_read_is_durable() {
    explore(|| {
        let model = Model::open();
        let writer = model.spawn(|model| {
            append_to_log(model, Durability::PowerLoss, "one").unwrap();
            append_to_log(model, Durability::Buffered, "two").unwrap();
        });
        let reader = model.spawn(|model| {
            let mut seen = Vec::new();
            let body = model.engine.transact(&TxnOptions::default(), &mut |txn| {
                seen.clear();
                for who in ["one", "two"] {
                    if txn.get(Tree::Kv, who.as_bytes())?.is_some() {
                        seen.push(who);
                    }
                }
                Err(crate::error::Error::conflict("an error is an answer, too"))
            });
            assert_eq!(body.unwrap_err().kind(), ErrorKind::Conflict);
            // `Buffered` or not: the answer must not take back what it was built on.
            for who in seen {
                model.assert_durable(who);
            }
        });
        join(vec![writer, reader]);
        model.engine.close().unwrap();
    });
}

#[test]
fn a_commit_that_races_with_close_is_durable_or_answers_closed_and_left_nothing() {
    explore(|| {
        let model = Model::open();
        let landed = Arc::new(AtomicU64::new(0));
        let caller = |durability: Durability, name: &'static str| {
            let landed = Arc::clone(&landed);
            model.spawn(move |model| {
                for round in 0..2 {
                    let key = format!("{name}/{round}");
                    match model.commit(durability, &key, 1) {
                        Ok(()) => {
                            landed.fetch_add(1, Ordering::SeqCst);
                            if durability == Durability::PowerLoss {
                                model.assert_durable(&key);
                            }
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
                    }
                }
            })
        };
        let callers = vec![
            caller(Durability::PowerLoss, "a"),
            caller(Durability::PowerLoss, "b"),
            caller(Durability::Buffered, "c"),
        ];
        model.engine.close().unwrap();
        // What `Buffered` promised before is kept by now.
        let closed = model.durable();
        join(callers);
        let landed = landed.load(Ordering::SeqCst) as i64;
        assert_eq!((closed.sum, closed.keys.len() as i64), (landed, landed));
        assert_eq!(model.durable().sum, landed);
    });
}

#[test]
fn after_a_journal_failure_everybody_is_answered_and_close_ends() {
    static FAILED: AtomicU64 = AtomicU64::new(0);
    explore(|| {
        let model = Model::open();
        model.disk.disk.fail_after(1 + pick(5), Fault::io().only(Call::Sync).on("journal").forever());
        let check = |outcome: Result<()>| match outcome {
            Ok(()) => true,
            Err(error) => {
                FAILED.fetch_add(1, Ordering::SeqCst);
                let known = [ErrorKind::CommitUnknown, ErrorKind::Closed];
                assert!(known.contains(&error.kind()), "{error}");
                false
            }
        };
        let caller = |name: &'static str| {
            model.spawn(move |model| {
                for round in 0..2 {
                    let key = format!("{name}/{round}");
                    if check(model.commit(Durability::PowerLoss, &key, 1)) {
                        model.assert_durable(&key);
                    }
                }
            })
        };
        let syncer = model.spawn(move |model| {
            let committed = check(model.commit(Durability::Buffered, "buffered", 1));
            if check(model.engine.sync().map(drop)) && committed {
                model.assert_durable("buffered");
            }
        });
        join(vec![caller("a"), caller("b"), syncer]);
        // It may still have failed for the closing frame alone.
        drop(model.engine.close());
        assert_eq!(model.engine.get(Tree::Kv, b"a/0").unwrap_err().kind(), ErrorKind::Closed);
    });
    let failed = FAILED.load(Ordering::SeqCst);
    println!("{failed} calls met the failure");
    assert!(failed > 0, "the schedules never got there");
}

/// `sync` looked whether the engine is open, then waited for the body mutex. Meanwhile the batch with the `Buffered`
/// commit failed, and the next one, which held nothing `Buffered`, was sealed over it: nothing was left to wait for,
/// and `sync` answered that all is well.
#[test]
fn a_sync_that_races_with_a_journal_failure_does_not_answer_for_what_was_lost() {
    explore(|| {
        let model = Model::open();
        model.commit(Durability::Buffered, "buffered", 1).unwrap();
        model.disk.disk.fail_after(1, Fault::io().only(Call::Sync).on("journal").forever());
        let caller = |name: &'static str| model.spawn(move |model| drop(model.commit(Durability::PowerLoss, name, 1)));
        let syncer = model.spawn(|model| {
            if model.engine.sync().is_ok() {
                model.assert_durable("buffered");
            }
        });
        join(vec![caller("a"), caller("b"), syncer]);
        drop(model.engine.close());
    });
}

#[test]
fn a_checkpoint_keeps_every_read_at_one_point_in_time() {
    static APPLIED: AtomicU64 = AtomicU64::new(0);
    explore(|| {
        let model = Model::open();
        let set = |model: &Model, durability: Durability, value: u8| {
            let options = TxnOptions::durability(durability);
            let set = model.engine.transact(&options, &mut |txn| {
                txn.put(Tree::Kv, b"x", Value::from(vec![value]))?;
                txn.put(Tree::Kv, b"y", Value::from(vec![value]))
            });
            set.map(drop).unwrap();
        };
        set(&model, Durability::Buffered, 1);
        if pick(2) == 0 {
            // Then a view finds this in the store alone, and the applier may put something newer in its place.
            model.engine.checkpoint().unwrap();
        }
        let writer = model.spawn(move |model| {
            set(model, Durability::PowerLoss, 2);
            set(model, Durability::Buffered, 3);
        });
        let applier = model.spawn(|model| {
            let returned = model.engine.get(Tree::Kv, b"x").unwrap();
            model.engine.checkpoint().unwrap();
            let stored = model.engine.core.store(|store| store.get(Tree::Kv, b"x")).unwrap();
            assert!(stored >= returned, "{returned:?} was not moved to the store, which holds {stored:?}");
        });
        let reader = model.spawn(|model| {
            let keys: [(Tree, &[u8]); 2] = [(Tree::Kv, b"x"), (Tree::Kv, b"y")];
            let mut before = 0;
            let mut check = |values: Vec<u8>| {
                assert!(values.len() == 2 && values[0] == values[1], "not one point in time: {values:?}");
                assert!(values[0] >= before, "time went back: {values:?} after {before}");
                before = values[0];
            };
            for _ in 0..2 {
                let page = model.engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 10).unwrap();
                check(page.entries.iter().map(|(_, value)| value[0]).collect());
                let values = model.engine.get_many(&keys).unwrap();
                check(values.iter().flatten().map(|value| value[0]).collect());
            }
        });
        join(vec![writer, applier, reader]);
        model.engine.checkpoint().unwrap();
        let stats = model.engine.stats();
        APPLIED.fetch_add(u64::from(stats.store_syncs > 1), Ordering::SeqCst);
        // A table that was frozen in the middle of a batch leaves the mark one short; everything is in the store.
        assert!(stats.memtable_bytes == 0 && stats.applied_sequence + 1 >= stats.durable_sequence, "{stats:?}");
        for key in [b"x", b"y"] {
            let stored = model.engine.core.store(|store| store.get(Tree::Kv, key)).unwrap();
            assert_eq!(stored.as_deref(), Some(&[3][..]));
        }
        model.engine.close().unwrap();
    });
    assert!(APPLIED.load(Ordering::SeqCst) > 0, "no schedule applied twice");
}

#[test]
fn a_read_that_the_applier_overtakes_starts_over() {
    explore(|| {
        let model = Model::open();
        let set = |model: &Model, value: u8| {
            let options = TxnOptions::durability(Durability::Buffered);
            let set = model.engine.transact(&options, &mut |txn| {
                txn.put(Tree::Kv, b"x", Value::from(vec![value]))?;
                txn.put(Tree::Kv, b"y", Value::from(vec![value]))
            });
            set.map(drop).unwrap();
            model.engine.checkpoint().unwrap();
        };
        set(&model, 1);
        // A view opened now finds the 1 in the store alone, where the applier puts a 2 in its place.
        let writer = model.spawn(move |model| set(model, 2));
        let reader = model.spawn(|model| {
            for _ in 0..2 {
                let values = model.engine.get_many(&[(Tree::Kv, b"x"), (Tree::Kv, b"y")]).unwrap();
                assert!(values[0] == values[1], "not one point in time: {values:?}");
            }
        });
        join(vec![writer, reader]);
        model.engine.close().unwrap();
    });
}

/// How the models notice a sabotage.
fn failure_of(model: fn()) -> String {
    failure_within(ITERATIONS, model)
}

/// As [`failure_of`], within so many schedules of each kind.
pub(crate) fn failure_within(iterations: usize, model: fn()) -> String {
    let failed = catch_unwind(|| explore_times(iterations, model)).expect_err("the sabotage went unnoticed");
    panic_text(&*failed).to_owned()
}

#[test]
fn a_sabotaged_signal_that_wakes_nobody_now_and_then_is_caught() {
    lose(Lost::NotifyOne);
    let failure = failure_of(|| durable_commits(3, 2, 1).engine.close().unwrap());
    // `close` looks again and again whether the applier has ended: not a deadlock, but no end either.
    assert!(failure.contains("deadlock") || failure.contains("max_steps"), "{failure}");
}

#[test]
fn a_sabotaged_leader_that_forgets_a_waiter_now_and_then_is_caught() {
    lose(Lost::Unpark);
    let failure = failure_of(|| durable_commits(2, 2, 1).engine.close().unwrap());
    assert!(failure.contains("deadlock"), "{failure}");
}

#[test]
fn a_sabotaged_disk_that_syncs_nothing_is_caught() {
    let failure = failure_of(|| {
        let model = Model::open();
        model.disk.disk.ignore_sync(true);
        model.commit(Durability::PowerLoss, "lost", 1).unwrap();
        model.assert_durable("lost");
    });
    assert!(failure.contains("a power cut would lose it"), "{failure}");
}
