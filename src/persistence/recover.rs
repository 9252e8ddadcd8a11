//! The sweeps of an opening, which nothing that can't be read may stop: what stands in their way is set aside or
//! rebuilt, and they go on.
//!
//! In the way stands an executing job that can't be read, an entry of the lease index that is none, or a counter that
//! can't be added to. They are looked for only when a sweep has met one, so an opening costs what it did.

use std::ops::ControlFlow;

use crate::engine::{Epoch, ORIGIN_KEY, Tree};
use crate::error::{ErrorKind, Result};
use crate::jobs::recovery::{self, SweepReport};
use crate::jobs::{self, set_aside_unreadable_leases};
use crate::record::repair::{self, Repairer};
use crate::record::{RecordStore, quarantine};

use super::RecoveryReport;

/// How leases of another opening are ended.
type Sweep = fn(&RecordStore, Epoch) -> Result<SweepReport>;

/// Ends every lease of an earlier opening, then removes what was staged for commits that never came.
///
/// A state that came from another store, and that nothing was written to here, had its leases granted there: that they
/// end is no crash. (The first write of the sweep ends that: of one that is interrupted the repetition counts the rest.)
pub(super) fn recover(records: &RecordStore, report: &mut RecoveryReport) -> Result<()> {
    let is_restored = records.engine().get(Tree::Meta, ORIGIN_KEY)?.is_some();
    let swept = sweep_leases(records, report, if is_restored { recovery::sweep_restored } else { recovery::sweep })?;
    report.jobs_requeued = swept.requeued;
    report.jobs_discarded = swept.discarded;
    report.jobs_cancelled = swept.cancelled;
    let staged = match records.sweep_staged() {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            mend(records, report, quarantine::repair)?;
            records.sweep_staged()?
        }
        staged => staged?,
    };
    report.quarantined += staged.set_aside;
    Ok(())
}

/// What a sweep had done before it met damage is not in the answer, since it could not say so.
fn sweep_leases(records: &RecordStore, report: &mut RecoveryReport, sweep: Sweep) -> Result<SweepReport> {
    let epoch = records.engine().epoch();
    let mut first = match sweep(records, epoch) {
        Ok(swept) if swept.unreadable == 0 => return Ok(swept),
        Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
        met => met.unwrap_or_default(),
    };
    let again = set_aside_unreadable_leases(records).and_then(|(jobs, entries)| {
        report.quarantined += jobs;
        report.repaired += entries;
        sweep(records, epoch)
    });
    let second = match again {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            mend(records, report, |run| {
                quarantine::repair(run)?;
                jobs::repair(run)
            })?;
            sweep(records, epoch)?
        }
        again => again?,
    };
    first.requeued += second.requeued;
    first.discarded += second.discarded;
    first.cancelled += second.cancelled;
    Ok(first)
}

fn mend(
    records: &RecordStore,
    report: &mut RecoveryReport,
    body: impl FnOnce(&mut Repairer<'_>) -> Result<()>,
) -> Result<()> {
    let mended = repair::repair(records, &mut |_| ControlFlow::Continue(()), body)?;
    report.quarantined += mended.quarantined_found;
    report.repaired += mended.mended();
    Ok(())
}
