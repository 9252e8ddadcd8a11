//! Gives a model another name: whole for every reader at one moment, whatever the number of its versions.
//!
//! A version's key carries its model's name, so the rows of all versions have to move, and ten thousand don't fit one
//! transaction. They are copied ahead, unseen; one small write makes the copies the model; a sweep removes the rest:
//!
//! ```text
//!   begin    note that rows are being copied to (new, i)             readers see `old` and nothing of `new`
//!   copy     rows and pointer moves of `old`, bounded steps;           "
//!            who changes a row that was copied changes its copy        "
//!   fence    model `old` goes, model `new` is there; `old` is          one write: from here on readers see `new` and
//!            marked as moved                                           nothing of `old`
//!   sweep    rows of `old`, bounded steps; each hands its              readers see `new`
//!            external id and its artifact over to the copy
//! ```
//!
//! Stopped before the fence, nothing has happened: the copies are leftovers of a life that never began, and are swept
//! away. Stopped behind it, the sweep goes on at the next opening or with the next writes. Somebody who takes the new
//! name while the rows are being copied wins: the rename answers `AlreadyExists`, or `Conflict` when that somebody has
//! registered a version and left again.
//!
//! The revision that the caller expects is compared at the fence. A version keeps its revision: nothing was said about
//! it.

use super::leftovers::{self, Fate, Life};
use super::pointers::{self, PointerMove};
use super::record::{ModelRecord, VERSION_NUMBERS, VersionRecord};
use super::row;
use super::sweep::{COST_MAX, MoveProgress, MoveStep, ROWS_AT_ONCE};
use super::tracks::{self, Copied};
use super::txn::{RegistryTxn, no_such_model};
use super::{Change, Model, Registry, name};
use crate::config::Durability;
use crate::engine::Direction;
use crate::error::{Error, ErrorKind, Result};
use crate::keys;
use crate::record::Transaction;

/// Highest `last_version` of a model that can be renamed inside a transaction.
pub const RENAME_IN_TRANSACTION_MAX: u32 = 256;
/// Pointer moves copied in one transaction.
const MOVES_AT_ONCE: u64 = 250;

/// A rename that has begun.
#[derive(Debug, Clone)]
struct Move {
    from: Life,
    to: Life,
    /// How far the pointers' moves are.
    moves: Moves,
    /// Every version up to this number is copied.
    covered: u32,
}

/// Which pointer moves are copied.
#[derive(Debug, Clone)]
struct Moves {
    /// Moves of the active pointer below this one are copied.
    copied: u64,
    /// Of those, the ones below this one have left the history since.
    dropped: u64,
    /// Those of aliases.
    of_aliases: Copied,
}

impl Registry {
    /// Gives a model another name, with all its versions, aliases and its history; to its own name: changes nothing.
    ///
    /// Readers see the old model until they see the new one. Takes time in proportion to the versions; other writes go
    /// on meanwhile. Interrupted, it has happened or it has not, and what is left to do is done at the next opening.
    ///
    /// # Errors
    /// `NotFound` for a missing model; `AlreadyExists` when the new name is taken, or another model is being renamed to
    /// it; `Conflict` when the model is not at the revision that `change` expects, or is being renamed by somebody
    /// else; `Corrupt` when a version can't be read; what a commit can answer.
    pub fn rename_model(&self, name: &str, new_name: &str, change: &Change) -> Result<Model> {
        self.rename_model_with(name, new_name, change, |_| {})
    }

