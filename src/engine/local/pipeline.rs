//! Commits on their way to the journal: bodies one at a time, batches one at a time, answers when durable.
//!
//! ```text
//!            body mutex                                    sealing role (one thread at a time)
//!  body ──> open batch ──────────── seal ──> sealed batch ──> append + fdatasync ──> memtable ──> wake each waiter
//!             ^  the next bodies go on here meanwhile
//! ```
//!
//! Who seals: a lone caller for itself; when it is done, a single waiter gets the role; from [`COMMITTER_FROM`] waiters
//! on the parked committer thread takes it, keeps it while commits keep coming, and waits at most [`GATHER`] for as
//! many as the last batch had. The committer also owns the timer of `Buffered` commits. Handing over comes first,
//! then each waiter is woken by itself: nobody wakes up to find that it was not meant.
//!
//! The body mutex is the one lock that is held across store reads: those of a body. Nothing that must go on when the
//! store hangs (reads, statistics, the watchdog) takes it.

use std::sync::Arc;
use std::time::Duration;

use super::batch::{Batch, BatchWrite, OwnWrites};
use super::core::{Core, Sabotage};
use super::journal::Room;
use super::sync::thread::{self, Thread};
use super::sync::{AtomicU8, AtomicU64, Condvar, Mutex, MutexGuard, Ordering, Stopwatch};
use crate::config::Durability;
use crate::error::{Error, ErrorKind, Result};

/// From this many waiters on the committer thread leads; a model gets there with fewer callers.
const COMMITTER_FROM: usize = if cfg!(shuttle) { 2 } else { 3 };
/// Longest wait for a batch to fill up.
const GATHER: Duration = Duration::from_micros(150);
/// How often a commit that waits for room looks whether the engine has failed meanwhile.
const ROOM_LOOK: Duration = Duration::from_millis(100);
/// An open batch takes no further commit past this size, unless it is empty.
const OPEN_PAYLOAD_MAX: usize = 4 << 20;

/// Everything under the body mutex.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) open: Batch,
    pub(super) sealed: Option<Arc<Batch>>,
    open_waiters: Vec<Arc<Waiter>>,
    sealed_waiters: Vec<Arc<Waiter>>,
    /// `Buffered` commits of the open batch that wait for the sealed one to become visible.
    held: Vec<(u64, OwnWrites)>,
    open_since: Option<Stopwatch>,
    role: Role,
    next_version: u64,
    pub(super) room: Room,
    pub(super) no_room: NoRoom,
    /// Somebody waits for the open batch to be sealed, however young it is.
    seal_wanted: bool,
    last_batch: usize,
    pub(super) freeze_wanted: bool,
    closing: bool,
}

/// The newest failed attempt to prepare a segment.
#[derive(Debug, Default)]
pub(super) struct NoRoom {
    /// Commits that have had to ask for room so far.
    pub(super) asked: u64,
    /// How many had when the attempt began: it answers these and no later one, who may find room where they did not.
    answered: u64,
    /// The payload that room was sought for: a smaller one may still find some.
    payload_bytes: usize,
    pub(super) error: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Free,
    /// A caller leads, or was told to.
    Caller,
    Committer,
}

/// A thread that waits for a batch.
#[derive(Debug)]
struct Waiter {
    thread: Thread,
    state: AtomicU8,
    /// It committed something: if the batch fails, whether that landed is unknown.
    wrote: bool,
}

const WAITING: u8 = 0;
const LEAD: u8 = 1;
const DONE: u8 = 2;
const FAILED: u8 = 3;

impl Waiter {
    fn tell(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        self.thread.unpark();
    }
}

/// Signals around the body mutex.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The committer has something to do, or a batch that it gathers has filled up.
    committer: Condvar,
    /// The open batch was sealed, room was found or refused, or the engine closed.
    pub(super) sealed: Condvar,
    gather_target: AtomicU64,
}

impl Signals {
    /// Lets everybody look at the engine's state again.
    pub(super) fn wake_all(&self) {
        self.committer.notify_all();
        self.sealed.notify_all();
    }
}

/// What a commit asks of the open batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) payload_bytes: usize,
    /// The batch must not grow past this by it, unless it is empty.
    batch_max: usize,
}

/// What a body's outcome depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depends {
    Nothing,
    Sealed,
    Open,
}

