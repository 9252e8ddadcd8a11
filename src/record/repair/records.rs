//! The records of one kind: counters, then the records themselves and the entries they ask for, then entries that no
//! record asks for.
//!
//! Counters come first, from the records that can be read: so a record that goes to quarantine afterwards takes nothing
//! with it, and the writes of what follows meet counters that can be added to.
//!
//! What is under construction is left to its construction, which goes on by itself.

use crate::engine::{KEY_BYTES_MAX, KeyRange, Tree};
use crate::error::{Error, Result};
use crate::keys;

use super::super::kind::{Fixed, Kind};
use super::super::schema::{Entity, IndexRef};
use super::super::scrub::ViolationKind;
use super::super::scrub::check::{self, MissingEntry, Row};
use super::super::txn::Transaction;
use super::super::upkeep;
use super::super::value::PartReader;
use super::super::view::for_each;
use super::{Changes, PAGE, Repairer};

/// Rebuilds what is kept about one kind of record. `places` names every place where a part of the record at a stored
/// key may lie: they go to quarantine together.
pub(crate) fn records<R: Entity>(run: &mut Repairer<'_>, places: impl Fn(&[u8]) -> Vec<(Tree, Vec<u8>)>) -> Result<()> {
    let bury = |txn: &mut Transaction<'_>, key: &[u8], reason: &str, changes: &mut Changes| {
        places(key).iter().try_for_each(|(tree, key)| changes.set_aside(txn, *tree, key, reason))
    };
    records_of(run, &Fixed::<R>::new(), bury)
}

