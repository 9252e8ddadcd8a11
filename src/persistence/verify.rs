//! Verify: one sweep over everything that is stored, each kind by the layer that knows it.

use crate::error::Result;
use crate::jobs;
use crate::kv;
use crate::record::scrub::{self, Report};
use crate::record::{RecordStore, View};
use crate::registry;

/// Checks all of the store at one point in time. Changes nothing.
pub(super) fn verify(records: &RecordStore) -> Result<Report> {
    records.read(|view| {
        let mut report = Report::default();
        everything(view, &mut report)?;
        records.collections().iter().try_for_each(|collection| collection.verify(view, &mut report))?;
        Ok(report)
    })
}

fn everything(view: &View<'_>, report: &mut Report) -> Result<()> {
    registry::verify(view, report)?;
    jobs::verify(view, report)?;
    kv::verify(view, report)?;
    scrub::verify_pieces(view, report)
}
