//! What can be done to one job inside a transaction: by the holder of its token, or by anyone.
//!
//! Every function here reads the job, checks the token where there is one, and applies one event. Lease methods, calls
//! by token, and `txn.jobs()` all end up here.

use super::apply::{apply, load};
use super::deadlines::Past;
use super::enqueue::holder;
use super::job::JobId;
use super::new_job::{CHECKPOINT_BYTES_MAX, PAYLOAD_BYTES_MAX, check_json, check_lease, cut_error};
use super::pair::Pair;
use super::state::Reason;
use super::token::Token;
use super::transition::{Event, fence};
use crate::error::{Error, Result};
use crate::json::Json;
use crate::record::Transaction;

/// How the holder of a claim ends it, checked and ready to be applied in any transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Finish {
    Complete { result: Option<Json> },
    Fail { reason: Reason, error: Option<String>, retry_in_ms: Option<u64> },
    Discard { error: Option<String> },
    Snooze { delay_ms: u64 },
    Release,
}

impl Finish {
    pub fn complete(result: Option<Json>) -> Result<Self> {
        if let Some(result) = &result {
            check_json("result", result, PAYLOAD_BYTES_MAX)?;
        }
        Ok(Finish::Complete { result })
    }

    pub fn fail(error: Option<&str>, retry_in_ms: Option<u64>) -> Self {
        Finish::Fail { reason: Reason::Failed, error: error.map(cut_error), retry_in_ms }
    }

    pub fn discard(error: Option<&str>) -> Self {
        Finish::Discard { error: error.map(cut_error) }
    }

    pub fn snooze(delay_ms: u64) -> Result<Self> {
        if delay_ms == 0 {
            return Err(Error::invalid("delay_ms: at least 1, got 0"));
        }
        Ok(Finish::Snooze { delay_ms })
    }

    /// Ends the claim behind `token`, now.
    pub fn apply(&self, txn: &mut Transaction<'_>, token: &Token) -> Result<Pair> {
        self.apply_at(txn, token, txn.now_ms())
    }

    /// Ends the claim behind `token`, as of `now`.
    pub fn apply_at(&self, txn: &mut Transaction<'_>, token: &Token, now: u64) -> Result<Pair> {
        let pair = fence(load(txn, token.job)?, token)?;
        let event = match self.clone() {
            Finish::Complete { result } => Event::Complete { now, result },
            Finish::Fail { reason, error, retry_in_ms } => {
                Event::Fail { now, reason, error, retry_in_ms, random: txn.fresh_id() as u64 }
            }
            Finish::Discard { error } => Event::Discard { now, error },
            Finish::Snooze { delay_ms } => Event::Snooze { now, delay_ms },
            Finish::Release => Event::Release { now },
        };
        apply(txn, &pair, &event)
    }
}

/// Renews the lease behind `token`.
pub(crate) fn heartbeat(txn: &mut Transaction<'_>, token: &Token, lease_ms: Option<u64>) -> Result<Pair> {
    if let Some(lease_ms) = lease_ms {
        check_lease("lease_ms", lease_ms)?;
    }
    let pair = fence(load(txn, token.job)?, token)?;
    let now = txn.now_ms();
    apply(txn, &pair, &Event::Heartbeat { now, lease_ms })
}

/// Notes how far the holder of `token` is. `None` leaves what was noted before.
pub(crate) fn progress(
    txn: &mut Transaction<'_>,
    token: &Token,
    percent: Option<u8>,
    checkpoint: Option<&Json>,
) -> Result<Pair> {
    if let Some(percent) = percent.filter(|percent| *percent > 100) {
        return Err(Error::invalid(format!("percent: 0..=100, got {percent}")));
    }
    if let Some(checkpoint) = checkpoint {
        check_json("checkpoint", checkpoint, CHECKPOINT_BYTES_MAX)?;
    }
    let pair = fence(load(txn, token.job)?, token)?;
    apply(txn, &pair, &Event::Progress { percent, checkpoint: checkpoint.cloned() })
}

/// Cancels a job, or asks the worker that executes it to stop. `past`: the claim of it whose lease ran out.
pub(crate) fn cancel(txn: &mut Transaction<'_>, id: JobId, past: Option<Past>) -> Result<Pair> {
    let pair = existing(txn, id)?;
    let renewals = pair.head.lease.as_ref().map(|lease| lease.renewals);
    let claim = pair.token().map(|token| token.which());
    let lease_past = past.is_some_and(|past| claim == Some(past.claim) && renewals == Some(past.renewals));
    let now = txn.now_ms();
    apply(txn, &pair, &Event::Cancel { now, lease_past })
}

/// Brings a finished job back.
pub(crate) fn retry(txn: &mut Transaction<'_>, id: JobId) -> Result<Pair> {
    let pair = existing(txn, id)?;
    if let (Some(key), true) = (&pair.body.unique_key, pair.head.state.is_terminal())
        && let Some(holder) = holder(txn, &pair.body.queue, key)?
    {
        return Err(Error::conflict(format!("job {id}: its unique_key {key:?} is held by job {holder}")));
    }
    let now = txn.now_ms();
    apply(txn, &pair, &Event::Retry { now })
}

fn existing(txn: &mut Transaction<'_>, id: JobId) -> Result<Pair> {
    load(txn, id)?.ok_or_else(|| Error::not_found(format!("job {id}: there is no such job")))
}
