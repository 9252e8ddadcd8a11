//! The store that lives in a sled 0.34.7 database: one sled tree a [`Tree`], by its name, and one more for the mark.
//!
//! ```text
//! folder/conf, db, snap.*, blobs/     sled's own files
//!   models, model_versions, ...       the trees, by Tree::name()
//!   mark                              one entry, under the key "mark"
//! ```
//!
//! What sled does not promise is made up for here:
//! - Its `flush` never reaches the device. [`SledStore::sync`](KvStore::sync) adds an `fdatasync` on a second handle of
//!   `db`, and opening syncs `conf`, the folder and its parent: the pattern that survived every power cut tried.
//! - It panics on most damaged files. Opening catches that and answers `Corrupt`; so does dropping, silently.
//! - A crash while it writes a `snap.*.generating` can keep it from opening. Those files are removed first, and only
//!   those: a finished snapshot is needed.
//! - It passes over a part of its log whose header is damaged, and answers with older values. Opening looks for that first.
//! - A plain call on a tree inside a transaction deadlocks. Batches are built before it, and only applied inside.
//!
//! It refuses nothing else: values are small because the layers above cut them, and an I/O error makes the engine close
//! this store, since sled may be partly changed or stuck after one. A scan is not one point in time while a batch is
//! being applied; the engine above looks for that. And a database whose main file is nothing but zeros opens as an
//! empty one: whoever keeps a mark notices that it is gone.

mod segments;

use std::any::Any;
use std::fmt;
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::sled::transaction::{ConflictableTransactionError, TransactionError, Transactional, TransactionalTree};

use super::local::opener::StoreOpener;
use super::{Direction, KeyRange, KvStore, Tree, Value, WriteBatch};
use crate::error::{Error, ErrorKind, Result};

/// Name of the sled tree that holds the mark, and of the only key in it.
const MARK: &str = "mark";
/// How often sled's own thread flushes. Never off: it also collects garbage.
const FLUSH_EVERY_MS: u64 = 50;
/// How often, and how many times, a closing store looks whether sled has let the file go: 5 s in all.
const LET_GO_LOOK: Duration = Duration::from_millis(1);
const LET_GO_LOOKS: usize = 5_000;

/// Ordered trees in a sled database.
pub struct SledStore {
    folder: PathBuf,
    /// A second handle of sled's main file, for the `fdatasync` that sled leaves out.
    file: File,
    /// `None` only while it is being dropped.
    open: Option<Open>,
}

struct Open {
    trees: Vec<::sled::Tree>,
    mark: ::sled::Tree,
    db: ::sled::Db,
}

impl SledStore {
    /// Opens the database in `folder`, or creates it where the folder is empty. sled may use about `cache_bytes` of
    /// memory for its pages.
    ///
    /// # Errors
    /// `Corrupt` when sled finds damage or panics; `Full` and `Unavailable` as the operating system answered, also when
    /// the database is open already.
    pub fn open(folder: &Path, cache_bytes: usize) -> Result<Self> {
        remove_unfinished_snapshots(folder)?;
        segments::check(folder)?;
        let opened = catch_unwind(AssertUnwindSafe(|| open_trees(folder, cache_bytes)));
        let open = opened.map_err(|panic| {
            Error::corrupt(format!("sled in {}: panicked while opening: {}", folder.display(), message(&*panic)))
        })??;
        // From here on dropping `store` drops the database with its guard.
        let db = folder.join("db");
        let file = File::open(&db).map_err(|e| io_error("open", &db, e))?;
        let store = SledStore { folder: folder.to_path_buf(), file, open: Some(open) };
        store.settle_files()?;
        Ok(store)
    }

    /// Makes the files durable under their names, and their owner's alone. Cheap, so done at every opening: the one
    /// that created them may not have come so far.
    fn settle_files(&self) -> Result<()> {
        for name in ["conf", "db"] {
            let path = self.folder.join(name);
            fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(|e| io_error("chmod", &path, e))?;
        }
        self.sync()?;
        let parent = match self.folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        for path in [&self.folder.join("conf"), &self.folder, parent] {
            match File::open(path).and_then(|file| file.sync_all()) {
                // A file system that can't sync folders; the engine's `Disk` has found that out and says so.
                Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
                other => other.map_err(|e| io_error("sync", path, e))?,
            }
        }
        Ok(())
    }

    fn opened(&self) -> &Open {
        self.open.as_ref().expect("taken only by drop")
    }

    fn tree(&self, tree: Tree) -> &::sled::Tree {
        self.opened().trees.get(tree.index()).expect("a tree's number is below Tree::COUNT")
    }

    fn failed(&self, error: ::sled::Error) -> Error {
        store_error(&self.folder, error)
    }
}

fn open_trees(folder: &Path, cache_bytes: usize) -> Result<Open> {
    let failed = |error| store_error(folder, error);
    let db = ::sled::Config::new()
        .path(folder)
        .cache_capacity(cache_bytes as u64)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .open()
        .map_err(failed)?;
    let trees = Tree::ALL.iter().map(|tree| db.open_tree(tree.name()).map_err(failed)).collect::<Result<_>>()?;
    let mark = db.open_tree(MARK).map_err(failed)?;
    Ok(Open { trees, mark, db })
}

