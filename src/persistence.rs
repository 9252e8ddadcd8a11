//! The façade: opens a folder, recovers it, and introduces the parts to each other.
//!
//! ```text
//!   lock the folder -> CURRENT: format, engine -> store and journal -> new epoch      engine/local
//!     -> sweep: every lease of an earlier epoch is over                               jobs
//!     -> MlPersistence { jobs, registry, kv }  and what all of that did: RecoveryReport
//! ```
//!
//! Recovery costs what the executing jobs cost, not the size of the store; interrupted anywhere and repeated, it ends in
//! the same state. [`MlPersistence`] is a table of contents: what a call does lives in the module that it leads to.
//!
//! It refuses to open a folder that somebody else has open (`Unavailable`), one of a newer format (`Unsupported`), and
//! one whose bytes are not what was written (`Corrupt`).

mod builder;
mod collection;
mod feed;
mod open;
mod policy;
mod rebuild;
mod recover;
mod repair;
mod replica;
mod restore;
#[cfg(test)]
mod sabotage_tests;
mod snapshots;
mod stats;
mod verify;

use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Stopwatch;
use crate::config::{Config, Durability};
use crate::engine::local::FOLDER_FORMAT;
use crate::engine::{Capabilities, Cursor, Engine};
use crate::error::{ErrorKind, Result};
use crate::jobs::{Jobs, JobsOptions};
use crate::kv::{Kv, Namespace};
use crate::record::collection::{Collection, Record};
use crate::record::quarantine::{self, QuarantinePage, QuarantinedValue};
use crate::record::scrub::Report;
use crate::record::{self, RecordStore, RepairProgress, RepairReport, Transaction};
use crate::registry::Registry;

pub use builder::{Builder, EngineKind};
pub use feed::{ChangedKey, ChangedKeys};
pub use policy::{SnapshotPolicy, SnapshotStats};
pub use replica::Replica;
pub use restore::RestorePoint;
pub use stats::StoreStats;

/// Version of the folder's format. A build opens folders of this version and of older ones.
pub const FORMAT_VERSION: u32 = FOLDER_FORMAT;

/// An open store: models, jobs and plain values in one folder, in one transaction where it matters.
///
/// `Send + Sync`; clones are cheap and share the store. [`close`](Self::close) ends it for all of them; dropping the
/// last clone closes it, too.
///
/// ```
/// # fn main() -> ml_persistence::Result<()> {
/// let db = ml_persistence::MlPersistence::in_memory().open()?;
/// let answers = db.namespace("cache:answers")?;
/// answers.put("k", "v")?;
/// assert_eq!(answers.get_as::<String>("k")?.as_deref(), Some("v"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MlPersistence(Arc<Inner>);

struct Inner {
    records: RecordStore,
    jobs: Jobs,
    registry: Registry,
    durability: Durability,
    report: RecoveryReport,
    read_only: bool,
    /// Makes snapshots in the background, where a policy asks for them.
    snapshots: Option<policy::Snapshots>,
}

/// What opening the store found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// This opening's number: 1 for the first, +1 each.
    pub epoch: u64,
    /// Milliseconds that recovery took beyond the store's own opening, by the store's clock.
    pub ms: u64,
    /// Journal frames that were read back.
    pub replayed: u64,
    /// Jobs whose lease an earlier opening left behind, available again.
    pub jobs_requeued: u64,
    /// Such jobs that had crashed their process too often.
    pub jobs_discarded: u64,
    /// Such jobs whose cancellation had been asked for.
    pub jobs_cancelled: u64,
    /// Records that could not be read and were set aside.
    pub quarantined: u64,
    /// Indexes and counters that were rebuilt.
    pub repaired: u64,
    /// Whether the store was rebuilt from snapshot and journal.
    pub rebuilt: bool,
    /// Where the damaged store lies that was rebuilt. It is kept until somebody removes it, or the state is replaced.
    pub damaged_store: Option<PathBuf>,
    /// Real milliseconds that the store itself (sled) took to open.
    pub store_open_ms: u64,
    /// Real milliseconds that reading the journal took.
    pub replay_ms: u64,
    /// Real milliseconds that the sweep of old leases took.
    pub sweep_ms: u64,
}

