//! The queue's verbs inside a caller's own transaction: committed with whatever else it writes, or not at all.

use super::act::{self, Finish};
use super::apply::load;
use super::enqueue::{check_batch, enqueue};
use super::{Enqueued, Job, JobId, NewJob, Token};
use crate::error::{Error, Result};
use crate::json::Json;
use crate::record::Transaction;

/// The job queue inside a transaction.
///
/// What is enqueued here wakes waiting claimers when it is committed.
pub struct JobsTxn<'a, 't> {
    txn: &'a mut Transaction<'t>,
}

impl<'t> Transaction<'t> {
    /// The job queue inside this transaction.
    pub fn jobs(&mut self) -> JobsTxn<'_, 't> {
        JobsTxn { txn: self }
    }
}

impl JobsTxn<'_, '_> {
    /// Enqueues a job.
    ///
    /// # Errors
    /// As [`Jobs::enqueue`](super::Jobs::enqueue).
    pub fn enqueue(&mut self, job: NewJob) -> Result<Enqueued> {
        job.check()?;
        let enqueued = enqueue(self.txn, &[job])?;
        enqueued.first().copied().ok_or_else(|| Error::internal("an enqueue of one job answered none"))
    }

    /// Enqueues 1..=1,000 jobs in list order.
    ///
    /// # Errors
    /// As [`Jobs::enqueue_batch`](super::Jobs::enqueue_batch).
    pub fn enqueue_batch(&mut self, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
        check_batch(jobs)?;
        enqueue(self.txn, jobs)
    }

    /// The job with this id.
    ///
    /// # Errors
    /// `Corrupt` for damage.
    pub fn get(&mut self, id: JobId) -> Result<Option<Job>> {
        Ok(load(self.txn, id)?.map(|pair| pair.job()))
    }

    /// Completes the claim behind `token`.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` for a result above 1 MiB.
    pub fn complete(&mut self, token: &Token, result: Option<Json>) -> Result<Job> {
        Finish::complete(result)?.apply(self.txn, token).map(|pair| pair.job())
    }

    /// Fails the attempt behind `token`.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub fn fail(&mut self, token: &Token, error: Option<&str>, retry_in_ms: Option<u64>) -> Result<Job> {
        Finish::fail(error, retry_in_ms).apply(self.txn, token).map(|pair| pair.job())
    }

    /// Notes how far the work behind `token` is. `None` leaves what was noted before.
    ///
    /// # Errors
    /// As [`Jobs::progress`](super::Jobs::progress).
    pub fn progress(&mut self, token: &Token, percent: Option<u8>, checkpoint: Option<&Json>) -> Result<()> {
        act::progress(self.txn, token, percent, checkpoint).map(|_| ())
    }

    /// Puts the job behind `token` off for exactly `delay_ms`; the attempt does not count.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` for a delay of 0.
    pub fn snooze(&mut self, token: &Token, delay_ms: u64) -> Result<Job> {
        Finish::snooze(delay_ms)?.apply(self.txn, token).map(|pair| pair.job())
    }

    /// Lets the job behind `token` go, back to its place in line; the attempt does not count.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub fn release(&mut self, token: &Token) -> Result<Job> {
        Finish::Release.apply(self.txn, token).map(|pair| pair.job())
    }

    /// Gives the job behind `token` up for good.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub fn discard(&mut self, token: &Token, reason: Option<&str>) -> Result<Job> {
        Finish::discard(reason).apply(self.txn, token).map(|pair| pair.job())
    }

    /// Cancels a job, or asks its worker to stop. A lease that has run out is not noticed here: such a job is asked,
    /// and cancelled when its lease is taken back.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a completed or discarded job.
    pub fn cancel(&mut self, id: JobId) -> Result<Job> {
        act::cancel(self.txn, id, None).map(|pair| pair.job())
    }

    /// Brings a finished job back.
    ///
    /// # Errors
    /// As [`Jobs::retry`](super::Jobs::retry).
    pub fn retry(&mut self, id: JobId) -> Result<Job> {
        act::retry(self.txn, id).map(|pair| pair.job())
    }
}
