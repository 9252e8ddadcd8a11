//! Counts how attempts ended.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::jobs::Reason;

/// How many attempts ended in which way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Tally {
    /// By reason; a discarded job counts as failed.
    pub ended: BTreeMap<Reason, u64>,
    /// Claims that were over before their handler was done: taken back, or released by a shutdown.
    pub lost: u64,
}

impl Tally {
    /// The attempts that ended for this reason.
    #[must_use]
    pub fn of(&self, reason: Reason) -> u64 {
        self.ended.get(&reason).copied().unwrap_or_default()
    }

    pub(super) fn count(&mut self, reason: Reason) {
        *self.ended.entry(reason).or_default() += 1;
    }
}
