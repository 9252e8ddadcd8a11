//! Which sweep may remove the mark of a life that is over: the one that has seen everything of that very life.
//!
//! ```text
//!   sweep 1    so_far ── rows, moves ─────────────────────────────────────────── end: refused
//!   sweep 2      so_far ── rows, moves ── end: mark {0: Gone} goes
//!   others                                    `m` is created, life 0, and deleted: mark {0: Gone}
//! ```
//!
//! Once a mark is gone its number is given out again, and the mark of a later life of the same number looks the same. A
//! sweep that removed it would leave rows that nobody knows, and that the name's next life would take for its own. So
//! a sweep removes marks only if nobody has removed one of that name since it began.
//!
//! It refuses to wait: while somebody is removing a mark, nobody else does, and theirs is left to later writes. Names
//! share their counts with others, which refuses more often than need be, and never too seldom.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Result;

const SLOTS: usize = 64;

/// How often marks were removed, by name.
#[derive(Debug, Clone)]
pub(super) struct Endings(Arc<[Mutex<u64>; SLOTS]>);

/// How often marks of a name had been removed; `None` while one was just being removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct SoFar(Option<u64>);

impl Default for Endings {
    fn default() -> Self {
        Endings(Arc::new(std::array::from_fn(|_| Mutex::default())))
    }
}

impl Endings {
    /// To be asked before marks of this name are read.
    pub(super) fn so_far(&self, name: &str) -> SoFar {
        SoFar(self.slot(name).and_then(Mutex::try_lock).map(|count| *count))
    }

    /// Runs `remove`, which removes marks of this name, unless somebody has removed one since `so_far`, or is about to.
    pub(super) fn end(&self, name: &str, so_far: SoFar, remove: impl FnOnce() -> Result<()>) -> Option<Result<()>> {
        let mut count = self.slot(name)?.try_lock()?;
        if so_far.0 != Some(*count) {
            return None;
        }
        *count += 1;
        Some(remove())
    }

    fn slot(&self, name: &str) -> Option<&Mutex<u64>> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        self.0.get((hasher.finish() % SLOTS as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_began_before_an_ending_or_during_it_ends_nothing() {
        let endings = Endings::default();
        let (first, second) = (endings.so_far("m"), endings.so_far("m"));
        let during = endings.end("m", second, || {
            let during = endings.so_far("m");
            assert!(endings.end("m", first, || Ok(())).is_none(), "somebody else is at it");
            assert!(endings.end("m", during, || Ok(())).is_none());
            Ok(())
        });
        assert!(during.is_some_and(|ended| ended.is_ok()));
        assert!(endings.end("m", first, || Ok(())).is_none());
        assert!(endings.end("m", endings.so_far("m"), || Ok(())).is_some());
    }
}
