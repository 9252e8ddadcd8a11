//! Whoever wants to hear of commits as plain reads come to see them.
//!
//! ```text
//!   journal synced ─> visible to plain reads ─> every observer is told ─> the callers of these commits are answered
//! ```
//!
//! What is above the engine keeps caches and sleepers in step with this: a cache that begins to listen, reads, and then
//! lays what it heard meanwhile over what it read, has missed nothing.
//!
//! An observer names the keys that it cares about, so a commit pays only for what somebody watches. It is told keys, not
//! values, and it answers nothing: it can't refuse a commit, and must not hold one up.

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::{Cursor, KeyRange, Tree};

/// Hears of commits. See [`Engine::observe`](super::Engine::observe) for when and in what order.
///
/// It is called while the engine holds locks of its own, possibly the one under which bodies run. So it never calls an
/// engine, never waits for anybody who does, and is done in microseconds. It does not panic: an engine whose observer
/// did closes itself, since that observer's owner has missed something.
pub trait Observer: Send + Sync + fmt::Debug {
    /// The keys that it wants to hear of: a tree, and what the keys begin with. Asked once. No two of them may overlap.
    fn watches(&self) -> Vec<(Tree, Vec<u8>)>;

    /// These keys were written, and plain reads see it. Never called without a key; each key occurs once, with its
    /// final state.
    fn published(&self, cursor: Cursor, told: &[Told<'_>]);

    /// The whole state was replaced: nothing that was heard before holds. Plain reads see the new one. Told without locks
    /// of the engine held.
    fn replaced(&self) {}
}

/// One key that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'a> {
    /// Where it lies.
    pub tree: Tree,
    /// The key.
    pub key: &'a [u8],
    /// Whether it has a value now; otherwise it was removed.
    pub present: bool,
}

/// The observers of one engine, for those who write engines.
#[derive(Debug)]
pub struct Observers(RwLock<Arc<[Watch]>>);

impl Default for Observers {
    fn default() -> Self {
        Observers(RwLock::new(Arc::new([])))
    }
}

#[derive(Debug, Clone)]
struct Watch {
    observer: Weak<dyn Observer>,
    ranges: Arc<[(Tree, KeyRange)]>,
}

impl Observers {
    /// Adds one. Those that are gone are forgotten on this occasion.
    pub fn add(&self, observer: Weak<dyn Observer>) {
        let Some(alive) = observer.upgrade() else { return };
        let ranges = alive.watches().into_iter().map(|(tree, prefix)| (tree, KeyRange::prefix(&prefix))).collect();
        let mut watches = self.0.write();
        let known = watches.iter().filter(|watch| watch.observer.strong_count() > 0).cloned();
        *watches = known.chain([Watch { observer, ranges }]).collect();
    }

    /// Tells everybody what became visible. `find` calls back with each key of a range that was written, and whether
    /// it has a value now. No lock is held while an observer runs.
    pub fn tell<'w>(&self, cursor: Cursor, mut find: impl FnMut(Tree, &KeyRange, &mut dyn FnMut(&'w [u8], bool))) {
        let watches = Arc::clone(&self.0.read());
        for watch in watches.iter() {
            let mut told = Vec::new();
            for (tree, range) in watch.ranges.iter() {
                find(*tree, range, &mut |key, present| told.push(Told { tree: *tree, key, present }));
            }
            if let (false, Some(observer)) = (told.is_empty(), watch.observer.upgrade()) {
                observer.published(cursor, &told);
            }
        }
    }
}
