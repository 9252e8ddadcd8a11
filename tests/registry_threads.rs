//! Numbers of versions under many threads: dense, unique, and never given out twice - not after deletes, not after
//! damage, not after reopening, not after a power cut. What is counted equals what is there.

#![cfg(feature = "sled")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::disk::Disk;
use ml_persistence::engine::local::sim::SimDisk;
use ml_persistence::engine::memory::MemoryOpener;
use ml_persistence::engine::{Tree, TxnOptions, Value};
use ml_persistence::registry::{Change, PageRequest, VersionRef};
use ml_persistence::{Config, EngineKind, ErrorKind, MlPersistence, NewVersion, RecordStore, Registry};

const THREADS: u32 = 64;
const EACH: u32 = 100;

fn open(folder: &Path, engine: EngineKind) -> MlPersistence {
    MlPersistence::builder(folder).engine(engine).open().expect("the folder opens")
}

fn model_of(thread: u32, models: u32) -> String {
    format!("m{}", thread % models)
}

/// `each` registrations by each of 64 threads, spread over the models; the numbers that each model has given out.
fn register(registry: &Registry, models: u32, each: u32) -> BTreeMap<String, Vec<u32>> {
    let mut numbers: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let model = model_of(thread, models);
                    let new = NewVersion::new().tag("thread", thread.to_string());
                    let register = || registry.register_version(&model, new.clone()).expect("room").version;
                    (model.clone(), (0..each).map(|_| register()).collect::<Vec<_>>())
                })
            })
            .collect();
        for thread in threads {
            let (model, given) = thread.join().expect("no panic");
            assert!(given.windows(2).all(|pair| pair[0] < pair[1]), "a thread's numbers grow");
            numbers.entry(model).or_default().extend(given);
        }
    });
    numbers.values_mut().for_each(|given| given.sort_unstable());
    numbers
}

/// Counters, counts in the models, listings and verify say the same.
fn assert_counts(db: &MlPersistence, models: u32, versions: u64) {
    let registry = db.registry();
    let summary = registry.summary().expect("counters are read");
    assert_eq!((summary.models.total, summary.versions.total), (u64::from(models), versions));
    let mut listed = 0;
    for model in registry.list_models(&PageRequest::new()).expect("a page").models {
        let mut page = PageRequest::new().size(1000);
        let mut of_model = 0;
        loop {
            let found = registry.list_versions(&model.name, &page).expect("a page");
            assert!(found.versions.windows(2).all(|pair| pair[0].version < pair[1].version));
            of_model += found.versions.len() as u64;
            let Some(token) = found.next_page_token else { break };
            page = page.token(token);
        }
        assert_eq!(u64::from(model.versions), of_model);
        assert_eq!(registry.version_counts(&model.name).expect("the model is there").total, of_model);
        listed += of_model;
    }
    assert_eq!(listed, versions);
    assert_eq!(db.verify().expect("the store is read").violations, []);
}

#[test]
fn sixty_four_threads_get_dense_unique_numbers_on_one_model_and_on_sixteen_with_a_reopening_in_between() {
    for engine in [EngineKind::Memory, EngineKind::Sled] {
        for models in [1, 16] {
            let folder = tempfile::tempdir().expect("a folder");
            let mut all: BTreeMap<String, Vec<u32>> = BTreeMap::new();
            for half in 1..=2 {
                let db = open(folder.path(), engine);
                for (model, given) in register(db.registry(), models, EACH / 2) {
                    all.entry(model).or_default().extend(given);
                }
                assert_counts(&db, models, u64::from(half * THREADS * EACH / 2));
                db.close().expect("a clean end");
            }
            let per_model = THREADS * EACH / models;
            for (model, given) in all {
                assert_eq!(given, (1..=per_model).collect::<Vec<_>>(), "{model}, {engine:?}");
            }
        }
    }
}