/// A snapshot that a crash cut short. sled would stumble over it and write a new one anyway.
fn remove_unfinished_snapshots(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| io_error("list", folder, e))? {
        let path = entry.map_err(|e| io_error("list", folder, e))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(|e| io_error("remove", &path, e))?;
        }
    }
    Ok(())
}

fn io_error(doing: &str, path: &Path, source: io::Error) -> Error {
    Error::io(format_args!("{doing} {}", path.display()), source)
}

fn store_error(folder: &Path, error: ::sled::Error) -> Error {
    let what = format!("sled in {}", folder.display());
    match error {
        // Bytes that are there but make no sense, or are too few.
        ::sled::Error::Io(source)
            if matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            Error::with_source(ErrorKind::Corrupt, format!("{what}: {source}"), source)
        }
        ::sled::Error::Io(source) => Error::io(what, source),
        // A panic on one of the threads that all databases of the process share: says nothing about these files.
        ::sled::Error::ReportableBug(text) if text.starts_with("IO thread") => {
            Error::unavailable(format!("{what}: its threads died earlier; restart the process"))
        }
        // sled also calls it a bug of its own when a page is missing, and unsupported when a file names settings that
        // were never used here. Both are damage, and are mended the same way.
        error => Error::with_source(ErrorKind::Corrupt, format!("{what}: {error}"), error),
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no message",
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // sled's own form would print every entry.
        f.debug_struct("SledStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let open = self.open.take();
        // sled panics here after a failed sync. What was acknowledged is in the journal, so there is nothing to save,
        // and a panic in a drop could take the whole process along.
        drop(catch_unwind(AssertUnwindSafe(|| drop(open))));
        self.wait_until_let_go();
    }
}

impl SledStore {
    /// Tasks on sled's own threads can hold the database, and its lock on the file, a moment longer than its last
    /// handle. Whoever closes a store may open it again at once, so this waits for them. The folder's own lock keeps
    /// everybody else away meanwhile.
    fn wait_until_let_go(&self) {
        for _ in 0..LET_GO_LOOKS {
            match self.file.try_lock() {
                Err(TryLockError::WouldBlock) => std::thread::park_timeout(LET_GO_LOOK),
                // Ours for an instant; closing the file, next, gives it back. An error says nothing about the lock.
                Ok(()) | Err(TryLockError::Error(_)) => return,
            }
        }
    }
}

fn value(bytes: ::sled::IVec) -> Value {
    Value::from(bytes.as_ref())
}

impl KvStore for SledStore {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.tree(tree).get(key).map_err(|e| self.failed(e))?.map(value))
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Vec<(Vec<u8>, Value)>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let inside = self.tree(tree).range::<&[u8], _>(range.bounds());
        let entry = |entry: ::sled::Result<(::sled::IVec, ::sled::IVec)>| match entry {
            Ok((key, bytes)) => Ok((key.to_vec(), value(bytes))),
            Err(error) => Err(self.failed(error)),
        };
        match direction {
            Direction::Ascending => inside.take(limit).map(entry).collect(),
            Direction::Descending => inside.rev().take(limit).map(entry).collect(),
        }
    }

    fn apply(&self, batch: &WriteBatch) -> Result<()> {
        let mut changes: Vec<::sled::Batch> = Tree::ALL.iter().map(|_| ::sled::Batch::default()).collect();
        let mut touched = [false; Tree::COUNT];
        for (tree, key, value) in &batch.writes {
            let (Some(change), Some(touched)) = (changes.get_mut(tree.index()), touched.get_mut(tree.index())) else {
                return Err(Error::internal(format!("tree {}: out of place", tree.name())));
            };
            *touched = true;
            match value {
                Some(value) => change.insert(key.as_ref(), value.as_ref()),
                None => change.remove(key.as_ref()),
            }
        }
        let open = self.opened();
        // Only the trees that change: each one costs a transaction time.
        let (mut trees, mut batches): (Vec<&::sled::Tree>, Vec<::sled::Batch>) =
            open.trees.iter().zip(changes).zip(touched).filter_map(|(both, touched)| touched.then_some(both)).unzip();
        if let Some(mark) = &batch.mark {
            let mut change = ::sled::Batch::default();
            change.insert(MARK, mark.as_ref());
            trees.push(&open.mark);
            batches.push(change);
        }
        if trees.is_empty() {
            return Ok(());
        }
        let apply_all = |views: &Vec<TransactionalTree>| -> Result<(), ConflictableTransactionError<()>> {
            views.iter().zip(&batches).try_for_each(|(view, batch)| Ok(view.apply_batch(batch)?))
        };
        trees.as_slice().transaction(apply_all).map_err(|error| match error {
            TransactionError::Storage(error) => self.failed(error),
            TransactionError::Abort(()) => Error::internal("a sled transaction gave up though nothing asked it to"),
        })
    }

    fn sync(&self) -> Result<()> {
        self.opened().db.flush().map_err(|e| self.failed(e))?;
        self.file.sync_data().map_err(|e| io_error("sync", &self.folder.join("db"), e))
    }

    fn mark(&self) -> Result<Option<Value>> {
        Ok(self.opened().mark.get(MARK).map_err(|e| self.failed(e))?.map(value))
    }

    fn disk_bytes(&self) -> u64 {
        // Only a number for people: unknown counts as none.
        self.opened().db.size_on_disk().unwrap_or(0)
    }
}