impl Pipeline {
    pub(super) fn new(next_sequence: u64, version: u64, room: Room) -> Self {
        Pipeline {
            open: Batch::new(next_sequence, version),
            sealed: None,
            open_waiters: Vec::new(),
            sealed_waiters: Vec::new(),
            held: Vec::new(),
            open_since: None,
            role: Role::Free,
            next_version: version + 1,
            room,
            no_room: NoRoom::default(),
            seal_wanted: false,
            last_batch: 0,
            freeze_wanted: false,
            closing: false,
        }
    }

    /// The newest batch on its way that wrote `key`: its value, and what an answer built on it has to wait for.
    pub(super) fn newest(&self, tree: crate::engine::Tree, key: &[u8]) -> Option<(&BatchWrite, Depends)> {
        if let Some(write) = self.open.writes.get(tree, key) {
            return Some((write, Depends::Open));
        }
        self.sealed.as_ref()?.writes.get(tree, key).map(|write| (write, Depends::Sealed))
    }

    /// Notes that no segment could be had for a batch with this payload, after so many had asked.
    pub(super) fn refuse_room(&mut self, payload_bytes: usize, answered: u64, error: Error) {
        self.no_room = NoRoom { asked: self.no_room.asked, answered, payload_bytes, error: Some(error) };
    }

    /// The open batch has grown large enough to go first.
    fn is_overfull(&self, size: &Size) -> bool {
        self.open.commits > 0 && self.open.payload_bytes + size.payload_bytes > size.batch_max
    }

    /// How many threads wait for the sealed batch.
    #[cfg(test)]
    pub(super) fn sealed_waiter_count(&self) -> usize {
        self.sealed_waiters.len()
    }

    /// Whether a memtable may be frozen now: no batch is half published.
    pub(super) fn is_between_batches(&self) -> bool {
        self.sealed.is_none()
    }

    /// The newest batch with a write in the memtable.
    pub(super) fn newest_published(&self) -> u64 {
        if self.open.is_part_published() { self.open.sequence } else { self.open.sequence - 1 }
    }
}

impl Core {
    /// Whether the open batch has a place for `payload_bytes` more, in memory and in the journal.
    pub(super) fn has_room(&self, pipeline: &Pipeline, size: &Size) -> bool {
        let total = pipeline.open.payload_bytes + size.payload_bytes;
        !pipeline.closing && !pipeline.is_overfull(size) && pipeline.room.fits(total)
    }

    /// What a commit asks of the open batch. A `Buffered` one keeps the window of what waits for its sync small.
    pub(super) fn size_of(&self, own: &OwnWrites, durability: Durability) -> Size {
        let batch_max = match durability {
            Durability::PowerLoss => OPEN_PAYLOAD_MAX,
            Durability::Buffered => self.config.sync_every_bytes.min(OPEN_PAYLOAD_MAX),
        };
        Size { payload_bytes: own.payload_bytes(), batch_max }
    }

    /// Waits until [`Core::has_room`].
    ///
    /// # Errors
    /// `Full` when no segment can be prepared; `Closed`.
    pub(super) fn wait_for_room(&self, pipeline: &mut MutexGuard<'_, Pipeline>, size: &Size) -> Result<()> {
        pipeline.no_room.asked += 1;
        let asked = pipeline.no_room.asked;
        while !self.has_room(pipeline, size) {
            self.check_open()?;
            if pipeline.closing {
                return Err(Error::closed("the engine is closing"));
            }
            if pipeline.is_overfull(size) {
                // A batch of `Buffered` commits alone would otherwise sit until its timer.
                pipeline.seal_wanted = true;
                self.signals.committer.notify_one();
            } else {
                let total = pipeline.open.payload_bytes + size.payload_bytes;
                let refused = &pipeline.no_room;
                if let Some(error) = &refused.error
                    && refused.answered >= asked
                    && refused.payload_bytes <= total
                {
                    return Err(error.clone());
                }
                self.keeper.ask_for_room(total);
            }
            // The time-out is for a fault that was noticed without the body mutex, whose wake-up can be missed.
            self.signals.sealed.wait_for(pipeline, ROOM_LOOK);
        }
        Ok(())
    }

