//! The change feed as hosts read it: which record or value changed at which cursor.

use std::time::Duration;

use super::MlPersistence;
use crate::engine::{Change, Cursor, Tree};
use crate::error::Result;
use crate::keys;

/// One change of a record or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangedKey {
    /// The commit batch that it belongs to; going on after it skips nothing.
    pub cursor: Cursor,
    /// Of a value of the plain contract its namespace; of a record the tree: `models`, `model_versions`, `jobs`.
    pub namespace: String,
    /// The key: of a value its own, of a record the model's name, `name@vN`, or the job's id.
    pub key: String,
    /// Whether it was removed.
    pub deleted: bool,
}

/// One page of the change feed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangedKeys {
    /// Oldest first.
    pub changes: Vec<ChangedKey>,
    /// Where to go on.
    pub cursor: Cursor,
}

impl MlPersistence {
    /// What changed after `after`, oldest first: whole commit batches, until there are at least `limit` changes of the
    /// store or no more. Nothing is skipped, and nothing is told that a power cut could take back; a key written several
    /// times in one batch is told once. What stands there now is for the reader to read. Indexes, counters, histories and
    /// host collections are not told.
    ///
    /// # Errors
    /// `NeedsFull` when the journal no longer reaches back to `after`: start over from a full snapshot; `Invalid` for a
    /// cursor of another store and a limit outside 1..=10,000; `Unsupported` on a store opened for reading; `Closed`;
    /// `Corrupt`.
    pub fn changes(&self, after: &Cursor, limit: usize) -> Result<ChangedKeys> {
        let mut page = ChangedKeys { changes: Vec::new(), cursor: *after };
        loop {
            let found = self.engine().changes(&page.cursor, limit)?;
            let ended = found.cursor == page.cursor;
            page.cursor = found.cursor;
            for change in found.changes {
                page.changes.extend(changed_key(&change)?);
            }
            if ended || page.changes.len() >= limit {
                return Ok(page);
            }
        }
    }

    /// Waits until something was committed behind `after`, at most for `at_most` of real time; answers whether something
    /// was. A hint for those who follow [`changes`](Self::changes) and would rather not ask all the time: what it tells of
    /// may be of no interest there (indexes, counters), and whoever asks without it misses nothing.
    ///
    /// ```
    /// # fn main() -> ml_persistence::Result<()> {
    /// use std::time::Duration;
    /// let db = ml_persistence::MlPersistence::in_memory().open()?;
    /// let mut seen = db.cursor();
    /// db.namespace("cache")?.put("k", "v")?;
    /// while db.watch(&seen, Duration::from_millis(10))? {
    ///     let page = db.changes(&seen, 100)?;
    ///     assert_eq!(page.changes[0].key, "k");
    ///     seen = page.cursor;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a cursor of another store, also when the state is replaced meanwhile; `Unsupported` on a store opened
    /// for reading; `Closed`, also for those who wait when the store is closed.
    pub fn watch(&self, after: &Cursor, at_most: Duration) -> Result<bool> {
        self.engine().watch(after, at_most)
    }
}

fn changed_key(change: &Change) -> Result<Option<ChangedKey>> {
    let named = |namespace: &str, key: &[u8]| (namespace.to_owned(), String::from_utf8_lossy(key).into_owned());
    let (namespace, key) = match change.tree {
        Tree::Kv => keys::parse_kv(&change.key)?,
        Tree::Jobs if !keys::is_job(&change.key) => return Ok(None),
        Tree::Models | Tree::ModelVersions | Tree::Jobs => named(change.tree.name(), &change.key),
        Tree::Records | Tree::Index | Tree::Counter | Tree::History | Tree::Blob | Tree::Meta => return Ok(None),
    };
    Ok(Some(ChangedKey { cursor: change.cursor, namespace, key, deleted: change.value.is_none() }))
}
