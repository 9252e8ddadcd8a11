//! The sweep of leftovers: what a delete or a rename leaves behind its one visible write, in bounded steps.
//!
//! ```text
//!   for each name with a mark (`leftovers.rs`)
//!     rows       a page of the name's versions by number, found outside, each looked at again inside a transaction
//!     moves      the pointer moves of each life that is over
//!     mark       goes when nothing of the life was found
//! ```
//!
//! Whoever deletes or renames sweeps behind himself. After a crash the next opening sweeps a bounded part, and each
//! write behind it a little more, until nothing is left. A step can be interrupted, repeated and run twice at a time:
//! each looks at what is there, and the mark goes with the sweep that has seen all of its life (`endings.rs`). Rows that can't be read go to quarantine when they are sure to be of a deleted model;
//! others are counted and left to repair, and keep their mark. Behind writes such a name is not looked through again
//! until its mark changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;

use super::Registry;
use super::endings::Endings;
use super::leftovers::{self, Fate, Leftovers, Life};
use super::record::{ModelRecord, VERSION_NUMBERS};
use super::row;
use crate::engine::{Direction, KeyRange};
use crate::error::{ErrorKind, Result};
use crate::keys;
use crate::record::catalog;

/// Rows looked at in one step.
pub(super) const ROWS_AT_ONCE: usize = 256;
/// About how many writes one step makes: far below what a transaction takes, and a few milliseconds under its mutex.
pub(super) const COST_MAX: usize = 4_096;
/// Rows that an opening sweeps away before it lets callers in.
pub(super) const ROWS_AT_OPEN: usize = 1_024;
/// Rows that a write sweeps away behind itself while leftovers wait.
const ROWS_AT_WRITE: usize = 64;
/// Every so many writes it is asked whether leftovers wait: transactions of a host may leave some.
const WRITES_BETWEEN_LOOKS: u32 = 64;

/// How far a rename or a delete is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoveProgress {
    /// What it is at.
    pub step: MoveStep,
    /// Versions that this step is done with.
    pub done: u64,
    /// How many it will be, about: others may register meanwhile. 0 when that is not known.
    pub total: u64,
}

/// The steps of a rename or a delete that take time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MoveStep {
    /// Before the change: versions are copied to the new name.
    Copying,
    /// After the change: leftovers are swept away.
    Sweeping,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Rows that it removed.
    pub rows: u64,
    /// Rows that can't be read, and of which it is not known whose they are: they stay until repair.
    pub damaged: u64,
    /// Rows that can't be read, of models that are deleted: they are in quarantine. What indexes still say about them is
    /// left to repair.
    pub quarantined: u64,
    /// Whether nothing is left but damaged rows.
    pub done: bool,
}

/// When a registry's handles look for leftovers.
#[derive(Debug, Clone, Default)]
pub(super) struct Due {
    due: Arc<AtomicBool>,
    writes: Arc<AtomicU32>,
    /// Names of which nothing is left but rows that can't be read, with their marks as they were then.
    stuck: Arc<Mutex<BTreeMap<String, Leftovers>>>,
    /// Marks that sweeps have removed.
    endings: Endings,
}

impl Registry {
    /// Sweeps away at most about `rows_max` rows that deletes and renames have left behind. Not needed for anything to
    /// be right: whoever leaves something sweeps it, and so do later writes.
    ///
    /// # Errors
    /// What a commit can answer; `Corrupt` when the marks or an index can't be read.
    pub fn sweep_leftovers(&self, rows_max: usize) -> Result<Swept> {
        self.due.stuck.lock().clear();
        self.sweep_names(rows_max)
    }

