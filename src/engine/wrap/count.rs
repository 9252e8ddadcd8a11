//! Calls, counted: what an operation costs below it.
//!
//! Calls count when they are made, whatever they answer. Counts only grow; a test takes them before and after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::local::disk::{Disk, DiskFile, LockGuard};
use crate::engine::{
    Capabilities, Changes, Committed, Cursor, Direction, Engine, EngineStats, Epoch, FeedHold, Fresh, KeyRange,
    KvStore, Observer, Page, Position, Reader, Tree, Txn, TxnOptions, Value, WriteBatch,
};
use crate::error::Result;

/// What a [`CountStore`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreCounts {
    /// Calls of `get`.
    pub gets: u64,
    /// Calls of `scan`.
    pub scans: u64,
    /// Entries that scans answered.
    pub scanned: u64,
    /// Calls of `apply`.
    pub applies: u64,
    /// Writes in these batches.
    pub writes: u64,
    /// Bytes of keys and values in these batches.
    pub write_bytes: u64,
    /// Calls of `sync`.
    pub syncs: u64,
}

/// A store that counts its calls.
#[derive(Debug)]
pub struct CountStore {
    inner: Arc<dyn KvStore>,
    counts: Mutex<StoreCounts>,
}

impl CountStore {
    /// Passes everything on to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn KvStore>) -> Self {
        CountStore { inner, counts: Mutex::default() }
    }

    /// What was called so far.
    #[must_use]
    pub fn counts(&self) -> StoreCounts {
        *self.counts.lock()
    }
}

impl KvStore for CountStore {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.counts.lock().gets += 1;
        self.inner.get(tree, key)
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Vec<(Vec<u8>, Value)>> {
        let found = self.inner.scan(tree, range, direction, limit);
        let mut counts = self.counts.lock();
        counts.scans += 1;
        counts.scanned += found.as_ref().map_or(0, Vec::len) as u64;
        found
    }

    fn apply(&self, batch: &WriteBatch) -> Result<()> {
        let bytes = |(_, key, value): &(Tree, Box<[u8]>, Option<Value>)| {
            (key.len() + value.as_ref().map_or(0, |value| value.len())) as u64
        };
        {
            let mut counts = self.counts.lock();
            counts.applies += 1;
            counts.writes += batch.writes.len() as u64;
            counts.write_bytes += batch.writes.iter().map(bytes).sum::<u64>();
        }
        self.inner.apply(batch)
    }

    fn sync(&self) -> Result<()> {
        self.counts.lock().syncs += 1;
        self.inner.sync()
    }

    fn mark(&self) -> Result<Option<Value>> {
        self.inner.mark()
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }
}

/// What a [`CountEngine`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EngineCounts {
    /// Calls of `get` outside transactions and views.
    pub gets: u64,
    /// Calls of `get_many` outside views.
    pub get_manys: u64,
    /// Calls of `scan` outside views.
    pub scans: u64,
    /// Calls of `transact`.
    pub transacts: u64,
    /// Runs of transaction bodies: more than `transacts` where bodies ran again.
    pub bodies: u64,
    /// Calls of `Txn::get`.
    pub txn_gets: u64,
    /// Calls of `Txn::put`, `Txn::delete` and `Txn::add`.
    pub txn_writes: u64,
    /// Calls of `read_view`.
    pub read_views: u64,
    /// Calls of `sync`.
    pub syncs: u64,
    /// Calls of `checkpoint`.
    pub checkpoints: u64,
    /// Calls of `changes`.
    pub changes: u64,
}

/// An engine that counts its calls.
#[derive(Debug)]
pub struct CountEngine {
    inner: Arc<dyn Engine>,
    counts: Mutex<EngineCounts>,
}

impl CountEngine {
    /// Passes everything on to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Engine>) -> Self {
        CountEngine { inner, counts: Mutex::default() }
    }

    /// What was called so far.
    #[must_use]
    pub fn counts(&self) -> EngineCounts {
        *self.counts.lock()
    }
}

impl Reader for CountEngine {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.counts.lock().gets += 1;
        self.inner.get(tree, key)
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        self.counts.lock().get_manys += 1;
        self.inner.get_many(keys)
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        self.counts.lock().scans += 1;
        self.inner.scan(tree, range, direction, limit)
    }
}