impl MlPersistence {
    /// Opens the store in `folder`, creating it if need be, with the defaults: sled, power-loss durable.
    ///
    /// # Errors
    /// `Unavailable` when another opener has the folder; `Unsupported` for a newer format; `Corrupt`; `Full`.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(folder).open()
    }

    /// Settings for opening the store in `folder`.
    #[must_use]
    pub fn builder(folder: impl Into<PathBuf>) -> Builder {
        Builder::new(EngineKind::default(), Some(folder.into()))
    }

    /// Settings for a store that lives and dies with this process: for tests.
    #[must_use]
    pub fn in_memory() -> Builder {
        Builder::new(EngineKind::Memory, None)
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.0.report
    }

    /// The job queue.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.0.jobs
    }

    /// The model registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The plain contract over every namespace.
    #[must_use]
    pub fn kv(&self) -> Kv {
        Kv::new(self.0.records.clone(), self.0.durability)
    }

    /// One namespace of the plain contract.
    ///
    /// # Errors
    /// `Invalid` for a name outside 1..=255 bytes.
    pub fn namespace(&self, name: &str) -> Result<Namespace> {
        Namespace::new(self.kv(), name)
    }

    /// The collection of `T`, created if need be. Indexes and counters that are new to records that are there are built
    /// in the background; [`Collection::progress`] tells how far that is, [`Collection::build`] waits for it.
    ///
    /// # Errors
    /// `Invalid` for a schema that makes no sense; `Unsupported` for one that contradicts what is stored, saying what
    /// changed, and where a read-only store would have to be written; those of a commit.
    pub fn collection<T: Record>(&self) -> Result<Collection<T>> {
        collection::open(&self.0.records, self.0.durability)
    }

    /// Runs `body` and commits all that it wrote, or nothing of it, with the store's durability. The body may run more
    /// than once: no I/O, no clock, no lock and no call of this store in it.
    ///
    /// # Errors
    /// The body's own; `Invalid` past a limit; `Full`; `Closed`; `CommitUnknown`.
    pub fn transact<T>(&self, body: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        self.transact_with(self.0.durability, body)
    }

    /// [`transact`](Self::transact) with a durability of its own.
    ///
    /// # Errors
    /// As there.
    pub fn transact_with<T>(
        &self,
        durability: Durability,
        body: impl FnMut(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.0.records.transact(durability, body)
    }

    /// Makes every commit that has returned durable; answers the cursor up to which everything survives power loss.
    ///
    /// # Errors
    /// `Closed`; `CommitUnknown` when the sync failed.
    pub fn sync(&self) -> Result<Cursor> {
        self.engine().sync()
    }

    /// The cursor of the newest commit that reads see.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.engine().cursor()
    }

    /// Moves everything durable from the journal into the store, so that the next open has nothing to replay.
    ///
    /// # Errors
    /// `Closed`.
    pub fn checkpoint(&self) -> Result<()> {
        self.engine().checkpoint()
    }

    /// Limits and abilities of the engine.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.engine().capabilities()
    }

    /// Plain numbers: sizes, counts, syncs, queues.
    ///
    /// # Errors
    /// `Closed`; `Corrupt`.
    pub fn stats(&self) -> Result<StoreStats> {
        stats::stats(&self.0.records, &self.0.registry, &self.0.jobs, self.0.snapshots.as_ref())
    }

    /// Recomputes every index entry, counter and reference from the records and reports what differs. Changes nothing.
    ///
    /// # Errors
    /// `Closed`; `Corrupt` when the store can't be read at all.
    pub fn verify(&self) -> Result<Report> {
        verify::verify(&self.0.records)
    }

    /// Puts right what [`verify`](Self::verify) finds wrong: rebuilds index entries, counters and references from the
    /// records, and moves what can't be read into [`quarantine`](Self::quarantine), byte for byte. Readers and writers
    /// go on meanwhile. Interrupted anywhere, it has done some, and a repetition does the rest.
    ///
    /// # Errors
    /// `Conflict` when another repair was begun meanwhile; `Closed`; `Full`; `Corrupt` when the store can't be read at
    /// all.
    ///
    /// ```
    /// # fn main() -> ml_persistence::Result<()> {
    /// # let db = ml_persistence::MlPersistence::in_memory().open()?;
    /// let report = db.repair()?;
    /// assert!(report.is_clean() && db.verify()?.violations.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn repair(&self) -> Result<RepairReport> {
        self.repair_with(|_| ControlFlow::Continue(()))
    }

    /// [`repair`](Self::repair), telling how far it is after each page; `Break` stops it, and what was mended stays so.
    /// The callback does not call the store.
    ///
    /// # Errors
    /// As there.
    pub fn repair_with(&self, mut watch: impl FnMut(&RepairProgress) -> ControlFlow<()>) -> Result<RepairReport> {
        repair::repair(&self.0.records, &mut watch)
    }

    /// Up to `limit` (1..=10,000) values that repair has set aside, behind the one that `after` names.
    ///
    /// # Errors
    /// `Invalid` for a limit out of bounds or an `after` that is no id; `Closed`; `Corrupt`.
    pub fn quarantine(&self, after: Option<&str>, limit: usize) -> Result<QuarantinePage> {
        self.0.records.read(|view| quarantine::list(view, after, limit))
    }

    /// A value in quarantine with its bytes as they were found; `None` when there is none of this id.
    ///
    /// # Errors
    /// `Invalid` for what can be no id; `Closed`; `Corrupt` when it can't be read any more.
    pub fn quarantined(&self, id: &str) -> Result<Option<QuarantinedValue>> {
        self.0.records.read(|view| quarantine::fetch(view, id))
    }

    /// Removes a value from quarantine for good; answers whether there was one of this id.
    ///
    /// # Errors
    /// `Invalid` for what can be no id; whatever a commit can answer.
    pub fn discard_quarantined(&self, id: &str) -> Result<bool> {
        quarantine::discard(&self.0.records, id)
    }

    /// A digest of the whole logical state: equal wherever the same data is held, whatever the engine.
    ///
    /// # Errors
    /// `Closed`; `Corrupt`.
    pub fn digest(&self) -> Result<String> {
        let mut digest = String::new();
        self.engine().read_view(&mut |reader| {
            digest = record::digest(reader)?;
            Ok(())
        })?;
        Ok(digest)
    }

    /// Gives the leases of this opening back (no crash is counted), syncs and closes. Later calls answer `Closed`; a
    /// second close is `Ok`.
    ///
    /// # Errors
    /// What the last sync answered; the store is closed all the same.
    pub fn close(&self) -> Result<()> {
        self.0.close()
    }

    fn engine(&self) -> &Arc<dyn Engine> {
        self.0.records.engine()
    }
}

