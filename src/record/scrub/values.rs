//! Single values that no index knows: whole, and counted by key.

use std::collections::BTreeMap;

use crate::codec::Part;
use crate::engine::{KeyRange, Tree};
use crate::error::Result;
use crate::keys;

use super::super::value::PartReader;
use super::super::view::{View, for_each};
use super::sums::{self, KeyCounter};
use super::{Report, ViolationKind, damage};

/// Claims the values of `part` whose keys begin with `prefix`, and their counter.
pub(crate) fn claim_values(part: Part, prefix: &[u8], counter: Option<&KeyCounter>, report: &mut Report) {
    report.claim(part.tree, prefix);
    if let Some(counter) = counter {
        report.claim(Tree::Counter, &keys::counter(counter.number, &[]));
    }
}

/// Checks that every key of the part's tree that begins with `prefix` holds a whole value of the part. With `counter`,
/// how many there are in each group too.
///
/// # Errors
/// As [`verify`](super::verify).
pub fn verify_values(
    view: &View<'_>,
    part: Part,
    prefix: &[u8],
    counter: Option<&KeyCounter>,
    report: &mut Report,
) -> Result<()> {
    let mut sums = BTreeMap::new();
    for_each(view.reader(), part.tree, KeyRange::prefix(prefix), |key, stored| {
        report.records += 1;
        if let Some(counter) = counter
            && let Err(error) = damage(counter.count(key, &mut sums))?
        {
            report.violation(ViolationKind::Misplaced, part.tree, key, error.to_string());
        }
        if let Err(error) = damage(PartReader::in_view(view.reader()).check(part, key, stored))? {
            report.violation(ViolationKind::Unreadable, part.tree, key, error.to_string());
        }
        Ok(())
    })?;
    match counter {
        Some(counter) => sums::verify_sums(view, counter.number, counter.name, &mut sums, 0, report),
        None => Ok(()),
    }
}
