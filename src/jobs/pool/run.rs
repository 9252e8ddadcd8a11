//! What a handler sees of the job that it works on.

use super::signal::Signal;
use crate::error::Result;
use crate::jobs::{Job, Jobs, Lease, Token};
use crate::json::Json;

/// One attempt, in the hands of a handler. Its lease is renewed by another thread.
#[derive(Debug)]
pub struct Run<'r> {
    lease: &'r Lease,
    stop: &'r Signal,
}

impl<'r> Run<'r> {
    pub(super) fn new(lease: &'r Lease, stop: &'r Signal) -> Self {
        Run { lease, stop }
    }

    /// The job as it was claimed: kind, payload, attempt, the checkpoint of an earlier attempt.
    #[must_use]
    pub fn job(&self) -> &Job {
        self.lease.job()
    }

    /// The claim's token.
    #[must_use]
    pub fn token(&self) -> Token {
        self.lease.token()
    }

    /// The queue, to enqueue what follows.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        self.lease.jobs()
    }

    /// Notes how far the work is, in per cent.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` above 100.
    pub fn progress(&self, percent: u8) -> Result<()> {
        self.lease.progress(percent)
    }

    /// Notes what the next attempt should know: JSON of at most 64 KiB.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` above 64 KiB.
    pub fn checkpoint(&self, checkpoint: impl Into<Json>) -> Result<()> {
        self.lease.checkpoint(checkpoint)
    }

    /// Whether to stop: somebody cancels the job, or the pool shuts down. Costs a look into memory.
    #[must_use]
    pub fn cancel_requested(&self) -> bool {
        self.is_shutting_down() || self.lease.cancel_requested()
    }

    /// Whether the pool shuts down, so that the job ought to be released.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.stop.is_raised()
    }

    /// Whether the claim is known to be over: what is done from here on is in vain. See [`Lease::is_lost`].
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// Milliseconds until the lease runs out, were it not renewed.
    #[must_use]
    pub fn remaining_ms(&self) -> u64 {
        self.lease.remaining_ms()
    }
}
