//! The records of one kind: counters, then the records themselves and the entries they ask for, then entries that no
//! record asks for.
//!
//! Counters come first, from the records that can be read: so a record that goes to quarantine afterwards takes nothing
//! with it, and the writes of what follows meet counters that can be added to.

use crate::engine::{KeyRange, Tree};
use crate::error::Result;
use crate::keys;

use super::super::schema::{Entity, Index};
use super::super::scrub::ViolationKind;
use super::super::scrub::check::{self, MissingEntry, Row};
use super::super::txn::Transaction;
use super::super::upkeep;
use super::super::value::PartReader;
use super::super::view::for_each;
use super::{Changes, Repairer};

/// Rebuilds what is kept about one kind of record. `places` names every place where a part of the record at a key may
/// lie: they go to quarantine together.
pub(crate) fn records<R: Entity>(run: &mut Repairer<'_>, places: impl Fn(&[u8]) -> Vec<(Tree, Vec<u8>)>) -> Result<()> {
    let schema = R::schema();
    run.stage(schema.name);
    counters::<R>(run)?;
    rows::<R>(run, |txn, key, reason, changes| set_aside(txn, &places(key), reason, changes))?;
    schema.indexes.iter().try_for_each(|index| entries(run, index))
}

/// Moves every part of one record into quarantine.
pub(crate) fn set_aside(
    txn: &mut Transaction<'_>,
    places: &[(Tree, Vec<u8>)],
    reason: &str,
    changes: &mut Changes,
) -> Result<()> {
    places.iter().try_for_each(|(tree, key)| changes.set_aside(txn, *tree, key, reason))
}

/// Rebuilds the counters of one kind. Where a newer build wrote some of the records they can't be recounted here.
pub(crate) fn counters<R: Entity>(run: &mut Repairer<'_>) -> Result<()> {
    let schema = R::schema();
    let numbers: Vec<u32> = schema.counters.iter().map(|counter| counter.number).collect();
    let mut newer = None;
    let outcome = super::sums(run, &numbers, |run, view, sums| {
        let mut parts = PartReader::in_view(view.reader());
        let mut seen = 0;
        newer = None;
        for_each(view.reader(), schema.primary.tree, KeyRange::all(), |key, _| {
            if !(schema.owns)(key) {
                return Ok(());
            }
            match check::row::<R>(&mut parts, key)? {
                Row::Whole(record) => {
                    schema.counters.iter().for_each(|counter| counter.add_to(&record, 1, sums));
                }
                Row::Newer(fault) => newer = Some(fault.detail),
                Row::Bad(_) | Row::Absent => {}
            }
            seen += 1;
            if seen % super::PAGE as u64 == 0 { run.tick(super::PAGE as u64) } else { Ok(()) }
        })?;
        match &newer {
            Some(why) => Err(crate::error::Error::unsupported(why.clone())),
            None => run.tick(seen % super::PAGE as u64),
        }
    });
    match (outcome, newer) {
        (Err(_), Some(why)) => {
            run.leave(schema.primary.tree, &[], format!("counters of {}: {why}", schema.name));
            Ok(())
        }
        (outcome, _) => outcome,
    }
}

/// Looks at every record of one kind: writes the entries that it lacks, and calls `bury` for what can't be read.
pub(crate) fn rows<R: Entity>(
    run: &mut Repairer<'_>,
    mut bury: impl FnMut(&mut Transaction<'_>, &[u8], &str, &mut Changes) -> Result<()>,
) -> Result<()> {
    let schema = R::schema();
    let tree = schema.primary.tree;
    run.sweep(
        tree,
        KeyRange::all(),
        |view, key, _| {
            if !(schema.owns)(key) {
                return Ok(None);
            }
            let mut parts = PartReader::in_view(view.reader());
            Ok(match check::row::<R>(&mut parts, key)? {
                Row::Whole(record) => (!check::missing_entries(&mut parts, &record, key)?.is_empty()).then_some(()),
                Row::Bad(_) | Row::Newer(_) => Some(()),
                Row::Absent => None,
            })
        },
        |txn, key, (), changes| {
            let mut parts = PartReader::in_transaction(txn.txn);
            match check::row::<R>(&mut parts, key)? {
                Row::Absent => Ok(()),
                Row::Whole(record) => {
                    let missing = check::missing_entries(&mut parts, &record, key)?;
                    missing.iter().try_for_each(|missing| write_entry::<R>(txn, key, missing, changes))
                }
                Row::Newer(fault) => {
                    changes.leave(fault.kind, tree, key, fault.detail);
                    Ok(())
                }
                Row::Bad(fault) => bury(txn, key, &fault.detail, changes),
            }
        },
    )
}

/// Writes an entry that the record at `key` asks for, unless another record asks for the same unique place and has it.
fn write_entry<R: Entity>(
    txn: &mut Transaction<'_>,
    key: &[u8],
    missing: &MissingEntry,
    changes: &mut Changes,
) -> Result<()> {
    if missing.unique && holder_asks::<R>(txn, &missing.key)? {
        let why = format!("{}, and another record that asks for it has it", missing.fault.detail);
        changes.leave(ViolationKind::EntryWrong, Tree::Index, &missing.key, why);
        return Ok(());
    }
    txn.txn.put(Tree::Index, &missing.key, upkeep::entry_value(missing.unique, &missing.key, key)?)?;
    changes.entries_written += 1;
    Ok(())
}

/// Whether the record that a unique entry leads to is there and asks for it.
fn holder_asks<R: Entity>(txn: &mut Transaction<'_>, entry: &[u8]) -> Result<bool> {
    let Some(stored) = txn.txn.get(Tree::Index, entry)? else { return Ok(false) };
    let Ok(holder) = upkeep::read_holder(entry, &stored) else { return Ok(false) };
    if holder.is_empty() || holder.len() > crate::engine::KEY_BYTES_MAX {
        return Ok(false);
    }
    Ok(match check::row::<R>(&mut PartReader::in_transaction(txn.txn), &holder)? {
        Row::Whole(record) => {
            let mut asks = false;
            for index in R::schema().indexes.iter().filter(|index| index.unique) {
                asks |= index.entry_keys(&record, &holder)?.iter().any(|asked| asked == entry);
            }
            asks
        }
        // What a newer build wrote may well ask for it.
        Row::Newer(_) => true,
        Row::Absent | Row::Bad(_) => false,
    })
}

/// Removes the entries of one index that no record asks for.
pub(crate) fn entries<R: Entity>(run: &mut Repairer<'_>, index: &Index<R>) -> Result<()> {
    let range = KeyRange::prefix(&keys::index_prefix(index.number, &[]));
    run.sweep(
        Tree::Index,
        range,
        |view, entry, stored| {
            let fault = check::entry_fault(&mut PartReader::in_view(view.reader()), index, entry, stored)?;
            Ok(fault.map(drop))
        },
        |txn, entry, (), changes| {
            let Some(stored) = txn.txn.get(Tree::Index, entry)? else { return Ok(()) };
            let mut parts = PartReader::in_transaction(txn.txn);
            if check::entry_fault(&mut parts, index, entry, &stored)?.is_some() {
                txn.txn.delete(Tree::Index, entry)?;
                changes.entries_removed += 1;
            }
            Ok(())
        },
    )
}
