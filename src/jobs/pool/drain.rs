//! Drain: everything that is ready, on the caller's thread. A testing aid: with a manual clock and seeded ids the same
//! queue gives the same run.

use std::collections::HashSet;

use super::handlers::{Ending, Handlers};
use super::perform::perform;
use super::run::Run;
use super::signal::Signal;
use super::tally::Tally;
use crate::error::{ErrorKind, Result};
use crate::jobs::{ClaimRequest, Jobs, Reason};

impl Jobs {
    /// Works on every job of `queues` that is ready, or becomes ready by it, one after the other in claim order; answers
    /// how the attempts ended. The clock is not moved, so what is to run later stays.
    ///
    /// A job whose handler gives its attempt back is worked on once: it waits until the drain is over.
    ///
    /// # Errors
    /// Those of the store. What was done before stays done.
    pub fn drain(&self, queues: &[&str], handlers: &Handlers) -> Result<Tally> {
        let request = ClaimRequest::new(queues.iter().copied()).worker("drain");
        let (never, mut tally) = (Signal::default(), Tally::default());
        let mut given_back = HashSet::new();
        let mut waiting = Vec::new();
        while let Some(lease) = self.claim_with(&request)?.into_iter().next() {
            let id = lease.job().id;
            if given_back.contains(&id) {
                // Held rather than let go: it would stand first in line again.
                waiting.push(lease.into_parts().1);
                continue;
            }
            let mut ending = perform(handlers, &Run::new(&lease, &never));
            let (_, token) = lease.into_parts();
            let ended = match ending.apply(self, &token) {
                Err(error) if !matches!(error.kind(), ErrorKind::LeaseLost | ErrorKind::Closed) => {
                    Ending::refused(&error).apply(self, &token)
                }
                ended => ended,
            };
            match ended {
                Ok(reason) => {
                    if matches!(reason, Reason::Released | Reason::Snoozed) {
                        given_back.insert(id);
                    }
                    tally.count(reason);
                }
                Err(error) if error.kind() == ErrorKind::LeaseLost => tally.lost += 1,
                Err(error) => return Err(error),
            }
        }
        for token in &waiting {
            self.release(token)?;
        }
        Ok(tally)
    }
}
