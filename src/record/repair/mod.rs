//! Repair: puts right what verify finds wrong, while others go on reading and writing.
//!
//! ```text
//!   mark      one key that says which repair is under way: every step reads it, so of two repairs the newer one wins
//!   sums      counters first: recount at one point in time, add the difference
//!   records   what can't be read goes to quarantine; entries that are missing are written
//!   entries   entries that no record asks for are removed
//!   values    single values: what can't be read goes to quarantine
//!   pieces    pieces of nobody go to quarantine        strays    what nothing knows
//! ```
//!
//! **Scan outside, verify inside.** A sweep looks at a page at one point in time and names suspects. Each suspect is
//! looked at again inside the transaction that mends it, by the same question, and is left alone if it has become right
//! in the meantime. A transaction is bounded: a few suspects, one record's worth of writes each.
//!
//! **Counters are exact although writers go on.** At one point in time, `recount - counter` is how far the counter is
//! off. Writers add to a counter, they never set it, and additions commute: whatever they have added since, adding the
//! difference leaves the counter as far off as it would be had it been right from the start, which is not at all. The
//! one thing that must not happen is that the same difference is added twice; a step of a repair that is no longer the
//! one under way fails, so it can't. A counter whose own bytes are damaged can't be added to, so no writer has changed
//! its group since: it is set to the recount if the same bytes still stand there.
//!
//! **Interrupted anywhere and repeated, it ends in the same state.** There is nothing to resume: each step leaves the
//! store more right than it was, and a repetition finds what is left.
//!
//! **Nothing is lost.** What can't be read is kept byte for byte in [`quarantine`](super::quarantine). What a newer
//! build wrote is left where it is. What can't be decided (two records that ask for the same unique place) is left as
//! it is and reported as unresolved.
//!
//! The honest limit: a recount takes one long point in time, which an engine under heavy writing may have to begin
//! again. Memory: one page, and one sum for each group of the counters of one kind.

mod collections;
mod pieces;
mod records;
mod strays;
mod sums;
mod values;

use std::ops::ControlFlow;

use serde::Serialize;

use crate::config::Durability;
use crate::engine::{Direction, KeyRange, Tree};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyWriter};

use super::catalog::REPAIR_MARK;
use super::quarantine::{self, Quarantined};
use super::scrub::{DETAILS_MAX, Report, Violation, ViolationKind};
use super::store::RecordStore;
use super::txn::Transaction;
use super::view::View;

pub(crate) use collections::collections;
pub(crate) use pieces::pieces;
pub(crate) use records::{drop_entry, records, records_of, records_with};
pub(crate) use strays::strays;
pub(crate) use sums::sums;
pub(crate) use values::values;

/// Entries looked at between two calls of the progress callback.
const PAGE: usize = 256;
/// Suspects mended in one transaction.
const STEP: usize = 16;
const MARK: &str = "repair";

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// Records, values, index entries and pieces that were looked at.
    pub looked_at: u64,
    /// Index entries that were missing or wrong and are written.
    pub entries_written: u64,
    /// Index entries that no record asks for and are removed.
    pub entries_removed: u64,
    /// Groups of counters that were off and are right.
    pub counters: u64,
    /// References that were put right: pointers, counts in models, holders of artifacts, marks.
    pub references: u64,
    /// How many values were set aside.
    pub quarantined_found: u64,
    /// The first 1,000 of them.
    pub quarantined: Vec<Quarantined>,
    /// How many things are left as they are, because this build can't decide about them.
    pub unresolved_found: u64,
    /// The first 1,000 of them.
    pub unresolved: Vec<Violation>,
    /// Whether the callback stopped it. What was mended by then stays so.
    pub cancelled: bool,
}

/// How far a repair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairProgress {
    /// What it is looking at: `model`, `jobs`, `pieces`.
    pub stage: &'static str,
    /// Records, values, index entries and pieces looked at so far.
    pub looked_at: u64,
    /// Things put right so far.
    pub mended: u64,
    /// Values set aside so far.
    pub quarantined: u64,
}

