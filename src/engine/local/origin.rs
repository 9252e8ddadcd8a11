//! Whose state this is: that of another store, at a position of its history, or this store's own.
//!
//! ```text
//! imported ──> stands where the other store stood ── delta ──> stands further on
//!                        └── a write of this store's own, in the same commit ──> own lineage, own cursors
//! ```
//!
//! The note lies in `meta` under [`ORIGIN_KEY`] and goes with the first commit that writes anything but keys of the
//! engine's own. Until then, openings included, the store's cursor is that of the state.

use std::sync::Arc;

use super::batch::{OwnWrite, OwnWrites};
use super::memtable::Memtables;
use super::sync::{AtomicBool, Mutex, Ordering};
use crate::engine::{KvStore, ORIGIN_KEY, Position, Tree, TxnOptions};
use crate::error::Result;

/// Where the state was taken over from, while that holds.
#[derive(Debug)]
pub(super) struct Origin {
    /// Looked at before the lock: a store that never took anything over pays for no lock.
    any: AtomicBool,
    position: Mutex<Option<Arc<Position>>>,
}

/// What a commit does to the note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Unchanged,
    /// It brings the state to another position.
    Adopts,
    /// It is a write of this store's own.
    Ends,
}

impl Origin {
    pub(super) fn new(position: Option<Position>) -> Self {
        Origin { any: AtomicBool::new(position.is_some()), position: Mutex::new(position.map(Arc::new)) }
    }

    pub(super) fn position(&self) -> Option<Arc<Position>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.position.lock().clone()
    }

    /// Adds to a commit what it means for the note.
    pub(super) fn note_in(&self, own: &mut OwnWrites, options: &TxnOptions) -> Standing {
        if let Some(position) = &options.adopt {
            own.set(Tree::Meta, ORIGIN_KEY, OwnWrite { value: Some(position.encode()), added: false });
            return Standing::Adopts;
        }
        let is_engines_own = |(tree, key, _): (Tree, &[u8], &OwnWrite)| tree == Tree::Meta && key.first() == Some(&0);
        if !self.any.load(Ordering::Acquire) || own.writes.iter().all(is_engines_own) {
            return Standing::Unchanged;
        }
        own.set(Tree::Meta, ORIGIN_KEY, OwnWrite { value: None, added: false });
        Standing::Ends
    }

    /// The commit is in.
    pub(super) fn committed(&self, standing: Standing, options: &TxnOptions) {
        let position = match standing {
            Standing::Unchanged => return,
            Standing::Adopts => options.adopt.clone().map(Arc::new),
            Standing::Ends => None,
        };
        let mut known = self.position.lock();
        self.any.store(position.is_some(), Ordering::Release);
        *known = position;
    }
}

/// The note, as a recovered store has it.
pub(super) fn read(store: &dyn KvStore, memtables: &Memtables) -> Result<Option<Position>> {
    let value = match memtables.newest(Tree::Meta, ORIGIN_KEY) {
        Some(known) => known,
        None => store.get(Tree::Meta, ORIGIN_KEY)?,
    };
    value.map(|value| Position::decode(&value)).transpose()
}