/// As [`records`], where more than setting aside is to be done with a record that can't be read: `bury` gets its stored
/// key and the reason, in the transaction that found it so.
pub(crate) fn records_with<R: Entity>(
    run: &mut Repairer<'_>,
    bury: impl FnMut(&mut Transaction<'_>, &[u8], &str, &mut Changes) -> Result<()>,
) -> Result<()> {
    records_of(run, &Fixed::<R>::new(), bury)
}

/// Removes an index entry that leads to nothing, for sweeps that must get past it.
pub(crate) fn drop_entry(txn: &mut Transaction<'_>, entry: &[u8]) -> Result<()> {
    txn.txn.delete(Tree::Index, entry)
}

/// [`records_with`] for any kind of record.
pub(crate) fn records_of<K: Kind>(
    run: &mut Repairer<'_>,
    kind: &K,
    bury: impl FnMut(&mut Transaction<'_>, &[u8], &str, &mut Changes) -> Result<()>,
) -> Result<()> {
    run.stage(kind.name());
    counters(run, kind)?;
    rows(run, kind, bury)?;
    kind.indexes().filter(|index| !index.building).try_for_each(|index| entries(run, kind, &index))
}

/// Rebuilds the counters of one kind. Where a newer build wrote some of the records they can't be recounted here.
fn counters<K: Kind>(run: &mut Repairer<'_>, kind: &K) -> Result<()> {
    let numbers: Vec<u32> = kind.counters().filter(|counter| !counter.building).map(|counter| counter.number).collect();
    let mut newer = None;
    let outcome = super::sums(run, &numbers, |run, view, sums| {
        let mut parts = PartReader::in_view(view.reader());
        let mut seen = 0;
        newer = None;
        for_each(view.reader(), kind.part().tree, kind.range(), |stored_key, _| {
            let Some(key) = kind.primary_of(stored_key) else { return Ok(()) };
            match check::row(kind, &mut parts, key, None)? {
                Row::Whole(record) => {
                    for counter in kind.counters().filter(|counter| !counter.building) {
                        counter.add_to(&record, 1, sums)?;
                    }
                }
                Row::Newer(fault) => newer = Some(fault.detail),
                Row::Bad(_) | Row::Absent => {}
            }
            seen += 1;
            if seen % PAGE as u64 == 0 { run.tick(PAGE as u64) } else { Ok(()) }
        })?;
        match &newer {
            Some(why) => Err(Error::unsupported(why.clone())),
            None => run.tick(seen % PAGE as u64),
        }
    });
    match (outcome, newer) {
        (Err(_), Some(why)) => {
            run.leave(kind.part().tree, &[], format!("counters of {}: {why}", kind.name()));
            Ok(())
        }
        (outcome, _) => outcome,
    }
}

/// Looks at every record of one kind: writes the entries that it lacks, and calls `bury` for what can't be read.
fn rows<K: Kind>(
    run: &mut Repairer<'_>,
    kind: &K,
    mut bury: impl FnMut(&mut Transaction<'_>, &[u8], &str, &mut Changes) -> Result<()>,
) -> Result<()> {
    let tree = kind.part().tree;
    run.sweep(
        tree,
        kind.range(),
        |view, stored_key, _| {
            let Some(key) = kind.primary_of(stored_key) else { return Ok(None) };
            let mut parts = PartReader::in_view(view.reader());
            let suspect = match check::row(kind, &mut parts, key, Some(stored_key))? {
                Row::Whole(record) => !check::missing_entries(kind, &mut parts, &record, key, false)?.is_empty(),
                Row::Bad(_) | Row::Newer(_) => true,
                Row::Absent => false,
            };
            Ok(suspect.then(|| key.to_vec()))
        },
        |txn, stored_key, key, changes| {
            let mut parts = PartReader::in_transaction(txn.txn);
            match check::row(kind, &mut parts, key, Some(stored_key))? {
                Row::Absent => Ok(()),
                Row::Whole(record) => {
                    let missing = check::missing_entries(kind, &mut parts, &record, key, false)?;
                    missing.iter().try_for_each(|missing| write_entry(kind, txn, key, missing, changes))
                }
                Row::Newer(fault) => {
                    changes.leave(fault.kind, tree, stored_key, fault.detail);
                    Ok(())
                }
                Row::Bad(fault) => bury(txn, stored_key, &fault.detail, changes),
            }
        },
    )
}

/// Writes an entry that the record at `key` asks for, unless another record asks for the same unique place and has it.
fn write_entry<K: Kind>(
    kind: &K,
    txn: &mut Transaction<'_>,
    key: &[u8],
    missing: &MissingEntry,
    changes: &mut Changes,
) -> Result<()> {
    if missing.unique && holder_asks(kind, txn, &missing.key)? {
        let why = format!("{}, and another record that asks for it has it", missing.fault.detail);
        changes.leave(ViolationKind::EntryWrong, Tree::Index, &missing.key, why);
        return Ok(());
    }
    txn.txn.put(Tree::Index, &missing.key, upkeep::entry_value(missing.unique, &missing.key, key)?)?;
    changes.entries_written += 1;
    Ok(())
}

/// Whether the record that a unique entry leads to is there and asks for it.
fn holder_asks<K: Kind>(kind: &K, txn: &mut Transaction<'_>, entry: &[u8]) -> Result<bool> {
    let Some(stored) = txn.txn.get(Tree::Index, entry)? else { return Ok(false) };
    let Ok(holder) = upkeep::read_holder(entry, &stored) else { return Ok(false) };
    if holder.is_empty() || holder.len() > KEY_BYTES_MAX {
        return Ok(false);
    }
    Ok(match check::row(kind, &mut PartReader::in_transaction(txn.txn), &holder, None)? {
        Row::Whole(record) => {
            let mut asks = false;
            for index in kind.indexes().filter(|index| index.place.unique) {
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
fn entries<K: Kind>(run: &mut Repairer<'_>, kind: &K, index: &IndexRef<'_, K::Record>) -> Result<()> {
    let range = KeyRange::prefix(&keys::index_prefix(index.place.number, &[]));
    run.sweep(
        Tree::Index,
        range,
        |view, entry, stored| {
            let mut parts = PartReader::in_view(view.reader());
            Ok(check::entry_fault(kind, &mut parts, index, entry, stored, |_| Ok(true))?.map(drop))
        },
        |txn, entry, (), changes| {
            let Some(stored) = txn.txn.get(Tree::Index, entry)? else { return Ok(()) };
            let mut parts = PartReader::in_transaction(txn.txn);
            if check::entry_fault(kind, &mut parts, index, entry, &stored, |_| Ok(true))?.is_some() {
                txn.txn.delete(Tree::Index, entry)?;
                changes.entries_removed += 1;
            }
            Ok(())
        },
    )
}