/// Told about the progress after each page; `Break` stops the repair.
pub type Watch<'w> = &'w mut dyn FnMut(&RepairProgress) -> ControlFlow<()>;

impl RepairReport {
    /// How many things were put right, quarantine left out.
    #[must_use]
    pub fn mended(&self) -> u64 {
        self.entries_written + self.entries_removed + self.counters + self.references
    }

    /// Whether there was nothing to do.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.mended() + self.quarantined_found + self.unresolved_found == 0
    }

    fn add(&mut self, changes: Changes) {
        self.entries_written += changes.entries_written;
        self.entries_removed += changes.entries_removed;
        self.counters += changes.counters;
        self.references += changes.references;
        self.quarantined_found += changes.quarantined.len() as u64;
        self.unresolved_found += changes.unresolved.len() as u64;
        let room = DETAILS_MAX.saturating_sub(self.quarantined.len());
        self.quarantined.extend(changes.quarantined.into_iter().take(room));
        let room = DETAILS_MAX.saturating_sub(self.unresolved.len());
        self.unresolved.extend(changes.unresolved.into_iter().take(room));
    }
}

/// What one transaction of a repair did. Begun anew each time its body runs.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) entries_written: u64,
    pub(crate) entries_removed: u64,
    pub(crate) counters: u64,
    pub(crate) references: u64,
    quarantined: Vec<Quarantined>,
    unresolved: Vec<Violation>,
}

impl Changes {
    /// Moves what stands at this place into quarantine, if anything does.
    pub(crate) fn set_aside(&mut self, txn: &mut Transaction<'_>, tree: Tree, key: &[u8], reason: &str) -> Result<()> {
        self.quarantined.extend(quarantine::set_aside(txn, tree, key, reason)?);
        Ok(())
    }

    /// Notes what is left as it is.
    pub(crate) fn leave(&mut self, kind: ViolationKind, tree: Tree, key: &[u8], why: impl Into<String>) {
        self.unresolved.push(Violation::new(kind, tree, key, why));
    }
}

/// One repair on its way. The layers above hand their own cross-references to [`Repairer::sweep`].
pub(crate) struct Repairer<'r> {
    store: &'r RecordStore,
    watch: Watch<'r>,
    mark: u128,
    stage: &'static str,
    report: RepairReport,
}

