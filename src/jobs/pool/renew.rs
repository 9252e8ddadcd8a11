//! Renewal: one thread per pool, which no handler can block.
//!
//! It also takes back what is past while every worker is busy, so that a timeout is noticed without a claim.

use std::time::Duration;

use super::crew::Crew;
use crate::config::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::jobs::apply::{apply, load};
use crate::jobs::maintain::STEP;
use crate::jobs::transition::{Event, fence};
use crate::jobs::{Jobs, Token};

impl Crew {
    /// Renews every running lease once in `heartbeat_ms`, until the grace period is over.
    pub fn renew(&self) {
        let every = Duration::from_millis(self.options.heartbeat_ms);
        while !self.over.wait(every) {
            for tokens in self.roster.tokens().chunks(STEP) {
                match self.jobs.renew(tokens) {
                    Ok(unreadable) => unreadable.into_iter().for_each(|error| self.met(error)),
                    // There are at least two more before the lease is past.
                    Err(error) => self.met(error),
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
    /// that are over are passed over; their holders find out. Those that can't be read are answered, and run out.
    pub(in crate::jobs) fn renew(&self, tokens: &[Token]) -> Result<Vec<Error>> {
        let store = self.settled()?;
        let started = store.clock().monotonic_ms();
        let (renewed, unreadable) = store.transact(Durability::Buffered, |txn| {
            let (mut renewed, mut unreadable) = (Vec::with_capacity(tokens.len()), Vec::new());
            for token in tokens {
                // Only a read may fail for itself: behind a write that failed half-way nothing may be committed.
                match load(txn, token.job).and_then(|pair| fence(pair, token)) {
                    Ok(pair) => {
                        let now = txn.now_ms();
                        renewed.push(apply(txn, &pair, &Event::Heartbeat { now, lease_ms: None })?);
                    }
                    Err(error) if error.kind() == ErrorKind::LeaseLost => {}
                    Err(error) if error.kind() == ErrorKind::Corrupt => unreadable.push(error),
                    Err(error) => return Err(error),
                }
            }
            Ok((renewed, unreadable))
        })?;
        for pair in &renewed {
            self.shared.deadlines.note(pair, started);
        }
        Ok(unreadable)
    }
}
