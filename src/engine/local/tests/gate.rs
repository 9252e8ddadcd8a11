//! A disk whose syncs can be held up, so that a test decides what comes before what.

use std::path::Path;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::engine::local::disk::{Disk, DiskFile, LockGuard};
use crate::engine::local::sim::SimDisk;
use crate::error::Result;

/// A disk whose syncs of journal segments wait while its gate is shut.
#[derive(Debug, Clone)]
pub(super) struct GatedDisk {
    pub(super) disk: SimDisk,
    pub(super) gate: Arc<Gate>,
}

#[derive(Debug, Default)]
pub(super) struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(super) fn set(&self, shut: bool) {
        *self.shut.lock() = shut;
        self.opened.notify_all();
    }

    pub(super) fn pass(&self) {
        let mut shut = self.shut.lock();
        while *shut {
            self.opened.wait(&mut shut);
        }
    }
}

#[derive(Debug)]
struct GatedFile(Box<dyn DiskFile>, Arc<Gate>);

impl DiskFile for GatedFile {
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
        self.1.pass();
        self.0.sync_data()
    }
}

impl Disk for GatedDisk {
    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(self.disk.create(path)?, Arc::clone(&self.gate))))
    }

    fn open(&self, path: &Path, write: bool) -> Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(self.disk.open(path, write)?, Arc::clone(&self.gate))))
    }

    fn create_dir(&self, path: &Path) -> Result<()> {
        self.disk.create_dir(path)
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
