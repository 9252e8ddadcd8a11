//! Single values: their counter, then those that can't be read.

use std::collections::BTreeMap;

use crate::codec::Part;
use crate::engine::KeyRange;
use crate::error::{ErrorKind, Result};

use super::super::scrub::{KeyCounter, ViolationKind, damage};
use super::super::value::PartReader;
use super::super::view::{View, for_each};
use super::Repairer;

/// Rebuilds the counter of the values of `part` whose keys begin with `prefix`, and moves those that can't be read into
/// quarantine. A value counts by its key, so it counts until the transaction that moves it.
pub(crate) fn values(run: &mut Repairer<'_>, part: Part, prefix: &[u8], counter: Option<&KeyCounter>) -> Result<()> {
    if let Some(counter) = counter {
        super::sums(run, &[counter.number], |run, view, sums| recount(run, view, part, prefix, counter, sums))?;
    }
    run.sweep(
        part.tree,
        KeyRange::prefix(prefix),
        |view, key, stored| {
            let misplaced = match counter {
                Some(counter) => damage((counter.group)(key))?.is_err(),
                None => false,
            };
            let whole = damage(PartReader::in_view(view.reader()).check(part, key, stored))?;
            Ok((misplaced || whole.is_err()).then_some(()))
        },
        |txn, key, (), changes| {
            let Some(stored) = txn.txn.get(part.tree, key)? else { return Ok(()) };
            let group = counter.map(|counter| damage((counter.group)(key))).transpose()?;
            let whole = damage(PartReader::in_transaction(txn.txn).check(part, key, &stored))?;
            let reason = match (&group, whole) {
                (_, Err(error)) if error.kind() == ErrorKind::Unsupported => {
                    changes.leave(ViolationKind::Unreadable, part.tree, key, error.to_string());
                    return Ok(());
                }
                (_, Err(error)) => error.to_string(),
                (Some(Err(error)), Ok(())) => error.to_string(),
                (_, Ok(())) => return Ok(()),
            };
            changes.set_aside(txn, part.tree, key, &reason)?;
            if let (Some(counter), Some(Ok(group))) = (counter, group) {
                txn.add(counter.number, group, -1);
            }
            Ok(())
        },
    )
}

fn recount(
    run: &mut Repairer<'_>,
    view: &View<'_>,
    part: Part,
    prefix: &[u8],
    counter: &KeyCounter,
    sums: &mut BTreeMap<Vec<u8>, i128>,
) -> Result<()> {
    let mut seen = 0u64;
    for_each(view.reader(), part.tree, KeyRange::prefix(prefix), |key, _| {
        // A key that belongs in no group counts in none.
        if damage(counter.count(key, sums))?.is_err() {
            return Ok(());
        }
        seen += 1;
        if seen.is_multiple_of(super::PAGE as u64) { run.tick(super::PAGE as u64) } else { Ok(()) }
    })
}