    /// [`rename_model`](Self::rename_model), telling how far it is: after each step, from the caller's thread.
    ///
    /// # Errors
    /// As there.
    pub fn rename_model_with(
        &self,
        name: &str,
        new_name: &str,
        change: &Change,
        mut progress: impl FnMut(MoveProgress),
    ) -> Result<Model> {
        check(name, new_name, change)?;
        if name == new_name {
            return self.write(|registry| registry.rename_to_itself(name, change));
        }
        // What is left of earlier lives of the new name would have to make way row by row.
        self.sweep_name(new_name, usize::MAX, &mut |_| {})?;
        let mut moving = self.upkeep(|txn| begin(txn, name, new_name, change))?;
        let model = match self.copy_and_fence(&mut moving, change, &mut progress) {
            Ok(model) => model,
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::Closed | ErrorKind::CommitUnknown) {
                    self.abandon(&moving);
                }
                return Err(error);
            }
        };
        self.sweep_after(name, &mut progress);
        Ok(model)
    }

    fn copy_and_fence(
        &self,
        moving: &mut Move,
        change: &Change,
        progress: &mut dyn FnMut(MoveProgress),
    ) -> Result<Model> {
        let mut after = None;
        let mut done = 0;
        loop {
            let (page, last_version, versions) = self.store.read(|view| {
                let model = view.get::<ModelRecord>(&keys::model(&moving.from.model))?;
                let model = model.ok_or_else(|| no_such_model(&moving.from.model))?;
                let rows = leftovers::rows_of(&moving.from.model);
                let page =
                    view.index_page(&VERSION_NUMBERS, rows, Direction::Ascending, after.as_deref(), ROWS_AT_ONCE)?;
                Ok((page, model.last_version, model.versions))
            })?;
            let mut rest = page.entries.as_slice();
            while !rest.is_empty() {
                let copied =
                    self.upkeep(|txn| copy_rows(txn, moving, rest.iter().map(|entry| entry.primary.as_slice())))?;
                let (now, later) = rest.split_at_checked(copied.max(1)).unwrap_or((rest, &[]));
                after = now.last().map(|entry| entry.entry.clone());
                rest = later;
                done += now.len() as u64;
                progress(MoveProgress { step: MoveStep::Copying, done, total: u64::from(versions) });
            }
            if page.resume.is_some() {
                continue;
            }
            moving.covered = last_version;
            let (moves, _) = self.upkeep(|txn| copy_moves(txn, moving))?;
            moving.moves = moves;
            if let Some(model) = self.write(|registry| fence(registry.txn, moving, change))? {
                return Ok(model);
            }
        }
    }

    /// Ends a rename that did not come to its fence: nobody writes to its copies any more, and they can go.
    fn abandon(&self, moving: &Move) {
        let over = self.upkeep(|txn| {
            if let Some(model) = txn.get::<ModelRecord>(&keys::model(&moving.from.model))?
                && leftovers::is_moving(Some(&model), &moving.from, &moving.to)
            {
                txn.restate(Some(&model), ModelRecord { moving_to: None, ..model.clone() })?;
            }
            Ok(())
        });
        match over {
            Ok(()) => self.sweep_after(&moving.to.model, &mut |_| {}),
            // The caller is owed the first error. The copies stay unseen, and the next opening ends the rename.
            Err(_) => self.sweep_is_due(),
        }
    }

    /// One bounded step that no reader can see: durable with whatever comes behind it.
    pub(super) fn upkeep<T>(&self, body: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        self.store.transact(Durability::Buffered, body)
    }
}

impl RegistryTxn<'_, '_> {
    /// Gives a model of at most [`RENAME_IN_TRANSACTION_MAX`] versions another name; to its own name: changes nothing.
    ///
    /// # Errors
    /// As [`Registry::rename_model`]; `Unsupported` for a model that has given out more numbers: the registry renames
    /// it outside of a transaction; `Invalid` when its records are more than one transaction takes.
    pub fn rename_model(&mut self, name: &str, new_name: &str, change: &Change) -> Result<Model> {
        check(name, new_name, change)?;
        if name == new_name {
            return self.rename_to_itself(name, change);
        }
        let old = self.model_record(name)?;
        if old.last_version > RENAME_IN_TRANSACTION_MAX {
            return Err(Error::unsupported(format!(
                "model {name:?}: at most {RENAME_IN_TRANSACTION_MAX} version numbers can be renamed inside a transaction, it has {}",
                old.last_version
            )));
        }
        let mut moving = begin(self.txn, name, new_name, change)?;
        let rows: Vec<Vec<u8>> = (1..=old.last_version).map(|number| keys::version(name, number)).collect();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let copied = copy_rows(self.txn, &moving, rest.iter().map(Vec::as_slice))?;
            rest = rest.split_at_checked(copied.max(1)).map_or(&[], |(_, later)| later);
        }
        moving.covered = old.last_version;
        let model = loop {
            if let Some(model) = fence(self.txn, &moving, change)? {
                break model;
            }
            (moving.moves, _) = copy_moves(self.txn, &moving)?;
        };
        for row in &rows {
            row::sweep_at(self.txn, row)?;
        }
        for number in pointers::kept(&old) {
            pointers::drop_move(self.txn, &moving.from, number)?;
        }
        tracks::drop_all(self.txn, &moving.from)?;
        leftovers::note(self.txn, &moving.from, None)?;
        Ok(model)
    }

    fn rename_to_itself(&mut self, name: &str, change: &Change) -> Result<Model> {
        let model = self.model_record(name)?;
        change.check_revision(format_args!("model {name:?}"), model.revision)?;
        Ok(Model::of(model))
    }
}

fn check(name: &str, new_name: &str, change: &Change) -> Result<()> {
    name::check_model_name(name)?;
    name::check_new_name(new_name)?;
    change.check()
}

/// Reserves a life of the new name and tells whoever writes versions of the old one to keep the copies up.
fn begin(txn: &mut Transaction<'_>, name: &str, new_name: &str, change: &Change) -> Result<Move> {
    let old = txn.get::<ModelRecord>(&keys::model(name))?.ok_or_else(|| no_such_model(name))?;
    change.check_revision(format_args!("model {name:?}"), old.revision)?;
    expect_free(txn, new_name)?;
    for (incarnation, fate) in leftovers::of(txn, new_name)?.lives() {
        let Fate::CopiedFrom(source) = fate else { continue };
        let rival = txn.get::<ModelRecord>(&keys::model(&source.model))?;
        let to = Life { model: new_name.to_owned(), incarnation };
        if source.model != name && leftovers::is_moving(rival.as_ref(), source, &to) {
            return Err(Error::already_exists(format!("model {:?} is being renamed to {new_name:?}", source.model)));
        }
    }
    let to = leftovers::next_life(txn, new_name)?;
    leftovers::note(txn, &to, Some(Fate::CopiedFrom(old.life())))?;
    let oldest = pointers::kept(&old).start;
    let moves = Moves { copied: oldest, dropped: oldest, of_aliases: Copied::new() };
    let moving = Move { from: old.life(), to, moves, covered: 0 };
    txn.restate(Some(&old), ModelRecord { moving_to: Some(moving.to.clone()), ..old.clone() })?;
    Ok(moving)
}