    /// Takes a body's writes into the open batch and returns as its durability asks.
    pub(super) fn commit(
        &self,
        mut pipeline: MutexGuard<'_, Pipeline>,
        own: OwnWrites,
        durability: Durability,
    ) -> Result<u64> {
        let version = pipeline.next_version;
        pipeline.next_version += 1;
        pipeline.open.merge(&own, version);
        let sequence = pipeline.open.sequence;
        let power_loss = durability == Durability::PowerLoss;
        if power_loss {
            pipeline.open.power_loss = true;
            return self.wait_durable(pipeline, Depends::Open, true).map(|()| sequence);
        }
        pipeline.open.buffered = true;
        if !pipeline.open.power_loss {
            if pipeline.sealed.as_ref().is_some_and(|sealed| sealed.power_loss) {
                pipeline.held.push((version, own));
            } else {
                self.publish_own(&mut pipeline, version, &own);
                // The memtable may fill up with this batch alone, and those whom that holds back wait for the applier.
                self.freeze_if_due(&mut pipeline);
            }
        }
        let first = pipeline.open_since.is_none();
        pipeline.open_since.get_or_insert_with(Stopwatch::start);
        if first || pipeline.open.payload_bytes >= self.config.sync_every_bytes {
            self.signals.committer.notify_one();
        }
        Ok(sequence)
    }

    fn publish_own(&self, pipeline: &mut Pipeline, version: u64, own: &OwnWrites) {
        let writes = own.writes.iter().map(|(tree, key, write)| (tree, key, &write.value, version));
        self.memtables.publish(writes, (version, pipeline.open.sequence), 0);
        self.tell(pipeline.open.sequence, &own.writes, |write| Some(write.value.is_some()));
        pipeline.open.published = version;
    }

    /// Waits until what an outcome depends on is durable. `wrote`: the outcome is a commit of the open batch.
    pub(super) fn wait_durable(
        &self,
        mut pipeline: MutexGuard<'_, Pipeline>,
        depends: Depends,
        wrote: bool,
    ) -> Result<()> {
        if depends == Depends::Nothing {
            return Ok(());
        }
        // Under the mutex: once a batch has failed, nobody comes to wake those who wait for another.
        self.check_open()?;
        let waiter = Arc::new(Waiter { thread: thread::current(), state: AtomicU8::new(WAITING), wrote });
        match depends {
            Depends::Sealed if pipeline.sealed.is_some() => pipeline.sealed_waiters.push(Arc::clone(&waiter)),
            // Sealed when it was read, and done by now.
            Depends::Sealed | Depends::Nothing => return self.check_open(),
            Depends::Open => {
                pipeline.open_waiters.push(Arc::clone(&waiter));
                pipeline.open_since.get_or_insert_with(Stopwatch::start);
                if pipeline.role == Role::Free {
                    pipeline.role = Role::Caller;
                    drop(pipeline);
                    self.lead();
                    return self.outcome(&waiter);
                }
                let target = self.signals.gather_target.load(Ordering::Relaxed);
                if target > 0 && pipeline.open_waiters.len() as u64 >= target {
                    self.signals.gather_target.store(0, Ordering::Relaxed);
                    self.signals.committer.notify_one();
                }
            }
        }
        drop(pipeline);
        loop {
            match waiter.state.load(Ordering::Acquire) {
                WAITING => thread::park(),
                LEAD => {
                    self.lead();
                    return self.outcome(&waiter);
                }
                _ => return self.outcome(&waiter),
            }
        }
    }

    fn outcome(&self, waiter: &Waiter) -> Result<()> {
        match waiter.state.load(Ordering::Acquire) {
            DONE => Ok(()),
            FAILED => {
                let fault = self.fault().unwrap_or_else(|| Error::internal("a batch failed without a fault"));
                Err(if waiter.wrote {
                    Error::with_source(
                        ErrorKind::CommitUnknown,
                        format!("the journal failed while it wrote this commit; reopen to find out: {fault}"),
                        fault,
                    )
                } else {
                    Error::with_source(ErrorKind::Closed, format!("the engine is closed: {fault}"), fault)
                })
            }
            other => Err(Error::internal(format!("a leader came back with its own batch in state {other}"))),
        }
    }

    /// Seals and writes one batch as a caller that holds the role, then passes the role on.
    fn lead(&self) {
        let waiters = self.write_batch(|pipeline| {
            let next = match pipeline.open_waiters.len() {
                0 => {
                    // Its timer, or the end of the engine, was waiting for the role.
                    if pipeline.open.commits > 0 || pipeline.closing {
                        self.signals.committer.notify_one();
                    }
                    None
                }
                // Once the engine closes, the committer may have ended.
                waiting if waiting >= COMMITTER_FROM && !pipeline.closing => {
                    pipeline.role = Role::Committer;
                    self.signals.committer.notify_one();
                    return None;
                }
                _ => pipeline.open_waiters.first().cloned(),
            };
            pipeline.role = if next.is_some() { Role::Caller } else { Role::Free };
            next
        });
        self.wake(waiters);
    }

