//! The keeper thread: has the next journal segment ready before it is needed, clears away files that nobody needs,
//! and watches that no store call hangs.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::journal::{self, Effort, Limits, Prepared};
use super::reserve::{DiskRoom, store_needs};
use super::sync::Ordering;
use super::sync::channel::{self, Receiver, RecvTimeoutError, Sender};
use super::sync::thread::{self, JoinHandle};
use crate::clock::Stopwatch;
use crate::error::{Error, ErrorKind, Result};

fn is_full<T>(outcome: &Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Full)
}

/// What the keeper is told.
#[derive(Debug, Clone, Copy)]
enum Task {
    /// Have room for a batch with this payload.
    Room(usize),
    /// The checkpoint moved on: segments may be given up.
    Tidy,
    /// The store finds no room for a table of so many bytes: give back what the journal can do without.
    GiveBack(usize),
    /// The applier began to call the store.
    Watch,
    Stop,
}

/// How everybody else reaches the keeper.
#[derive(Debug, Clone)]
pub(super) struct KeeperHandle(Sender<Task>);

/// The keeper's end.
pub(super) struct KeeperInbox(Receiver<Task>);

pub(super) fn channel() -> (KeeperHandle, KeeperInbox) {
    let (sender, receiver) = channel::unbounded();
    (KeeperHandle(sender), KeeperInbox(receiver))
}

impl KeeperHandle {
    /// Asks for room; the answer is the `sealed` signal of the pipeline.
    pub(super) fn ask_for_room(&self, payload_bytes: usize) {
        self.tell(Task::Room(payload_bytes));
    }

    pub(super) fn tidy(&self) {
        self.tell(Task::Tidy);
    }

    /// Asks for room for the store to take a table of `bytes`; the answer is `gave_back` of the applier's signal.
    pub(super) fn ask_back(&self, bytes: usize) {
        self.tell(Task::GiveBack(bytes));
    }

    pub(super) fn watch(&self) {
        self.tell(Task::Watch);
    }

    pub(super) fn stop(&self) {
        self.tell(Task::Stop);
    }

    fn tell(&self, task: Task) {
        // The keeper ends only after everybody who could need it: a message that finds no keeper has no purpose left.
        self.0.send(task).unwrap_or_default();
    }
}

