//! The only writer of versions' rows: whoever registers, changes or deletes a version does it through here.
//!
//! What a row needs beside its own write: that leftovers of an earlier life make way for it, that its inline artifact
//! is released with it, and that a copy ahead of a rename (`rename_model.rs`) follows what it was copied from.
//!
//! ```text
//!   insert     leftover at its key, its label or its external id: swept away first
//!   change     the row, then its copy, if the model is being copied and this row already was
//!   remove     the row with its share in the artifact, then its copy
//! ```

use super::artifact::{self, ArtifactContent};
use super::leftovers::{self, Fate, Life};
use super::record::{ModelRecord, VERSION_EXTERNAL_IDS, VERSION_LABELS, VersionRecord};
use crate::engine::Tree;
use crate::error::{Error, Result};
use crate::keys::{self, KeyWriter};
use crate::record::scrub::damage;
use crate::record::{Transaction, quarantine};

/// Writes a row where no version is, as the revision that it carries, and counts it as a holder of `content`.
pub(crate) fn insert(
    txn: &mut Transaction<'_>,
    record: VersionRecord,
    content: Option<&ArtifactContent>,
) -> Result<VersionRecord> {
    make_way(txn, &record)?;
    // Counted behind the leftovers, which may have held the same bytes; read ahead of the row, so that damage is found
    // while there is nothing to undo.
    let holders = content.map_or(Ok(0), |content| artifact::holders(txn, &content.describe()))?;
    let record = txn.restate(None, record)?;
    content.map_or(Ok(()), |content| artifact::hold(txn, content, holders))?;
    Ok(record)
}

/// Sweeps leftovers away that hold the row's key, its label or its external id.
fn make_way(txn: &mut Transaction<'_>, record: &VersionRecord) -> Result<()> {
    // Who registers takes the place of a copy that a rename has made ahead, and ends that rename. Who copies gives way
    // to an earlier copy.
    let sweep_at = if record.copy_of.is_none() { evict_at } else { sweep_at };
    sweep_at(txn, &keys::version(&record.model, record.number))?;
    if let Some(label) = &record.label
        && let Some(holder) = txn.find_unique(&VERSION_LABELS, KeyWriter::new().str(&record.model).str(label))?
    {
        sweep_at(txn, &holder)?;
    }
    if let Some(id) = &record.external_id
        && record.copy_of.is_none()
        && let Some(holder) = txn.find_unique(&VERSION_EXTERNAL_IDS, KeyWriter::new().str(id))?
    {
        sweep_at(txn, &holder)?;
    }
    Ok(())
}

/// Writes `new` over `old`, a version of `model`, as the next revision.
pub(crate) fn update(
    txn: &mut Transaction<'_>,
    model: &ModelRecord,
    old: &VersionRecord,
    new: VersionRecord,
) -> Result<VersionRecord> {
    let new = txn.update(old, new)?;
    follow(txn, model, &new)?;
    Ok(new)
}

/// Writes `new` over `old`, a version of `model`, without counting it as a change.
pub(crate) fn restate(
    txn: &mut Transaction<'_>,
    model: &ModelRecord,
    old: &VersionRecord,
    new: VersionRecord,
) -> Result<VersionRecord> {
    let new = txn.restate(Some(old), new)?;
    follow(txn, model, &new)?;
    Ok(new)
}

/// Removes a version of `model`, and its share in the artifact.
pub(crate) fn remove(txn: &mut Transaction<'_>, model: &ModelRecord, old: &VersionRecord) -> Result<()> {
    let old = own(txn, old.clone())?;
    release(txn, &old)?;
    if let Some(copy) = copy_in(txn, model, old.number)? {
        txn.delete(&copy)?;
    }
    Ok(())
}

/// The row that stands for `version` in the life `to`, until the sweep.
pub(crate) fn copy_of(version: &VersionRecord, to: &Life) -> VersionRecord {
    VersionRecord {
        model: to.model.clone(),
        incarnation: to.incarnation,
        copy_of: Some(version.life()),
        ..version.clone()
    }
}

/// Makes a copy hold what the row that it was copied from still holds for it, and removes that row. A row that is no
/// copy is answered as it is. Only for rows of a life that has begun: before that, the other row is the version.
pub(crate) fn own(txn: &mut Transaction<'_>, row: VersionRecord) -> Result<VersionRecord> {
    let Some(source) = &row.copy_of else { return Ok(row) };
    let behind = txn.get::<VersionRecord>(&keys::version(&source.model, row.number))?;
    if let Some(behind) = behind.filter(|behind| behind.life() == *source) {
        txn.delete(&behind)?;
    }
    let owner = VersionRecord { copy_of: None, ..row.clone() };
    txn.restate(Some(&row), owner)
}

/// What a sweep of one row did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removed {
    /// About how many writes it took.
    pub(crate) cost: usize,
    /// It could not be read, and is in quarantine.
    pub(crate) damaged: bool,
}

/// Removes the row at `key` if it is a leftover that may go; answers whether it did.
pub(crate) fn sweep_at(txn: &mut Transaction<'_>, key: &[u8]) -> Result<Option<Removed>> {
    remove_leftover(txn, key, false)
}

