//! Counters: the difference between a recount and what is stored, both from one point in time, is added. The argument
//! stands in the module's own doc.

use std::collections::BTreeMap;

use crate::engine::{Tree, counter_value};
use crate::error::{Error, Result};

use super::super::scrub::sums::for_each_wrong;
use super::super::view::View;
use super::{Repairer, ViolationKind};

/// Rebuilds the counters with these numbers from what `recount` adds up at one point in time, by counter key.
pub(crate) fn sums(
    run: &mut Repairer<'_>,
    numbers: &[u32],
    mut recount: impl FnMut(&mut Repairer<'_>, &View<'_>, &mut BTreeMap<Vec<u8>, i128>) -> Result<()>,
) -> Result<()> {
    let store = run.store();
    let wrong = store.read(|view| {
        let (mut sums, mut wrong) = (BTreeMap::new(), Vec::new());
        recount(run, view, &mut sums)?;
        for number in numbers {
            for_each_wrong(view, *number, &mut sums, |sum| wrong.push((sum.key.clone(), sum)))?;
        }
        Ok(wrong)
    })?;
    run.mend_all(Tree::Counter, &wrong, |txn, key, wrong, changes| {
        match &wrong.found {
            Ok(found) => {
                let off = i64::try_from(wrong.expected - i128::from(*found))
                    .map_err(|_| Error::invalid("counter: the sum leaves 64 bits"))?;
                txn.txn.add(Tree::Counter, key, off)?;
            }
            Err(_) => {
                // As long as the damaged bytes stand there nobody has added anything.
                if txn.txn.get(Tree::Counter, key)? != wrong.stored {
                    changes.leave(ViolationKind::CounterWrong, Tree::Counter, key, "changed while it was recounted");
                    return Ok(());
                }
                match i64::try_from(wrong.expected) {
                    Ok(0) => txn.txn.delete(Tree::Counter, key)?,
                    Ok(sum) => txn.txn.put(Tree::Counter, key, counter_value(Tree::Counter, key, sum))?,
                    Err(_) => return Err(Error::invalid("counter: the sum leaves 64 bits")),
                }
            }
        }
        changes.counters += 1;
        Ok(())
    })
}
