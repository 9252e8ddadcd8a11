//! Verify: one sweep over everything that is stored, each kind by the layer that knows it.

use crate::error::Result;
use crate::jobs;
use crate::kv;
use crate::record::scrub::{self, Report};
use crate::record::{RecordStore, View, quarantine};
use crate::registry;

/// Checks all of the store at one point in time. Changes nothing.
pub(super) fn verify(records: &RecordStore) -> Result<Report> {
    records.read(|view| {
        let mut report = Report::default();
        everything(records, view, &mut report)?;
        Ok(report)
    })
}

fn everything(records: &RecordStore, view: &View<'_>, report: &mut Report) -> Result<()> {
    registry::verify(view, report)?;
    jobs::verify(view, report)?;
    kv::verify(view, report)?;
    let collections = records.collections();
    let opened: Vec<&str> = collections.iter().map(|collection| collection.name()).collect();
    scrub::verify_collections(view, &opened, report)?;
    collections.iter().try_for_each(|collection| collection.verify(view, report))?;
    quarantine::verify(view, report)?;
    scrub::verify_pieces(view, report)?;
    claim(report);
    scrub::verify_strays(view, report)
}

/// Claims every key that somebody in this build knows. Repair removes or reports the others, so who keeps something
/// new claims it here.
pub(super) fn claim(report: &mut Report) {
    registry::claim(report);
    jobs::claim(report);
    kv::claim(report);
    scrub::claim_own(report);
}