/// Opens [`SledStore`]s.
#[derive(Debug, Clone, Copy, Default)]
pub struct SledOpener;

impl StoreOpener for SledOpener {
    fn engine(&self) -> &'static str {
        "sled"
    }

    fn is_persistent(&self) -> bool {
        true
    }

    fn open(&self, folder: &Path, cache_bytes: usize) -> Result<Arc<dyn KvStore>> {
        Ok(Arc::new(SledStore::open(folder, cache_bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE_BYTES: usize = 8 << 20;

    fn batch(pairs: &[(Tree, &str)], mark: Option<&str>) -> WriteBatch {
        let writes =
            pairs.iter().map(|(tree, key)| (*tree, Box::from(key.as_bytes()), Some(Value::from(key.as_bytes()))));
        WriteBatch { writes: writes.collect(), mark: mark.map(|mark| Value::from(mark.as_bytes())) }
    }

    #[test]
    fn a_batch_over_several_trees_and_its_mark_survive_a_reopening() {
        let temp = tempfile::tempdir().unwrap();
        let store = SledStore::open(temp.path(), CACHE_BYTES).unwrap();
        store.apply(&batch(&[(Tree::Jobs, "a"), (Tree::Meta, "b"), (Tree::Jobs, "c")], Some("7"))).unwrap();
        store.apply(&WriteBatch::default()).unwrap();
        store.sync().unwrap();
        assert!(store.disk_bytes() > 0);
        drop(store);
        let store = SledStore::open(temp.path(), CACHE_BYTES).unwrap();
        assert_eq!(store.mark().unwrap().as_deref(), Some(b"7".as_slice()));
        for (tree, key) in [(Tree::Jobs, "a"), (Tree::Meta, "b"), (Tree::Jobs, "c")] {
            assert_eq!(store.get(tree, key.as_bytes()).unwrap().as_deref(), Some(key.as_bytes()));
        }
        assert_eq!(store.scan(Tree::Jobs, &KeyRange::all(), Direction::Ascending, 9).unwrap().len(), 2);
    }

    #[test]
    fn only_unfinished_snapshots_are_removed_at_open() {
        let temp = tempfile::tempdir().unwrap();
        drop(SledStore::open(temp.path(), CACHE_BYTES).unwrap());
        fs::write(temp.path().join("snap.0000000000000000.generating"), b"half").unwrap();
        fs::write(temp.path().join("other.generating"), b"kept").unwrap();
        drop(SledStore::open(temp.path(), CACHE_BYTES).unwrap());
        assert!(!temp.path().join("snap.0000000000000000.generating").exists());
        assert!(temp.path().join("other.generating").exists());
    }

    /// A folder that was opened a few times and written each time, then damaged.
    fn damaged(name: &str, damage: fn(&mut Vec<u8>)) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for opening in 0..3 {
            let store = SledStore::open(temp.path(), CACHE_BYTES).unwrap();
            for round in 0..1000 {
                store.apply(&batch(&[(Tree::Kv, &format!("{opening} {round} {:0300}", 0))], None)).unwrap();
            }
            store.sync().unwrap();
        }
        let mut bytes = fs::read(temp.path().join(name)).unwrap();
        damage(&mut bytes);
        fs::write(temp.path().join(name), bytes).unwrap();
        temp
    }

    #[test]
    fn damaged_settings_and_a_main_file_that_is_gone_are_corrupt() {
        for folder in [damaged("conf", |bytes| bytes[0] ^= 0xff), damaged("db", Vec::clear)] {
            assert_eq!(SledStore::open(folder.path(), CACHE_BYTES).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn where_sled_panics_on_damage_the_answer_is_corrupt() {
        // Depending on where its segments lie, sled panics, notices, or finds the damage only when it reads there.
        let folder = damaged("db", |bytes| {
            let half = bytes.len() / 2;
            bytes[half..].fill(0xa5);
        });
        if let Err(error) = SledStore::open(folder.path(), CACHE_BYTES) {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_database_that_is_open_already_is_unavailable() {
        let temp = tempfile::tempdir().unwrap();
        let _store = SledStore::open(temp.path(), CACHE_BYTES).unwrap();
        assert_eq!(SledStore::open(temp.path(), CACHE_BYTES).unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn its_files_are_for_their_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let _store = SledStore::open(temp.path(), CACHE_BYTES).unwrap();
        for name in ["conf", "db"] {
            let mode = fs::metadata(temp.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
