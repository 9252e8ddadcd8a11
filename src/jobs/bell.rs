//! Wakes claimers that wait for work.
//!
//! A claimer reads the count, looks for work, and waits only while the count is still the one it read, so a ring
//! between its look and its wait is not missed. Enqueues inside a caller's own transaction, due times and expired
//! leases ring nothing yet: [`BACKSTOP_MS`] bounds how late they are seen.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Longest time that a waiting claimer sleeps without looking.
pub(crate) const BACKSTOP_MS: u64 = 100;

/// Counts the occasions on which there may be new work.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    /// There may be new work.
    pub fn ring(&self) {
        *self.rings.lock() += 1;
        self.rung.notify_all();
    }

    /// How often it has rung.
    pub fn rings(&self) -> u64 {
        *self.rings.lock()
    }

    /// Waits until it has rung more often than `seen`, at most this long.
    pub fn wait(&self, seen: u64, at_most: Duration) {
        let mut rings = self.rings.lock();
        if *rings == seen {
            // Woken, timed out or for no reason: the caller looks again in any case.
            self.rung.wait_for(&mut rings, at_most);
        }
    }
}
