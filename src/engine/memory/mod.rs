//! The store that lives in memory: one ordered map a tree, behind one lock.
//!
//! It is the ephemeral engine's store and the model that the others are compared with, so it stays the simplest thing
//! that keeps the promises of [`KvStore`]: a batch is applied under the write lock, hence whole and visible when
//! `apply` returns; a scan holds the read lock, hence one point in time.
//!
//! It refuses nothing, survives nothing: `sync` is a success without effect, and dropping the store drops the data. A
//! test that reopens an engine over the same data hands [`MemoryOpener::shared`] a store that outlives the engine.
//!
//! The same maps with a folder, and durable, are [`FolderStore`]: see [`folder`]. Its parts, in reading order: `frame`
//! and `item` (bytes), `snapshot`, `folder`.

pub mod folder;
mod frame;
mod item;
mod snapshot;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::local::disk::Disk;
use super::local::opener::StoreOpener;
use super::{Direction, KeyRange, KvStore, Tree, Value, WriteBatch};
use crate::error::Result;

pub use folder::FolderStore;

type Ordered = BTreeMap<Box<[u8]>, Value>;

/// Ordered trees in memory.
#[derive(Default)]
pub struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    trees: [Ordered; Tree::COUNT],
    mark: Option<Value>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        MemoryStore::default()
    }
}

impl State {
    fn tree(&self, tree: Tree) -> &Ordered {
        self.trees.get(tree.index()).expect("a tree's number is below Tree::COUNT")
    }

    fn tree_mut(&mut self, tree: Tree) -> &mut Ordered {
        self.trees.get_mut(tree.index()).expect("a tree's number is below Tree::COUNT")
    }

    /// Sets or removes one entry; answers the value that was there.
    fn set(&mut self, tree: Tree, key: &[u8], value: Option<Value>) -> Option<Value> {
        let entries = self.tree_mut(tree);
        match value {
            Some(value) => entries.insert(key.into(), value),
            None => entries.remove(key),
        }
    }

    fn take_mark(&mut self, batch: &WriteBatch) {
        if let Some(mark) = &batch.mark {
            self.mark = Some(mark.clone());
        }
    }

    /// Bytes that all entries take in a snapshot.
    fn entry_bytes(&self) -> u64 {
        self.trees.iter().flatten().map(|(key, value)| item::entry_bytes(key, value)).sum()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: usize = self.state.read().trees.iter().map(BTreeMap::len).sum();
        f.debug_struct("MemoryStore").field("entries", &entries).finish()
    }
}

impl KvStore for MemoryStore {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.state.read().tree(tree).get(key).cloned())
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Vec<(Vec<u8>, Value)>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let state = self.state.read();
        let inside = state.tree(tree).range::<[u8], _>(range.bounds());
        Ok(match direction {
            Direction::Ascending => inside.take(limit).map(|(key, value)| (key.to_vec(), value.clone())).collect(),
            Direction::Descending => {
                inside.rev().take(limit).map(|(key, value)| (key.to_vec(), value.clone())).collect()
            }
        })
    }

    fn apply(&self, batch: &WriteBatch) -> Result<()> {
        let mut state = self.state.write();
        for (tree, key, value) in &batch.writes {
            state.set(*tree, key, value.clone());
        }
        state.take_mark(batch);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn mark(&self) -> Result<Option<Value>> {
        Ok(self.state.read().mark.clone())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}

/// Generations of one engine that an opener keeps by folder: the live one, and the next while that is filled.
const FOLDERS_KEPT: usize = 2;

/// Opens stores in memory: [`MemoryStore`]s, for which the folder is not touched, or [`FolderStore`]s.
#[derive(Debug, Default)]
pub struct MemoryOpener {
    kept: Kept,
}

/// Where the data goes when a store is closed.
#[derive(Debug, Default)]
enum Kept {
    #[default]
    Nowhere,
    In(Arc<MemoryStore>),
    /// By folder, for as long as the opener lives: a disk of its own. Only the newest folders, see [`FOLDERS_KEPT`].
    ByFolder(Mutex<BTreeMap<PathBuf, Arc<MemoryStore>>>),
    InFolder(Arc<dyn Disk>),
}

impl MemoryOpener {
    /// Every opening gets a new, empty store.
    #[must_use]
    pub fn new() -> Self {
        MemoryOpener::default()
    }

    /// Every opening gets this very store, as if it were what an earlier one left on disk.
    #[must_use]
    pub fn shared(store: Arc<MemoryStore>) -> Self {
        MemoryOpener { kept: Kept::In(store) }
    }

    /// Every folder keeps its store for as long as this opener lives: the state of an ephemeral engine can be replaced.
    #[must_use]
    pub fn by_folder() -> Self {
        MemoryOpener { kept: Kept::ByFolder(Mutex::default()) }
    }

    /// Every opening gets the [`FolderStore`] of its folder on `disk`.
    #[must_use]
    pub fn in_folder(disk: Arc<dyn Disk>) -> Self {
        MemoryOpener { kept: Kept::InFolder(disk) }
    }
}

impl StoreOpener for MemoryOpener {
    fn engine(&self) -> &'static str {
        "memory"
    }

    fn is_persistent(&self) -> bool {
        matches!(self.kept, Kept::InFolder(_))
    }

    fn open(&self, folder: &Path, _cache_bytes: usize) -> Result<Arc<dyn KvStore>> {
        Ok(match &self.kept {
            Kept::Nowhere => Arc::new(MemoryStore::new()),
            Kept::In(store) => Arc::clone(store) as Arc<dyn KvStore>,
            Kept::ByFolder(stores) => {
                let mut stores = stores.lock();
                let store = Arc::clone(stores.entry(folder.to_path_buf()).or_default());
                while stores.len() > FOLDERS_KEPT {
                    stores.pop_first();
                }
                store
            }
            Kept::InFolder(disk) => Arc::new(FolderStore::open(Arc::clone(disk), folder)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_store_outlives_its_opening_and_a_new_one_starts_empty() {
        let batch = WriteBatch { writes: vec![(Tree::Kv, Box::from(*b"k"), Some(Value::from(*b"v")))], mark: None };
        let kept = MemoryOpener::shared(Arc::new(MemoryStore::new()));
        let fresh = MemoryOpener::new();
        let found = |opener: &MemoryOpener| {
            opener.open(Path::new(""), 0).unwrap().apply(&batch).unwrap();
            opener.open(Path::new(""), 0).unwrap().get(Tree::Kv, b"k").unwrap().is_some()
        };
        assert!(found(&kept));
        assert!(!found(&fresh));
    }
}
