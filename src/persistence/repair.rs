//! Repair: each kind by the layer that knows it, in an order in which every step meets what it needs whole.
//!
//! ```text
//!   quarantine, so that what is found later can be put there
//!     -> plain values -> jobs -> registry -> opened collections -> pieces of nobody -> keys that nothing knows
//! ```

use crate::error::Result;
use crate::record::quarantine;
use crate::record::repair::{self, Repairer};
use crate::record::scrub::Report;
use crate::record::{RecordStore, RepairReport, Watch};
use crate::{jobs, kv, registry};

/// Repairs all of the store, in many small transactions.
pub(super) fn repair(records: &RecordStore, watch: Watch<'_>) -> Result<RepairReport> {
    repair::repair(records, watch, everything)
}

fn everything(run: &mut Repairer<'_>) -> Result<()> {
    quarantine::repair(run)?;
    kv::repair(run)?;
    jobs::repair(run)?;
    registry::repair(run)?;
    let collections = run.store().collections();
    let opened: Vec<&str> = collections.iter().map(|collection| collection.name()).collect();
    repair::collections(run, &opened)?;
    collections.iter().try_for_each(|collection| collection.repair(run))?;
    repair::pieces(run)?;
    let mut known = Report::default();
    super::verify::claim(&mut known);
    repair::strays(run, &known)
}
