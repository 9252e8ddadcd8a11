//! Snapshots that a store makes of itself, so that damage to its files costs nothing but time.
//!
//! ```text
//! gen-00000001/snapshots/<commit>.mlsnap      `snapshot::shelf`
//!
//! now and then: has so much been written since the newest one, or does the journal not reach back to it?
//!   ─> hold the journal ─> export, while commits go on ─> name it ─> keep the journal from there on ─> thin out the old ones
//! ```
//!
//! The journal is kept back to the newest snapshot, so that the two together always cover everything; only
//! `journal_max_bytes` breaks that, and then the next look makes a new snapshot. One that fails is counted, told in
//! [`SnapshotStats`], and tried again half a minute later. A state that was taken over from another store and not written to
//! since has no snapshots: it can be had from where it came.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::config::Config;
use crate::engine::{Engine, EngineStats};
use crate::error::{Error, ErrorKind, Result, panic_text};
use crate::snapshot::{self, shelf};

/// How often it is looked whether a snapshot is due: reading a few numbers.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks that are left out after a snapshot that failed.
const LOOKS_AFTER_FAILURE: u32 = 150;
/// Fewest bytes between two snapshots.
const EVERY_BYTES_MIN: u64 = 64 << 10;

/// When a store makes snapshots of itself, and how many it keeps.
///
/// They lie in the store's folder and take about the size of the data, packed. Their use is that a damaged store is rebuilt
/// at opening; against the loss of the disk only [exports](crate::MlPersistence::export_snapshot) to another one help.
///
/// ```
/// # fn main() -> ml_persistence::Result<()> {
/// # let scratch = tempfile::tempdir().unwrap();
/// use ml_persistence::{MlPersistence, SnapshotPolicy};
/// let db = MlPersistence::builder(scratch.path().join("db")).snapshot_policy(SnapshotPolicy::new(64 << 20, 2)).open()?;
/// assert!(db.stats()?.rebuildable);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotPolicy {
    /// A new one once the journal has grown by so many bytes: 64 KiB to half of `journal_max_bytes`.
    pub every_bytes: u64,
    /// How many are kept, at least 1. With 2 the one before is there should the newest be damaged, as long as the journal
    /// reaches back to it, which `journal_retention_bytes` sees to.
    pub keep: usize,
}

impl SnapshotPolicy {
    /// One every `every_bytes` of journal, of which the newest `keep` stay.
    #[must_use]
    pub fn new(every_bytes: u64, keep: usize) -> Self {
        SnapshotPolicy { every_bytes, keep }
    }

    pub(super) fn check(&self, folder: Option<&Path>, config: &Config) -> Result<()> {
        if folder.is_none() {
            return Err(Error::invalid("snapshot_policy: a store without a folder has no place for snapshots"));
        }
        let most = config.journal_max_bytes / 2;
        if !(EVERY_BYTES_MIN..=most).contains(&self.every_bytes) || self.keep == 0 {
            return Err(Error::invalid(format!(
                "snapshot_policy: every {EVERY_BYTES_MIN}..={most} bytes (half of journal_max_bytes), and at least 1 kept; \
                 got {} and {}",
                self.every_bytes, self.keep
            )));
        }
        Ok(())
    }
}

/// The snapshots that a store keeps of itself, in plain numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SnapshotStats {
    /// How many there are.
    pub kept: u64,
    /// The commit that the newest stands at.
    pub newest_sequence: Option<u64>,
    /// Made since this opening.
    pub made: u64,
    /// Tried and failed since this opening.
    pub failed: u64,
    /// Why the last one failed, until one succeeds.
    pub last_failure: Option<String>,
}

#[derive(Debug, Default)]
struct Tally {
    made: u64,
    failed: u64,
    last_failure: Option<String>,
}

/// The thread that makes them.
pub(super) struct Snapshots {
    stop: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    tally: Arc<Mutex<Tally>>,
}

impl Snapshots {
    pub(super) fn start(engine: &Arc<dyn Engine>, policy: SnapshotPolicy) -> Result<Self> {
        let (stop, inbox) = mpsc::channel();
        let tally = Arc::default();
        let mut maker =
            Maker { engine: Arc::clone(engine), policy, tally: Arc::clone(&tally), counted_from: 0, leave_out: 0 };
        let thread = std::thread::Builder::new()
            .name("mlp-snapshots".to_owned())
            .spawn(move || maker.run(&inbox))
            .map_err(|error| Error::io("starting a thread", error))?;
        Ok(Snapshots { stop: Mutex::new(Some(stop)), thread: Mutex::new(Some(thread)), tally })
    }

    /// No further one is begun. One that is being made goes on until the engine is closed.
    pub(super) fn begin_close(&self) {
        drop(self.stop.lock().take());
    }

    /// Waits for the thread to end.
    ///
    /// # Errors
    /// `Internal` when it panicked.
    pub(super) fn join(&self) -> Result<()> {
        let Some(thread) = self.thread.lock().take() else { return Ok(()) };
        thread.join().map_err(|panic| Error::internal(format!("making a snapshot panicked: {}", panic_text(&*panic))))
    }
}

