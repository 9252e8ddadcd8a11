//! A disk that reads along: it knows which version of each key a sync has made durable, and can hold such syncs up.
//!
//! It finds stamps in the bytes that go to the journal, so it needs nobody's word for what is durable. Only syncs
//! behind a stamp wait at its gate: segments are prepared in the background as ever.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use ml_persistence::Result;
use ml_persistence::engine::local::disk::{Disk, DiskFile, LockGuard};

use super::stamp::{MAGIC, Stamp};

#[derive(Debug)]
pub struct WatchedDisk {
    inner: Arc<dyn Disk>,
    ledger: Arc<Ledger>,
}

/// What a [`WatchedDisk`] knows.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The newest durable version by key.
    durable: BTreeMap<usize, u64>,
    shut: bool,
    held: usize,
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics under this lock")
    }

    /// Whether `version` of `key` would survive a power cut now.
    pub fn is_durable(&self, key: usize, version: u64) -> bool {
        version == 0 || self.state().durable.get(&key).is_some_and(|durable| *durable >= version)
    }

    /// From here on syncs behind a stamp wait.
    pub fn shut(&self) {
        self.state().shut = true;
    }

    pub fn open(&self) {
        self.state().shut = false;
        self.changed.notify_all();
    }

    /// Waits until a sync waits.
    pub fn wait_until_held(&self) {
        let mut state = self.state();
        while state.held == 0 {
            state = self.changed.wait(state).expect("nobody panics under this lock");
        }
    }

    fn pass(&self) {
        let mut state = self.state();
        state.held += 1;
        self.changed.notify_all();
        while state.shut {
            state = self.changed.wait(state).expect("nobody panics under this lock");
        }
        state.held -= 1;
    }

    fn synced(&self, stamps: &[Stamp]) {
        let mut state = self.state();
        for stamp in stamps {
            let durable = state.durable.entry(stamp.key).or_default();
            *durable = stamp.version.max(*durable);
        }
    }
}

impl WatchedDisk {
    pub fn new(inner: Arc<dyn Disk>) -> (Self, Arc<Ledger>) {
        let ledger = Arc::new(Ledger::default());
        (WatchedDisk { inner, ledger: Arc::clone(&ledger) }, ledger)
    }

    fn watch(&self, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(WatchedFile { inner, ledger: Arc::clone(&self.ledger), unsynced: Mutex::default() })
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: Box<dyn DiskFile>,
    ledger: Arc<Ledger>,
    unsynced: Mutex<Vec<Stamp>>,
}

/// Every stamp in `bytes`.
fn stamps_in(bytes: &[u8]) -> Vec<Stamp> {
    let (mut found, mut rest) = (Vec::new(), bytes);
    // Zeros that a segment is prepared with.
    if rest.first() == Some(&0) {
        return found;
    }
    while !rest.is_empty() {
        let before = rest;
        let skipped = rest.skip_until(MAGIC[0]).expect("a slice can be read");
        if let Some(stamp) = before.get(skipped - 1..).and_then(Stamp::decode) {
            found.push(stamp);
        }
    }
    found
}

impl DiskFile for WatchedFile {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.inner.write_at(offset, bytes)?;
        self.unsynced.lock().expect("nobody panics under this lock").extend(stamps_in(bytes));
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        let stamps = std::mem::take(&mut *self.unsynced.lock().expect("nobody panics under this lock"));
        if !stamps.is_empty() {
            self.ledger.pass();
            // A sync takes its time: others get theirs.
            std::thread::yield_now();
        }
        self.inner.sync_data()?;
        self.ledger.synced(&stamps);
        Ok(())
    }
}

impl Disk for WatchedDisk {
    fn create_dir(&self, path: &Path) -> Result<()> {
        self.inner.create_dir(path)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        Ok(self.watch(self.inner.create(path)?))
    }

    fn open(&self, path: &Path, write: bool) -> Result<Box<dyn DiskFile>> {
        Ok(self.watch(self.inner.open(path, write)?))
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        self.inner.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.inner.remove(path)
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.inner.remove_dir_all(path)
    }

    fn sync_dir(&self, folder: &Path) -> Result<()> {
        self.inner.sync_dir(folder)
    }

    fn lock(&self, folder: &Path) -> Result<Box<dyn LockGuard>> {
        self.inner.lock(folder)
    }

    fn free_bytes(&self, folder: &Path) -> Result<Option<u64>> {
        self.inner.free_bytes(folder)
    }

    fn syncs_folders(&self) -> bool {
        self.inner.syncs_folders()
    }
}
