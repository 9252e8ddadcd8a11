//! Enqueue: one job or a batch, in one transaction.
//!
//! The enqueue order is a number taken inside the transaction from one key, so it is exactly the commit order; the
//! engine writes that hot key once a batch. Beside it lies the high-water mark of the clock: a job that is to run at
//! once gets `max(now, mark)` as its `run_at`, so a clock that jumps back does not put later jobs in front.

use serde::{Deserialize, Serialize};

use super::apply::load;
use super::job::JobId;
use super::new_job::{BATCH_MAX, NewJob, Start};
use super::pair::{Body, Pair};
use super::schema::{UNIQUE, sequence_key, unique_parts};
use crate::error::{Error, Result};
use crate::keys;
use crate::record::{Transaction, catalog};

/// What became of an enqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Enqueued {
    /// The job: the new one, or the one that was there.
    pub job: JobId,
    /// Which of the two.
    pub outcome: Outcome,
}

/// Whether an enqueue made a new job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A new job.
    Inserted,
    /// A job with this id, or one that holds this unique key, was there. Nothing was written.
    Existing,
}

/// The enqueue order, kept under one key.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Sequence {
    /// The number given out last; the first is 1.
    pub last: u64,
    /// The latest time at which a job was enqueued to run at once.
    pub mark_ms: u64,
}

/// Refuses a batch of no job, of more than 1,000, or with a job beyond its limits.
pub(crate) fn check_batch(jobs: &[NewJob]) -> Result<()> {
    if jobs.is_empty() || jobs.len() > BATCH_MAX {
        return Err(Error::invalid(format!("jobs: 1..={BATCH_MAX} jobs, got {}", jobs.len())));
    }
    jobs.iter().try_for_each(NewJob::check)
}

/// Enqueues jobs that were checked, in list order.
pub(crate) fn enqueue(txn: &mut Transaction<'_>, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
    let key = sequence_key();
    let mut sequence: Sequence = txn.get_part(catalog::QUEUE_SEQUENCE, &key)?.unwrap_or_default();
    let before = sequence.last;
    let enqueued = jobs.iter().map(|job| enqueue_one(txn, job, &mut sequence)).collect::<Result<Vec<_>>>()?;
    if sequence.last != before {
        txn.put_part(catalog::QUEUE_SEQUENCE, &key, &sequence)?;
    }
    Ok(enqueued)
}

fn enqueue_one(txn: &mut Transaction<'_>, new: &NewJob, sequence: &mut Sequence) -> Result<Enqueued> {
    // The caller's id comes before the unique key: a repeated call must find its own job, finished or not.
    if let Some(existing) = new.id.map(|id| load(txn, id)).transpose()?.flatten() {
        if existing.body.queue != new.queue || existing.body.kind != new.kind {
            return Err(Error::conflict(format!(
                "job {}: exists in queue {:?} with kind {:?}",
                existing.id(),
                existing.body.queue,
                existing.body.kind
            )));
        }
        return Ok(Enqueued { job: existing.id(), outcome: Outcome::Existing });
    }
    // Behind a new body it would count as the new job's: of one that is over, the new one would never run.
    if let Some(id) = new.id
        && txn.holds_part(catalog::CLAIM, &keys::claim(id.0))?
    {
        return Err(Error::corrupt(format!(
            "job {id}: there is a claim of it, but no such job; repair sets that aside"
        )));
    }
    if let Some(holder) = new.unique_key.as_deref().map(|key| holder(txn, &new.queue, key)).transpose()?.flatten() {
        return Ok(Enqueued { job: holder, outcome: Outcome::Existing });
    }
    let now = txn.now_ms();
    let run_at = match new.start {
        Start::Now => {
            sequence.mark_ms = sequence.mark_ms.max(now);
            sequence.mark_ms
        }
        Start::At(run_at) => run_at,
        Start::In(delay_ms) => now.saturating_add(delay_ms),
    };
    sequence.last += 1;
    // In enqueue order, so that the jobs of one time lie together in the store: those of a claim are found in pages that
    // are in its cache already, however many finished ones there are. The random half keeps copies of a store apart.
    let id = new.id.unwrap_or_else(|| JobId(u128::from(sequence.last) << 64 | (txn.fresh_id() >> 64)));
    txn.insert(Pair::first(Body {
        id: id.0,
        queue: new.queue.clone(),
        kind: new.kind.clone(),
        target: new.target.clone(),
        payload: new.payload.clone(),
        priority: new.priority,
        max_attempts: new.max_attempts,
        max_crashes: new.max_crashes,
        lease_ms: new.lease_ms,
        timeout_ms: new.timeout_ms,
        retention_ms: new.retention_ms,
        backoff: new.backoff,
        unique_key: new.unique_key.clone(),
        sequence: sequence.last,
        enqueued_at: now,
        run_at,
        scheduled: new.start != Start::Now && run_at > now,
        result: None,
    }))?;
    Ok(Enqueued { job: id, outcome: Outcome::Inserted })
}

/// The job that holds a unique key.
pub(crate) fn holder(txn: &mut Transaction<'_>, queue: &str, unique_key: &str) -> Result<Option<JobId>> {
    let Some(key) = txn.find_unique(&UNIQUE, unique_parts(queue, unique_key))? else { return Ok(None) };
    parse_key(&key).map(Some)
}

/// The id in a job's stored key.
pub(crate) fn parse_key(key: &[u8]) -> Result<JobId> {
    let text = std::str::from_utf8(key).map_err(|_| Error::corrupt("job key: expected 32 hex digits"))?;
    let id = keys::parse_job_id(text).map_err(|error| Error::corrupt(format!("job key: {error}")))?;
    Ok(JobId(id))
}
