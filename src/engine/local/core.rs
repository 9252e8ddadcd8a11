//! What the threads of one local engine share, and the two ways it ends: closed by the caller, or by a fault.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::admission::Admission;
use super::applier::ApplierSignal;
use super::batch::PerTree;
use super::disk::LockGuard;
use super::feed::Feed;
use super::journal::{Journal, Spares};
use super::keeper::KeeperHandle;
use super::memtable::Memtables;
use super::origin::Origin;
use super::pipeline::{PipelineMutex, Signals};
use super::segment::Identity;
use super::sync::{AtomicBool, AtomicU64, Mutex, Ordering, RwLock, Tally, thread};
use super::watch::Watchers;
use crate::clock::Ids;
use crate::config::Config;
use crate::engine::{Cursor, Epoch, KvStore, Observers, Position};
pub(super) use crate::error::panic_text;
use crate::error::{Error, ErrorKind, Result};

/// Enough for a batch of the largest size and a sync of minutes.
const HISTOGRAM_PLACES: usize = 28;
/// How often a closing engine looks whether readers have left the store.
const RELEASE_TRIES: usize = 100_000;

/// The shared state of one engine.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    /// Identifiers that never show: the salts of journal segments.
    pub(super) salts: Ids,
    pub(super) folder: PathBuf,
    pub(super) engine: &'static str,
    pub(super) persistent: bool,
    pub(super) syncs_folders: bool,
    pub(super) identity: Identity,
    pub(super) lineage: u128,
    pub(super) epoch: Epoch,

    pub(super) pipeline: PipelineMutex,
    pub(super) signals: Signals,
    /// `None` in an engine that was opened for reading.
    journal: Mutex<Option<Journal>>,
    pub(super) spares: Arc<Spares>,
    pub(super) memtables: Memtables,
    store: RwLock<Option<Arc<dyn KvStore>>>,
    pub(super) admission: Admission,
    pub(super) applier: ApplierSignal,
    pub(super) keeper: KeeperHandle,
    lock: Mutex<Option<Box<dyn LockGuard>>>,

    /// Oldest sequence that the journal held as it was opened.
    pub(super) journal_first: u64,
    /// Newest durable batch.
    pub(super) durable: AtomicU64,
    /// Up to here the store holds everything durably.
    pub(super) checkpoint: AtomicU64,
    /// Number of the memtable whose application to the store began last.
    pub(super) applying: AtomicU64,
    pub(super) counts: Counts,
    pub(super) feed: Feed,
    pub(super) origin: Origin,
    pub(super) observers: Observers,
    pub(super) watchers: Watchers,

    /// A bug planted by a test that proves that the tests would notice.
    #[cfg(test)]
    pub(super) sabotage: Mutex<Option<Sabotage>>,
    writable: bool,
    closed: AtomicBool,
    fault: Mutex<Option<Error>>,
}

/// Bugs that tests plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// The mark moves with the first chunk of a table instead of the last.
    MarkFirst,
    /// Waiters are answered before their batch is visible.
    AnswerFirst,
}

/// Counters behind [`EngineStats`](crate::engine::EngineStats).
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) commits: Tally,
    pub(super) batches: Tally,
    pub(super) batch_commits_max: Tally,
    pub(super) segments_prepared: Tally,
    pub(super) store_syncs: Tally,
    pub(super) store_writes: Tally,
    pub(super) store_written_bytes: Tally,
    batch_commits: Histogram,
    journal_sync_us: Histogram,
    pub(super) slow_bodies: Tally,
}

/// Counts by powers of two.
#[derive(Debug, Default)]
struct Histogram([Tally; HISTOGRAM_PLACES]);

