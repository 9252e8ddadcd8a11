//! The commit pipeline: one [`Engine`] over any [`KvStore`](crate::engine::KvStore), a small LSM in its own right.
//!
//! ```text
//! body on the caller's thread        leader: one append + one fdatasync       applier (background)
//!  reads: own, open batch,      ->   then batch -> memtable, and every   ->   frozen memtable -> store in chunks,
//!  sealed batch, memtable,           waiter is answered                       each synced; the last moves the mark
//!  store; writes: open batch         journal: chained frames                  journal segments are freed
//! ```
//!
//! The journal makes a commit durable, the memtable makes it visible, the store holds it in order. After a failed
//! append, sync or apply the engine closes itself: nothing is acknowledged after it, and reopening recovers.
//!
//! Reading order: [`disk`] (the seam to the file system), `segment` and `batch` (bytes), `journal`, `replay`,
//! `memtable`, `txn` (a body), `pipeline` (from body to acknowledgement), `applier`, `reserve` (what the disk keeps
//! free for the store), `keeper`, `admission` (back-pressure), `read`, `open`, `mark`, `epoch`, `current`,
//! `generation`, `rescue`, `rebuild`.
//!
//! Folder: `LOCK`, `CURRENT`, `gen-00000001/journal/*.seg`, `gen-00000001/store/`.
//!
//! # The rules, and the test that fails without each
//!
//! Tests are named by file in `tests/` here, unless another place is given. *Conformance* is the suite in
//! [`conformance`](crate::engine::conformance), run by the crate's `tests/conformance.rs`.
//!
//! | rule | where | test |
//! |---|---|---|
//! | 1. Append, sync, publish, acknowledge, in this order; a batch is always somewhere that bodies look | `pipeline` | commit: `commits_that_come_during_a_sync_share_the_next_one…`, `an_engine_that_answers_before…`; the crate's `tests/isolation.rs` |
//! | 2. An outcome waits for the newest batch that it read | `txn`, `pipeline` | commit: `an_answer_built_on_a_commit_that_is_not_durable_waits_for_it` |
//! | 3. Plain reads see a prefix of commit order; `Buffered` at return, or with the commit it stands behind | `pipeline`, `memtable` | commit: `a_buffered_commit_behind_a_durable_one_becomes_visible_with_it` |
//! | 4. Bodies one at a time, short, undone by error and panic; calling the engine inside is refused | `txn` | conformance: `txn`; the limits: commit: `a_body_that_swallows_the_error…` |
//! | 5. One sealing role, handed over before anybody is woken | `pipeline` | commit: `commits_that_come_during_a_sync…` counts the syncs; `shuttle_tests` tries the interleavings |
//! | 6. Frames hold final values; `add` is read-modify-write under the mutex | `batch`, `txn` | `batch`: `a_batch_keeps_the_last_value…`; conformance: `txn` |
//! | 7. Limits per transaction, and room for one is always made | `txn`, `admission`, `journal` | conformance: `txn`; recovery: `a_replay_larger_than_the_memtable…` |
//! | 8. All I/O through [`disk::Disk`], real and simulated | `disk`, `sim` | conformance: `disk` |
//! | 9. Headers and chained frames: no frame of an earlier life, no gap, no splice passes; each frame carries the chain hash of what was committed up to it | `segment`, `replay` | `segment`: `frames_of_another_life…`, `a_spliced_frame…`; recovery: `a_frame_whose_chain_hash…`; conformance: `history` |
//! | 10. A torn tail ends the replay; a whole frame behind a broken one is damage | `segment`, `replay` | `segment`: `a_whole_frame_behind_a_broken_one…`; recovery: `the_last_frame_damaged_after_a_clean_stop…` |
//! | 11. Recovery writes what it will answer from again, and syncs it, names included | `open`, `journal` | `crash_tests` |
//! | 12. The journal has a hard cap; readers pin their segment, an export holds the feed from where it began until the cap breaks the hold | `journal`, `feed` | failure: `the_journal_never_grows_past_its_cap…`; feed: `a_feed_reader_behind_the_journal…`; conformance: `history`; `snapshot`: `an_export_that_the_journal_can_not_wait_for…` |
//! | 13. No room for a segment refuses new commits and nothing else | `keeper`, `pipeline` | failure: `a_full_disk_refuses…`, `small_disks_open…` |
//! | 14. No lock across a store call (a body's own reads excepted); each page is one point in time | `read`, `memtable` | commit: `a_scan_under_writers_and_a_moving_applier…` |
//! | 15. Chunks, each synced; the mark moves with the last | `applier` | `crash_tests`; failure: `a_mark_that_moves_before_the_last_chunk…` |
//! | 16. Smooth back-pressure from half full on | `admission` | `admission` |
//! | 17. A mark beyond the journal, a foreign store, a missing segment: `Corrupt` | `open`, `replay` | recovery: `a_store_or_a_segment_of_another_folder…`, `a_segment_missing_from_the_middle…`, `a_journal_that_was_deleted…` |
//! | 18. A damaged store is moved aside and rebuilt where the journal, or it and a snapshot, cover all of it | `open`, `rebuild`, `rescue` | failure: `a_damaged_store_is_moved_aside…`, `what_the_operating_system_refuses…`; `rebuild` in `tests/`; the crate's `tests/rebuild.rs` |
//! | 19. A panic of the store closes the engine; the applier has a watchdog | `core`, `keeper` | failure: `a_store_that_fails_or_panics…`, `the_watchdog_closes…` |
//! | 20. Closing syncs, finishes the chunk in hand, and does not drain | `applier`, `pipeline` | recovery: `closing_writes_what_is_open…` |
//! | 21. `CURRENT` before anything else, replaced by rename; one opener | `current`, `open` | `current`; recovery: `a_second_opener…`, `a_creation_that_failed…`, `a_folder_that_lost_its_current_file…` |
//! | 22. Each opening has an epoch with a random id; a state that was taken over stands in the history that it comes from | `epoch`, `origin` | recovery: `each_opening_has_an_epoch_of_its_own…`; conformance: `history`, `replace`; `snapshot`: `branch_tests` |
//! | 23. Opening for reading writes nothing and keeps the epoch | `open` | recovery: `an_engine_opened_for_reading…` |
//! | 24. The feed serves durable sequences only; whoever waits for more of it is woken, but need not be | `feed`, `watch` | feed: `the_change_feed_tells_every_durable_write…`; conformance: `history` |
//! | 25. `File::sync_data`, zeros ahead, no alignment tricks; whether folders sync is asked, not assumed | `disk`, `journal` | conformance: `disk`, on the real one |
//!
//! Observers are told between publishing and answering (`pipeline`), in commit order and on the publishing thread.
//!
//! Deviations, with their reasons. *Rule 14*: bodies read the store under the body mutex, since serializing them is
//! what the mutex is for; nothing that must go on when a store hangs takes it. *Rule 11* goes further here: the
//! checkpoint that recovery believes is the one that synced frames carry, not the store's own mark, which may stand in
//! the page cache alone.

