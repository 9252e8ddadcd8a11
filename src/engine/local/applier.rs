//! The applier thread: moves a frozen memtable to the store and frees the journal behind it.
//!
//! A table goes in chunks of at most [`CHUNK_WRITES`] writes and [`CHUNK_BYTES`], each one atomic store batch followed
//! by a store sync (SLED: several unsynced flushes leave a store that does not open). Only the last chunk moves the
//! mark that says up to where the store holds everything, so a crash in the middle repeats the table; repeating final
//! values changes nothing. Nothing is applied that the journal does not hold durably.

use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Sabotage, panic_text};
use super::mark::Mark;
use super::memtable::Frozen;
use super::reserve::store_needs;
use super::sync::thread::{self, JoinHandle};
use super::sync::{Condvar, Mutex, Ordering};
use crate::clock::Stopwatch;
use crate::engine::{Write, WriteBatch};
use crate::error::{Error, ErrorKind, Result};

/// Most writes in one store batch.
pub(super) const CHUNK_WRITES: usize = 512;
/// About the most bytes in one store batch: a single larger write still goes alone.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// How often an applier that waits for room on the disk looks for it.
const HOLD_LOOK: Duration = Duration::from_millis(50);
/// How often a closing engine looks whether the applier has ended.
const CLOSE_LOOK: Duration = Duration::from_millis(1);

/// Wakes the applier, and those who wait for it.
#[derive(Debug, Default)]
pub(super) struct ApplierSignal {
    state: Mutex<State>,
    wake: Condvar,
    progress: Condvar,
}

#[derive(Debug, Default)]
struct State {
    awake: bool,
    stop: bool,
    /// Counts the occasions to look again.
    steps: u64,
    /// A table is being moved.
    busy: bool,
    /// The keeper was asked to give back what the journal can do without, and has not answered.
    asked_back: bool,
    /// A table waits for room on the disk, and nothing that the engine could give up would make it.
    held: bool,
    /// When the store call in hand began.
    inside: Option<Stopwatch>,
}

impl ApplierSignal {
    pub(super) fn wake(&self) {
        self.state.lock().awake = true;
        self.wake.notify_one();
    }

    /// Lets everybody who waits for the applier look again: a table is done, or the engine closed.
    pub(super) fn look_again(&self) {
        self.state.lock().steps += 1;
        self.progress.notify_all();
    }

    /// How often anybody was let look again: once for each table, and a few times more.
    pub(super) fn steps(&self) -> u64 {
        self.state.lock().steps
    }

    fn wait_for_step_after(&self, seen: u64) {
        let mut state = self.state.lock();
        while state.steps == seen {
            self.progress.wait(&mut state);
        }
    }

    /// Ends the applier after the chunk in hand.
    pub(super) fn stop(&self) {
        self.state.lock().stop = true;
        self.wake.notify_one();
        self.look_again();
    }

    fn stopped(&self) -> bool {
        self.state.lock().stop
    }

    /// Sleeps until woken; answers `false` when it is time to end.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.awake && !state.stop {
            self.wake.wait(&mut state);
        }
        state.awake = false;
        !state.stop
    }

    /// How long the store call in hand has taken.
    pub(super) fn inside_for(&self) -> Option<Duration> {
        self.state.lock().inside.map(|since| since.elapsed())
    }

    /// Waits until the keeper has given back what it could; `false` when it is time to end.
    fn wait_for_giving_back(&self, ask: impl FnOnce(), ended: impl Fn() -> bool) -> bool {
        self.state.lock().asked_back = true;
        ask();
        let mut state = self.state.lock();
        while state.asked_back && !state.stop && !ended() {
            self.wake.wait_for(&mut state, HOLD_LOOK);
        }
        !state.stop && !ended()
    }

    /// The keeper has given back what it could.
    pub(super) fn gave_back(&self) {
        self.state.lock().asked_back = false;
        self.wake.notify_one();
    }

    /// Says that a table waits for room on the disk, and waits a while; `false` when it is time to end.
    fn hold(&self, a_while: Duration) -> bool {
        let mut state = self.state.lock();
        state.held = true;
        // Those who wait for the table want to know.
        state.steps += 1;
        self.progress.notify_all();
        if !state.stop {
            self.wake.wait_for(&mut state, a_while);
        }
        !state.stop
    }

    /// Whether a table is being moved.
    pub(super) fn is_busy(&self) -> bool {
        self.state.lock().busy
    }

    fn enter(&self, inside: Option<Stopwatch>) {
        self.state.lock().inside = inside;
    }
}

impl Core {
    /// Whether the disk has room for the store to take `bytes` of a memtable.
    pub(super) fn store_has_room(&self, bytes: usize) -> bool {
        let Ok((disk, folder)) = self.journal(|journal| journal.disk()) else { return true };
        match disk.free_bytes(&folder) {
            Ok(Some(free)) => free >= store_needs(bytes as u64),
            // Nobody knows: the store will tell.
            Ok(None) | Err(_) => true,
        }
    }