/// Runs `body` as the one repair of this store, and makes what it did durable.
///
/// # Errors
/// `Conflict` when another repair was begun meanwhile; those of the engine. What was mended by then stays so.
pub(crate) fn repair(
    store: &RecordStore,
    watch: Watch<'_>,
    body: impl FnOnce(&mut Repairer<'_>) -> Result<()>,
) -> Result<RepairReport> {
    let key = mark_key();
    let mark = store.transact(Durability::Buffered, |txn| {
        let mark = txn.fresh_id();
        txn.put_part(REPAIR_MARK, &key, &mark)?;
        Ok(mark)
    })?;
    let mut run = Repairer { store, watch, mark, stage: "", report: RepairReport::default() };
    match body(&mut run) {
        // The callback's own wish, on its way up as an error.
        Err(_) if run.report.cancelled => {}
        outcome => outcome?,
    }
    store.transact(Durability::Buffered, |txn| {
        check_mark(txn, mark)?;
        txn.delete_part(REPAIR_MARK, &key)
    })?;
    store.engine().sync()?;
    Ok(run.report)
}

/// Claims what a repair that was interrupted leaves in `meta`.
pub(crate) fn claim_mark(report: &mut Report) {
    report.claim(REPAIR_MARK.tree, &mark_key());
}

fn mark_key() -> Vec<u8> {
    keys::meta(MARK, KeyWriter::new())
}

fn check_mark(txn: &mut Transaction<'_>, mark: u128) -> Result<()> {
    match txn.get_part::<u128>(REPAIR_MARK, &mark_key()) {
        Ok(Some(found)) if found == mark => Ok(()),
        Ok(_) => Err(Error::conflict("repair: another one was begun, and goes on")),
        Err(error) => Err(error),
    }
}

impl<'r> Repairer<'r> {
    /// The store under repair.
    pub(crate) fn store(&self) -> &'r RecordStore {
        self.store
    }

    /// What follows is about this, for the callback.
    pub(crate) fn stage(&mut self, stage: &'static str) {
        self.stage = stage;
    }

    /// Notes that `looked_at` more entries were looked at, and asks whether to go on.
    ///
    /// # Errors
    /// To be handed up: the callback wishes to stop.
    pub(crate) fn tick(&mut self, looked_at: u64) -> Result<()> {
        self.report.looked_at += looked_at;
        let progress = RepairProgress {
            stage: self.stage,
            looked_at: self.report.looked_at,
            mended: self.report.mended(),
            quarantined: self.report.quarantined_found,
        };
        match (self.watch)(&progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                self.report.cancelled = true;
                Err(Error::unavailable("repair: stopped by its caller"))
            }
        }
    }

    /// One transaction of this repair.
    ///
    /// # Errors
    /// The body's own; `Conflict` when another repair was begun; those of a commit.
    pub(crate) fn step(
        &mut self,
        mut body: impl FnMut(&mut Transaction<'_>, &mut Changes) -> Result<()>,
    ) -> Result<()> {
        let mark = self.mark;
        let changes = self.store.transact(Durability::Buffered, |txn| {
            check_mark(txn, mark)?;
            let mut changes = Changes::default();
            body(txn, &mut changes)?;
            Ok(changes)
        })?;
        self.report.add(changes);
        Ok(())
    }

    /// Looks at every entry of `range`, a page at one point in time after the other, and mends what `look` names.
    ///
    /// # Errors
    /// What keeps it from reading on. One suspect that can't be mended does not: it is noted as unresolved.
    pub(crate) fn sweep<S>(
        &mut self,
        tree: Tree,
        range: KeyRange,
        mut look: impl FnMut(&View<'_>, &[u8], &[u8]) -> Result<Option<S>>,
        mut mend: impl FnMut(&mut Transaction<'_>, &[u8], &S, &mut Changes) -> Result<()>,
    ) -> Result<()> {
        let mut rest = range;
        loop {
            let (suspects, seen, resume) = self.store.read(|view| {
                let page = view.reader().scan(tree, &rest, Direction::Ascending, PAGE)?;
                let mut suspects = Vec::new();
                for (key, stored) in &page.entries {
                    if let Some(suspect) = look(view, key, stored)? {
                        suspects.push((key.clone(), suspect));
                    }
                }
                Ok((suspects, page.entries.len() as u64, page.resume))
            })?;
            self.mend_all(tree, &suspects, &mut mend)?;
            self.tick(seen)?;
            match resume {
                Some(resume) => rest = rest.behind(&resume, Direction::Ascending),
                None => return Ok(()),
            }
        }
    }

    /// Mends suspects, a few in each transaction; one by one where one of them spoils it for the others.
    pub(crate) fn mend_all<S>(
        &mut self,
        tree: Tree,
        suspects: &[(Vec<u8>, S)],
        mut mend: impl FnMut(&mut Transaction<'_>, &[u8], &S, &mut Changes) -> Result<()>,
    ) -> Result<()> {
        let spoilt = |kind| matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::Invalid);
        for chunk in suspects.chunks(STEP) {
            let together =
                self.step(|txn, changes| chunk.iter().try_for_each(|(key, suspect)| mend(txn, key, suspect, changes)));
            match together {
                Err(error) if spoilt(error.kind()) => {}
                outcome => {
                    outcome?;
                    continue;
                }
            }
            for (key, suspect) in chunk {
                match self.step(|txn, changes| mend(txn, key, suspect, changes)) {
                    Err(error) if spoilt(error.kind()) => self.leave(tree, key, error.to_string()),
                    outcome => outcome?,
                }
            }
        }
        Ok(())
    }

    /// Notes what can't be put right.
    pub(crate) fn leave(&mut self, tree: Tree, key: &[u8], why: impl Into<String>) {
        let mut changes = Changes::default();
        changes.leave(ViolationKind::Unreadable, tree, key, why);
        self.report.add(changes);
    }
}
