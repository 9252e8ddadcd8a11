//! An engine that takes no writes of its own: it only follows another store.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::engine::{
    Capabilities, Changes, Committed, Cursor, Direction, Engine, EngineStats, Epoch, FeedHold, Fresh, KeyRange,
    Observer, Page, Position, Reader, Tree, Txn, TxnOptions, Value,
};
use crate::error::{Error, Result};

/// Refuses every commit that does not bring a taken-over state further (`Unsupported`), and passes all else on.
#[derive(Debug)]
pub struct FollowEngine {
    inner: Arc<dyn Engine>,
}

impl FollowEngine {
    /// Passes what is allowed on to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Engine>) -> Self {
        FollowEngine { inner }
    }
}

impl Reader for FollowEngine {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.inner.get(tree, key)
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        self.inner.get_many(keys)
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        self.inner.scan(tree, range, direction, limit)
    }
}

impl Engine for FollowEngine {
    fn transact(&self, options: &TxnOptions, body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Committed> {
        if options.adopt.is_none() {
            return Err(Error::unsupported("a replica takes no writes of its own; write to its source, or promote it"));
        }
        self.inner.transact(options, body)
    }

    fn read_view(&self, body: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        self.inner.read_view(body)
    }

    fn sync(&self) -> Result<Cursor> {
        self.inner.sync()
    }

    fn checkpoint(&self) -> Result<()> {
        self.inner.checkpoint()
    }

    fn changes(&self, after: &Cursor, limit: usize) -> Result<Changes> {
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
