//! Every promise of the traits, on every implementation, plain and through each wrapper.

use std::path::Path;
use std::sync::Arc;

use ml_persistence::Config;
use ml_persistence::engine::conformance::{disk, engine, history, replace, store, txn};
use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::disk::{Disk, RealDisk};
use ml_persistence::engine::local::opener::StoreOpener;
use ml_persistence::engine::local::place::Place;
use ml_persistence::engine::local::sim::SimDisk;
use ml_persistence::engine::memory::{FolderStore, MemoryOpener, MemoryStore};
use ml_persistence::engine::wrap::{CountDisk, CountEngine, CountStore, FaultEngine, FaultStore};
use ml_persistence::engine::{Engine, KvStore};

fn memory() -> Arc<dyn KvStore> {
    Arc::new(MemoryStore::new())
}

fn check_store(make: store::Make<'_>) {
    for (name, check) in store::ALL {
        println!("{name}");
        check(make).expect(name);
    }
}

fn check_disk(made: &dyn Disk, folder: &Path) {
    for (name, check) in disk::ALL {
        println!("{name}");
        check(made, folder).expect(name);
    }
}

#[test]
fn the_memory_store_keeps_its_promises() {
    check_store(&memory);
}

#[test]
fn the_memory_store_keeps_its_promises_through_each_wrapper() {
    check_store(&|| Arc::new(CountStore::new(memory())));
    check_store(&|| Arc::new(FaultStore::new(memory())));
}

fn memory_in_folder() -> Arc<dyn KvStore> {
    let disk = SimDisk::recording();
    disk.create_dir(Path::new("/store")).expect("a simulated disk has room");
    Arc::new(FolderStore::open(Arc::new(disk), Path::new("/store")).expect("an empty folder opens"))
}

#[test]
fn the_memory_store_with_a_folder_keeps_its_promises_on_both_disks_plain_and_wrapped() {
    check_store(&memory_in_folder);
    check_store(&|| Arc::new(FaultStore::new(Arc::new(CountStore::new(memory_in_folder())))));
    let folders = std::cell::RefCell::new(Vec::new());
    check_store(&|| {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::open(Arc::new(CountDisk::new(Arc::new(RealDisk::new()))), folder.path()).unwrap();
        folders.borrow_mut().push(folder);
        Arc::new(store)
    });
}

#[cfg(feature = "sled")]
#[test]
fn the_sled_store_keeps_its_promises_plain_and_wrapped() {
    use ml_persistence::engine::sled::SledStore;

    let folders = std::cell::RefCell::new(Vec::new());
    let sled = || -> Arc<dyn KvStore> {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(folder.path(), 8 << 20).unwrap();
        folders.borrow_mut().push(folder);
        Arc::new(store)
    };
    check_store(&sled);
    check_store(&|| Arc::new(FaultStore::new(Arc::new(CountStore::new(sled())))));
}

#[test]
fn the_real_disk_keeps_its_promises_plain_and_counted() {
    for made in [Arc::new(RealDisk::new()) as Arc<dyn Disk>, Arc::new(CountDisk::new(Arc::new(RealDisk::new())))] {
        let temp = tempfile::tempdir().unwrap();
        check_disk(&*made, temp.path());
    }
}

#[test]
fn the_simulated_disk_keeps_its_promises_plain_and_recording() {
    check_disk(&SimDisk::new(), Path::new("/"));
    check_disk(&SimDisk::recording(), Path::new("/"));
    let nested = SimDisk::recording();
    nested.create_dir(Path::new("store")).unwrap();
    check_disk(&nested, Path::new("store"));
    check_disk(&nested.kill(), Path::new("/"));
}

fn check_engine(make: engine::Make<'_>) {
    for (name, check) in engine::ALL.iter().chain(txn::ALL).chain(history::ALL).chain(replace::ALL) {
        println!("{name}");
        check(make).expect(name);
    }
}

fn local(disk: Arc<dyn Disk>, folder: &Path, opener: &dyn StoreOpener) -> Arc<dyn Engine> {
    let config = Config::new().expect("the machine has randomness");
    Arc::new(LocalEngine::open(disk, folder, opener, &config).expect("a new folder opens").0)
}