impl Histogram {
    fn count(&self, value: u64) {
        let place = (value.max(1).ilog2() as usize).min(HISTOGRAM_PLACES - 1);
        if let Some(count) = self.0.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self) -> Vec<u64> {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl Counts {
    /// Batch sizes and sync times so far.
    pub(super) fn histograms(&self) -> (Vec<u64>, Vec<u64>) {
        (self.batch_commits.read(), self.journal_sync_us.read())
    }

    pub(super) fn batch(&self, commits: u64, took: Duration) {
        self.batch_commits.count(commits);
        self.journal_sync_us.count(took.as_micros() as u64);
        self.commits.fetch_add(commits, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.batch_commits_max.fetch_max(commits, Ordering::Relaxed);
    }
}

/// What a core is built from.
pub(super) struct Parts {
    pub(super) config: Config,
    /// Identifiers that never show: the salts of journal segments.
    pub(super) salts: Ids,
    pub(super) folder: PathBuf,
    pub(super) engine: &'static str,
    pub(super) persistent: bool,
    pub(super) syncs_folders: bool,
    pub(super) identity: Identity,
    pub(super) lineage: u128,
    pub(super) epoch: Epoch,
    pub(super) pipeline: PipelineMutex,
    pub(super) journal: Option<Journal>,
    pub(super) memtables: Memtables,
    pub(super) store: Arc<dyn KvStore>,
    pub(super) keeper: KeeperHandle,
    pub(super) lock: Box<dyn LockGuard>,
    /// Last frame of the journal, durable since recovery wrote it again.
    pub(super) end: u64,
    pub(super) applied: u64,
    /// Oldest frame of the journal.
    pub(super) journal_first: u64,
    /// Where the state was taken over from, if nothing of this store's own was written since.
    pub(super) origin: Option<Position>,
}

impl Core {
    pub(super) fn new(parts: Parts) -> Self {
        Core {
            admission: Admission::new(parts.config.memtable_bytes),
            config: parts.config,
            salts: parts.salts,
            folder: parts.folder,
            engine: parts.engine,
            persistent: parts.persistent,
            syncs_folders: parts.syncs_folders,
            identity: parts.identity,
            lineage: parts.lineage,
            epoch: parts.epoch,
            pipeline: parts.pipeline,
            signals: Signals::default(),

            memtables: parts.memtables,
            store: RwLock::new(Some(parts.store)),
            applier: ApplierSignal::default(),
            keeper: parts.keeper,
            lock: Mutex::new(Some(parts.lock)),
            journal_first: parts.journal_first,
            durable: AtomicU64::new(parts.end),
            checkpoint: AtomicU64::new(parts.applied),
            applying: AtomicU64::new(0),
            counts: Counts::default(),
            feed: Feed::default(),
            origin: Origin::new(parts.origin),
            observers: Observers::default(),
            watchers: Watchers::default(),
            #[cfg(test)]
            sabotage: Mutex::new(None),
            writable: parts.journal.is_some(),
            spares: parts.journal.as_ref().map(Journal::spares).unwrap_or_default(),
            journal: Mutex::new(parts.journal),
            closed: AtomicBool::new(false),
            fault: Mutex::new(None),
        }
    }

    pub(super) fn cursor_at(&self, sequence: u64) -> Cursor {
        Cursor { lineage: self.lineage, epoch: self.epoch, sequence }
    }

    /// The same as others are told it: of a state that was taken over, its cursor there.
    pub(super) fn public_cursor(&self, sequence: u64) -> Cursor {
        self.origin.position().map_or_else(|| self.cursor_at(sequence), |position| position.cursor)
    }

    /// Why the engine closed itself, if it did.
    pub(super) fn fault(&self) -> Option<Error> {
        self.fault.lock().clone()
    }

    /// `Closed` once the engine is, saying why.
    pub(super) fn check_open(&self) -> Result<()> {
        if !self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(match self.fault() {
            Some(fault) => Error::with_source(
                ErrorKind::Closed,
                format!("the engine closed itself; reopen to recover: {fault}"),
                fault,
            ),
            None => Error::closed("the engine is closed"),
        })
    }

    /// Closes the engine because of `fault`. Only the first fault counts: the rest follow from it.
    pub(super) fn close_with(&self, fault: Error) {
        self.fault.lock().get_or_insert(fault);
        self.closed.store(true, Ordering::SeqCst);
        self.signals.wake_all();
        self.applier.wake();
        self.applier.look_again();
        self.admission.wake_all();
        self.watchers.ring();
    }

    /// Tells the observers of writes that have just become visible. A panic in one of them closes the engine.
    pub(super) fn tell<T>(&self, sequence: u64, writes: &PerTree<T>, state: impl Fn(&T) -> Option<bool>) {
        let told = catch_unwind(AssertUnwindSafe(|| {
            self.observers.tell(self.cursor_at(sequence), |tree, range, hit| {
                for (key, write) in writes.tree(tree).range::<[u8], _>(range.bounds()) {
                    if let Some(present) = state(write) {
                        hit(key, present);
                    }
                }
            });
        }));
        if let Err(panic) = told {
            self.close_with(Error::internal(format!("an observer panicked: {}", panic_text(&*panic))));
        }
    }

    /// Marks the engine closed by its caller.
    pub(super) fn mark_closed(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.watchers.ring();
    }

    /// Calls the journal, whose lock is held meanwhile.
    ///
    /// # Errors
    /// `Unsupported` when the engine was opened for reading.
    pub(super) fn journal<T>(&self, call: impl FnOnce(&mut Journal) -> T) -> Result<T> {
        self.journal.lock().as_mut().map(call).ok_or_else(read_only)
    }

    /// Whether a test has planted this bug; never outside of tests.
    pub(super) fn is_sabotaged(&self, bug: Sabotage) -> bool {
        #[cfg(test)]
        return *self.sabotage.lock() == Some(bug);
        #[cfg(not(test))]
        {
            let _never = bug;
            false
        }
    }

    /// Refuses what only an engine that was opened for writing can do.
    pub(super) fn check_writable(&self) -> Result<()> {
        // Not asked of the journal itself: its lock is held across each sync.
        if self.writable { Ok(()) } else { Err(read_only()) }
    }

    /// Calls the store, holding no lock. A panic inside it closes the engine.
    pub(super) fn store<T>(&self, call: impl FnOnce(&dyn KvStore) -> Result<T>) -> Result<T> {
        let store = match &*self.store.read() {
            Some(store) => Arc::clone(store),
            None => {
                self.check_open()?;
                return Err(Error::closed("the engine is closed"));
            }
        };
        catch_unwind(AssertUnwindSafe(|| call(&*store))).unwrap_or_else(|panic| {
            let fault = Error::corrupt(format!("the store panicked: {}", panic_text(&*panic)));
            self.close_with(fault.clone());
            Err(fault)
        })
    }

    /// Lets go of the store and the folder's lock, once nobody uses the store any more.
    pub(super) fn release(&self) -> Result<()> {
        if let Some(store) = self.store.write().take() {
            // Readers that were inside a call when the engine closed are about to come out; the caller may hold a
            // reference of its own (tests do), so this waits only for a while.
            // A store in memory alone may stay with its opener for ever, and nobody minds who drops it.
            let tries = if self.persistent { RELEASE_TRIES } else { 0 };
            for _ in 0..tries {
                if Arc::strong_count(&store) == 1 {
                    break;
                }
                thread::yield_now();
            }
            // A store that was left in a bad state may panic while it is dropped; the folder must be let go all the same.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(store))) {
                self.lock.lock().take();
                return Err(Error::corrupt(format!("the store panicked as it closed: {}", panic_text(&*panic))));
            }
        }
        self.lock.lock().take();
        Ok(())
    }
}

fn read_only() -> Error {
    Error::unsupported("the folder was opened for reading only; open it for writing to change it")
}
