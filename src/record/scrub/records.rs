//! Every record of a kind, its index entries in both directions, and its counters by a recount.

use std::collections::BTreeMap;

use crate::engine::{KeyRange, Tree};
use crate::error::Result;
use crate::keys;

use super::super::kind::{Fixed, Kind};
use super::super::schema::Entity;
use super::super::value::PartReader;
use super::super::view::{View, for_each};
use super::Report;
use super::check::{self, Row};
use super::sums;

/// Claims the index entries and counters of a kind of record. Whoever knows its tree claims the records themselves.
pub(crate) fn claim<R: Entity>(report: &mut Report) {
    for index in R::schema().indexes {
        report.claim(Tree::Index, &keys::index_prefix(index.number, &[]));
    }
    for counter in R::schema().counters {
        report.claim(Tree::Counter, &keys::counter(counter.number, &[]));
    }
}

/// Checks every record of a kind, its index entries in both directions, and its counters by a recount.
///
/// # Errors
/// What keeps the sweep from reading on (`Closed`, `Unavailable`, damage that the engine itself refuses): never a bad
/// record.
pub fn verify<R: Entity>(view: &View<'_>, report: &mut Report) -> Result<()> {
    verify_kind(&Fixed::<R>::new(), view, report)
}

/// [`verify`] for any kind of record. What is under construction is compared with the records that it holds.
///
/// # Errors
/// As [`verify`].
pub(crate) fn verify_kind<K: Kind>(kind: &K, view: &View<'_>, report: &mut Report) -> Result<()> {
    let mut parts = PartReader::in_view(view.reader());
    let mut sums = BTreeMap::new();
    let mut unreadable = 0u64;
    let tree = kind.part().tree;
    for_each(view.reader(), tree, kind.range(), |stored_key, _| {
        let Some(key) = kind.primary_of(stored_key) else { return Ok(()) };
        report.records += 1;
        match check::row(kind, &mut parts, key, Some(stored_key))? {
            Row::Whole(record) => {
                let built = kind.is_built(view, key)?;
                for counter in kind.counters().filter(|counter| built || !counter.building) {
                    counter.add_to(&record, 1, &mut sums)?;
                }
                for missing in check::missing_entries(kind, &mut parts, &record, key, built)? {
                    report.violation(missing.fault.kind, Tree::Index, &missing.key, missing.fault.detail);
                }
            }
            Row::Bad(fault) | Row::Newer(fault) => {
                unreadable += 1;
                report.violation(fault.kind, tree, stored_key, fault.detail);
            }
            Row::Absent => {}
        }
        Ok(())
    })?;
    for index in kind.indexes() {
        let range = KeyRange::prefix(&keys::index_prefix(index.place.number, &[]));
        for_each(view.reader(), Tree::Index, range, |entry, stored| {
            let holds = |key: &[u8]| Ok(!index.building || kind.is_built(view, key)?);
            if let Some(fault) = check::entry_fault(kind, &mut parts, &index, entry, stored, holds)? {
                report.violation(fault.kind, Tree::Index, entry, fault.detail);
            }
            Ok(())
        })?;
    }
    for counter in kind.counters() {
        sums::verify_sums(view, counter.number, counter.name, &mut sums, unreadable, report)?;
    }
    Ok(())
}