/// The same in a place where its state can be replaced, as a store is opened.
fn placed(disk: Arc<dyn Disk>, folder: &Path, opener: Arc<dyn StoreOpener>) -> Arc<dyn Engine> {
    let config = Config::new().expect("the machine has randomness");
    Arc::new(Place::open(disk, folder, opener, &config).expect("a new folder opens").0)
}

fn ephemeral() -> Arc<dyn Engine> {
    local(Arc::new(SimDisk::new()), Path::new("/ram"), &MemoryOpener::new())
}

#[test]
fn the_local_engine_over_memory_keeps_its_promises() {
    check_engine(&ephemeral);
}

#[test]
fn the_local_engine_keeps_its_promises_through_each_wrapper() {
    check_engine(&|| Arc::new(CountEngine::new(ephemeral())));
    check_engine(&|| Arc::new(FaultEngine::new(ephemeral())));
}

#[test]
fn the_local_engine_over_memory_with_a_folder_keeps_its_promises_on_both_disks() {
    check_engine(&|| {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::recording());
        local(Arc::clone(&disk), Path::new("/data"), &MemoryOpener::in_folder(disk))
    });
    let folders = std::cell::RefCell::new(Vec::new());
    check_engine(&|| {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let made = local(Arc::clone(&disk), &folder.path().join("db"), &MemoryOpener::in_folder(disk));
        folders.borrow_mut().push(folder);
        made
    });
}

fn ephemeral_place() -> Arc<dyn Engine> {
    placed(Arc::new(SimDisk::new()), Path::new("/ram"), Arc::new(MemoryOpener::by_folder()))
}

#[test]
fn an_engine_whose_state_can_be_replaced_keeps_its_promises_plain_and_wrapped() {
    check_engine(&ephemeral_place);
    check_engine(&|| Arc::new(CountEngine::new(ephemeral_place())));
    check_engine(&|| Arc::new(FaultEngine::new(ephemeral_place())));
    check_engine(&|| {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::recording());
        placed(Arc::clone(&disk), Path::new("/data"), Arc::new(MemoryOpener::in_folder(disk)))
    });
}

#[cfg(feature = "sled")]
#[test]
fn an_engine_over_sled_whose_state_can_be_replaced_keeps_its_promises() {
    use ml_persistence::engine::sled::SledOpener;

    let folders = std::cell::RefCell::new(Vec::new());
    check_engine(&|| {
        let folder = tempfile::tempdir().unwrap();
        let made = placed(Arc::new(RealDisk::new()), &folder.path().join("db"), Arc::new(SledOpener));
        folders.borrow_mut().push(folder);
        made
    });
}

/// Hands out stores behind both wrappers, so that the engine runs on what it would see of a faulty one.
#[derive(Debug)]
struct WrappedOpener(MemoryOpener);

impl StoreOpener for WrappedOpener {
    fn engine(&self) -> &'static str {
        "memory"
    }

    fn is_persistent(&self) -> bool {
        self.0.is_persistent()
    }

    fn open(&self, folder: &Path, cache_bytes: usize) -> ml_persistence::Result<Arc<dyn KvStore>> {
        Ok(Arc::new(FaultStore::new(Arc::new(CountStore::new(self.0.open(folder, cache_bytes)?)))))
    }
}

#[test]
fn the_local_engine_keeps_its_promises_on_a_wrapped_store_and_a_counted_disk() {
    check_engine(&|| {
        let disk = CountDisk::new(Arc::new(SimDisk::recording()));
        local(Arc::new(disk), Path::new("/ram"), &WrappedOpener(MemoryOpener::new()))
    });
    check_engine(&|| {
        let disk: Arc<dyn Disk> = Arc::new(CountDisk::new(Arc::new(SimDisk::recording())));
        local(Arc::clone(&disk), Path::new("/data"), &WrappedOpener(MemoryOpener::in_folder(disk)))
    });
}

#[cfg(feature = "sled")]
#[test]
fn the_local_engine_over_sled_keeps_its_promises() {
    use ml_persistence::engine::sled::SledOpener;

    let folders = std::cell::RefCell::new(Vec::new());
    check_engine(&|| {
        let folder = tempfile::tempdir().unwrap();
        let made = local(Arc::new(RealDisk::new()), &folder.path().join("db"), &SledOpener);
        folders.borrow_mut().push(folder);
        made
    });
}
