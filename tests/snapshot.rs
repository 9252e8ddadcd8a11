//! Snapshots through the façade: out of a store, into a store, under writers, by deltas.
//!
//! The format itself and hostile files are tested where it lives, in `src/snapshot/tests.rs`; crashes of an import in
//! `src/engine/local/tests/replace.rs`.

#![cfg(feature = "sled")]
// A panic here is a failed test; clippy sees that only for functions marked as such.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::sled::SledOpener;
use ml_persistence::engine::{Engine, Tree, TxnOptions};
use ml_persistence::{
    Change, EngineKind, ErrorKind, Json, ManualClock, MlPersistence, NewJob, NewVersion, Replica, RestorePoint,
    SnapshotInfo, SnapshotKind,
};
use serde_json::json;
use tempfile::TempDir;

fn sled(folder: &Path) -> MlPersistence {
    MlPersistence::open(folder).unwrap()
}

fn memory() -> MlPersistence {
    MlPersistence::in_memory().open().unwrap()
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Files(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Some of everything: models with artifacts small and in pieces, jobs in several states, values, removals.
fn populate(db: &MlPersistence) {
    for model in ["spam", "ham"] {
        for version in 0..3u32 {
            let artifact = vec![version as u8 + 1; 10 + version as usize * 40_000];
            let new = NewVersion::new().metric("f1", f64::from(version) / 10.0).artifact(artifact);
            db.registry().register_version(model, new).unwrap();
        }
        db.registry().set_alias(model, "champion", 2, &Change::default()).unwrap();
    }
    for number in 0..50 {
        db.jobs().enqueue(NewJob::new("train", "fit").payload(json!({"number": number}))).unwrap();
    }
    for lease in db.jobs().claim(&["train"], 5).unwrap() {
        lease.complete(json!(null)).unwrap();
    }
    let values = db.namespace("cache").unwrap();
    for number in 0..200 {
        values.put(&format!("k{number}"), &json!({"n": number, "pad": "x".repeat(number)})).unwrap();
    }
    values.put("large", &json!("y".repeat(100_000))).unwrap();
    for number in 50..100 {
        values.delete(&format!("k{number}")).unwrap();
    }
}

fn assert_sound(db: &MlPersistence) {
    let report = db.verify().unwrap();
    assert!(report.violations.is_empty(), "{:?}", report.violations);
}

#[test]
fn a_state_goes_from_sled_to_memory_and_back_and_its_digest_stays() {
    let files = Files::new();
    let source = sled(&files.path("source"));
    populate(&source);
    let exported = source.export_snapshot(files.path("1"), None).unwrap();
    assert_eq!(exported.kind, SnapshotKind::Full);
    assert_eq!(exported.digest, Some(source.digest().unwrap()));
    assert_eq!(exported.cursor, source.cursor());

    let in_memory = memory();
    assert_eq!(in_memory.import_snapshot(files.path("1"), false).unwrap(), exported);
    let onwards = in_memory.export_snapshot(files.path("2"), None).unwrap();
    let back = sled(&files.path("back"));
    back.import_snapshot(files.path("2"), false).unwrap();
    let in_folder = MlPersistence::builder(files.path("folder")).engine(EngineKind::Memory).open().unwrap();
    in_folder.import_snapshot(files.path("2"), false).unwrap();
    let last = in_folder.export_snapshot(files.path("3"), None).unwrap();

    for db in [&in_memory, &back, &in_folder] {
        assert_eq!(Some(db.digest().unwrap()), exported.digest);
        assert_sound(db);
        assert_eq!(db.jobs().counts(None).unwrap(), source.jobs().counts(None).unwrap());
    }
    // Nobody has written in between, so the files are one and the same, the cursor included.
    assert_eq!(onwards, exported);
    assert_eq!(last, exported);
    let bytes = |name: &str| std::fs::read(files.path(name)).unwrap();
    assert!(bytes("1") == bytes("2") && bytes("2") == bytes("3"));
    assert_eq!(MlPersistence::inspect_snapshot(files.path("3")).unwrap(), exported);
}

#[test]
fn an_import_survives_reopening_and_keeps_its_cursor_until_the_first_write() {
    let files = Files::new();
    let source = sled(&files.path("source"));
    populate(&source);
    let exported = source.export_snapshot(files.path("s"), None).unwrap();
    let open = || sled(&files.path("copy"));
    open().import_snapshot(files.path("s"), false).unwrap();
    for _ in 0..2 {
        let copy = open();
        assert_eq!(copy.cursor(), exported.cursor);
        assert_eq!(Some(copy.digest().unwrap()), exported.digest);
        copy.checkpoint().unwrap();
        copy.close().unwrap();
    }
    let copy = open();
    copy.namespace("own").unwrap().put("k", "v").unwrap();
    let own = copy.cursor();
    assert_ne!(own, exported.cursor);
    copy.close().unwrap();
    // The new lineage is the store's from now on: a delta from its cursor can be had, one from the old can't.
    let copy = open();
    assert_eq!(copy.export_snapshot(files.path("d"), Some(own)).unwrap().records, 0);
    let refused = copy.export_snapshot(files.path("e"), Some(exported.cursor)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Diverged);
    assert!(!files.path("e").exists());
    assert_eq!(copy.namespace("own").unwrap().get_as::<String>("k").unwrap().as_deref(), Some("v"));
}

#[test]
fn a_store_with_data_is_replaced_only_when_asked_and_by_a_whole_file_only() {
    let files = Files::new();
    let source = memory();
    populate(&source);
    let exported = source.export_snapshot(files.path("s"), None).unwrap();
    let target = sled(&files.path("target"));
    target.namespace("mine").unwrap().put("k", "v").unwrap();
    let before = target.digest().unwrap();
    let mut cut = std::fs::read(files.path("s")).unwrap();
    cut.pop();
    std::fs::write(files.path("cut"), &cut).unwrap();
    let other_digest = source.export_snapshot(files.path("t"), None).unwrap();
    assert_eq!(other_digest, exported);
    for (name, replace, kind) in
        [("s", false, ErrorKind::Conflict), ("cut", true, ErrorKind::Corrupt), ("absent", true, ErrorKind::NotFound)]
    {
        assert_eq!(target.import_snapshot(files.path(name), replace).unwrap_err().kind(), kind);
        assert_eq!(target.digest().unwrap(), before);
    }
    target.import_snapshot(files.path("s"), true).unwrap();
    assert_eq!(Some(target.digest().unwrap()), exported.digest);
    // The handle goes on with the new state, and what was left beside it goes at the next opening.
    target.jobs().enqueue(NewJob::new("train", "fit")).unwrap();
    assert_eq!(target.jobs().claim(&["train"], 1).unwrap().len(), 1);
    assert_sound(&target);
    let after = target.digest().unwrap();
    target.close().unwrap();
    assert!(files.path("target/gen-00000001").exists());
    let again = sled(&files.path("target"));
    assert!(!files.path("target/gen-00000001").exists());
    assert_ne!(again.digest().unwrap(), before);
    assert_eq!(again.recovery().epoch, again.stats().unwrap().epoch);
    drop(after);
}

#[test]
fn a_job_that_was_executing_is_swept_where_it_is_imported() {
    let files = Files::new();
    let source = memory();
    source.jobs().enqueue(NewJob::new("train", "fit")).unwrap();
    let held = source.jobs().claim(&["train"], 1).unwrap();
    source.export_snapshot(files.path("s"), None).unwrap();
    let copy = memory();
    copy.import_snapshot(files.path("s"), false).unwrap();
    assert_sound(&copy);
    let again = copy.jobs().claim(&["train"], 1).unwrap();
    assert_eq!(again.len(), 1);
    for lease in again {
        assert_eq!((lease.job().attempt, lease.job().crash_count), (1, 0), "its worker did not crash");
        lease.complete(json!(null)).unwrap();
    }
    // Over there the lease is still good.
    for lease in held {
        lease.complete(json!(null)).unwrap();
    }
}

/// What the writers of a test did: acknowledged values by key, in an order that their digest can be checked against.
#[test]
fn an_export_under_sixteen_writers_is_one_point_in_time_with_all_that_was_acknowledged_before() {
    const WRITERS: usize = 16;
    let files = Files::new();
    let db = sled(&files.path("primary"));
    populate(&db);
    let stop = AtomicBool::new(false);
    let rounds: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let exports: Mutex<Vec<(SnapshotInfo, Vec<u64>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for (writer, round) in rounds.iter().enumerate() {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                let values = db.namespace("pairs").unwrap();
                while !stop.load(Ordering::SeqCst) {
                    let next = round.load(Ordering::SeqCst) + 1;
                    // Two keys far apart in one transaction, a job, and now and then a removal.
                    db.transact(|txn| {
                        txn.kv().put("pairs", &format!("a{writer}"), &Json::from(json!(next)))?;
                        txn.kv().put("pairs", &format!("z{writer}"), &Json::from(json!(next)))
                    })
                    .unwrap();
                    round.store(next, Ordering::SeqCst);
                    values.put(&format!("m{writer}-{}", next % 7), &json!("x".repeat((next % 900) as usize))).unwrap();
                    values.delete(&format!("m{writer}-{}", (next + 3) % 7)).unwrap();
                    db.jobs().enqueue(NewJob::new("train", "fit")).unwrap();
                }
            });
        }
        for number in 0..6 {
            let before: Vec<u64> = rounds.iter().map(|round| round.load(Ordering::SeqCst)).collect();
            let info = db.export_snapshot(files.path(&number.to_string()), None).unwrap();
            exports.lock().unwrap().push((info, before));
        }
        stop.store(true, Ordering::SeqCst);
    });
    for (number, (info, before)) in exports.into_inner().unwrap().into_iter().enumerate() {
        let copy = memory();
        let imported = copy.import_snapshot(files.path(&number.to_string()), false).unwrap();
        assert_eq!(imported, info);
        assert_sound(&copy);
        assert_eq!(Some(copy.digest().unwrap()), info.digest);
        let values = copy.namespace("pairs").unwrap();
        for (writer, acknowledged) in before.iter().enumerate() {
            let value = |half: &str| values.get_as::<u64>(&format!("{half}{writer}")).unwrap().unwrap_or(0);
            assert_eq!(value("a"), value("z"), "a transaction was torn");
            assert!(value("a") >= *acknowledged, "an acknowledged write is missing");
        }
    }
}