    /// Seals the open batch, makes it durable and visible, then decides with `hand_over` who seals next. Answers the
    /// waiters to be woken, and how they fared.
    fn write_batch(&self, hand_over: impl FnOnce(&mut Pipeline) -> Option<Arc<Waiter>>) -> (Vec<Arc<Waiter>>, u8) {
        let batch = {
            let mut pipeline = self.pipeline.lock();
            let sequence = pipeline.open.sequence;
            let last_version = pipeline.open.last_version;
            let batch = Arc::new(std::mem::replace(&mut pipeline.open, Batch::new(sequence + 1, last_version)));
            pipeline.sealed_waiters = std::mem::take(&mut pipeline.open_waiters);
            pipeline.open_since = None;
            pipeline.seal_wanted = false;
            pipeline.last_batch = pipeline.sealed_waiters.len();
            if pipeline.room.place(batch.payload_bytes) {
                self.keeper.ask_for_room(0);
            }
            pipeline.sealed = Some(Arc::clone(&batch));
            self.signals.sealed.notify_all();
            batch
        };
        let took = Stopwatch::start();
        let appended = self.check_open().and_then(|()| {
            let checkpoint = self.checkpoint.load(Ordering::Acquire);
            self.journal(|journal| journal.append(&batch, self.config.clock.now_ms(), checkpoint))?
        });
        if let Err(error) = appended {
            return self.fail_batch(error);
        }
        self.counts.batch(batch.commits, took.elapsed());
        // In one order with the watchers' count of themselves: who is not counted yet sees this batch.
        self.durable.store(batch.sequence, Ordering::SeqCst);
        if self.is_sabotaged(Sabotage::AnswerFirst) {
            let early = std::mem::take(&mut self.pipeline.lock().sealed_waiters);
            self.wake((early, DONE));
            let waiting = Stopwatch::start();
            while waiting.elapsed() < GATHER * 100 {
                thread::park_timeout(GATHER);
            }
        }
        let unpublished = batch
            .writes
            .iter()
            .filter(|(_, _, write)| write.version > batch.published)
            .map(|(tree, key, write)| (tree, key, &write.value, write.version));
        self.memtables.publish(unpublished, (batch.last_version, batch.sequence), batch.payload_bytes as u64);
        // Nothing else is published meanwhile: a batch with something left to publish holds later commits back.
        if batch.published < batch.last_version {
            let state = |write: &BatchWrite| (write.version > batch.published).then_some(write.value.is_some());
            self.tell(batch.sequence, &batch.writes, state);
        }

        let mut pipeline = self.pipeline.lock();
        pipeline.sealed = None;
        for (version, own) in std::mem::take(&mut pipeline.held) {
            self.publish_own(&mut pipeline, version, &own);
        }
        self.freeze_if_due(&mut pipeline);
        let waiters = std::mem::take(&mut pipeline.sealed_waiters);
        let next = hand_over(&mut pipeline);
        drop(pipeline);
        if let Some(next) = next {
            next.tell(LEAD);
        }
        self.watchers.ring();
        (waiters, DONE)
    }

    /// The journal failed: closes the engine and takes everybody who waits for a batch along.
    fn fail_batch(&self, error: Error) -> (Vec<Arc<Waiter>>, u8) {
        self.close_with(error);
        let mut pipeline = self.pipeline.lock();
        // What was sealed stays where it is: bodies are refused from here on, and no read may miss what it once saw.
        let mut waiters = std::mem::take(&mut pipeline.sealed_waiters);
        waiters.append(&mut pipeline.open_waiters);
        pipeline.role = Role::Free;
        pipeline.closing = true;
        self.signals.sealed.notify_all();
        self.signals.committer.notify_one();
        (waiters, FAILED)
    }

    fn wake(&self, (waiters, state): (Vec<Arc<Waiter>>, u8)) {
        for waiter in waiters {
            waiter.tell(state);
        }
    }

    /// Freezes the active memtable when it is half full, when its replay would grow too long, or when asked to.
    pub(super) fn freeze_if_due(&self, pipeline: &mut Pipeline) {
        if !pipeline.is_between_batches() {
            return;
        }
        let active = self.memtables.active();
        let half = self.config.memtable_bytes / 2;
        let due = active.bytes() >= half || active.journal_bytes() >= 2 * self.config.memtable_bytes as u64;
        if due || pipeline.freeze_wanted {
            let complete = pipeline.open.sequence - 1;
            if self.memtables.freeze(complete, pipeline.newest_published()) {
                pipeline.freeze_wanted = false;
                self.applier.wake();
            } else if active.is_empty() {
                pipeline.freeze_wanted = false;
            }
        }
    }

