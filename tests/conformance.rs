//! Every promise of the traits, on every implementation, plain and through each wrapper.

use std::path::Path;
use std::sync::Arc;

use ml_persistence::engine::KvStore;
use ml_persistence::engine::conformance::{disk, store};
use ml_persistence::engine::local::disk::{Disk, RealDisk};
use ml_persistence::engine::local::sim::SimDisk;
use ml_persistence::engine::memory::MemoryStore;
use ml_persistence::engine::wrap::{CountDisk, CountStore, FaultStore};

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