    /// Sweeps every name that is not known to be stuck.
    fn sweep_names(&self, rows_max: usize) -> Result<Swept> {
        let mut swept = Swept { done: true, ..Swept::default() };
        let mut after: Option<String> = None;
        while let Some(name) = self.store.read(|view| leftovers::next_name(view, after.as_deref()))? {
            let left = rows_max.saturating_sub(usize::try_from(swept.rows).unwrap_or(usize::MAX));
            if left == 0 {
                swept.done = false;
                break;
            }
            let mark = self.store.read(|view| leftovers::in_view(view, &name))?;
            if self.due.stuck.lock().get(&name) == Some(&mark) {
                after = Some(name);
                continue;
            }
            let of_name = self.sweep_name(&name, left, &mut |_| {})?;
            if of_name.done && of_name.damaged > 0 {
                self.due.stuck.lock().insert(name.clone(), mark);
            }
            swept.rows += of_name.rows;
            swept.damaged += of_name.damaged;
            swept.quarantined += of_name.quarantined;
            swept.done &= of_name.done;
            after = Some(name);
        }
        Ok(swept)
    }

    /// Ends what an earlier opening was in the middle of: renames that had not come to their fence have not happened,
    /// and a bounded part of what is left behind is swept away. For the opening of a store alone, when nobody renames.
    ///
    /// # Errors
    /// What a commit can answer. Damage is left to verify and repair.
    pub fn recover(&self) -> Result<Swept> {
        let recovered = self.end_moves().and_then(|()| self.sweep_leftovers(ROWS_AT_OPEN));
        match recovered {
            Ok(swept) => {
                self.due.due.store(!swept.done, Ordering::Relaxed);
                Ok(swept)
            }
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => Ok(Swept::default()),
            Err(error) => Err(error),
        }
    }

    fn end_moves(&self) -> Result<()> {
        let mut after: Option<String> = None;
        while let Some(name) = self.store.read(|view| leftovers::next_name(view, after.as_deref()))? {
            let sources: Vec<(Life, Life)> = self.store.read(|view| {
                let of_name = leftovers::in_view(view, &name)?;
                let copied = of_name.lives().filter_map(|(incarnation, fate)| match fate {
                    Fate::CopiedFrom(source) => Some((source.clone(), Life { model: name.clone(), incarnation })),
                    _ => None,
                });
                Ok(copied.collect())
            })?;
            for (source, to) in sources {
                self.upkeep(|txn| {
                    if let Some(model) = txn.get::<ModelRecord>(&keys::model(&source.model))?
                        && leftovers::is_moving(Some(&model), &source, &to)
                    {
                        txn.restate(Some(&model), ModelRecord { moving_to: None, ..model.clone() })?;
                    }
                    Ok(())
                })?;
            }
            after = Some(name);
        }
        Ok(())
    }

    /// Sweeps behind a change that has been acknowledged, or is about to be. That the change stands does not hang on
    /// the sweep, so an error of it is not the caller's: what is left waits for later writes, or the next opening.
    pub(super) fn sweep_after(&self, name: &str, progress: &mut dyn FnMut(MoveProgress)) {
        match self.sweep_name(name, usize::MAX, progress) {
            Ok(swept) if swept.done => {}
            _ => self.sweep_is_due(),
        }
    }

    pub(super) fn sweep_is_due(&self) {
        self.due.due.store(true, Ordering::Relaxed);
    }