mod admission;
mod applier;
mod batch;
mod core;
#[cfg(test)]
mod crash_tests;
mod current;
pub mod disk;
mod epoch;
mod feed;
mod filling;
mod generation;
mod journal;
mod keeper;
mod mark;
mod memtable;
mod open;
pub mod opener;
mod origin;
mod pipeline;
pub mod place;
mod read;
mod rebuild;
mod replay;
pub mod rescue;
mod reserve;
mod segment;
#[cfg(all(test, shuttle))]
pub(crate) mod shuttle_tests;
pub mod sim;
pub(crate) mod sync;
#[cfg(test)]
mod tests;
mod txn;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::config::{Config, Durability};
use crate::engine::{
    Capabilities, Changes, Committed, Cursor, Direction, Engine, EngineStats, Epoch, FeedHold, KeyRange, Observer,
    Page, Position, Reader, Tree, Txn, TxnOptions, Value,
};
use crate::error::{Error, Result};

use self::core::Core;
use self::disk::Disk;
use self::opener::StoreOpener;
use self::rescue::{NoRescue, Rescue};
use self::sync::thread::{self, JoinHandle};
use self::sync::{Mutex, Ordering, Tally};

pub use current::FOLDER_FORMAT;
pub use open::OpenReport;

/// Most writes in one transaction.
pub const TXN_WRITES_MAX: usize = 64 << 10;
/// Most bytes of keys and values written in one transaction.
pub const TXN_BYTES_MAX: usize = 24 << 20;