    /// Asks for the memtable to be moved to the store. Answers whether there is anything to move.
    pub(super) fn ask_for_checkpoint(&self) -> bool {
        let mut pipeline = self.pipeline.lock();
        pipeline.freeze_wanted = true;
        self.freeze_if_due(&mut pipeline);
        pipeline.freeze_wanted || self.memtables.frozen().is_some()
    }

    /// Makes every commit that returned durable.
    pub(super) fn sync_returned(&self) -> Result<()> {
        let pipeline = self.pipeline.lock();
        // Under the mutex: a failed batch may have made way for the next one, and then nothing here tells of it.
        self.check_open()?;
        let depends = if pipeline.open.buffered {
            Depends::Open
        } else if pipeline.sealed.as_ref().is_some_and(|sealed| sealed.buffered) {
            Depends::Sealed
        } else {
            Depends::Nothing
        };
        self.wait_durable(pipeline, depends, true)
    }

    /// The committer thread: leads when many wait, and syncs `Buffered` commits in time.
    pub(super) fn committer(&self) {
        let mut pipeline = self.pipeline.lock();
        loop {
            if pipeline.role == Role::Committer {
                pipeline = self.lead_many(pipeline);
                continue;
            }
            if pipeline.role == Role::Free && pipeline.open.commits > 0 {
                let due = Duration::from_millis(self.config.sync_every_ms);
                let waited = pipeline.open_since.map_or(due, |since| since.elapsed());
                let large = pipeline.open.payload_bytes >= self.config.sync_every_bytes.min(OPEN_PAYLOAD_MAX / 2);
                let wanted = pipeline.seal_wanted || pipeline.closing;
                if wanted || waited >= due || large || !pipeline.open_waiters.is_empty() {
                    pipeline.role = Role::Committer;
                    continue;
                }
                self.signals.committer.wait_for(&mut pipeline, due - waited);
                continue;
            }
            if pipeline.closing && pipeline.role == Role::Free {
                return;
            }
            self.signals.committer.wait(&mut pipeline);
        }
    }

    /// Leads batch after batch while commits keep coming.
    fn lead_many<'c>(&'c self, pipeline: MutexGuard<'c, Pipeline>) -> MutexGuard<'c, Pipeline> {
        drop(pipeline);
        // Counted before anybody is woken: those who are back at once must not be expected twice.
        let mut came_meanwhile = 0;
        let woken = self.write_batch(|pipeline| {
            came_meanwhile = pipeline.open_waiters.len();
            None
        });
        let failed = woken.1 == FAILED;
        self.wake(woken);
        let mut pipeline = self.pipeline.lock();
        if failed {
            return pipeline;
        }
        // Those just woken are likely to come again, beside those who came meanwhile.
        let target = pipeline.last_batch + came_meanwhile;
        if target >= COMMITTER_FROM && !pipeline.closing {
            let gathering = Stopwatch::start();
            while pipeline.open_waiters.len() < target {
                let Some(left) = GATHER.checked_sub(gathering.elapsed()).filter(|left| !left.is_zero()) else { break };
                self.signals.gather_target.store(target as u64, Ordering::Relaxed);
                if self.signals.committer.wait_for(&mut pipeline, left).timed_out() {
                    break;
                }
            }
            self.signals.gather_target.store(0, Ordering::Relaxed);
        }
        pipeline.role = if pipeline.open_waiters.is_empty() { Role::Free } else { Role::Committer };
        pipeline
    }

    /// Refuses new commits, and lets the committer write what is open and end.
    pub(super) fn begin_close(&self) -> bool {
        let mut pipeline = self.pipeline.lock();
        let first = !std::mem::replace(&mut pipeline.closing, true);
        self.signals.committer.notify_one();
        self.signals.sealed.notify_all();
        first
    }

    /// Appends the empty frame that tells a clean stop. The committer has ended, so nobody else seals.
    pub(super) fn append_closing_frame(&self) -> Result<()> {
        let mut pipeline = self.pipeline.lock();
        let batch = Batch::new(pipeline.open.sequence, 0);
        if !pipeline.room.fits(batch.payload_bytes) {
            // On a full disk the folder closes without the mark, as after a crash: nothing is lost by that.
            return Ok(());
        }
        pipeline.room.place(batch.payload_bytes);
        let checkpoint = self.checkpoint.load(Ordering::Acquire);
        self.journal(|journal| journal.append(&batch, self.config.clock.now_ms(), checkpoint))?
    }
}

/// The body mutex with its content.
pub(super) type PipelineMutex = Mutex<Pipeline>;
