//! The registry on a real engine and a real folder: threads, reopening, and the same answers as before.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure, in its helpers too")]

use std::path::Path;
use std::sync::Arc;

use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::disk::RealDisk;
use ml_persistence::engine::local::opener::StoreOpener;
use ml_persistence::engine::memory::{MemoryOpener, MemoryStore};
use ml_persistence::record::scrub::{self, Report};
use ml_persistence::registry::{self, ArtifactContent, Change, MoveFilter, PageRequest, VersionRef};
use ml_persistence::{Config, Durability, NewVersion, RecordStore, Registry};

fn openers() -> Vec<Box<dyn StoreOpener>> {
    vec![
        Box::new(MemoryOpener::shared(Arc::new(MemoryStore::new()))),
        #[cfg(feature = "sled")]
        Box::new(ml_persistence::engine::sled::SledOpener),
    ]
}

fn open(folder: &Path, opener: &dyn StoreOpener) -> RecordStore {
    let config = Config::new().unwrap();
    let (engine, _) = LocalEngine::open(Arc::new(RealDisk::new()), folder, opener, &config).unwrap();
    RecordStore::new(Arc::new(engine), config.clock, config.ids)
}

fn digest(store: &RecordStore) -> String {
    store.read(|view| ml_persistence::record::digest(view.reader())).unwrap()
}

fn assert_clean(store: &RecordStore) {
    let report = store.read(|view| {
        let mut report = Report::default();
        registry::verify(view, &mut report)?;
        scrub::verify_pieces(view, &mut report)?;
        Ok(report)
    });
    let report = report.unwrap();
    assert_eq!(report.violations, []);
    assert!(report.records > 0);
}

#[test]
fn sixty_four_threads_register_dense_unique_numbers_that_survive_reopening() {
    for opener in openers() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), &*opener);
        let registry = Registry::new(store.clone());
        let bytes: Arc<[u8]> = (0..50_000u32).map(|n| (n * 31) as u8).collect();
        let mut numbers: Vec<u32> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64)
                .map(|thread| {
                    let (registry, bytes) = (&registry, &bytes);
                    scope.spawn(move || {
                        let new = || NewVersion::new().metric("thread", f64::from(thread)).artifact(Arc::clone(bytes));
                        (0..4).map(|_| registry.register_version("m", new()).unwrap().version).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=256).collect::<Vec<_>>());
        registry.set_alias("m", "prod", 7, &Change::new().by("ann")).unwrap();
        registry.archive("m", 256, &Change::new()).unwrap();
        assert_clean(&store);
        let before = digest(&store);
        store.engine().close().unwrap();
        drop((store, registry));

        let store = open(folder.path(), &*opener);
        let registry = Registry::new(store.clone());
        assert_eq!(digest(&store), before);
        let model = registry.get_model("m").unwrap().unwrap();
        assert_eq!((model.last_version, model.versions, model.archived_versions), (256, 256, 1));
        assert_eq!((model.active_version, model.revision), (None, 258));
        assert_eq!(registry.get("m", "prod").unwrap().unwrap().version, 7);
        assert_eq!(registry.get("m", VersionRef::latest()).unwrap().unwrap().version, 255);
        match registry.artifact("m", 200).unwrap().unwrap() {
            ArtifactContent::Inline { content, .. } => assert_eq!(content, bytes),
            other => panic!("{other:?}"),
        }
        let page = registry.list_versions("m", &PageRequest::new().size(1000)).unwrap();
        assert_eq!(page.versions.iter().map(|version| version.version).collect::<Vec<_>>(), numbers);
        assert_eq!(registry.alias_history("m", &MoveFilter::new()).unwrap().len(), 258);
        assert_eq!(registry.register_version("m", NewVersion::new()).unwrap().version, 257);
        assert_clean(&store);
        store.engine().close().unwrap();
    }
}

#[test]
fn a_transaction_that_fails_leaves_model_pointer_and_artifact_as_they_were() {
    for opener in openers() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), &*opener);
        let registry = Registry::new(store.clone());
        registry.register_version("m", NewVersion::new().artifact(vec![1; 40_000])).unwrap();
        let before = digest(&store);
        let failed: ml_persistence::Result<()> = store.transact(Durability::PowerLoss, |txn| {
            txn.registry().register_version("m", NewVersion::new().artifact(vec![2; 40_000]))?;
            txn.registry().delete_version("m", 1, &Change::new())?;
            Err(ml_persistence::Error::conflict("no"))
        });
        failed.unwrap_err();
        assert_eq!(digest(&store), before);
        assert_clean(&store);
        store.engine().close().unwrap();
    }
}

#[test]
fn the_largest_artifact_fits_one_commit() {
    for opener in openers() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), &*opener);
        let registry = Registry::new(store.clone());
        let bytes = vec![9u8; registry::ARTIFACT_BYTES_MAX];
        registry.register_version("m", NewVersion::new().artifact(bytes.as_slice())).unwrap();
        let content = registry.artifact("m", 1).unwrap().unwrap();
        assert_eq!(content, ArtifactContent::inline(bytes).unwrap());
        registry.delete_version("m", 1, &Change::new()).unwrap();
        assert_eq!(registry.summary().unwrap().versions.total, 0);
        assert_clean(&store);
        store.engine().close().unwrap();
    }
}