/// A local engine: see the [module](self).
pub struct LocalEngine {
    core: Arc<Core>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    committer: JoinHandle<()>,
    applier: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

impl LocalEngine {
    /// Opens `folder` on `disk`, creating it if need be, with the store that `opener` brings.
    ///
    /// # Errors
    /// `Unavailable` when another opener holds the folder or the operating system refuses; `Unsupported` for another
    /// engine or a newer format; `Corrupt` saying what is damaged or missing; `Full`; `Invalid` for a setting.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        opener: &dyn StoreOpener,
        config: &Config,
    ) -> Result<(Self, OpenReport)> {
        Self::open_with(disk, folder, opener, config, &NoRescue)
    }

    /// The same, with somebody who knows where a state comes from when the store can't be opened.
    ///
    /// # Errors
    /// As [`LocalEngine::open`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        folder: &Path,
        opener: &dyn StoreOpener,
        config: &Config,
        rescue: &dyn Rescue,
    ) -> Result<(Self, OpenReport)> {
        let opened = open::for_writing(Arc::clone(&disk), folder, opener, config, rescue)?;
        let threads = Threads::start(&opened.core, opened.inbox)?;
        let engine = LocalEngine { core: opened.core, threads: Mutex::new(Some(threads)) };
        engine.core.keeper.ask_for_room(0);
        // A long replay may have filled the memtable: the applier has to begin before anybody waits for it.
        engine.core.freeze_if_due(&mut engine.core.pipeline.lock());
        // The history of openings is committed like anything else: before it is durable nobody is answered.
        let (key, value) = (opened.entry.key(), opened.entry.value());
        engine.core.run_admitted(&TxnOptions::default(), &mut |txn| txn.put(Tree::Meta, &key, value.clone()))?;
        if let Some(birth) = opened.birth {
            birth.write(&*disk, folder)?;
        }
        Ok((engine, opened.report))
    }

    /// Opens an existing `folder` for reading: the journal is replayed into memory, the epoch stays, and nothing is
    /// written. (sled, as it opens, may still tidy files of its own; it has no way to be kept from that.) The folder
    /// is locked all the same: nobody writes it meanwhile.
    ///
    /// # Errors
    /// `NotFound` when there is no store in `folder`; else as [`LocalEngine::open`]. Every write on the engine is
    /// `Unsupported`.
    pub fn open_read_only(
        disk: Arc<dyn Disk>,
        folder: &Path,
        opener: &dyn StoreOpener,
        config: &Config,
    ) -> Result<(Self, OpenReport)> {
        let (core, report) = open::for_reading(disk, folder, opener, config)?;
        Ok((LocalEngine { core, threads: Mutex::new(None) }, report))
    }
}

impl Threads {
    fn start(core: &Arc<Core>, inbox: keeper::KeeperInbox) -> Result<Self> {
        let failed = |error| Error::io("starting a thread", error);
        let committing = Arc::clone(core);
        let committer = thread::Builder::new()
            .name("mlp-committer".to_owned())
            .spawn(move || committing.committer())
            .map_err(failed)?;
        Ok(Threads {
            committer,
            applier: applier::spawn(Arc::clone(core)).map_err(failed)?,
            keeper: keeper::spawn(Arc::clone(core), inbox).map_err(failed)?,
        })
    }
}

impl Reader for LocalEngine {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.core.get(tree, key)
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        self.core.get_many(keys)
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        self.core.scan(tree, range, direction, limit)
    }
}

