//! Renewal: one thread per pool, which no handler can block.
//!
//! It also takes back what is past while every worker is busy, so that a timeout is noticed without a claim.

use std::time::Duration;

use super::crew::Crew;
use crate::config::Durability;
use crate::error::{ErrorKind, Result};
use crate::jobs::maintain::STEP;
use crate::jobs::{Jobs, Token, act};

impl Crew {
    /// Renews every running lease once in `heartbeat_ms`, until the grace period is over.
    pub fn renew(&self) {
        let every = Duration::from_millis(self.options.heartbeat_ms);
        while !self.over.wait(every) {
            for tokens in self.running().chunks(STEP) {
                // There are at least two more before the lease is past.
                if let Err(error) = self.jobs.renew(tokens) {
                    self.met(error);
                }
            }
            if let Err(error) = self.jobs.take_back_past(None) {
                self.met(error);
            }
        }
    }
}

impl Jobs {
    /// Renews several leases in one buffered commit: what counts is memory, where a crash leaves nothing anyway. Those
    /// that are over are passed over; their holders find out.
    pub(super) fn renew(&self, tokens: &[Token]) -> Result<()> {
        let store = self.settled()?;
        let started = store.clock().monotonic_ms();
        let renewed = store.transact(Durability::Buffered, |txn| {
            let mut renewed = Vec::with_capacity(tokens.len());
            for token in tokens {
                match act::heartbeat(txn, token, None) {
                    Ok(pair) => renewed.push(pair),
                    Err(error) if error.kind() == ErrorKind::LeaseLost => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(renewed)
        })?;
        for pair in &renewed {
            self.shared.deadlines.note(pair, started);
        }
        Ok(())
    }
}
