//! A new generation beside the live one: filled, made durable, then put in its place by one rename of `CURRENT`.
//!
//! ```text
//! gen-00000001/ live       gen-00000002/store     entries, in synced batches; then note, epoch and mark
//!                          gen-00000002/journal   one segment that begins behind the state's sequence
//!                          CURRENT                says 2: the one step that counts
//! gen-00000001/ removed at the next opening
//! ```
//!
//! Whatever is cut off before the rename is a folder that the next opening removes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::applier::{CHUNK_BYTES, CHUNK_WRITES};
use super::current::Current;
use super::disk::Disk;
use super::epoch::EpochEntry;
use super::journal::{Journal, Start};
use super::mark::Mark;
use super::opener::StoreOpener;
use super::segment::{Identity, Link};
use crate::clock::Ids;
use crate::config::Config;
use crate::engine::{
    ChainHash, Direction, Epoch, Fresh, GET_MANY_MAX, KeyRange, KvStore, ORIGIN_KEY, Page, Position, Reader, Tree,
    VALUE_BYTES_MAX, Value, Write, WriteBatch, check_key, check_limit,
};
use crate::error::{Error, Result};

/// A generation that is being filled.
pub(super) struct NextGeneration {
    disk: Arc<dyn Disk>,
    current: Current,
    root: PathBuf,
    store: Arc<dyn KvStore>,
    pending: Vec<Write>,
    pending_bytes: usize,
}

impl NextGeneration {
    /// Makes the folders of the generation behind the live one, and its empty store.
    pub(super) fn begin(disk: Arc<dyn Disk>, folder: &Path, opener: &dyn StoreOpener, config: &Config) -> Result<Self> {
        let live = Current::read(&*disk, folder)?
            .ok_or_else(|| Error::corrupt(format!("{}: CURRENT is gone", folder.display())))?;
        let identity = Identity { generation: live.identity.generation + 1, ..live.identity };
        let current = Current { identity, ..live };
        let root = current.generation_folder(folder);
        // One that was cut off earlier.
        disk.remove_dir_all(&root)?;
        for path in [&root, &root.join("journal"), &root.join("store")] {
            disk.create_dir(path)?;
        }
        disk.sync_dir(&root)?;
        disk.sync_dir(folder)?;
        let store = opener.open(&root.join("store"), config.cache_bytes)?;
        Ok(NextGeneration { disk, current, root, store, pending: Vec::new(), pending_bytes: 0 })
    }

    /// Its folder.
    pub(super) fn root(&self) -> PathBuf {
        self.root.clone()
    }

    fn apply(&mut self, mark: Option<Value>) -> Result<()> {
        if self.pending.is_empty() && mark.is_none() {
            return Ok(());
        }
        let batch = WriteBatch { writes: std::mem::take(&mut self.pending), mark };
        self.pending_bytes = 0;
        self.store.apply(&batch)?;
        self.store.sync()
    }

    fn put(&mut self, tree: Tree, key: &[u8], value: Option<Value>) -> Result<()> {
        self.pending_bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
        self.pending.push((tree, key.into(), value));
        if self.pending.len() >= CHUNK_WRITES || self.pending_bytes >= CHUNK_BYTES { self.apply(None) } else { Ok(()) }
    }

    /// Writes what an opening needs, closes the store and makes everything durable: note, history, mark, journal.
    /// Answers the `CURRENT` that leads to it.
    pub(super) fn finish(mut self, position: &Position, epoch: Epoch, config: &Config) -> Result<Current> {
        let applied = position.cursor.sequence;
        let entry = EpochEntry { epoch, after_sequence: applied, lineage: config.ids.next_u128() };
        // Two keys apart from all others: no key occurs twice in a batch.
        self.apply(None)?;
        self.put(Tree::Meta, ORIGIN_KEY, Some(position.encode()))?;
        self.put(Tree::Meta, &entry.key(), Some(entry.value()))?;
        self.apply(Some(Mark { identity: self.current.identity, applied }.encode()))?;
        let start = Start {
            identity: self.current.identity,
            id: 1,
            base: (applied, Link::first(position.chain.unwrap_or(ChainHash::START))),
            frames: &[],
            closed: Vec::new(),
            checkpoint: applied,
        };
        let journal = Journal::begin(Arc::clone(&self.disk), &self.root.join("journal"), &Ids::random()?, start)?;
        drop(journal);
        drop(self.store);
        for folder in [self.root.join("store"), self.root.clone()] {
            self.disk.sync_dir(&folder)?;
        }
        Ok(self.current)
    }
}

impl Fresh for NextGeneration {
    fn write(&mut self, tree: Tree, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        check_key(key)?;
        if value.is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
            return Err(Error::invalid(format!("value: at most {VALUE_BYTES_MAX} bytes")));
        }
        if tree == Tree::Meta && key.first() == Some(&0) {
            return Err(Error::invalid(format!("key {key:02x?} in meta: it belongs to the engine")));
        }
        // Keys come in order, so one that comes again begins a new run, and may meet itself in the batch.
        if self.pending.last().is_some_and(|(last_tree, last, _)| (*last_tree, &**last) >= (tree, key)) {
            self.apply(None)?;
        }
        self.put(tree, key, value.map(Value::from))
    }

    fn read(&mut self, read: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        self.apply(None)?;
        read(&StoreReader(&*self.store))
    }
}

/// A store that nobody writes as a point in time.
struct StoreReader<'s>(&'s dyn KvStore);

impl Reader for StoreReader<'_> {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        check_key(key)?;
        self.0.get(tree, key)
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        if keys.len() > GET_MANY_MAX {
            return Err(Error::invalid(format!("keys: at most {GET_MANY_MAX}, got {}", keys.len())));
        }
        keys.iter().map(|(tree, key)| self.get(*tree, key)).collect()
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        check_limit(limit)?;
        let entries = self.0.scan(tree, range, direction, limit)?;
        let resume = (entries.len() == limit).then(|| entries.last().map(|(key, _)| key.clone())).flatten();
        Ok(Page { entries, resume })
    }
}

/// Removes the generations that are not live: what a replaced state left, and what was cut off.
pub(super) fn remove_stale(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let Some(current) = Current::read(disk, folder)? else { return Ok(()) };
    let live = current.generation_folder(folder);
    for name in disk.list(folder)? {
        let number = name.strip_prefix("gen-").filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let path = folder.join(&name);
        if number.is_some_and(|number| number.len() >= 8) && path != live {
            disk.remove_dir_all(&path)?;
        }
    }
    Ok(())
}
