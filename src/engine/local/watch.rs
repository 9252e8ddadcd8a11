//! Readers of the change feed that wait for more.
//!
//! ```text
//!   journal synced ─> durable moves on ─> anybody waiting? ── no ──> one atomic load, that is all
//!                                               └── yes ──> ring the bell, each looks for itself
//! ```
//!
//! A hint, never load-bearing: whoever waits looks at the feed when it is woken and when its time is up, so a bell that was
//! not heard costs time and nothing else.

use std::time::Duration;

use super::core::Core;
use super::feed::check_cursor;
use super::sync::{AtomicUsize, Condvar, Mutex, Ordering, Stopwatch};
use super::txn::check_outside_body;
use crate::engine::Cursor;
use crate::error::Result;

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    waiting: AtomicUsize,
    /// How often it was rung.
    bell: Mutex<u64>,
    rung: Condvar,
}

/// Counted for as long as it lives.
struct Waiting<'w>(&'w Watchers);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Watchers {
    /// Has everybody look again. Called behind whatever they may wait for.
    pub(super) fn ring(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            *self.bell.lock() += 1;
            self.rung.notify_all();
        }
    }

    /// Waits until `look` answers something, at most for so long.
    fn wait<T>(&self, at_most: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
        let waited = Stopwatch::start();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(self);
        loop {
            // What happens from here on rings, so looking behind this misses nothing.
            let heard = *self.bell.lock();
            let found = look()?;
            let Some(left) = at_most.checked_sub(waited.elapsed()).filter(|left| !left.is_zero()) else {
                return Ok(found);
            };
            if found.is_some() {
                return Ok(found);
            }
            let mut bell = self.bell.lock();
            if *bell == heard {
                self.rung.wait_for(&mut bell, left);
            }
        }
    }
}

impl Core {
    /// See [`Engine::watch`](crate::engine::Engine::watch).
    pub(super) fn watch(&self, after: &Cursor, at_most: Duration) -> Result<bool> {
        check_outside_body()?;
        self.check_writable()?;
        let epochs = self.epochs()?;
        let more = self.watchers.wait(at_most, || {
            self.check_open()?;
            if let Some(position) = self.origin.position().filter(|position| position.cursor.lineage == after.lineage) {
                return Ok((position.cursor != *after).then_some(()));
            }
            let durable = self.durable.load(Ordering::SeqCst);
            check_cursor(after, self.lineage, durable, &epochs)?;
            Ok((durable > after.sequence).then_some(()))
        })?;
        Ok(more.is_some())
    }
}