impl Engine for LocalEngine {
    fn transact(&self, options: &TxnOptions, body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Committed> {
        self.core.run(options, body)
    }

    fn read_view(&self, body: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        self.core.view(body)
    }

    fn sync(&self) -> Result<Cursor> {
        txn::check_outside_body()?;
        self.core.sync_returned()?;
        Ok(self.core.public_cursor(self.core.durable.load(Ordering::Acquire)))
    }

    fn checkpoint(&self) -> Result<()> {
        txn::check_outside_body()?;
        self.core.check_writable()?;
        self.core.sync_returned()?;
        self.core.apply_up_to(self.core.durable.load(Ordering::Acquire))
    }

    fn changes(&self, after: &Cursor, limit: usize) -> Result<Changes> {
        self.core.changes(after, limit)
    }

    fn watch(&self, after: &Cursor, at_most: Duration) -> Result<bool> {
        self.core.watch(after, at_most)
    }

    fn observe(&self, observer: Weak<dyn Observer>) {
        self.core.observers.add(observer);
    }

    fn hold_changes(&self) -> Result<Box<dyn FeedHold>> {
        Ok(Box::new(feed::Hold::new(&self.core)?))
    }

    fn annex(&self) -> Option<PathBuf> {
        let root = current::generation_folder(&self.core.folder, self.core.identity.generation);
        self.core.persistent.then(|| root.join(rebuild::ANNEX))
    }

    fn keep_changes(&self, sequence: u64) -> Result<()> {
        self.core.check_open()?;
        self.core.journal(|journal| journal.keep(sequence + 1))
    }

    fn position(&self, at: &Cursor) -> Result<Position> {
        self.core.position(at)
    }

    fn cursor(&self) -> Cursor {
        self.core.public_cursor(self.core.memtables.visible().1)
    }

    fn epoch(&self) -> Epoch {
        self.core.epoch
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            engine: self.core.engine,
            txn_writes_max: TXN_WRITES_MAX,
            txn_bytes_max: TXN_BYTES_MAX,
            durability_max: Durability::PowerLoss,
            feeds_changes: self.core.check_writable().is_ok(),
            persistent: self.core.persistent,
            syncs_folders: self.core.syncs_folders,
        }
    }

    fn stats(&self) -> EngineStats {
        let core = &self.core;
        let counts = &core.counts;
        let read = |count: &Tally| count.load(Ordering::Relaxed);
        let (journal_bytes, journal_pinned_bytes, journal_appended_bytes) = core
            .journal(|journal| (journal.bytes(), journal.pinned_bytes(), journal.appended_bytes()))
            .unwrap_or_default();
        let journal_first_sequence = core.journal(|journal| journal.first_sequence()).unwrap_or(core.journal_first);
        let (batch_commits, journal_sync_us) = counts.histograms();
        let durable_sequence = core.durable.load(Ordering::Acquire);
        let applied_sequence = core.checkpoint.load(Ordering::Acquire);
        EngineStats {
            commits: read(&counts.commits),
            batches: read(&counts.batches),
            batch_commits_max: read(&counts.batch_commits_max),
            batch_commits,
            journal_syncs: read(&counts.batches),
            journal_sync_us,
            journal_pinned_bytes,
            segments_prepared: read(&counts.segments_prepared),
            journal_bytes,
            journal_first_sequence,
            journal_appended_bytes,
            memtable_bytes: core.memtables.bytes(),
            durable_sequence,
            applied_sequence,
            applier_lag: durable_sequence.saturating_sub(applied_sequence),
            store_syncs: read(&counts.store_syncs),
            store_writes: read(&counts.store_writes),
            store_written_bytes: read(&counts.store_written_bytes),
            store_bytes: core.store(|store| Ok(store.disk_bytes())).unwrap_or(0),
            stall_us: core.admission.stall_us(),
            slow_bodies: read(&counts.slow_bodies),
        }
    }

    fn close(&self) -> Result<()> {
        txn::check_outside_body()?;
        let mut threads = self.threads.lock();
        let core = &self.core;
        let Some(Threads { committer, applier, keeper }) = threads.take() else {
            // Closed before, or opened for reading.
            core.mark_closed();
            return core.release();
        };
        core.begin_close();
        let mut ended = join(committer);
        core.applier.stop();
        if let Err(hung) = core.join_applier(applier) {
            // The store is in the hands of a thread that may still write: the folder stays locked with it.
            core.keeper.stop();
            core.mark_closed();
            return Err(hung);
        }
        if core.fault().is_none() {
            ended = ended.and(core.append_closing_frame());
        }
        core.keeper.stop();
        ended = ended.and(join(keeper));
        core.mark_closed();
        core.release()?;
        ended
    }
}

fn join(thread: JoinHandle<()>) -> Result<()> {
    thread.join().map_err(|panic| Error::internal(format!("a thread panicked: {}", self::core::panic_text(&*panic))))
}

impl Drop for LocalEngine {
    fn drop(&mut self) {
        // Nobody is left to hear of an error; whoever must know closes first.
        drop(self.close());
    }
}

impl fmt::Debug for LocalEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEngine")
            .field("engine", &self.core.engine)
            .field("folder", &self.core.folder)
            .field("epoch", &self.core.epoch)
            .finish_non_exhaustive()
    }
}
