//! The façade as hosts use it: one folder, three contracts, one transaction.
#![cfg(feature = "sled")]
// A panic in a test is its failure, in helpers too.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use ml_persistence::jobs::State;
use ml_persistence::kv::{KeyValue, KvWrite};
use ml_persistence::registry::NewVersion;
use ml_persistence::{EngineKind, Error, ErrorKind, Ids, Json, ManualClock, MlPersistence, NewJob, Result};
use serde_json::json;

fn in_memory() -> MlPersistence {
    MlPersistence::in_memory().open().unwrap()
}

#[test]
fn a_handle_goes_anywhere_and_the_last_clone_dropped_closes_the_folder() {
    fn goes_anywhere<T: Send + Sync + Clone + 'static>(_: &T) {}
    let folder = tempfile::tempdir().unwrap();
    let db = MlPersistence::open(folder.path()).unwrap();
    goes_anywhere(&db);
    assert_eq!(db.recovery().epoch, 1);
    let other = db.clone();
    drop(db);
    let taken = MlPersistence::open(folder.path()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Unavailable, "{taken}");
    other.namespace("n").unwrap().put("k", "v").unwrap();
    drop(other);
    let db = MlPersistence::open(folder.path()).unwrap();
    assert_eq!(db.recovery().epoch, 2);
    assert_eq!(db.namespace("n").unwrap().get_as::<String>("k").unwrap().as_deref(), Some("v"));
}

#[test]
fn a_completion_a_version_and_a_value_are_one_commit_or_none() {
    let db = in_memory();
    let job = db.jobs().enqueue(NewJob::new("train", "fit")).unwrap().job;
    let lease = db.jobs().claim(&["train"], 1).unwrap().remove(0);
    let (_, token) = lease.into_parts();
    let write = |fail: bool| {
        db.transact(|txn| {
            txn.jobs().complete(&token, Some(Json::from(json!({"f1": 0.9}))))?;
            let version = txn.registry().register_version("spam", NewVersion::new().metric("f1", 0.9))?.version;
            txn.kv().put("best", "spam", &Json::from(json!(version)))?;
            if fail { Err(Error::conflict("changed my mind")) } else { Ok(version) }
        })
    };
    assert_eq!(write(true).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(db.jobs().get(job).unwrap().unwrap().state.name(), "executing");
    assert!(db.registry().get_model("spam").unwrap().is_none());
    assert_eq!(db.kv().count("best").unwrap(), 0);
    assert_eq!(write(false).unwrap(), 1);
    assert_eq!(db.jobs().get(job).unwrap().unwrap().state.name(), "completed");
    assert_eq!(db.kv().get("best", "spam").unwrap().unwrap().as_str(), "1");
    assert_eq!(write(false).unwrap_err().kind(), ErrorKind::LeaseLost);
    assert_eq!(db.registry().get_model("spam").unwrap().unwrap().versions, 1);
    assert_eq!(db.verify().unwrap().violations, []);
}

#[test]
fn closing_gives_leases_back_without_a_crash_and_everything_answers_closed_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let db = MlPersistence::open(folder.path()).unwrap();
    let job = db.jobs().enqueue(NewJob::new("q", "k")).unwrap().job;
    let held = db.jobs().claim(&["q"], 1).unwrap();
    db.close().unwrap();
    db.close().unwrap();
    fn closed<T>(outcome: Result<T>) -> bool {
        outcome.is_err_and(|error| error.kind() == ErrorKind::Closed)
    }
    assert!(closed(db.kv().get("n", "k")) && closed(db.sync()) && closed(db.jobs().get(job)) && closed(db.stats()));
    assert!(closed(db.registry().get_model("m")) && closed(db.verify()) && closed(db.digest()));
    // Dropping a lease of a closed store neither panics nor blocks.
    drop(held);
    drop(db);
    let db = MlPersistence::open(folder.path()).unwrap();
    assert_eq!((db.recovery().jobs_requeued, db.recovery().jobs_discarded), (0, 0));
    let job = db.jobs().get(job).unwrap().unwrap();
    assert_eq!((job.state.name(), job.crash_count, job.attempt), ("available", 0, 0));
}

#[test]
fn a_setting_that_could_not_work_is_refused_by_name_and_no_folder_is_made() {
    let folder = tempfile::tempdir().unwrap().path().join("never");
    for (builder, name) in [
        (MlPersistence::builder(&folder).memtable_bytes(1), "memtable_bytes"),
        (MlPersistence::builder(&folder).journal_max_bytes(1), "journal_max_bytes"),
        (MlPersistence::builder(&folder).sync_every_ms(0), "sync_every_ms"),
    ] {
        let refused = builder.open().unwrap_err();
        assert!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains(name), "{refused}");
    }
    assert!(!folder.exists());
}