impl Engine for CountEngine {
    fn transact(&self, options: &TxnOptions, body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Committed> {
        self.counts.lock().transacts += 1;
        self.inner.transact(options, &mut |txn| {
            self.counts.lock().bodies += 1;
            body(&mut CountTxn { inner: txn, counts: &self.counts })
        })
    }

    fn read_view(&self, body: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        self.counts.lock().read_views += 1;
        self.inner.read_view(body)
    }

    fn sync(&self) -> Result<Cursor> {
        self.counts.lock().syncs += 1;
        self.inner.sync()
    }

    fn checkpoint(&self) -> Result<()> {
        self.counts.lock().checkpoints += 1;
        self.inner.checkpoint()
    }

    fn changes(&self, after: &Cursor, limit: usize) -> Result<Changes> {
        self.counts.lock().changes += 1;
        self.inner.changes(after, limit)
    }

    fn watch(&self, after: &Cursor, at_most: Duration) -> Result<bool> {
        self.inner.watch(after, at_most)
    }

    fn observe(&self, observer: Weak<dyn Observer>) {
        self.inner.observe(observer);
    }

    fn hold_changes(&self) -> Result<Box<dyn FeedHold>> {
        self.inner.hold_changes()
    }

    fn annex(&self) -> Option<PathBuf> {
        self.inner.annex()
    }

    fn keep_changes(&self, sequence: u64) -> Result<()> {
        self.inner.keep_changes(sequence)
    }

    fn position(&self, at: &Cursor) -> Result<Position> {
        self.inner.position(at)
    }

    fn replace(&self, only_if_empty: bool, fill: &mut dyn FnMut(&mut dyn Fresh) -> Result<Position>) -> Result<()> {
        self.inner.replace(only_if_empty, fill)
    }

    fn cursor(&self) -> Cursor {
        self.inner.cursor()
    }

    fn epoch(&self) -> Epoch {
        self.inner.epoch()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn stats(&self) -> EngineStats {
        self.inner.stats()
    }

    fn close(&self) -> Result<()> {
        self.inner.close()
    }
}

struct CountTxn<'a> {
    inner: &'a mut dyn Txn,
    counts: &'a Mutex<EngineCounts>,
}

impl Txn for CountTxn<'_> {
    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.counts.lock().txn_gets += 1;
        self.inner.get(tree, key)
    }

    fn put(&mut self, tree: Tree, key: &[u8], value: Value) -> Result<()> {
        self.counts.lock().txn_writes += 1;
        self.inner.put(tree, key, value)
    }

    fn delete(&mut self, tree: Tree, key: &[u8]) -> Result<()> {
        self.counts.lock().txn_writes += 1;
        self.inner.delete(tree, key)
    }

    fn add(&mut self, tree: Tree, key: &[u8], delta: i64) -> Result<()> {
        self.counts.lock().txn_writes += 1;
        self.inner.add(tree, key, delta)
    }
}

/// What a [`CountDisk`] saw of one file, by the path that it was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FileCounts {
    /// Calls of `read_at`.
    pub reads: u64,
    /// Calls of `write_at`.
    pub writes: u64,
    /// Bytes handed to `write_at`.
    pub written_bytes: u64,
    /// Calls of `sync_data`.
    pub syncs: u64,
}

/// What a [`CountDisk`] saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DiskCounts {
    /// Files, by the path that they were opened with.
    pub files: BTreeMap<PathBuf, FileCounts>,
    /// Calls of `sync_dir`, by folder.
    pub sync_dirs: BTreeMap<PathBuf, u64>,
    /// Calls of `create`.
    pub creates: u64,
    /// Calls of `rename`.
    pub renames: u64,
    /// Calls of `remove` and `remove_dir_all`.
    pub removes: u64,
}

impl DiskCounts {
    /// `sync_data` calls on files whose name contains `part`; on all files for an empty one.
    #[must_use]
    pub fn syncs_of(&self, part: &str) -> u64 {
        self.named(part).map(|file| file.syncs).sum()
    }

    /// `write_at` calls on files whose name contains `part`; on all files for an empty one.
    #[must_use]
    pub fn writes_of(&self, part: &str) -> u64 {
        self.named(part).map(|file| file.writes).sum()
    }