    /// Sweeps a little behind a write, if there is anything to sweep. Its errors are no news of the write: see
    /// [`sweep_after`](Self::sweep_after).
    pub(super) fn sweep_behind_write(&self) {
        let writes = self.due.writes.fetch_add(1, Ordering::Relaxed);
        if !self.due.due.load(Ordering::Relaxed) && !writes.is_multiple_of(WRITES_BETWEEN_LOOKS) {
            return;
        }
        // Rows that can't be read stay until repair; looking for them with every write would help nobody.
        let due = match self.sweep_names(ROWS_AT_WRITE) {
            Ok(swept) => !swept.done,
            Err(error) => !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::Closed),
        };
        self.due.due.store(due, Ordering::Relaxed);
    }

    /// Sweeps at most about `rows_max` rows of lives of this name that are over.
    pub(super) fn sweep_name(
        &self,
        name: &str,
        rows_max: usize,
        progress: &mut dyn FnMut(MoveProgress),
    ) -> Result<Swept> {
        let ended = self.due.endings.so_far(name);
        let over = self.store.read(|view| {
            let of_name = leftovers::in_view(view, name)?;
            let mut over = Vec::new();
            for (incarnation, fate) in of_name.lives() {
                let life = Life { model: name.to_owned(), incarnation };
                let moving = match fate {
                    Fate::CopiedFrom(source) => {
                        let from = view.get::<ModelRecord>(&keys::model(&source.model))?;
                        leftovers::is_moving(from.as_ref(), source, &life)
                    }
                    _ => false,
                };
                if !moving {
                    over.push((life, fate.clone()));
                }
            }
            Ok(over)
        })?;
        let mut swept = Swept { done: true, ..Swept::default() };
        if over.is_empty() {
            return Ok(swept);
        }
        self.sweep_rows(name, rows_max, &mut swept, progress)?;
        if !swept.done || swept.damaged > 0 {
            return Ok(swept);
        }
        over.iter().try_for_each(|(life, _)| self.sweep_moves(life))?;
        // A mark that somebody else has removed meanwhile may be there again, for a later life of the same number, of
        // whose rows nothing was seen here.
        let ended = self.due.endings.end(name, ended, || {
            self.upkeep(|txn| {
                over.iter().try_for_each(|(life, fate)| {
                    let unchanged = leftovers::of(txn, name)?.fate(life.incarnation) == Some(fate);
                    if unchanged { leftovers::note(txn, life, None) } else { Ok(()) }
                })
            })
        });
        match ended {
            Some(ended) => ended?,
            None => swept.done = false,
        }
        Ok(swept)
    }

    fn sweep_rows(
        &self,
        name: &str,
        rows_max: usize,
        swept: &mut Swept,
        progress: &mut dyn FnMut(MoveProgress),
    ) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.read(|view| {
                let rows = leftovers::rows_of(name);
                view.index_page(&VERSION_NUMBERS, rows, Direction::Ascending, after.as_deref(), ROWS_AT_ONCE)
            })?;
            let mut rest = page.entries.as_slice();
            while !rest.is_empty() {
                if swept.rows >= rows_max as u64 {
                    swept.done = false;
                    return Ok(());
                }
                let (looked_at, removed, quarantined, damaged) = self.upkeep(|txn| {
                    let (mut looked_at, mut removed, mut quarantined, mut damaged, mut cost) = (0, 0, 0, 0, 0);
                    for entry in rest {
                        if cost >= COST_MAX || swept.rows + removed >= rows_max as u64 {
                            break;
                        }
                        looked_at += 1;
                        match row::sweep_at(txn, &entry.primary) {
                            Ok(None) => {}
                            Ok(Some(of_row)) => {
                                removed += 1;
                                quarantined += u64::from(of_row.damaged);
                                cost += of_row.cost;
                            }
                            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
                                damaged += 1;
                            }
                            Err(error) => return Err(error),
                        }
                    }
                    Ok((looked_at, removed, quarantined, damaged))
                })?;
                swept.rows += removed;
                swept.damaged += damaged;
                swept.quarantined += quarantined;
                let (now, later) = rest.split_at_checked(looked_at).unwrap_or((rest, &[]));
                after = now.last().map(|entry| entry.entry.clone()).or(after);
                rest = later;
                progress(MoveProgress { step: MoveStep::Sweeping, done: swept.rows, total: 0 });
            }
            if page.resume.is_none() {
                return Ok(());
            }
        }
    }

    /// Removes the pointer moves of a life that is over.
    fn sweep_moves(&self, life: &Life) -> Result<()> {
        for part in [catalog::POINTER_HISTORY, catalog::ALIAS_HISTORY, catalog::ALIAS_TRACKS] {
            let mut range = KeyRange::prefix(&keys::pointer_moves(part.tag, &life.model, life.incarnation));
            loop {
                let page = self.store.engine().scan(part.tree, &range, Direction::Ascending, ROWS_AT_ONCE)?;
                if !page.entries.is_empty() {
                    self.upkeep(|txn| {
                        // Somebody else may have come to the end of this life, and its number be given out again.
                        if !leftovers::is_over(txn, life)? {
                            return Ok(());
                        }
                        page.entries.iter().try_for_each(|(key, _)| txn.delete_part(part, key))
                    })?;
                }
                match page.resume {
                    Some(resume) => range = range.behind(&resume, Direction::Ascending),
                    None => break,
                }
            }
        }
        Ok(())
    }
}