impl Inner {
    fn close(&self) -> Result<()> {
        if self.read_only {
            return self.records.engine().close();
        }
        if let Some(snapshots) = &self.snapshots {
            snapshots.begin_close();
        }
        let released = match self.jobs.release_all_on_close() {
            // Closed before, or by a failure that has been reported where it happened: nothing is left to release.
            Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
            released => released.map(|_| ()),
        };
        let closed = self.records.engine().close();
        // A snapshot that is being made ends with the engine.
        let ended = self.snapshots.as_ref().map_or(Ok(()), policy::Snapshots::join);
        closed.and(released).and(ended)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody is left to tell: who must know that the last buffered commits are durable calls `close`. What was
        // acknowledged as durable is durable, whatever happens here.
        drop(self.close());
    }
}

impl fmt::Debug for MlPersistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlPersistence").field("recovery", &self.0.report).finish_non_exhaustive()
    }
}

/// Composes a store over an open engine, once what an earlier opening left behind is settled.
fn compose(
    engine: Arc<dyn Engine>,
    config: &Config,
    durability: Durability,
    mut report: RecoveryReport,
    started_ms: u64,
    read_only: bool,
    policy: Option<SnapshotPolicy>,
) -> Result<MlPersistence> {
    let records = RecordStore::new(engine, Arc::clone(&config.clock), Arc::clone(&config.ids));
    let registry = Registry::new(records.clone()).with_durability(durability);
    let sweep = Stopwatch::start();
    if !read_only {
        recover::recover(&records, &mut report)?;
        report.quarantined += registry.recover()?.quarantined;
    }
    report.sweep_ms = sweep.elapsed().as_millis() as u64;
    let jobs = Jobs::new(records.clone(), JobsOptions { durability });
    let took_ms = config.clock.monotonic_ms().saturating_sub(started_ms);
    report.ms = took_ms.saturating_sub(report.store_open_ms);
    let snapshots = policy.map(|policy| policy::Snapshots::start(records.engine(), policy)).transpose()?;
    Ok(MlPersistence(Arc::new(Inner { records, jobs, registry, durability, report, read_only, snapshots })))
}
