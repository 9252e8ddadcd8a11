//! A pool of threads that claim jobs and have handlers work on them.
//!
//! ```text
//!   host     WorkerPool (start, stats, shutdown) · Handlers (a function per kind) · Done (what a handler answers)
//!   threads  crew: a worker per slot of a queue ──> perform (run, catch) · renew: one for all leases
//!   between  signal (stop, over) · roster (who is at work) · gate (who runs beside whom) · tally (what came of it)
//!   tests    drain: everything that is ready, on the caller's thread
//! ```
//!
//! It promises:
//! - At most as many jobs of a queue run at once as were asked for; a panic costs its attempt, never its worker.
//! - Leases are renewed by a thread of their own, however long a handler computes. `3 x heartbeat <= lease`, so two
//!   heartbeats may fail before a lease is past.
//! - [`WorkerPool::shutdown`] claims nothing more, asks what runs to stop, waits at most the grace period and then gives
//!   the leases back. It neither works the queue off nor hangs. Dropping the pool does the same without a grace period:
//!   afterwards no thread of it is left but those in a handler that has not returned.
//! - A store that is full or unavailable for a while loses no completion: it is tried again while the lease holds.
//!
//! It refuses to end a thread by force, which nothing in Rust can do safely: a handler that never returns keeps its
//! thread. Its job goes to somebody else all the same, after the shutdown or by its timeout, and what it does later
//! answers `LeaseLost`.

mod crew;
mod drain;
mod gate;
mod handlers;
mod perform;
mod renew;
mod roster;
mod run;
mod signal;
mod suspects;
mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::new_job::{LIMIT_MAX, check_lease, check_name};
use super::{Jobs, LEASE_MS_DEFAULT};
use crate::error::{Error, ErrorKind, Result, panic_text};
use crew::Crew;

pub use handlers::{Done, HandlerError, Handlers};
pub use run::Run;
pub use tally::Tally;

/// How long a stop waits, after its grace period, for workers that are in no handler: they are in the middle of a
/// commit, or about to end.
const SETTLE: Duration = Duration::from_secs(5);
/// Most workers of one queue.
const WORKERS_MAX: usize = 1_024;

/// Settings of a pool, checked.
#[derive(Debug, Clone)]
struct Options {
    name: String,
    lease_ms: u64,
    heartbeat_ms: u64,
    isolate_suspects: bool,
}

/// Says what a pool is to do, then starts it.
#[derive(Debug, Clone)]
pub struct PoolBuilder {
    jobs: Jobs,
    handlers: Handlers,
    queues: BTreeMap<String, usize>,
    options: Options,
}

impl PoolBuilder {
    /// Works on `queue` with this many threads (1..=1,024), each on one job at a time.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>, workers: usize) -> Self {
        self.queues.insert(queue.into(), workers);
        self
    }

    /// How its workers are called; `name/queue/number` is shown on their jobs. Default `pool`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into();
        self
    }

    /// How long its claims hold without a heartbeat, whatever the jobs say: 1..=86,400,000, default 60,000.
    #[must_use]
    pub fn lease_ms(mut self, lease_ms: u64) -> Self {
        self.options.lease_ms = lease_ms;
        self
    }

    /// How often leases are renewed, in real time: at least 1, at most a third of the lease; default 15,000.
    #[must_use]
    pub fn heartbeat_ms(mut self, heartbeat_ms: u64) -> Self {
        self.options.heartbeat_ms = heartbeat_ms;
        self
    }

    /// Runs a job that has crashed before only while nothing else of this pool runs, so that the next crash is blamed on
    /// nobody else. Default off: while a suspect waits for its turn the pool starts nothing else.
    #[must_use]
    pub fn isolate_suspects(mut self, isolate_suspects: bool) -> Self {
        self.options.isolate_suspects = isolate_suspects;
        self
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// `Invalid` naming what is beyond its limit; `Unavailable` when the operating system gives no more threads.
    pub fn start(self) -> Result<WorkerPool> {
        self.check()?;
        let PoolBuilder { jobs, handlers, queues, options } = self;
        let name = options.name.clone();
        let crew = Arc::new(Crew::new(jobs, handlers, options));
        let mut pool = WorkerPool { crew, workers: Vec::new(), renewer: None };
        let crew = Arc::clone(&pool.crew);
        pool.renewer = Some(spawn(format!("{name}/renew"), move || crew.renew())?);
        for (queue, workers) in queues {
            for number in 1..=workers {
                let (crew, queue, place) = (Arc::clone(&pool.crew), queue.clone(), pool.workers.len());
                let worker = worker_name(&name, &queue, number);
                // Should one not start, the pool is dropped here, and those that did end.
                crew.roster.enlist(place);
                let started = spawn(worker.clone(), move || {
                    let post = crew.roster.post(place);
                    crew.work(&queue, &worker, &post);
                });
                pool.workers.push(started.inspect_err(|_| drop(pool.crew.roster.post(place)))?);
            }
        }
        Ok(pool)
    }

    fn check(&self) -> Result<()> {
        let Options { name, lease_ms, heartbeat_ms, .. } = &self.options;
        check_name("name", name)?;
        check_lease("lease_ms", *lease_ms)?;
        // Equal to the limit, every late heartbeat would be one too late.
        if *heartbeat_ms == 0 || heartbeat_ms.saturating_mul(3) > *lease_ms {
            return Err(Error::invalid(format!(
                "heartbeat_ms: at least 1, and three of them within lease_ms {lease_ms}, got {heartbeat_ms}"
            )));
        }
        if self.queues.is_empty() || self.queues.len() > LIMIT_MAX {
            return Err(Error::invalid(format!("queue: 1..={LIMIT_MAX} queues, got {}", self.queues.len())));
        }
        for (queue, workers) in &self.queues {
            check_name("queue", queue)?;
            if *workers == 0 || *workers > WORKERS_MAX {
                return Err(Error::invalid(format!("queue {queue:?}: 1..={WORKERS_MAX} workers, got {workers}")));
            }
            check_name("name", &worker_name(name, queue, *workers))?;
        }
        Ok(())
    }
}

