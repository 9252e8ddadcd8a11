//! Every record of a kind, its index entries in both directions, and its counters by a recount.

use std::collections::BTreeMap;

use crate::engine::{KeyRange, Tree};
use crate::error::Result;
use crate::keys;

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
    let schema = R::schema();
    let mut parts = PartReader::in_view(view.reader());
    let mut sums = BTreeMap::new();
    let mut unreadable = 0u64;
    let tree = schema.primary.tree;
    for_each(view.reader(), tree, KeyRange::all(), |key, _| {
        if !(schema.owns)(key) {
            return Ok(());
        }
        report.records += 1;
        match check::row::<R>(&mut parts, key)? {
            Row::Whole(record) => {
                for counter in schema.counters {
                    counter.add_to(&record, 1, &mut sums);
                }
                for missing in check::missing_entries(&mut parts, &record, key)? {
                    report.violation(missing.fault.kind, Tree::Index, &missing.key, missing.fault.detail);
                }
            }
            Row::Bad(fault) | Row::Newer(fault) => {
                unreadable += 1;
                report.violation(fault.kind, tree, key, fault.detail);
            }
            Row::Absent => {}
        }
        Ok(())
    })?;
    for index in schema.indexes {
        let prefix = keys::index_prefix(index.number, &[]);
        for_each(view.reader(), Tree::Index, KeyRange::prefix(&prefix), |entry, stored| {
            if let Some(fault) = check::entry_fault(&mut parts, index, entry, stored)? {
                report.violation(fault.kind, Tree::Index, entry, fault.detail);
            }
            Ok(())
        })?;
    }
    for counter in schema.counters {
        sums::verify_sums(view, counter.number, counter.name, &mut sums, unreadable, report)?;
    }
    Ok(())
}