/// A primary and what it has exported so far.
struct Source {
    files: Files,
    db: MlPersistence,
    cursor: ml_persistence::Cursor,
    exported: u64,
}

impl Source {
    fn new() -> Self {
        let files = Files::new();
        let db = sled(&files.path("primary"));
        populate(&db);
        let cursor = db.export_snapshot(files.path("0.mlsnap"), None).unwrap().cursor;
        Source { files, db, cursor, exported: 0 }
    }

    /// Some changes of every kind, then a delta of them.
    fn step(&mut self) -> SnapshotInfo {
        self.exported += 1;
        let n = self.exported;
        let values = self.db.namespace("cache").unwrap();
        values.put(&format!("step{n}"), &n).unwrap();
        values.delete(&format!("step{}", n.saturating_sub(1))).unwrap();
        values.put("large", &"z".repeat(50_000 + n as usize)).unwrap();
        self.db.jobs().enqueue(NewJob::new("train", "fit")).unwrap();
        for lease in self.db.jobs().claim(&["train"], 2).unwrap() {
            lease.complete(json!(n)).unwrap();
        }
        let new = NewVersion::new().artifact(vec![n as u8; 20_000]);
        self.db.registry().register_version("spam", new).unwrap();
        let info = self.db.export_snapshot(self.delta(n), Some(self.cursor)).unwrap();
        self.cursor = info.cursor;
        info
    }

