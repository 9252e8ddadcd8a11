//! What the holder of a token can do: the verbs of [`Lease`](super::Lease), for scripts and other processes that hold
//! the text of a token instead.
//!
//! Nothing fails an attempt whose token is forgotten: its lease runs out.

use super::act::{self, Finish};
use super::apply::load;
use super::transition::fence;
use super::{Job, Jobs, Token};
use crate::error::Result;
use crate::json::Json;
use crate::record::Transaction;

impl Jobs {
    /// Keeps the claim for another lease (`lease_ms`, or as long as before); answers whether a cancel was asked for.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` for a `lease_ms` outside 1..=86,400,000.
    pub fn heartbeat(&self, token: &Token, lease_ms: Option<u64>) -> Result<bool> {
        let started = self.shared.store.clock().monotonic_ms();
        let pair = self.settled()?.transact(self.durability, |txn| act::heartbeat(txn, token, lease_ms))?;
        self.shared.deadlines.note(&pair, started);
        Ok(pair.head.cancel_requested)
    }

    /// Notes how far the work is and what the next attempt should know. `None` leaves what was noted before.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` for a `percent` above 100 or a checkpoint above 64 KiB.
    pub fn progress(&self, token: &Token, percent: Option<u8>, checkpoint: Option<Json>) -> Result<()> {
        let noted = |txn: &mut Transaction<'_>| act::progress(txn, token, percent, checkpoint.as_ref());
        self.settled()?.transact(self.durability, noted).map(|_| ())
    }

    /// Completes the job with its result.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` for a result above 1 MiB.
    pub fn complete(&self, token: &Token, result: Option<Json>) -> Result<Job> {
        self.finish(token, &Finish::complete(result)?)
    }

    /// Completes the job in the same commit as the writes of `body`. When either fails nothing is written, and the job
    /// is executing as before.
    ///
    /// # Errors
    /// Those of `body`; `LeaseLost`.
    pub fn complete_with<T>(&self, token: &Token, body: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        self.finish_with(token, &Finish::complete(None)?, body)
    }

    /// As [`Jobs::complete_with`], with a result.
    ///
    /// # Errors
    /// Those of `body`; `LeaseLost`; `Invalid` for a result above 1 MiB.
    pub fn complete_with_result<T>(
        &self,
        token: &Token,
        result: Json,
        body: impl FnMut(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.finish_with(token, &Finish::complete(Some(result))?, body)
    }

    /// Fails the attempt: the job waits for the next one, by its backoff or exactly `retry_in_ms`, or is discarded
    /// when this was the last.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub fn fail(&self, token: &Token, error: Option<&str>, retry_in_ms: Option<u64>) -> Result<Job> {
        self.finish(token, &Finish::fail(error, retry_in_ms))
    }

    /// Puts the job off for exactly `delay_ms` (at least 1); the attempt does not count.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` for a delay of 0.
    pub fn snooze(&self, token: &Token, delay_ms: u64) -> Result<Job> {
        self.finish(token, &Finish::snooze(delay_ms)?)
    }

    /// Lets the job go, back to its place in line; the attempt does not count.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub fn release(&self, token: &Token) -> Result<Job> {
        self.finish(token, &Finish::Release)
    }

    /// Gives the job up for good.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub fn discard(&self, token: &Token, reason: Option<&str>) -> Result<Job> {
        self.finish(token, &Finish::discard(reason))
    }

    pub(crate) fn finish(&self, token: &Token, finish: &Finish) -> Result<Job> {
        let pair = self.settled()?.transact(self.durability, |txn| finish.apply(txn, token))?;
        self.finished(token);
        Ok(pair.job())
    }

    /// Checks the token, runs `body`, then the finish: a claim that is over answers `LeaseLost` and not whatever the
    /// body runs into because a later attempt has done its work.
    pub(crate) fn finish_with<T>(
        &self,
        token: &Token,
        finish: &Finish,
        mut body: impl FnMut(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let value = self.settled()?.transact(self.durability, |txn| {
            fence(load(txn, token.job)?, token)?;
            let value = body(txn)?;
            finish.apply(txn, token)?;
            Ok(value)
        })?;
        self.finished(token);
        Ok(value)
    }

    pub(crate) fn finished(&self, token: &Token) {
        self.shared.deadlines.forget(token.job, token.which());
    }
}
