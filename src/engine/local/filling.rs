//! A store that is being filled with a state from elsewhere, while nobody else reads or writes it.
//!
//! ```text
//! entries ─> batches ─> the engine's own entries, and in the same batch the mark ─> one sync for all of it
//! ```
//!
//! Nobody looks at it before it is whole and durable, so nothing is synced on the way; and without its mark a store that holds
//! anything is refused at opening, so one that was cut off while it was filled is never taken for whole.

use std::sync::Arc;

use super::applier::{CHUNK_BYTES, CHUNK_WRITES};
use super::batch;
use super::mark::Mark;
use crate::engine::{
    Direction, Fresh, GET_MANY_MAX, KeyRange, KvStore, Page, Reader, Tree, VALUE_BYTES_MAX, Value, Write, WriteBatch,
    check_key, check_limit,
};
use crate::error::{Error, Result};

/// See the [module](self).
pub(super) struct Filling {
    store: Arc<dyn KvStore>,
    pending: Vec<Write>,
    pending_bytes: usize,
}

impl Filling {
    /// Begins with an empty store.
    pub(super) fn new(store: Arc<dyn KvStore>) -> Self {
        Filling { store, pending: Vec::new(), pending_bytes: 0 }
    }

    /// Writes entries of the engine's own, and with them the mark; has all of it durable, and lets go of the store.
    pub(super) fn finish(mut self, own: impl IntoIterator<Item = (Vec<u8>, Value)>, mark: Mark) -> Result<()> {
        // No key occurs twice in a batch.
        self.apply(None)?;
        for (key, value) in own {
            self.pending.push((Tree::Meta, key.into(), Some(value)));
        }
        self.apply(Some(mark.encode()))?;
        self.store.sync()
    }

    /// Writes what a journal frame tells of, keys of the engine's own included.
    pub(super) fn replay(&mut self, payload: &[u8]) -> Result<()> {
        // A key that an earlier frame wrote must not meet itself in a batch.
        self.apply(None)?;
        let mut written = Ok(());
        batch::decode(payload, |tree, key, value| {
            if written.is_ok() {
                written = self.put(tree, key, value.map(Value::from));
            }
        })?;
        written
    }

    fn apply(&mut self, mark: Option<Value>) -> Result<()> {
        if self.pending.is_empty() && mark.is_none() {
            return Ok(());
        }
        let batch = WriteBatch { writes: std::mem::take(&mut self.pending), mark };
        self.pending_bytes = 0;
        self.store.apply(&batch)
    }

    fn put(&mut self, tree: Tree, key: &[u8], value: Option<Value>) -> Result<()> {
        self.pending_bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
        self.pending.push((tree, key.into(), value));
        if self.pending.len() >= CHUNK_WRITES || self.pending_bytes >= CHUNK_BYTES { self.apply(None) } else { Ok(()) }
    }
}

impl Fresh for Filling {
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
