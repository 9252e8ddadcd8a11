//! The durable job queue: enqueue, claim, finish; retries, leases, recovery.
//!
//! ```text
//!   nouns      state · job · new_job · backoff · token
//!   stored     pair (what is kept) · schema (indexes and counters as functions of it)
//!   machine    transition (drawn there, pure) ──> apply (the one door to the store)
//!   verbs      enqueue · claim · act (finish, heartbeat, progress, cancel, retry) · maintain · prune · read
//!   hands      lease (what a worker holds) · by_token (the same for scripts) · txn (inside a caller's transaction)
//!              dropped (leases that nobody finished)
//!   in memory  lines (one line a queue: window · floor; told by the engine as note) ──> pick, bell · deadlines
//!   recovery   the startup sweep, by the same functions
//!   pool       threads that claim and run a host's handlers; drain, the same on one thread for tests
//! ```
//!
//! It promises:
//! - An acknowledged enqueue is never lost, and an acknowledged completion is never executed again. Result and state
//!   change are one commit; [`Lease::complete_with`] puts the worker's own writes into it.
//! - Fencing: a heartbeat or a finish with a token that is not the job's current one changes nothing (`LeaseLost`).
//! - Order per queue: priority (0 first), then `run_at`, then enqueue order; the same after a restart. There is no
//!   aging: while jobs of a more urgent priority keep coming, less urgent ones wait.
//! - A claim costs the same whatever has finished before and however long the line is: only available jobs are in the
//!   ready index, and a bounded window of it in memory is read on where it ended, never again from its start.
//! - A job that becomes ready wakes one waiting claimer, whichever way it became so.
//! - Inside one process leases expire by the monotonic clock. A wall clock that jumps expires nothing.
//!
//! It refuses to block: no thread of its own (a [`WorkerPool`] has some, and nothing depends on one); due jobs are
//! promoted, expired leases taken back and old jobs pruned inside claims and by [`Jobs::maintain`]. Limits: the claims
//! of concurrent callers interleave, so the order is exact per claim and not
//! over claims in flight.
//!
//! Which test holds which rule, beside those of each file (`tests/` unless it says `src`):
//!
//! ```text
//! every edge and refusal of the machine     src transition_tests (until nothing is new) · jobs_model::walk, through the store
//! everything at random, with reopenings     jobs_model::random against a model of the rules · queue_order · queue_threads
//! acknowledged is kept, result with state   jobs: complete_with… · kill, queue_poison: processes that die
//! fencing, also across a reopening          queue_traps: a_stale_workers_ack… · queue_threads: a_token_of_an_older_attempt…
//! exact order, the same after a restart     queue_order: claims_come_in_exact_order… and its sabotaged twin
//! cost of each step, what it writes         queue_cost · src lean_tests, which also runs every body twice
//! no lost wake-up, no herd                  src bell::models (every schedule that shuttle picks) · queue_wake
//! nothing missing in front of the horizon   src window_tests
//! damage stops nothing and is found         src damage_tests
//! one test for each trap of the field       queue_traps
//! the pool: panics, renewal, stop, drop     worker_pool · queue_close
//! ```

mod act;
mod apply;
mod backoff;
mod bell;
mod by_token;
mod claim;
mod deadlines;
mod door;
mod dropped;
mod enqueue;
mod floor;
mod job;
mod lease;
mod line;
mod lines;
mod maintain;
mod new_job;
mod note;
mod pair;
mod pause;
mod pick;
mod pool;
mod prune;
mod read;
pub mod recovery;
mod repair;
mod schema;
mod state;
mod sync;
mod token;
mod transition;
mod txn;
mod window;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod lean_tests;
#[cfg(test)]
mod window_tests;

use std::sync::Arc;

use crate::config::Durability;
use crate::engine::{Epoch, Observer};
use crate::error::{Error, ErrorKind, Result};
use crate::record::RecordStore;

pub use backoff::{BACKOFF_MS_MAX, Backoff};
pub use bell::Ready;
pub use claim::ClaimRequest;
pub use enqueue::{Enqueued, Outcome};
pub use job::{Attempt, Attempts, Counts, Job, JobId};
pub use lease::Lease;
pub use lines::Memory;
pub use maintain::Maintained;
pub use new_job::{
    BATCH_MAX, CHECKPOINT_BYTES_MAX, ERROR_BYTES_MAX, LEASE_MS_DEFAULT, LEASE_MS_MAX, LIMIT_MAX, NAME_BYTES_MAX,
    NewJob, PAYLOAD_BYTES_MAX, RETENTION_MS_DEFAULT,
};
pub use pool::{Done, HandlerError, Handlers, PoolBuilder, PoolStats, Run, Shutdown, Tally, WorkerPool};
pub use read::{JobFilter, JobPage};
pub use repair::verify;
pub(crate) use repair::{claim, repair, set_aside_unreadable_leases};
pub use state::{Reason, State};
pub use token::Token;
pub use txn::JobsTxn;