struct Maker {
    engine: Arc<dyn Engine>,
    policy: SnapshotPolicy,
    tally: Arc<Mutex<Tally>>,
    /// Bytes that the journal had taken when the newest snapshot was begun.
    counted_from: u64,
    leave_out: u32,
}

impl Maker {
    fn run(&mut self, inbox: &Receiver<()>) {
        loop {
            match self.look() {
                Ok(()) => {}
                // The state was replaced under a snapshot of it, and the next look is at the new one; or the store is
                // closed, and whoever closes it says so below.
                Err(error) if error.kind() == ErrorKind::Closed => {}
                Err(error) => {
                    let mut tally = self.tally.lock();
                    tally.failed += 1;
                    tally.last_failure = Some(error.to_string());
                    self.leave_out = LOOKS_AFTER_FAILURE;
                }
            }
            match inbox.recv_timeout(LOOK_EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Makes a snapshot if one is due.
    fn look(&mut self) -> Result<()> {
        if self.leave_out > 0 {
            self.leave_out -= 1;
            return Ok(());
        }
        let Some(folder) = self.engine.annex() else { return Ok(()) };
        let stats = self.engine.stats();
        let written = stats.journal_appended_bytes.saturating_sub(self.counted_from);
        if written < self.policy.every_bytes && is_rebuildable(&*self.engine, &stats)? {
            return Ok(());
        }
        // From before the scan, until what the snapshot needs is kept.
        let hold = self.engine.hold_changes()?;
        if hold.start().lineage != self.engine.cursor().lineage {
            return Ok(());
        }
        shelf::prepare(&folder)?;
        let info = snapshot::export(&*self.engine, &shelf::path_of_next(&folder), None, &mut |_| ())?;
        shelf::put(&folder, info.cursor.sequence)?;
        self.engine.keep_changes(info.cursor.sequence)?;
        drop(hold);
        shelf::thin(&folder, self.policy.keep)?;
        self.counted_from = stats.journal_appended_bytes;
        let mut tally = self.tally.lock();
        tally.made += 1;
        tally.last_failure = None;
        Ok(())
    }
}

/// Whether journal and snapshots cover everything.
pub(super) fn is_rebuildable(engine: &dyn Engine, stats: &EngineStats) -> Result<bool> {
    let Some(folder) = engine.annex() else { return Ok(false) };
    if stats.journal_first_sequence <= 1 {
        return Ok(true);
    }
    Ok(shelf::newest(&folder)?.is_some_and(|newest| newest + 1 >= stats.journal_first_sequence))
}

pub(super) fn stats(engine: &dyn Engine, snapshots: Option<&Snapshots>) -> Result<SnapshotStats> {
    let kept = engine.annex().map_or(Ok(Vec::new()), |folder| shelf::list(&folder))?;
    let mut stats = SnapshotStats {
        kept: kept.len() as u64,
        newest_sequence: kept.first().map(|newest| newest.sequence),
        ..SnapshotStats::default()
    };
    if let Some(snapshots) = snapshots {
        let Tally { made, failed, last_failure } = &*snapshots.tally.lock();
        (stats.made, stats.failed, stats.last_failure) = (*made, *failed, last_failure.clone());
    }
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use super::super::rebuild::FromSnapshots;
    use super::super::{EngineKind, open};
    use super::*;
    use crate::engine::wrap::{EngineCall, FaultEngine, Mishap, Times};
    use crate::engine::{Tree, Txn, TxnOptions, Value};

    #[test]
    fn a_snapshot_that_ends_because_the_state_was_replaced_under_it_is_not_the_last_one() {
        let temp = tempfile::tempdir().unwrap();
        let config = Config::new().unwrap();
        let (engine, _) =
            open::engine(EngineKind::Memory, Some(temp.path()), &config, false, &FromSnapshots::OWN).unwrap();
        let faulty = Arc::new(FaultEngine::new(engine));
        for number in 0..40u8 {
            let put = &mut |txn: &mut dyn Txn| txn.put(Tree::Kv, &[number], Value::from(vec![1; 4_000]));
            faulty.transact(&TxnOptions::default(), put).unwrap();
        }
        faulty.plan(EngineCall::Scan, 1, Times::Once, Mishap::FailBefore(Error::closed("replaced")));
        let engine: Arc<dyn Engine> = Arc::clone(&faulty) as Arc<dyn Engine>;
        let snapshots = Snapshots::start(&engine, SnapshotPolicy::new(EVERY_BYTES_MIN, 1)).unwrap();
        while stats(&*engine, Some(&snapshots)).unwrap().made == 0 {
            let ended = snapshots.thread.lock().as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended, "nobody makes any more");
            std::thread::yield_now();
        }
        assert_eq!(stats(&*engine, Some(&snapshots)).unwrap().failed, 0);
        snapshots.begin_close();
        engine.close().unwrap();
        snapshots.join().unwrap();
    }
}
