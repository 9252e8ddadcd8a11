//! What hosts keep in collections that this process has not opened: damage is reported and left where it lies.
//!
//! Without the host's type nobody knows which index entries and sums such a record leaves behind. Who opens its
//! collection and repairs again sets it aside with them.

use crate::error::Result;

use super::super::scrub::ViolationKind;
use super::super::scrub::collections::{fault, ranges};
use super::super::value::PartReader;
use super::Repairer;

/// Reports what is damaged; the records of the collections in `opened` are left to those.
pub(crate) fn collections(run: &mut Repairer<'_>, opened: &[&str]) -> Result<()> {
    run.stage("collections");
    for (part, range) in ranges(opened) {
        run.sweep(
            part.tree,
            range,
            |view, key, stored| fault(&mut PartReader::in_view(view.reader()), part, key, stored),
            |txn, key, _, changes| {
                let Some(stored) = txn.txn.get(part.tree, key)? else { return Ok(()) };
                if let Some(error) = fault(&mut PartReader::in_transaction(txn.txn), part, key, &stored)? {
                    let why = format!("{error}; a record is set aside by a repair that has opened its collection");
                    changes.leave(ViolationKind::Unreadable, part.tree, key, why);
                }
                Ok(())
            },
        )?;
    }
    Ok(())
}
