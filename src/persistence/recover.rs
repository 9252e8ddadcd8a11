//! The sweeps of an opening, which nothing that can't be read may stop: what stands in their way is set aside or
//! rebuilt, and they go on.
//!
//! In the way stands an executing job that can't be read, an entry of the lease index that is none, or a counter that
//! can't be added to. They are looked for only when a sweep has met one, so an opening costs what it did.

use std::ops::ControlFlow;

use crate::error::{ErrorKind, Result};
use crate::jobs::recovery::{self, SweepReport};
use crate::jobs::{self, set_aside_unreadable_leases};
use crate::record::repair::{self, Repairer};
use crate::record::{RecordStore, quarantine};

use super::RecoveryReport;

/// Ends every lease of an earlier opening, then removes what was staged for commits that never came.
pub(super) fn recover(records: &RecordStore, report: &mut RecoveryReport) -> Result<()> {
    let swept = sweep_leases(records, report)?;
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
fn sweep_leases(records: &RecordStore, report: &mut RecoveryReport) -> Result<SweepReport> {
    let epoch = records.engine().epoch();
    let mut first = match recovery::sweep(records, epoch) {
        Ok(swept) if swept.unreadable == 0 => return Ok(swept),
        Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
        met => met.unwrap_or_default(),
    };
    let again = set_aside_unreadable_leases(records).and_then(|(jobs, entries)| {
        report.quarantined += jobs;
        report.repaired += entries;
        recovery::sweep(records, epoch)
    });
    let second = match again {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            mend(records, report, |run| {
                quarantine::repair(run)?;
                jobs::repair(run)
            })?;
            recovery::sweep(records, epoch)?
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