/// The same, for copies ahead of a rename that is still going on, too.
fn evict_at(txn: &mut Transaction<'_>, key: &[u8]) -> Result<Option<Removed>> {
    remove_leftover(txn, key, true)
}

fn remove_leftover(txn: &mut Transaction<'_>, key: &[u8], moving_too: bool) -> Result<Option<Removed>> {
    let row = match damage(txn.get::<VersionRecord>(key))? {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(None),
        Err(error) => return set_aside(txn, key, error).map(Some),
    };
    let model = txn.get::<ModelRecord>(&keys::model(&row.model))?;
    if model.is_some_and(|model| row.is_of(&model)) {
        return Ok(None);
    }
    match leftovers::of(txn, &row.model)?.fate(row.incarnation) {
        None => return Ok(None),
        Some(Fate::Gone) => release_unless_copy(txn, &row)?,
        Some(Fate::MovedTo(life)) => {
            let copy = txn.get::<VersionRecord>(&keys::version(&life.model, row.number))?;
            match copy.filter(|copy| copy.life() == *life && copy.copy_of == Some(row.life())) {
                // Takes the row away, too.
                Some(copy) => drop(own(txn, copy)?),
                // The version was deleted after the rename.
                None => release(txn, &row)?,
            }
        }
        Some(Fate::CopiedFrom(source)) => {
            let from = txn.get::<ModelRecord>(&keys::model(&source.model))?;
            if let Some(from) = from.filter(|from| leftovers::is_moving(Some(from), source, &row.life())) {
                if !moving_too {
                    return Ok(None);
                }
                // The rename is over, also if the name is free again by its fence: it would lack this copy.
                txn.restate(Some(&from), ModelRecord { moving_to: None, ..from.clone() })?;
            }
            release_unless_copy(txn, &row)?;
        }
    }
    Ok(Some(Removed { cost: cost(&row), damaged: false }))
}

/// Moves a row that can't be read into quarantine when it is sure to be a leftover of a deleted model: every life of its
/// name that left rows is gone, and the one that is there, if there is one, has not given the row's number out yet. Its
/// index entries and its share in an artifact can't be told any more; verify names them, and repair removes them.
///
/// # Errors
/// `error` when the row may be somebody's.
fn set_aside(txn: &mut Transaction<'_>, key: &[u8], error: Error) -> Result<Removed> {
    let (name, number) = keys::parse_version(key)?;
    let model = txn.get::<ModelRecord>(&keys::model(name))?;
    let given_out = model.is_some_and(|model| number <= model.last_version);
    let of_name = leftovers::of(txn, name)?;
    let all_gone = of_name.lives().all(|(_, fate)| *fate == Fate::Gone);
    if given_out || !all_gone || of_name.lives().next().is_none() {
        return Err(error);
    }
    quarantine::set_aside(txn, Tree::ModelVersions, key, &format!("of a deleted model: {error}"))?;
    Ok(Removed { cost: 16, damaged: true })
}

/// About how many writes it takes to remove a row, the pieces of its artifact included.
pub(crate) fn cost(row: &VersionRecord) -> usize {
    const PIECE_BYTES: u64 = 16 << 10;
    let inline = row.artifact.as_ref().filter(|held| held.uri.is_none());
    let pieces = inline.map_or(0, |held| held.bytes / PIECE_BYTES);
    16 + row.tags.len() + row.weight() / PIECE_BYTES as usize + usize::try_from(pieces).unwrap_or(usize::MAX)
}

/// Brings the copy of a row, if there is one already, to what the row has become.
fn follow(txn: &mut Transaction<'_>, model: &ModelRecord, row: &VersionRecord) -> Result<()> {
    if let (Some(to), Some(copy)) = (&model.moving_to, copy_in(txn, model, row.number)?) {
        txn.restate(Some(&copy), copy_of(row, to))?;
    }
    Ok(())
}

/// The copy of a version of `model`, if the model is being copied and the version already was.
fn copy_in(txn: &mut Transaction<'_>, model: &ModelRecord, number: u32) -> Result<Option<VersionRecord>> {
    let Some(to) = &model.moving_to else { return Ok(None) };
    let row = txn.get::<VersionRecord>(&keys::version(&to.model, number))?;
    Ok(row.filter(|row| row.life() == *to && row.copy_of == Some(model.life())))
}

/// Removes a row that holds its share in the artifact.
fn release(txn: &mut Transaction<'_>, row: &VersionRecord) -> Result<()> {
    let holders = row.artifact.as_ref().map_or(Ok(0), |held| artifact::holders(txn, held))?;
    txn.delete(row)?;
    row.artifact.as_ref().map_or(Ok(()), |held| artifact::release(txn, held, holders))
}

/// The same for a row that holds none while it is a copy.
fn release_unless_copy(txn: &mut Transaction<'_>, row: &VersionRecord) -> Result<()> {
    if row.copy_of.is_some() { txn.delete(row) } else { release(txn, row) }
}
