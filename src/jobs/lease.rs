//! What a worker holds while it works on a job.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::act::Finish;
use super::state::Reason;
use super::{ClaimRequest, Job, Jobs, Token};
use crate::error::Result;
use crate::json::Json;
use crate::record::Transaction;

/// One claim of one job. Finishing takes it by value, so a job is finished once.
///
/// Dropped unfinished it fails its attempt: reason `panicked` while unwinding, else `dropped`, and the job's backoff
/// keeps an early `?` from spinning. A drop never waits and never panics, wherever it happens: it leaves a note in
/// memory, and the next call of the queue, or a claimer that waits, writes it before anything else.
#[must_use = "dropping a lease fails its attempt"]
pub struct Lease {
    jobs: Jobs,
    token: Token,
    job: Job,
    /// What a drop has to report: taken by whatever ends the claim in another way.
    unfinished: bool,
    /// Kept for the attempt's record when a finish failed.
    error: Option<String>,
    /// Was seen to be over.
    lost: AtomicBool,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("token", &self.token).finish_non_exhaustive()
    }
}

impl Lease {
    pub(crate) fn new(jobs: Jobs, token: Token, job: Job) -> Self {
        Lease { jobs, token, job, unfinished: true, error: None, lost: AtomicBool::new(false) }
    }

    /// The job as it was claimed.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The queue that it came from.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The claim's token.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// Takes job and token out: from here on only the lease's time ends the claim, and dropping does nothing.
    #[must_use]
    pub fn into_parts(mut self) -> (Job, Token) {
        self.unfinished = false;
        (self.job.clone(), self.token)
    }

    /// Keeps the claim for another lease; answers whether a cancel was asked for.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub fn heartbeat(&self) -> Result<bool> {
        self.jobs.heartbeat(&self.token, None)
    }

    /// Whether the worker was asked to stop, as far as this process knows, at the price of a look into memory. A cancel
    /// shows at once; one inside a caller's own transaction with the next heartbeat.
    #[must_use]
    pub fn cancel_requested(&self) -> bool {
        self.jobs.shared.deadlines.held(&self.token).is_some_and(|held| held.cancel_requested)
    }

    /// Whether the claim is known to be over: taken back, or ended by somebody who has the token. Once `true` it stays
    /// so, and every further call answers `LeaseLost`. `false` is no promise: a heartbeat is.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        // A heartbeat of another thread that came before the end may be noted after it.
        if self.jobs.shared.deadlines.held(&self.token).is_none() {
            self.lost.store(true, Ordering::SeqCst);
        }
        self.lost.load(Ordering::SeqCst)
    }

    /// Milliseconds until the lease runs out by the monotonic clock; 0 when it has, or when the claim is over.
    #[must_use]
    pub fn remaining_ms(&self) -> u64 {
        let now = self.jobs.shared.store.clock().monotonic_ms();
        self.jobs.shared.deadlines.held(&self.token).map_or(0, |held| held.due.saturating_sub(now))
    }

    /// Notes how far the work is, in per cent.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` above 100.
    pub fn progress(&self, percent: u8) -> Result<()> {
        self.jobs.progress(&self.token, Some(percent), None)
    }

    /// Notes what the next attempt should know: JSON of at most 64 KiB.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` above 64 KiB.
    pub fn checkpoint(&self, checkpoint: impl Into<Json>) -> Result<()> {
        self.jobs.progress(&self.token, None, Some(checkpoint.into()))
    }

    /// Completes the job with its result.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` for a result above 1 MiB: the attempt then fails as dropped.
    pub fn complete(mut self, result: impl Into<Json>) -> Result<Job> {
        let finish = Finish::complete(Some(result.into()));
        let outcome = finish.and_then(|finish| self.jobs.finish(&self.token, &finish));
        self.settle(outcome)
    }

    /// Completes the job in the same commit as the writes of `body`: all or nothing.
    ///
    /// When `body` fails nothing of it is written and the attempt fails as dropped, with the error's text.
    /// [`Jobs::complete_with`] leaves the job executing instead.
    ///
    /// # Errors
    /// Those of `body`; `LeaseLost`.
    pub fn complete_with<T>(mut self, body: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        let outcome = self.jobs.complete_with(&self.token, body);
        self.settle(outcome)
    }

    /// As [`Lease::complete_with`], with a result.
    ///
    /// # Errors
    /// Those of `body`; `LeaseLost`; `Invalid` for a result above 1 MiB.
    pub fn complete_with_result<T>(
        mut self,
        result: impl Into<Json>,
        body: impl FnMut(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let outcome = self.jobs.complete_with_result(&self.token, result.into(), body);
        self.settle(outcome)
    }

    /// Completes the job and claims the next in one commit.
    ///
    /// # Errors
    /// As [`Jobs::complete_and_claim`].
    pub fn complete_and_claim(mut self, result: impl Into<Json>, request: &ClaimRequest) -> Result<Vec<Lease>> {
        let outcome = self.jobs.complete_and_claim(&self.token, Some(result.into()), request);
        self.settle(outcome)
    }

    /// Fails the attempt; the job's backoff decides when the next one may run.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub fn fail(mut self, error: impl AsRef<str>) -> Result<Job> {
        let outcome = self.jobs.fail(&self.token, Some(error.as_ref()), None);
        self.settle(outcome)
    }

    /// Fails the attempt; the next one may run in exactly `delay_ms`.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub fn retry_in(mut self, delay_ms: u64, error: impl AsRef<str>) -> Result<Job> {
        let outcome = self.jobs.fail(&self.token, Some(error.as_ref()), Some(delay_ms));
        self.settle(outcome)
    }

    /// Puts the job off for exactly `delay_ms` (at least 1); the attempt does not count.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` for a delay of 0.
    pub fn snooze(mut self, delay_ms: u64) -> Result<Job> {
        let outcome = self.jobs.snooze(&self.token, delay_ms);
        self.settle(outcome)
    }

    /// Lets the job go, back to its place in line; the attempt does not count.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub fn release(mut self) -> Result<Job> {
        let outcome = self.jobs.release(&self.token);
        self.settle(outcome)
    }

    /// Gives the job up for good.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub fn discard(mut self, reason: impl AsRef<str>) -> Result<Job> {
        let outcome = self.jobs.discard(&self.token, Some(reason.as_ref()));
        self.settle(outcome)
    }

    /// A claim that was ended, or lost, leaves nothing for the drop to report.
    fn settle<T>(&mut self, outcome: Result<T>) -> Result<T> {
        use crate::error::ErrorKind::{Closed, CommitUnknown, LeaseLost};
        self.unfinished = match &outcome {
            Ok(_) => false,
            Err(error) => !matches!(error.kind(), Closed | CommitUnknown | LeaseLost),
        };
        self.error = outcome.as_ref().err().map(ToString::to_string);
        outcome
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.unfinished {
            return;
        }
        let reason = if std::thread::panicking() { Reason::Panicked } else { Reason::Dropped };
        self.jobs.note_dropped(self.token, reason, self.error.as_deref());
    }
}