    /// `Full` while a table waits for room on the disk. It looks again itself: room that was just made counts at once.
    pub(super) fn check_not_held(&self) -> Result<()> {
        if !self.applier.state.lock().held {
            return Ok(());
        }
        if self.store_has_room(self.memtables.next_bytes()) {
            self.applier.wake();
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Full,
            "the disk has no room for the store to take what is in memory; make some (what was committed is durable)",
        ))
    }

    /// Waits until the store has room for a table; `false` when it is time to end. The journal gives back what it can
    /// do without first: the disk is full only when that does not help.
    fn wait_for_store_room(&self, bytes: usize) -> bool {
        let ended = || self.check_open().is_err();
        while !self.store_has_room(bytes) {
            if !self.applier.wait_for_giving_back(|| self.keeper.ask_back(bytes), ended) {
                return false;
            }
            if !self.store_has_room(bytes) && (!self.applier.hold(HOLD_LOOK) || ended()) {
                return false;
            }
        }
        self.applier.state.lock().held = false;
        true
    }

    /// The applier thread.
    pub(super) fn applier_thread(&self) {
        while self.applier.wait() {
            while let Some(frozen) = self.memtables.frozen() {
                if self.check_open().is_err() {
                    return;
                }
                if !self.wait_for_store_room(frozen.table.bytes()) {
                    return;
                }
                self.applier.state.lock().busy = true;
                self.keeper.watch();
                let applied = self.apply(&frozen);
                self.applier.state.lock().busy = false;
                match applied {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(fault) => {
                        self.close_with(fault);
                        return;
                    }
                }
            }
        }
    }

    /// Moves one table; `false` when it was told to stop in between.
    fn apply(&self, frozen: &Frozen) -> Result<bool> {
        if frozen.newest > self.durable.load(Ordering::Acquire) {
            self.sync_returned()?;
        }
        if frozen.newest > self.durable.load(Ordering::Acquire) {
            return Err(Error::internal("the applier was given a table that the journal does not hold"));
        }
        let took = Stopwatch::start();
        self.memtables.wait_for_views(frozen.table.id);
        // From here on the store may hold what views older than this table must not see.
        self.applying.store(frozen.table.id, Ordering::SeqCst);
        let mut stopped = false;
        frozen.table.chunks(CHUNK_WRITES, CHUNK_BYTES, |writes, last| {
            if stopped || self.applier.stopped() {
                stopped = true;
                return Ok(());
            }
            let mark = (last || self.is_sabotaged(Sabotage::MarkFirst))
                .then(|| Mark { identity: self.identity, applied: frozen.complete }.encode());
            let size = |(_, key, value): &Write| key.len() + value.as_ref().map_or(0, |value| value.len());
            let bytes: usize = writes.iter().map(size).sum();
            self.counts.store_written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            let batch = WriteBatch { writes, mark };
            self.counts.store_writes.fetch_add(batch.writes.len() as u64, Ordering::Relaxed);
            self.applier.enter(Some(Stopwatch::start()));
            let applied = self.store(|store| store.apply(&batch).and_then(|()| store.sync()));
            self.applier.enter(None);
            self.counts.store_syncs.fetch_add(1, Ordering::Relaxed);
            applied
        })?;
        if stopped {
            return Ok(false);
        }
        self.checkpoint.store(frozen.complete, Ordering::Release);
        self.memtables.drop_frozen();
        self.admission.drained(frozen.table.bytes(), took.elapsed());
        self.keeper.tidy();
        self.freeze_if_due(&mut self.pipeline.lock());
        self.applier.look_again();
        Ok(true)
    }

    /// Has the memtable moved to the store until that holds every batch up to `sequence`, or both tables are empty.
    pub(super) fn apply_up_to(&self, sequence: u64) -> Result<()> {
        loop {
            let seen = self.applier.steps();
            self.check_open()?;
            if self.applier.stopped() {
                return Err(Error::closed("the engine is closing"));
            }
            // A table that was frozen in the middle of a batch stops short of it, so one round may not be enough.
            let applied = self.checkpoint.load(Ordering::Acquire) >= sequence;
            if applied || !self.ask_for_checkpoint() {
                return Ok(());
            }
            self.check_not_held()?;
            self.applier.wait_for_step_after(seen);
        }
    }
}

impl Core {
    /// Waits for the applier to finish its chunk. One that hangs inside the store is left behind: only the end of the
    /// process can free it, and the folder stays locked until then.
    pub(super) fn join_applier(&self, applier: JoinHandle<()>) -> Result<()> {
        let limit = Duration::from_millis(self.config.store_call_max_ms);
        while !applier.is_finished() {
            if let Some(inside) = self.applier.inside_for().filter(|inside| *inside > limit) {
                return Err(Error::unavailable(format!(
                    "the store has not answered for {} ms; restart the process and reopen",
                    inside.as_millis()
                )));
            }
            thread::park_timeout(CLOSE_LOOK);
        }
        applier.join().map_err(|panic| Error::internal(format!("the applier panicked: {}", panic_text(&*panic))))
    }
}

/// Starts the applier of `core`.
pub(super) fn spawn(core: Arc<Core>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("mlp-applier".to_owned()).spawn(move || core.applier_thread())
}
