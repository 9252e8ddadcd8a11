//! Smooth back-pressure: writers are slowed to the applier's pace before the memtable is full.
//!
//! Below half of `memtable_bytes` nobody waits. From there on each transaction takes a slot on a shared time line as
//! long as the applier needs for its bytes, scaled by how full the memtable is: at three quarters admission equals
//! the measured drain, above it is slower. Past the limit writers stop until the applier has made room; one
//! transaction of the largest size may pass the limit, so every transaction can be admitted at some time.

use std::time::Duration;

use super::sync::{AtomicU64, AtomicUsize, Condvar, Mutex, Ordering, thread};
use crate::clock::Stopwatch;

/// Drain assumed until the applier has measured one, in bytes a second.
const DRAIN_FIRST: u64 = 8 << 20;
/// Longest single wait for a slot: keeps the tail short when a measured drain was an outlier.
const WAIT_MAX: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Admission {
    limit: usize,
    started: Stopwatch,
    /// End of the last slot taken, in nanoseconds since `started`.
    next_free_ns: AtomicU64,
    drain_bytes_per_second: AtomicU64,
    /// Average bytes that a transaction adds to the memtable.
    transaction_bytes: AtomicUsize,
    stall_us: AtomicU64,
    drained: Mutex<bool>,
    signal: Condvar,
}

impl Admission {
    pub(super) fn new(limit: usize) -> Self {
        Admission {
            limit,
            started: Stopwatch::start(),
            next_free_ns: AtomicU64::new(0),
            drain_bytes_per_second: AtomicU64::new(DRAIN_FIRST),
            transaction_bytes: AtomicUsize::new(512),
            stall_us: AtomicU64::new(0),
            drained: Mutex::new(false),
            signal: Condvar::new(),
        }
    }

    /// Waits as long as a memtable of `filled()` bytes asks for. `stopped` ends a full stop: the applier will make no
    /// room; then, and only then, the answer is `false`.
    pub(super) fn admit(&self, filled: impl Fn() -> usize, stopped: impl Fn() -> bool) -> bool {
        let mut now = filled();
        if now <= self.limit / 2 {
            return true;
        }
        let waited = Stopwatch::start();
        while now > self.limit && !stopped() {
            let mut drained = self.drained.lock();
            if !std::mem::replace(&mut *drained, false) {
                self.signal.wait_for(&mut drained, WAIT_MAX);
            }
            drop(drained);
            now = filled();
        }
        if now > self.limit / 2 && !stopped() {
            self.wait_for_slot(now);
        }
        self.stall_us.fetch_add(waited.elapsed().as_micros() as u64, Ordering::Relaxed);
        now <= self.limit
    }

    fn wait_for_slot(&self, filled: usize) {
        // 0 at half full, 1 at three quarters, 2 at the limit.
        let pressure = (filled - self.limit / 2) as f64 / (self.limit / 4).max(1) as f64;
        let bytes = self.transaction_bytes.load(Ordering::Relaxed) as f64;
        let drain = self.drain_bytes_per_second.load(Ordering::Relaxed).max(1) as f64;
        let slot_ns = (bytes / drain * pressure * 1e9) as u64;
        let now_ns = self.started.elapsed().as_nanos() as u64;
        let mut taken = self.next_free_ns.load(Ordering::Relaxed);
        loop {
            // Nobody waits longer than `WAIT_MAX`, so the line need not run on further: a debt would outlive its cause.
            let end = (taken.max(now_ns) + slot_ns).min(now_ns + WAIT_MAX.as_nanos() as u64);
            match self.next_free_ns.compare_exchange_weak(taken, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break pause_until(&self.started, end),
                Err(other) => taken = other,
            }
        }
    }

    /// Learns the size of a transaction.
    pub(super) fn admitted(&self, bytes: usize) {
        let average = self.transaction_bytes.load(Ordering::Relaxed);
        self.transaction_bytes.store((average * 15 + bytes) / 16, Ordering::Relaxed);
    }

    /// Learns how fast the applier emptied a memtable, and lets writers look again.
    pub(super) fn drained(&self, bytes: usize, took: Duration) {
        let measured = (bytes as f64 / took.as_secs_f64().max(1e-6)) as u64;
        let known = self.drain_bytes_per_second.load(Ordering::Relaxed);
        self.drain_bytes_per_second.store((known + measured) / 2, Ordering::Relaxed);
        self.wake_all();
    }

    /// Ends every full stop.
    pub(super) fn wake_all(&self) {
        *self.drained.lock() = true;
        self.signal.notify_all();
    }

    /// Time that writers were held back, in microseconds.
    pub(super) fn stall_us(&self) -> u64 {
        self.stall_us.load(Ordering::Relaxed)
    }
}

/// Parks until `end_ns` after `started`. An unpark meant for something else ends a park early, so it looks again.
fn pause_until(started: &Stopwatch, end_ns: u64) {
    while let Some(left) = Duration::from_nanos(end_ns).checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memtable_below_half_holds_nobody_back() {
        let admission = Admission::new(1000);
        assert!(admission.admit(|| 500, || false));
        assert_eq!(admission.stall_us(), 0);
    }

    #[test]
    fn a_full_stop_ends_when_room_is_made_or_the_engine_closes() {
        let admission = Admission::new(1000);
        admission.admitted(1);
        let filled = AtomicUsize::new(2000);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| admission.admit(|| filled.load(Ordering::SeqCst), || false));
            filled.store(100, Ordering::SeqCst);
            admission.drained(1900, Duration::from_micros(10));
            assert!(waiting.join().unwrap());
        });
        assert!(!admission.admit(|| 2000, || true));
    }
}