#[test]
fn the_memory_engine_keeps_what_is_in_a_folder_and_sled_and_it_refuse_each_others_folders() {
    let (folder, sled_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = || MlPersistence::builder(folder.path()).engine(EngineKind::Memory).open().unwrap();
    let db = open();
    assert_eq!((db.capabilities().engine, db.capabilities().persistent), ("memory", true));
    assert!(!in_memory().capabilities().persistent);
    db.namespace("n").unwrap().put("large", &"x".repeat(100_000)).unwrap();
    let digest = db.digest().unwrap();
    db.close().unwrap();
    // What one opening finds in the journal, the next finds in the store.
    for epoch in 2..5 {
        let db = open();
        assert_eq!((db.recovery().epoch, db.recovery().rebuilt), (epoch, false));
        assert_eq!(db.digest().unwrap(), digest);
        db.checkpoint().unwrap();
        assert!(db.stats().unwrap().storage.store_bytes > 100_000);
        db.close().unwrap();
    }
    drop(MlPersistence::open(sled_folder.path()).unwrap());
    for (folder, other, owner) in
        [(folder.path(), EngineKind::Sled, "`memory`"), (sled_folder.path(), EngineKind::Memory, "`sled`")]
    {
        let refused = MlPersistence::builder(folder).engine(other).open().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
        assert!(refused.to_string().contains(&format!("holds a store of engine {owner}")), "{refused}");
    }
}

#[test]
fn a_batch_that_is_refused_leaves_no_piece_of_its_large_values_behind() {
    let db = in_memory();
    let put = |key: String, value: Json| KvWrite::Put { namespace: "n".to_owned(), key, value };
    let large = Json::from(json!("x".repeat(200_000)));
    db.kv().batch(&[put("kept".to_owned(), large.clone())]).unwrap();
    let before = db.digest().unwrap();
    let refused =
        db.kv().batch(&[put("a".to_owned(), large.clone()), put("k".repeat(513), large.clone())]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(db.digest().unwrap(), before);
    assert_eq!(db.verify().unwrap().violations, []);
    assert!(db.kv().get("n", "kept").unwrap().unwrap() == large);
}

#[test]
#[ignore = "writes 1 GiB: only then does a clear meet the limit of writes in a transaction"]
fn clearing_a_namespace_of_large_values_takes_as_many_transactions_as_it_needs() {
    let db = in_memory();
    // 100 values of 700 pieces each: more deletes than the 64 Ki that one transaction takes.
    let large = Json::from(json!("x".repeat(700 * 16_300)));
    let namespace = db.namespace("n").unwrap();
    for key in 0..100 {
        namespace.put(&format!("k{key}"), &large).unwrap();
    }
    assert_eq!(namespace.clear().unwrap(), 100);
    assert_eq!(namespace.count().unwrap(), 0);
    assert_eq!(db.verify().unwrap().violations, []);
}

#[test]
fn counts_are_exact_when_many_threads_put_and_delete_the_same_keys() {
    let db = in_memory();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let namespace = db.namespace("n").unwrap();
            scope.spawn(move || {
                for round in 0..100 {
                    let key = format!("k{}", (thread * 7 + round * 3) % 20);
                    if (thread + round) % 3 == 0 {
                        namespace.delete(&key).unwrap();
                    } else {
                        namespace.put(&key, &round).unwrap();
                    }
                }
            });
        }
    });
    let listed = db.kv().list("n", "", None, 1000).unwrap().entries.len() as u64;
    assert_eq!(db.kv().count("n").unwrap(), listed);
    assert_eq!(db.verify().unwrap().violations, []);
}

#[test]
fn the_same_work_has_the_same_digest_on_sled_and_in_memory() {
    let (folder, memory_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let work = |builder: ml_persistence::Builder| {
        let db = builder.clock(Arc::new(ManualClock::at(1_000))).ids(Ids::seeded(3)).open().unwrap();
        let empty = db.digest().unwrap();
        db.kv().put("n", "large", &Json::from(json!("x".repeat(100_000)))).unwrap();
        db.jobs().enqueue(NewJob::new("q", "k").payload(json!({"a": 1}))).unwrap();
        db.registry().register_version("m", NewVersion::new().artifact(vec![7; 50_000])).unwrap();
        db.checkpoint().unwrap();
        let full = db.digest().unwrap();
        assert_ne!(empty, full);
        full
    };
    let digest = work(MlPersistence::in_memory());
    assert_eq!(work(MlPersistence::builder(folder.path())), digest);
    assert_eq!(work(MlPersistence::builder(memory_folder.path()).engine(EngineKind::Memory)), digest);
}

#[test]
fn a_store_opened_for_reading_answers_everything_and_changes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("db");
    let read_only = || MlPersistence::builder(&folder).read_only(true).open();
    assert_eq!(read_only().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!folder.exists());

    let db = MlPersistence::open(&folder).unwrap();
    db.namespace("n").unwrap().put("k", &7).unwrap();
    let job = db.jobs().enqueue(NewJob::new("train", "fit")).unwrap().job;
    let lease = db.jobs().claim(&["train"], 1).unwrap().remove(0);
    let digest = db.digest().unwrap();
    // Kept from being dropped, as a crash would: the job stays executing on disk.
    std::mem::forget(lease);
    db.sync().unwrap();
    let copy = scratch.path().join("copy");
    copy_folder(&folder, &copy);
    let read_only = || MlPersistence::builder(&copy).read_only(true).open();
    for _ in 0..2 {
        let db = read_only().unwrap();
        assert_eq!((db.recovery().epoch, db.recovery().jobs_requeued), (1, 0));
        assert_eq!(db.digest().unwrap(), digest);
        assert_eq!(db.jobs().get(job).unwrap().unwrap().state, State::Executing);
        assert_eq!(db.verify().unwrap().violations_found, 0);
        assert_eq!(db.namespace("n").unwrap().put("k", &8).unwrap_err().kind(), ErrorKind::Unsupported);
        db.close().unwrap();
    }
    let db = MlPersistence::open(&copy).unwrap();
    assert_eq!((db.recovery().epoch, db.recovery().jobs_requeued), (2, 1));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("its entries can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}
