//! Keys that nothing in this build knows. Index entries and counters are made of records, so those of an unknown number
//! are of no use and go. Anything else may be data: what is whole is left and reported, what is damaged goes to
//! quarantine.

use crate::codec;
use crate::engine::Tree;
use crate::error::{ErrorKind, Result};

use super::super::scrub::strays::gaps;
use super::super::scrub::{Report, ViolationKind};
use super::Repairer;

/// Deals with every key that `known`, the report of a verify of everything else, has not claimed.
pub(crate) fn strays(run: &mut Repairer<'_>, known: &Report) -> Result<()> {
    run.stage("strays");
    for &tree in Tree::ALL {
        for gap in gaps(known, tree) {
            run.sweep(
                tree,
                gap,
                |_, _, _| Ok(Some(())),
                |txn, key, (), changes| {
                    if matches!(tree, Tree::Index | Tree::Counter) {
                        txn.txn.delete(tree, key)?;
                        changes.entries_removed += 1;
                        return Ok(());
                    }
                    let Some(stored) = txn.txn.get(tree, key)? else { return Ok(()) };
                    match codec::read_head(tree, key, &stored) {
                        Err(error) if error.kind() != ErrorKind::Unsupported => {
                            changes.set_aside(txn, tree, key, &error.to_string())
                        }
                        _ => {
                            changes.leave(ViolationKind::Stray, tree, key, "nothing in this build knows this key");
                            Ok(())
                        }
                    }
                },
            )?;
        }
    }
    Ok(())
}