#[test]
fn no_number_comes_back_after_deletes_and_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path(), EngineKind::Sled);
    let given = register(db.registry(), 1, 4);
    assert_eq!(given["m0"].last(), Some(&256));
    let change = Change::new();
    for number in [1, 100, 254, 255, 256] {
        db.registry().delete_version("m0", number, &change).expect("it is there");
    }
    assert_counts(&db, 1, 251);
    db.close().expect("a clean end");
    let db = open(folder.path(), EngineKind::Sled);
    assert_eq!(db.registry().register_version("m0", NewVersion::new()).expect("room").version, 257);
    for number in 2..=257 {
        match db.registry().delete_version("m0", number, &change) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            deleted => deleted.expect("it is there"),
        }
    }
    assert_counts(&db, 1, 0);
    db.close().expect("a clean end");
    let db = open(folder.path(), EngineKind::Sled);
    let next = register(db.registry(), 1, 1);
    assert_eq!(next["m0"], (258..=321).collect::<Vec<_>>());
    assert_counts(&db, 1, 64);
    assert_eq!(db.registry().delete_model("m0", &change).expect("it is there"), 64);
    assert_counts(&db, 0, 0);
    let again = register(db.registry(), 1, 1);
    assert_eq!(again["m0"], (1..=64).collect::<Vec<_>>(), "a new model of the name starts over");
    db.close().expect("a clean end");
}

fn store_on(disk: &SimDisk) -> RecordStore {
    let config = Config::new().expect("randomness");
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let opener = MemoryOpener::in_folder(Arc::clone(&shared));
    let (engine, _) = LocalEngine::open(shared, Path::new("/data"), &opener, &config).expect("the disk opens");
    RecordStore::new(Arc::new(engine), config.clock, config.ids)
}

#[test]
fn a_damaged_row_keeps_its_number() {
    let store = store_on(&SimDisk::new());
    let registry = Registry::new(store.clone());
    (0..5).for_each(|_| drop(registry.register_version("m", NewVersion::new()).expect("room")));
    let damage = |key: &[u8]| {
        let planted = store.engine().transact(&TxnOptions::default(), &mut |txn| {
            txn.put(Tree::ModelVersions, key, Value::from(&b"not a version"[..]))
        });
        planted.expect("a plain write");
    };
    damage(b"m@v5");
    damage(b"m@v2");
    assert_eq!(registry.get("m", 5).expect_err("it can't be read").kind(), ErrorKind::Corrupt);
    assert_eq!(registry.register_version("m", NewVersion::new()).expect("room").version, 6);
    let page = registry.list_versions("m", &PageRequest::new()).expect("a page");
    assert_eq!(page.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 3, 4, 6]);
    assert_eq!(page.damaged.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["m@v2", "m@v5"]);
}

#[test]
fn a_power_cut_while_threads_register_frees_no_number_that_was_answered() {
    for seed in 0..12 {
        let disk = SimDisk::recording();
        let store = store_on(&disk);
        let registry = Registry::new(store.clone());
        registry.register_version("m", NewVersion::new()).expect("room");
        disk.crash_at(3 + seed * 2);
        let highest = AtomicU32::new(1);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    while let Ok(version) = registry.register_version("m", NewVersion::new()) {
                        highest.fetch_max(version.version, Ordering::SeqCst);
                    }
                });
            }
        });
        let store = store_on(&disk.crash(seed));
        let registry = Registry::new(store);
        registry.recover().expect("nothing is left to do");
        let highest = highest.into_inner();
        let model = registry.get_model("m").expect("a read").expect("it was acknowledged");
        assert!(model.last_version >= highest, "seed {seed}: {} after {highest}", model.last_version);
        assert_eq!(model.versions, model.last_version, "seed {seed}: dense");
        let latest = registry.get("m", VersionRef::latest()).expect("a read").expect("there is one");
        assert_eq!(latest.version, model.last_version);
        let next = registry.register_version("m", NewVersion::new()).expect("room").version;
        assert_eq!(next, model.last_version + 1);
    }
}
