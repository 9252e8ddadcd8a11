//! Snapshots through the façade: out of a store, into a store, under writers, by deltas.
//!
//! The format itself and hostile files are tested where it lives, in `src/snapshot/tests.rs`; crashes of an import in
//! `src/engine/local/tests/replace.rs`.

#![cfg(feature = "sled")]
// A panic here is a failed test; clippy sees that only for functions marked as such.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ml_persistence::{
    Change, EngineKind, ErrorKind, Json, MlPersistence, NewJob, NewVersion, SnapshotInfo, SnapshotKind,
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
