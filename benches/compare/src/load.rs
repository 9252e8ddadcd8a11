//! Callers that commit as fast as they are answered, for a stretch of time.

use std::fmt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ml_persistence::Stopwatch;

use crate::Failure;
use crate::systems::{Counts, Held, Item, System};

/// One burst: what was done, and how long each call took.
#[derive(Debug, Default, Clone)]
pub struct Burst {
    /// Transactions of record + index entry + counter that were answered.
    pub commits: u64,
    /// From the start to the last answer.
    pub seconds: f64,
    /// Nanoseconds of each call, sorted. A call of a batching system commits many.
    pub latencies_ns: Vec<u64>,
    /// What the system says about itself.
    pub counts: Counts,
}

impl Burst {
    /// Transactions a second.
    pub fn rate(&self) -> f64 {
        self.commits as f64 / self.seconds
    }

    /// The call that `share` of all calls were no slower than, in microseconds.
    pub fn latency_us(&self, share: f64) -> f64 {
        let place = (self.latencies_ns.len() as f64 * share) as usize;
        let place = place.min(self.latencies_ns.len().saturating_sub(1));
        self.latencies_ns.get(place).map_or(f64::NAN, |ns| *ns as f64 / 1e3)
    }

    /// What must be stored after it.
    pub fn expected(&self) -> Held {
        Held { records: self.commits, entries: self.commits, counter: self.commits as i64 }
    }

    /// Takes over what the system counted.
    pub fn add_counts(&mut self, counts: Counts) {
        self.counts = counts;
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.latency_us(0.5), self.latency_us(0.99));
        write!(f, "{:>9.0}/s  p50 {p50:>7.0} us  p99 {p99:>8.0} us", self.rate())
    }
}

/// Runs `callers` threads against `system` for `length`.
pub fn run(system: &dyn System, callers: usize, length: Duration) -> Result<Burst, Failure> {
    let start = Barrier::new(callers + 1);
    let broken = AtomicBool::new(false);
    let (answers, seconds) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|caller| {
                let (start, broken) = (&start, &broken);
                scope.spawn(move || {
                    let answer = call_until_done(system, caller as u16, start, broken, length);
                    // One that failed must not leave the others running for half a minute.
                    broken.fetch_or(answer.is_err(), Ordering::Relaxed);
                    answer
                })
            })
            .collect();
        start.wait();
        let took = Stopwatch::start();
        let answers: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        (answers, took.elapsed().as_secs_f64())
    });
    let mut burst = Burst { seconds, ..Burst::default() };
    for answer in answers {
        let (commits, latencies) = answer.map_err(|_| "a caller panicked")??;
        burst.commits += commits;
        burst.latencies_ns.extend(latencies);
    }
    burst.latencies_ns.sort_unstable();
    Ok(burst)
}

fn call_until_done(
    system: &dyn System,
    caller: u16,
    start: &Barrier,
    broken: &AtomicBool,
    length: Duration,
) -> Result<(u64, Vec<u64>), Failure> {
    let session = system.session();
    let mut items = Item::from(caller);
    let (mut commits, mut latencies) = (0, Vec::with_capacity(1 << 16));
    // Everybody arrives here, whatever became of the session, or nobody would ever start.
    start.wait();
    let mut session = session?;
    let running = Stopwatch::start();
    let mut last = Duration::ZERO;
    while last < length && !broken.load(Ordering::Relaxed) {
        commits += session.commit(&mut items)?;
        let now = running.elapsed();
        latencies.push((now - last).as_nanos() as u64);
        last = now;
    }
    Ok((commits, latencies))
}