/// Who is shown on a job.
fn worker_name(pool: &str, queue: &str, number: usize) -> String {
    format!("{pool}/{queue}/{number}")
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    // A thread's name may hold no zero byte; a queue's may.
    let name = name.replace('\0', " ");
    Builder::new().name(name).spawn(work).map_err(|error| Error::io("starting a thread of the pool", error))
}

/// What a pool has done, and what it met.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PoolStats {
    /// Jobs that run right now.
    pub running: usize,
    /// How attempts ended.
    pub tally: Tally,
    /// Errors of the store that workers met; none of them lost a job.
    pub errors: u64,
    /// The newest of them.
    pub last_error: Option<Error>,
}

/// How a shutdown went.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// Jobs whose lease was given back when the grace period was over: available again, their attempt not counted.
    pub released: usize,
    /// Handlers that had not returned by then. Their threads end with them; what they still write answers `LeaseLost`.
    pub still_running: usize,
    /// What the pool did in all.
    pub stats: PoolStats,
}

/// Threads at work on one or more queues.
///
/// Dropping it shuts it down without a grace period. Workers that are in no handler are waited for, at most 5 seconds:
/// they end at once, or with the commit that they are in. Those in a handler are let go as by [`WorkerPool::shutdown`].
///
/// ```
/// use ml_persistence::{Done, Handlers, MlPersistence, NewJob, WorkerPool};
///
/// # fn main() -> ml_persistence::Result<()> {
/// let db = MlPersistence::in_memory().open()?;
/// let handlers = Handlers::new().on("fit", |_run| Ok(Done::ok()));
/// let pool = WorkerPool::builder(db.jobs(), handlers).queue("train", 2).start()?;
/// db.jobs().enqueue(NewJob::new("train", "fit"))?;
/// let ended = pool.shutdown(5_000)?;
/// assert_eq!((ended.released, ended.still_running), (0, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WorkerPool {
    crew: Arc<Crew>,
    workers: Vec<JoinHandle<()>>,
    renewer: Option<JoinHandle<()>>,
}

impl WorkerPool {
    /// A pool of `jobs` with these handlers; name at least one queue.
    #[must_use]
    pub fn builder(jobs: &Jobs, handlers: Handlers) -> PoolBuilder {
        let options = Options {
            name: "pool".to_owned(),
            lease_ms: LEASE_MS_DEFAULT,
            heartbeat_ms: LEASE_MS_DEFAULT / 4,
            isolate_suspects: false,
        };
        PoolBuilder { jobs: jobs.clone(), handlers, queues: BTreeMap::new(), options }
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.crew.stats()
    }

    /// Stops: claims nothing more, asks every running job to stop ([`Run::cancel_requested`]), waits at most `grace_ms` of
    /// real time for the handlers to return, then gives the leases of those that have not back. What waits in the queue
    /// stays there.
    ///
    /// # Errors
    /// That of the store when leases could not be given back: they run out. The pool has stopped all the same.
    pub fn shutdown(mut self, grace_ms: u64) -> Result<Shutdown> {
        self.stop(Duration::from_millis(grace_ms))
    }

    fn stop(&mut self, grace: Duration) -> Result<Shutdown> {
        let crew = &self.crew;
        crew.stop();
        crew.roster.wait_for_ends(false, grace);
        // First the signal: a lease that was given back must not be renewed, nor a finish be tried again.
        crew.over.raise();
        // A finish that is on its way counts; what is left then is in the hands of handlers.
        crew.roster.wait_for_ends(true, SETTLE);
        let mut released = 0;
        let mut outcome = Ok(());
        for token in crew.roster.tokens() {
            match crew.jobs.release(&token) {
                Ok(_) => released += 1,
                // Its handler was done first.
                Err(error) if error.kind() == ErrorKind::LeaseLost => {}
                Err(error) => outcome = Err(error),
            }
        }
        let still_running = crew.roster.in_handlers();
        for (place, worker) in self.workers.drain(..).enumerate() {
            // Any other may be in its handler, for ever: it is let go, not waited for.
            if crew.roster.has_ended(place) {
                outcome = outcome.and(join(worker));
            }
        }
        outcome = self.renewer.take().map_or(Ok(()), join).and(outcome);
        outcome.map(|()| Shutdown { released, still_running, stats: crew.stats() })
    }
}

fn join(thread: JoinHandle<()>) -> Result<()> {
    thread.join().map_err(|panic| Error::internal(format!("a thread of the pool panicked: {}", panic_text(&*panic))))
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        if self.renewer.is_some() || !self.workers.is_empty() {
            // Nobody is left to tell; a lease that could not be given back runs out.
            drop(self.stop(Duration::ZERO));
        }
    }
}
