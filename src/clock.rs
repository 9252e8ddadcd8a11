//! Time and identifiers: the only file that may ask the operating system for either.
//!
//! Everything else is handed a [`Clock`] and an [`Ids`], so a test can stop time, and a seeded run repeats to the byte.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// Where time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since the Unix epoch. May jump either way on a real machine.
    fn now_ms(&self) -> u64;

    /// Milliseconds since some fixed point of this process. Never goes back.
    fn monotonic_ms(&self) -> u64;
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        // A machine whose date lies before 1970 counts as being at 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn monotonic_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// A clock that moves only when told to. Clones share the same time.
///
/// ```
/// use ml_persistence::{Clock, ManualClock};
/// let clock = ManualClock::at(1_000);
/// clock.advance(500);
/// assert_eq!(clock.now_ms(), 1_500);
/// ```
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    wall_ms: Arc<AtomicU64>,
    monotonic_ms: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at `now_ms`.
    #[must_use]
    pub fn at(now_ms: u64) -> Self {
        let clock = ManualClock::default();
        clock.wall_ms.store(now_ms, Ordering::SeqCst);
        clock
    }

    /// Moves both the wall and the monotonic time forward; answers the new wall time.
    pub fn advance(&self, ms: u64) -> u64 {
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
        self.wall_ms.fetch_add(ms, Ordering::SeqCst).saturating_add(ms)
    }

    /// Sets the wall clock alone, as an administrator would: the monotonic time does not move.
    pub fn set_wall(&self, now_ms: u64) {
        self.wall_ms.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms.load(Ordering::SeqCst)
    }
}

/// Measures how long something took, in real time whatever the [`Clock`] says: for statistics and pacing only.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Stopwatch(Instant::now())
    }

    /// Real time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Gives out identifiers that never repeat: random by default, reproducible from a seed.
///
/// With a seed, an identifier mixes seed, epoch and a counter, so it does not repeat over reopenings either.
#[derive(Debug)]
pub struct Ids {
    source: Source,
    epoch: AtomicU64,
    counter: AtomicU64,
}

#[derive(Debug)]
enum Source {
    /// The key of this process's identifiers, drawn once: 128 random bits.
    Random(u64, u64),
    Seeded(u64),
}

impl Ids {
    /// Identifiers from the operating system's randomness.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the operating system has none to give.
    pub fn random() -> Result<Self> {
        let mut key = [0u8; 16];
        getrandom::fill(&mut key).map_err(|error| Error::unavailable(format!("no randomness: {error}")))?;
        let key = u128::from_le_bytes(key);
        Ok(Self::with(Source::Random(key as u64, (key >> 64) as u64)))
    }

    /// The same identifiers for the same seed, epoch and order of calls.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::with(Source::Seeded(seed))
    }

    fn with(source: Source) -> Self {
        Ids { source, epoch: AtomicU64::new(0), counter: AtomicU64::new(0) }
    }

    /// From here on identifiers belong to `epoch`: set once a folder is open, before anything is given out.
    pub fn enter_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::SeqCst);
        // Seeded ones start over, so that they repeat. Random ones never do, not even when two stores share them.
        if let Source::Seeded(_) = self.source {
            self.counter.store(0, Ordering::SeqCst);
        }
    }

    /// The next 128-bit identifier; never 0.
    pub fn next_u128(&self) -> u128 {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let epoch = self.epoch.load(Ordering::Relaxed);
        let (low, high) = match self.source {
            Source::Random(a, b) => (a, b ^ epoch.rotate_left(32)),
            Source::Seeded(seed) => (seed, epoch),
        };
        // Two independent mixes of (key, counter) fill the two halves; a bijection of the counter in each half keeps
        // any two identifiers of one process apart.
        let first = mix(mix(low ^ 0x6d6c_7065_7273_6973).wrapping_add(high).wrapping_add(mix(count)));
        let second = mix(mix(high ^ 0x7465_6e63_6521_2121).wrapping_add(low.rotate_left(17)) ^ count);
        (u128::from(first) << 64 | u128::from(second)).max(1)
    }

    /// The next 64-bit identifier; never 0.
    pub fn next_u64(&self) -> u64 {
        ((self.next_u128() >> 64) as u64).max(1)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection of 64 bits with full avalanche.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_ids_repeat_for_the_same_epoch_and_differ_between_epochs() {
        let (a, b) = (Ids::seeded(7), Ids::seeded(7));
        a.enter_epoch(1);
        b.enter_epoch(1);
        let first: Vec<u128> = (0..100).map(|_| a.next_u128()).collect();
        assert_eq!(first, (0..100).map(|_| b.next_u128()).collect::<Vec<_>>());
        b.enter_epoch(2);
        assert!((0..100).all(|_| !first.contains(&b.next_u128())));
    }

    #[test]
    fn random_ids_of_two_processes_differ() {
        let (a, b) = (Ids::random().unwrap(), Ids::random().unwrap());
        assert_ne!(a.next_u128(), b.next_u128());
    }

    #[test]
    fn a_wall_clock_that_jumps_back_leaves_monotonic_time_alone() {
        let clock = ManualClock::at(10_000);
        clock.advance(5);
        clock.set_wall(1);
        assert_eq!((clock.now_ms(), clock.monotonic_ms()), (1, 5));
    }
}