    fn delta(&self, number: u64) -> PathBuf {
        self.files.path(&format!("{number}.mlsnap"))
    }
}

fn replica(files: &Files) -> Replica {
    MlPersistence::builder(files.path("replica")).open_replica().unwrap()
}

fn kind<T: std::fmt::Debug>(outcome: ml_persistence::Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

#[test]
fn a_replica_follows_by_deltas_and_stands_where_its_source_stood_after_each() {
    let mut source = Source::new();
    let mut follower = replica(&source.files);
    assert_eq!(follower.status().unwrap().cursor, None);
    follower.apply(source.files.path("0.mlsnap")).unwrap();
    for round in 0..6 {
        let info = source.step();
        assert_eq!(info.kind, SnapshotKind::Delta);
        assert!(follower.status().unwrap().lag(&source.db.cursor()).unwrap() > 0);
        follower.apply(source.delta(source.exported)).unwrap();
        assert_eq!(follower.status().unwrap().cursor, Some(info.cursor));
        assert_eq!(follower.cursor(), info.cursor);
        assert_eq!(follower.digest().unwrap(), source.db.digest().unwrap());
        assert_sound(&follower);
        if round % 2 == 0 {
            follower.close().unwrap();
            drop(follower);
            follower = replica(&source.files);
        }
    }
    assert_eq!(follower.status().unwrap().lag(&source.db.cursor()).unwrap(), 0);
    // A replica writes nothing and runs nothing.
    assert_eq!(kind(follower.jobs().claim(&["train"], 1)), ErrorKind::Unsupported);
    assert_eq!(kind(follower.namespace("n").unwrap().put("k", "v")), ErrorKind::Unsupported);
}

#[test]
fn deltas_again_change_nothing_and_gaps_are_refused() {
    let mut source = Source::new();
    let follower = replica(&source.files);
    assert_eq!(kind(follower.apply(source.delta(0).with_file_name("1.mlsnap"))), ErrorKind::NotFound);
    source.step();
    source.step();
    source.step();
    assert_eq!(kind(follower.apply(source.delta(1))), ErrorKind::NeedsFull);
    follower.apply(source.delta(0)).unwrap();
    assert_eq!(kind(follower.apply(source.delta(2))), ErrorKind::NeedsFull);
    follower.apply(source.delta(1)).unwrap();
    follower.apply(source.delta(2)).unwrap();
    let digest = follower.digest().unwrap();
    for again in [0, 1, 2, 1] {
        follower.apply(source.delta(again)).unwrap();
        assert_eq!(follower.digest().unwrap(), digest);
    }
    follower.apply(source.delta(3)).unwrap();
    // One that spans more than what is missing fits, too.
    let first = MlPersistence::inspect_snapshot(source.delta(1)).unwrap().base.unwrap();
    source.step();
    source.db.export_snapshot(source.files.path("span.mlsnap"), Some(first)).unwrap();
    follower.apply(source.files.path("span.mlsnap")).unwrap();
    assert_eq!(follower.digest().unwrap(), source.db.digest().unwrap());
    assert_sound(&follower);
}

#[test]
fn foreign_lineages_branches_and_the_primary_of_before_a_promotion_are_refused() {
    let mut source = Source::new();
    let follower = replica(&source.files);
    follower.apply(source.delta(0)).unwrap();
    let mut other = Source::new();
    other.step();
    assert_eq!(kind(follower.apply(other.delta(1))), ErrorKind::Diverged);
    assert_eq!(kind(follower.apply(other.delta(0))), ErrorKind::Diverged);
    assert_eq!(kind(source.db.export_snapshot(source.files.path("x"), Some(other.cursor))), ErrorKind::Diverged);

    // A copy of the primary's folder goes its own way under the same lineage: another opening, another branch.
    source.step();
    source.db.close().unwrap();
    copy_folder(&source.files.path("primary"), &source.files.path("branch"));
    let branch = sled(&source.files.path("branch"));
    branch.namespace("own").unwrap().put("k", "branch").unwrap();
    branch.export_snapshot(source.files.path("branch.mlsnap"), Some(source.cursor)).unwrap();
    source.db = sled(&source.files.path("primary"));
    source.step();
    for number in 1..=2 {
        follower.apply(source.delta(number)).unwrap();
    }
    let digest = follower.digest().unwrap();
    assert_eq!(kind(follower.apply(source.files.path("branch.mlsnap"))), ErrorKind::Diverged);
    assert_eq!(follower.digest().unwrap(), digest);

    // Promoted, it has a history of its own.
    source.db.jobs().enqueue(NewJob::new("train", "fit")).unwrap();
    let held = source.db.jobs().claim(&["train"], 1).unwrap();
    source.step();
    follower.apply(source.delta(3)).unwrap();
    let promoted = follower.promote().unwrap();
    assert_eq!(promoted.recovery().jobs_requeued, held.len() as u64);
    let swept = promoted.jobs().get(held[0].job().id).unwrap().unwrap();
    assert_eq!((swept.attempt, swept.crash_count), (0, 0), "its worker did not crash");
    assert_sound(&promoted);
    source.step();
    assert_eq!(kind(promoted.import_snapshot(source.delta(4), false)), ErrorKind::Diverged);
    let cursor = promoted.cursor();
    promoted.close().unwrap();
    let again = replica(&source.files);
    assert_eq!(kind(again.apply(source.delta(0))), ErrorKind::Conflict, "data of its own");
    assert!(again.cursor() >= cursor);
    drop(held);
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_replica_takes_from_a_folder_what_leads_on_in_whatever_order_it_lies_there() {
    let mut source = Source::new();
    (0..5).for_each(|_| drop(source.step()));
    let folder = source.files.path("shipped");
    std::fs::create_dir(&folder).unwrap();
    let ship = |number: u64, name: &str| {
        std::fs::copy(source.delta(number), folder.join(format!("{name}.mlsnap"))).unwrap();
    };
    let follower = replica(&source.files);
    assert_eq!(follower.follow(&folder).unwrap().len(), 0);
    for (number, name) in [(3, "a"), (0, "z"), (1, "m"), (5, "b")] {
        ship(number, name);
    }
    std::fs::write(folder.join("half.mlsnap"), &std::fs::read(source.delta(2)).unwrap()[..700]).unwrap();
    // Nor do a folder and a name that leads nowhere end it.
    std::fs::create_dir(folder.join("folder.mlsnap")).unwrap();
    std::os::unix::fs::symlink(folder.join("nothing"), folder.join("gone.mlsnap")).unwrap();
    let taken = |follower: &Replica| -> Vec<String> {
        let taken = follower.follow(&folder).unwrap();
        taken.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(taken(&follower), ["z", "m"]);
    ship(2, "half");
    ship(4, "c");
    assert_eq!(taken(&follower), ["half", "a", "c", "b"]);
    assert_eq!(follower.digest().unwrap(), source.db.digest().unwrap());
    assert!(taken(&follower).is_empty());
}

#[test]
fn a_delta_of_one_changed_job_is_small() {
    let files = Files::new();
    let db = sled(&files.path("primary"));
    let jobs: Vec<NewJob> = (0..1000).map(|_| NewJob::new("train", "fit")).collect();
    for _ in 0..5 {
        db.jobs().enqueue_batch(&jobs).unwrap();
    }
    let cursor = db.sync().unwrap();
    for lease in db.jobs().claim(&["train"], 1).unwrap() {
        lease.complete(json!(null)).unwrap();
    }
    let info = db.export_snapshot(files.path("d"), Some(cursor)).unwrap();
    assert!(info.bytes <= 10 << 10, "{info:?}");
    assert_eq!(MlPersistence::inspect_snapshot(files.path("d")).unwrap(), info);
}

#[test]
fn the_feed_tells_what_changed_by_name() {
    let db = memory();
    let start = db.sync().unwrap();
    db.namespace("n").unwrap().put("k", "v").unwrap();
    db.registry().register_version("spam", NewVersion::new()).unwrap();
    let job = db.jobs().enqueue(NewJob::new("q", "k")).unwrap().job;
    db.namespace("n").unwrap().delete("k").unwrap();
    let page = db.changes(&start, 100).unwrap();
    let told: Vec<(String, String, bool)> =
        page.changes.into_iter().map(|change| (change.namespace, change.key, change.deleted)).collect();
    let expect = |namespace: &str, key: &str, deleted| (namespace.to_owned(), key.to_owned(), deleted);
    assert_eq!(told[0], expect("n", "k", false));
    assert!(
        told.contains(&expect("models", "spam", false)) && told.contains(&expect("model_versions", "spam@v1", false))
    );
    assert!(told.contains(&expect("jobs", &job.to_string(), false)));
    assert_eq!(told.last().unwrap(), &expect("n", "k", true));
    assert_eq!(db.changes(&page.cursor, 100).unwrap().changes, []);
}

#[test]
fn a_state_is_restored_to_any_cursor_or_moment_since_a_snapshot() {
    let files = Files::new();
    let clock = ManualClock::at(1_000_000);
    let db = MlPersistence::builder(files.path("db")).clock(Arc::new(clock.clone())).open().unwrap();
    populate(&db);
    let full = files.path("full");
    db.export_snapshot(&full, None).unwrap();
    let values = db.namespace("cache").unwrap();
    let mut points = Vec::new();
    for number in 0..5u32 {
        clock.advance(1_000);
        values.put("moving", &number).unwrap();
        db.jobs().enqueue(NewJob::new("train", "fit")).unwrap();
        points.push((db.sync().unwrap(), 1_000_000 + u64::from(number + 1) * 1_000, db.digest().unwrap()));
    }
    clock.advance(1_000);
    values.clear().unwrap();
    // Beside the folders lies what is somebody else's, and it stays.
    std::fs::write(files.path("r1.restore.mlsnap"), b"somebody's own").unwrap();
    let mut folders = 0;
    let mut restore = |until: RestorePoint| {
        folders += 1;
        db.restore_into(MlPersistence::builder(files.path(&format!("r{folders}"))), &full, until)
    };
    for (cursor, at_ms, digest) in &points {
        for until in [RestorePoint::Cursor(*cursor), RestorePoint::AtMs(*at_ms), RestorePoint::AtMs(at_ms + 999)] {
            let restored = restore(until).unwrap();
            assert_eq!(&restored.digest().unwrap(), digest, "{until:?}");
            assert_sound(&restored);
            // It is a primary of its own.
            restored.namespace("own").unwrap().put("k", "v").unwrap();
        }
    }
    let foreign = memory();
    foreign.namespace("n").unwrap().put("k", "v").unwrap();
    assert_eq!(kind(restore(RestorePoint::Cursor(foreign.cursor()))), ErrorKind::Invalid);
    assert_eq!(kind(db.restore_into(MlPersistence::in_memory(), &full, RestorePoint::AtMs(0))), ErrorKind::Invalid);
    let left = std::fs::read_dir(files.path("r1").parent().unwrap()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let scratch: Vec<_> = left.iter().filter(|name| name.ends_with(".restore.mlsnap")).collect();
    assert_eq!(scratch, ["r1.restore.mlsnap"]);
    assert_eq!(std::fs::read(files.path("r1.restore.mlsnap")).unwrap(), b"somebody's own");
}

#[test]
fn what_a_queue_knew_of_the_old_state_is_forgotten_when_it_is_replaced() {
    let files = Files::new();
    let source = memory();
    source.jobs().enqueue_batch(&(0..3).map(|_| NewJob::new("train", "fit")).collect::<Vec<_>>()).unwrap();
    source.export_snapshot(files.path("s"), None).unwrap();
    let target = sled(&files.path("target"));
    // It has looked to the end of one line, and knows jobs of another.
    assert!(target.jobs().claim(&["train"], 1).unwrap().is_empty());
    target.jobs().enqueue_batch(&(0..3).map(|_| NewJob::new("other", "fit")).collect::<Vec<_>>()).unwrap();
    assert_eq!(target.jobs().claim(&["other"], 1).unwrap().len(), 1);
    target.import_snapshot(files.path("s"), true).unwrap();
    assert!(target.jobs().claim(&["other"], 5).unwrap().is_empty());
    let held = target.jobs().claim(&["train"], 5).unwrap();
    assert_eq!(held.len(), 3);
    for lease in held {
        lease.complete(json!(null)).unwrap();
    }
    assert_sound(&target);
}

#[test]
fn quarantine_travels_with_the_state_and_is_no_part_of_its_digest() {
    let files = Files::new();
    populate(&sled(&files.path("source")));
    let clean = sled(&files.path("source")).digest().unwrap();
    // Bytes that no record begins with, where records stand.
    let config = ml_persistence::Config::new().unwrap();
    let disk = Arc::new(ml_persistence::engine::local::disk::RealDisk::new());
    let folder = files.path("source");
    let (engine, _) = LocalEngine::open(disk, &folder, &SledOpener, &config).unwrap();
    engine.transact(&TxnOptions::default(), &mut |txn| txn.put(Tree::Models, b"zz", Arc::from(&b"?"[..]))).unwrap();
    engine.close().unwrap();
    drop(engine);
    let source = sled(&folder);
    assert_eq!(source.repair().unwrap().quarantined_found, 1);
    let kept = source.quarantine(None, 10).unwrap();
    assert_eq!((kept.entries.len(), source.digest().unwrap()), (1, clean));

    let exported = source.export_snapshot(files.path("s"), None).unwrap();
    let copy = memory();
    copy.import_snapshot(files.path("s"), false).unwrap();
    assert_eq!(copy.quarantine(None, 10).unwrap(), kept);
    let id = &kept.entries[0].id;
    assert_eq!(copy.quarantined(id).unwrap(), source.quarantined(id).unwrap());
    assert_eq!(Some(copy.digest().unwrap()), exported.digest);
    assert_sound(&copy);
}