    fn named<'a>(&'a self, part: &'a str) -> impl Iterator<Item = &'a FileCounts> {
        let fits = move |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part));
        self.files.iter().filter(move |(path, _)| fits(path)).map(|(_, counts)| counts)
    }
}

/// A disk that counts its calls.
#[derive(Debug)]
pub struct CountDisk {
    inner: Arc<dyn Disk>,
    counts: Arc<Mutex<DiskCounts>>,
}

impl CountDisk {
    /// Passes everything on to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        CountDisk { inner, counts: Arc::default() }
    }

    /// What was called so far.
    #[must_use]
    pub fn counts(&self) -> DiskCounts {
        self.counts.lock().clone()
    }

    fn counted(&self, path: &Path, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(CountFile { inner, path: path.to_path_buf(), counts: Arc::clone(&self.counts) })
    }
}

impl Disk for CountDisk {
    fn create_dir(&self, path: &Path) -> Result<()> {
        self.inner.create_dir(path)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        self.counts.lock().creates += 1;
        Ok(self.counted(path, self.inner.create(path)?))
    }

    fn open(&self, path: &Path, write: bool) -> Result<Box<dyn DiskFile>> {
        Ok(self.counted(path, self.inner.open(path, write)?))
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        self.inner.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.counts.lock().renames += 1;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.counts.lock().removes += 1;
        self.inner.remove(path)
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.counts.lock().removes += 1;
        self.inner.remove_dir_all(path)
    }

    fn sync_dir(&self, folder: &Path) -> Result<()> {
        *self.counts.lock().sync_dirs.entry(folder.to_path_buf()).or_default() += 1;
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

#[derive(Debug)]
struct CountFile {
    inner: Box<dyn DiskFile>,
    path: PathBuf,
    counts: Arc<Mutex<DiskCounts>>,
}

impl CountFile {
    fn count(&self, count: impl FnOnce(&mut FileCounts)) {
        let mut counts = self.counts.lock();
        match counts.files.get_mut(&self.path) {
            Some(file) => count(file),
            None => count(counts.files.entry(self.path.clone()).or_default()),
        }
    }
}

impl DiskFile for CountFile {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.count(|file| file.reads += 1);
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.count(|file| {
            file.writes += 1;
            file.written_bytes += bytes.len() as u64;
        });
        self.inner.write_at(offset, bytes)
    }

    fn sync_data(&self) -> Result<()> {
        self.count(|file| file.syncs += 1);
        self.inner.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::local::sim::SimDisk;
    use crate::engine::memory::MemoryStore;

    #[test]
    fn a_store_counts_batches_and_the_writes_in_them() {
        let store = CountStore::new(Arc::new(MemoryStore::new()));
        let write = |key: &[u8], value: Option<&[u8]>| (Tree::Kv, key.into(), value.map(Value::from));
        store.apply(&WriteBatch { writes: vec![write(b"a", Some(b"xyz")), write(b"b", None)], mark: None }).unwrap();
        store.sync().unwrap();
        store.get(Tree::Kv, b"a").unwrap();
        store.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 10).unwrap();
        let expected = StoreCounts { gets: 1, scans: 1, scanned: 1, applies: 1, writes: 2, write_bytes: 5, syncs: 1 };
        assert_eq!(store.counts(), expected);
    }

    #[test]
    fn a_disk_counts_syncs_by_file_and_by_folder() {
        let disk = CountDisk::new(Arc::new(SimDisk::new()));
        for name in ["/journal-1", "/journal-2", "/CURRENT"] {
            let file = disk.create(Path::new(name)).unwrap();
            file.write_at(0, b"ab").unwrap();
            file.sync_data().unwrap();
        }
        disk.open(Path::new("/journal-1"), true).unwrap().sync_data().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let counts = disk.counts();
        assert_eq!((counts.syncs_of("journal"), counts.syncs_of(""), counts.writes_of("CURRENT")), (3, 4, 1));
        assert_eq!(counts.sync_dirs, BTreeMap::from([(PathBuf::from("/"), 1)]));
        assert_eq!(counts.creates, 3);
    }
}