/// The keeper thread.
pub(super) fn run(core: &Core, inbox: &KeeperInbox) {
    let watch_every = Duration::from_millis((core.config.store_call_max_ms / 4).clamp(1, 1_000));
    let mut watching = false;
    let mut looked = Stopwatch::start();
    let mut wanted: Option<usize> = None;
    loop {
        let task = if watching {
            inbox.0.recv_timeout(watch_every)
        } else {
            inbox.0.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        // Messages may come faster than the time-out, so it is not the only occasion to look.
        if watching && looked.elapsed() >= watch_every {
            looked = Stopwatch::start();
            watching = core.check_store_call();
        }
        match task {
            Ok(Task::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Task::Watch) => watching = true,
            Err(RecvTimeoutError::Timeout) => {}
            // After a fault the files stay as they are for the recovery.
            Ok(Task::Room(_) | Task::Tidy) if core.check_open().is_err() => {}
            Ok(Task::Room(payload_bytes)) => {
                wanted = core.make_room(wanted.map_or(payload_bytes, |other| other.max(payload_bytes)), watch_every);
            }
            Ok(Task::GiveBack(bytes)) => {
                if core.check_open().is_ok() {
                    core.give_back(bytes, watch_every);
                }
                core.applier.gave_back();
            }
            Ok(Task::Tidy) => {
                if let Some(payload_bytes) = wanted {
                    wanted = core.make_room(payload_bytes, watch_every);
                }
                core.tidy(core.config.journal_retention_bytes);
            }
        }
    }
}

impl Core {
    /// Makes one segment.
    fn prepare_segment(&self, payload_bytes: usize, effort: Effort) -> Result<Prepared> {
        let checkpoint = self.checkpoint.load(Ordering::Acquire);
        let limits = Limits {
            cap: self.config.journal_max_bytes,
            retention: self.config.journal_retention_bytes,
            disk: self.disk_room(),
        };
        let (plan, (disk, folder)) = self.journal(|journal| {
            (journal.plan(&self.salts, payload_bytes, checkpoint, &limits, effort), journal.disk())
        })?;
        journal::prepare(&*disk, &folder, plan?)
    }

    fn disk_room(&self) -> Option<DiskRoom> {
        let ((disk, folder), room) = self.journal(|journal| (journal.disk(), journal.room())).ok()?;
        Some(DiskRoom {
            free: disk.free_bytes(&folder).ok()??,
            waiting: self.memtables.bytes() as u64,
            coming: room.left + room.spare.unwrap_or(0),
            waiting_max: self.config.memtable_bytes as u64,
        })
    }

    /// Sees to it that there is a spare segment for a batch with this payload. Answers what is still wanted when
    /// that has to wait for the applier.
    fn make_room(&self, payload_bytes: usize, patience: Duration) -> Option<usize> {
        // A body may hang inside the store with the mutex; the watchdog, on this very thread, must not hang with it.
        let state = self.pipeline.try_lock_for(patience).map(|pipeline| (pipeline.room.spare, pipeline.no_room.asked));
        let Some((unclaimed, asked)) = state else {
            self.keeper.ask_for_room(payload_bytes);
            return None;
        };
        let needed = payload_bytes as u64 + super::segment::FRAME_HEADER as u64;
        if unclaimed.is_some_and(|capacity| capacity >= needed) {
            self.signals.sealed.notify_all();
            return None;
        }
        let prepared = loop {
            let seen = self.memtables.moved();
            let mut prepared = self.prepare_segment(payload_bytes, Effort::Usual);
            if is_full(&prepared) {
                prepared = self.prepare_segment(payload_bytes, Effort::Modest);
            }
            if !is_full(&prepared) {
                break prepared;
            }
            // Moving the memtable to the store frees segments, as long as the store itself has room for it. What lies
            // free already is room for it, too; and while it is at work, what it takes for the moment tells nothing.
            self.tidy(0);
            let busy = self.applier.is_busy();
            let moves = busy || self.store_has_room(self.memtables.next_bytes());
            if moves && self.ask_for_checkpoint() || busy {
                return Some(payload_bytes);
            }
            // A table that was moved since the first attempt has made room, and nobody would tell of it any more.
            if self.memtables.moved() == seen || self.check_open().is_err() {
                break prepared;
            }
        };
        let mut pipeline = self.pipeline.lock();
        match prepared {
            Ok(prepared) => {
                self.counts.segments_prepared.fetch_add(1, Ordering::Relaxed);
                let too_small = pipeline.room.spare.is_some();
                pipeline.room.spare = Some(prepared.capacity());
                pipeline.no_room.error = None;
                self.spares.add(prepared, too_small);
            }
            Err(error) => pipeline.refuse_room(payload_bytes, asked, error),
        }
        self.signals.sealed.notify_all();
        None
    }

    /// Makes room for the store to take a table of `bytes`: first with segments that it holds all of, then with the
    /// spare, if that would be enough. Commits that find no place then wait for the table that this lets through.
    fn give_back(&self, bytes: usize, patience: Duration) {
        self.tidy(0);
        if self.store_has_room(bytes) {
            return;
        }
        // Asked for before the body mutex is taken: the journal's lock is held across a sync.
        let free = self.disk_room().map_or(0, |room| room.free);
        let Some(mut pipeline) = self.pipeline.try_lock_for(patience) else { return };
        let enough = free.saturating_add(self.spares.last_bytes()) >= store_needs(bytes as u64);
        if enough && pipeline.room.spare.take().is_some() {
            self.spares.give_up_last();
            drop(pipeline);
            self.tidy(0);
        }
    }

    /// Removes the files of segments that were given up, and of those past `retention` bytes that the store holds.
    fn tidy(&self, retention: u64) {
        let checkpoint = self.checkpoint.load(Ordering::Acquire);
        let given_up = self.journal(|journal| {
            journal.trim(retention, checkpoint);
            (journal.take_free(), journal.disk())
        });
        let Ok((free, (disk, folder))) = given_up else { return };
        if let Err(error) = journal::remove(&*disk, &folder, &free) {
            self.close_with(Error::with_source(error.kind(), format!("journal: {error}"), error));
        }
    }

    /// Closes the engine when the applier has been inside one store call for too long. Answers whether it is
    /// at work at all.
    fn check_store_call(&self) -> bool {
        let limit = Duration::from_millis(self.config.store_call_max_ms);
        if let Some(inside) = self.applier.inside_for().filter(|inside| *inside > limit)
            && self.fault().is_none()
        {
            self.close_with(Error::unavailable(format!(
                "the store has not answered for {} ms; restart the process and reopen",
                inside.as_millis()
            )));
        }
        self.applier.is_busy()
    }
}

/// Starts the keeper of `core`.
pub(super) fn spawn(core: Arc<Core>, inbox: KeeperInbox) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("mlp-keeper".to_owned()).spawn(move || run(&core, &inbox))
}