/// The model that is moving, as long as nobody else has changed where to.
fn mover(txn: &mut Transaction<'_>, moving: &Move) -> Result<ModelRecord> {
    let name = &moving.from.model;
    let model = txn.get::<ModelRecord>(&keys::model(name))?.ok_or_else(|| no_such_model(name))?;
    // First: whoever registered under the new name has ended the rename, too (`row.rs`).
    expect_free(txn, &moving.to.model)?;
    if !leftovers::is_moving(Some(&model), &moving.from, &moving.to) {
        return Err(Error::conflict(format!(
            "model {name:?}: renamed or replaced, or its new name used, by somebody else meanwhile"
        )));
    }
    Ok(model)
}

fn expect_free(txn: &mut Transaction<'_>, name: &str) -> Result<()> {
    match txn.get::<ModelRecord>(&keys::model(name))? {
        Some(_) => Err(Error::already_exists(format!("model {name:?} exists"))),
        None => Ok(()),
    }
}

/// Copies the versions at these keys until that costs enough for one transaction; answers how many keys it has dealt
/// with.
fn copy_rows<'k>(txn: &mut Transaction<'_>, moving: &Move, keys: impl Iterator<Item = &'k [u8]>) -> Result<usize> {
    let model = mover(txn, moving)?;
    let (mut copied, mut cost) = (0, 0);
    for key in keys {
        if cost >= COST_MAX {
            break;
        }
        copied += 1;
        let Some(version) = txn.get::<VersionRecord>(key)?.filter(|version| version.is_of(&model)) else { continue };
        // A copy of a copy would leave the first row without anybody to hand over to.
        let version = row::own(txn, version)?;
        cost += row::cost(&version);
        row::insert(txn, row::copy_of(&version, &moving.to), None)?;
    }
    Ok(copied)
}

/// Copies the next pointer moves, and drops copies of those that have left the history since; answers how far both are,
/// and whether that is all.
fn copy_moves(txn: &mut Transaction<'_>, moving: &Move) -> Result<(Moves, bool)> {
    let model = mover(txn, moving)?;
    let end = model.pointer_moves.min(moving.moves.copied + MOVES_AT_ONCE);
    let oldest = pointers::kept(&model).start;
    for number in moving.moves.copied.max(oldest)..end {
        let moved: PointerMove = pointers::get_move(txn, &moving.from, number)?;
        pointers::put_move(txn, &moving.to, number, &moved)?;
    }
    let dropped = oldest.min(moving.moves.dropped + MOVES_AT_ONCE);
    for number in moving.moves.dropped..dropped {
        pointers::drop_move(txn, &moving.to, number)?;
    }
    let (of_aliases, all) =
        tracks::copy(txn, &moving.from, &moving.to, &moving.moves.of_aliases, MOVES_AT_ONCE as usize)?;
    let all = all && end == model.pointer_moves && dropped == oldest;
    Ok((Moves { copied: end, dropped, of_aliases }, all))
}

/// The one write that readers see; `None` while more has to be copied first.
fn fence(txn: &mut Transaction<'_>, moving: &Move, change: &Change) -> Result<Option<Model>> {
    let old = mover(txn, moving)?;
    change.check_revision(format_args!("model {:?}", old.name), old.revision)?;
    // Nothing is written before it is known to be the last of it: what `moving` did not count could not be taken back.
    let few = |from: u64, to: u64| to.saturating_sub(from) <= MOVES_AT_ONCE;
    if old.last_version > moving.covered
        || !few(moving.moves.copied, old.pointer_moves)
        || !few(moving.moves.dropped, pointers::kept(&old).start)
        || !few(0, tracks::of(txn, &moving.from)?.away_from(&moving.moves.of_aliases))
    {
        return Ok(None);
    }
    let (_, all) = copy_moves(txn, moving)?;
    if !all {
        return Err(Error::internal("a rename has more pointer moves to copy than it had counted"));
    }
    txn.delete(&old)?;
    let new = ModelRecord {
        name: moving.to.model.clone(),
        incarnation: moving.to.incarnation,
        moving_to: None,
        updated_at: txn.now_ms(),
        changed_by: change.by.clone(),
        revision: old.revision + 1,
        ..old
    };
    let new = txn.restate(None, new)?;
    leftovers::note(txn, &moving.to, None)?;
    leftovers::note(txn, &moving.from, Some(Fate::MovedTo(moving.to.clone())))?;
    Ok(Some(Model::of(new)))
}