/// Settings of the queue.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct JobsOptions {
    /// When calls that write return. Default: when the commit survives power loss.
    ///
    /// With `Buffered` a crash of the process may forget the newest claims, so a job that crashes it at once is not
    /// counted against `max_crashes`.
    pub durability: Durability,
}

/// The job queue of one store. Cheap to clone; clones share everything.
///
/// Built once for a store that is open: two of them would not know of each other's leases.
#[derive(Debug, Clone)]
pub struct Jobs {
    shared: Arc<Shared>,
    durability: Durability,
}

/// What lives only in memory.
#[derive(Debug)]
struct Shared {
    store: RecordStore,
    lines: Arc<lines::Lines>,
    deadlines: deadlines::Deadlines,
    dropped: dropped::Dropped,
    /// Closed when the queue is closing and hands nothing out any more. A claim is inside while it commits, so whoever
    /// closes it knows that every claim is either to be seen or not to be. A pause only waits at it.
    door: door::Door,
}

impl Shared {
    /// The opening that leases are granted in: another one once the store's state has been replaced.
    fn epoch(&self) -> Epoch {
        self.store.engine().epoch()
    }
}

impl Jobs {
    /// The queue of `store`. Run [`recovery::sweep`] first: it takes back what an earlier opening left executing.
    #[must_use]
    pub fn new(store: RecordStore, options: JobsOptions) -> Self {
        let lines = Arc::new(lines::Lines::default());
        let observer: Arc<dyn Observer> = Arc::<lines::Lines>::clone(&lines);
        store.engine().observe(Arc::downgrade(&observer));
        let deadlines = deadlines::Deadlines::new(Arc::clone(&lines));
        let (dropped, door) = (dropped::Dropped::default(), door::Door::default());
        let shared = Shared { store, lines, deadlines, dropped, door };
        Jobs { shared: Arc::new(shared), durability: options.durability }
    }

    /// The same queue, whose calls return at this durability.
    #[must_use]
    pub fn with_durability(&self, durability: Durability) -> Self {
        Jobs { shared: Arc::clone(&self.shared), durability }
    }

    /// What the queue keeps in memory, below 16 MiB whatever the backlog, however many queues there are and however long
    /// their names. Beside it each executing job takes about 200 bytes, and a claim under way the page that it reads.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.shared.lines.memory()
    }

    /// Enqueues a job.
    ///
    /// # Errors
    /// `Invalid` naming the field beyond its limit; `Conflict` when the given id exists in another queue or kind.
    pub fn enqueue(&self, job: NewJob) -> Result<Enqueued> {
        job.check()?;
        let job = [job];
        let enqueued = self.settled()?.transact(self.durability, |txn| enqueue::enqueue(txn, &job))?;
        enqueued.first().copied().ok_or_else(|| Error::internal("an enqueue of one job answered none"))
    }

    /// Enqueues 1..=1,000 jobs in one commit, in list order: all or none.
    ///
    /// # Errors
    /// As [`Jobs::enqueue`]; `Invalid` for an empty or too long list, or one beyond the engine's limits.
    pub fn enqueue_batch(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
        enqueue::check_batch(jobs)?;
        let enqueued = self.settled()?.transact(self.durability, |txn| enqueue::enqueue(txn, jobs));
        let enqueued = enqueued.map_err(|error| match error.kind() {
            // Each job was found good, so what is beyond a limit is the list.
            ErrorKind::Invalid => Error::with_source(error.kind(), format!("jobs: too large together: {error}"), error),
            _ => error,
        })?;
        Ok(enqueued)
    }

    /// Cancels a job; one that executes is asked to stop, and at once cancelled when its lease has run out.
    /// Cancelling a cancelled job changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a completed or discarded job.
    pub fn cancel(&self, id: JobId) -> Result<Job> {
        let store = self.settled()?;
        let now = store.clock().monotonic_ms();
        let past = self.shared.deadlines.past_of(id, now);
        let pair = store.transact(self.durability, |txn| act::cancel(txn, id, past))?;
        match pair.token() {
            Some(token) => self.shared.deadlines.ask_to_stop(&token),
            None => {
                let (opening, sequence) = (self.shared.epoch().number, pair.body.sequence);
                self.shared.deadlines.forget(id, token::Which { opening, sequence, number: pair.head.claims });
            }
        }
        Ok(pair.job())
    }

    /// Brings a finished job back: available at once, attempts and crashes counted from 0.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a job that is not finished, or whose unique key another job holds.
    pub fn retry(&self, id: JobId) -> Result<Job> {
        let pair = self.settled()?.transact(self.durability, |txn| act::retry(txn, id))?;
        Ok(pair.job())
    }
}
