//! The state machine: one pure function. Everything that ever changes a job goes through [`transition`].
//!
//! ```text
//!             enqueue, run_at later                 enqueue
//!                      │                               │
//!                      v        promote (due)          v        claim
//!                  scheduled ─────────────────────> available ────────────┐
//!                   ^  │                           ^  ^  ^  │             │
//!     snooze: the   │  │ cancel      promote (due) │  │  │  │ cancel      │
//!   attempt is given│  v                 ┌─────────┘  │  │  v             v
//!        back ──────┘ cancelled       retryable       │  │ cancelled   executing ── heartbeat, progress ──> executing
//!                                     │   ^           │  │             │ │ │ │ └─── cancel ──> executing + cancel_requested
//!                              cancel │   │ fail, timed out: backoff   │ │ │ │
//!                                     v   └───────────┼──┼─────────────┘ │ │ └─ complete ──> completed
//!                                 cancelled           │  └───────────────┘ └─ fail with no attempt left, crash with
//!                                                     │   release, close:     none left, discard ──> discarded
//!                                                     │   attempt given back
//!                                                     │   expire, crash:
//!                                                     │   crash_count + 1
//!     completed, discarded, cancelled ── retry ───────┘
//! ```
//!
//! An executing job whose cancel was asked for goes to `cancelled` instead of any of these, except `complete`, which
//! keeps its result. A finish on a job that is not executing answers `LeaseLost`; any other event in a state that has
//! no edge for it answers `Conflict`, and nothing changes.

use std::sync::Arc;

use super::job::{Attempt, JobId};
use super::pair::{Body, Grant, Head, Pair};
use super::state::{Reason, State};
use super::token::Token;
use crate::engine::Epoch;
use crate::error::{Error, Result};
use crate::json::Json;

/// What can happen to a job. `now` is the wall clock, `random` picks jitter: both are read before the transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// Its time has come.
    Promote { now: u64 },
    /// A worker takes it.
    Claim { now: u64, epoch: Epoch, worker: String, lease_ms: u64 },
    /// Its worker is alive.
    Heartbeat { now: u64, lease_ms: Option<u64> },
    /// Its worker tells how far it is. `None` leaves what was said before.
    Progress { percent: Option<u8>, checkpoint: Option<Json> },
    /// Its worker is done.
    Complete { now: u64, result: Option<Json> },
    /// Its attempt failed; `retry_in_ms` is exact, without it the job's backoff decides.
    Fail { now: u64, reason: Reason, error: Option<String>, retry_in_ms: Option<u64>, random: u64 },
    /// Its worker gives it up for good.
    Discard { now: u64, error: Option<String> },
    /// Its worker puts it off.
    Snooze { now: u64, delay_ms: u64 },
    /// Its worker, or a clean close, lets it go.
    Release { now: u64 },
    /// Its lease ran out by the monotonic clock.
    Expire { now: u64 },
    /// The process that held it is gone.
    Crash { now: u64 },
    /// Somebody wants it stopped. `lease_past`: its lease has run out and only waits to be taken back.
    Cancel { now: u64, lease_past: bool },
    /// Somebody wants it run again.
    Retry { now: u64 },
}

/// The pair after `event`.
///
/// # Errors
/// `LeaseLost` for a holder's event on a job that is not executing; `Conflict` for any other event without an edge.
pub(crate) fn transition(pair: &Pair, event: &Event) -> Result<Pair> {
    use State::{Available, Cancelled, Completed, Discarded, Executing, Retryable, Scheduled};
    let mut next = pair.clone();
    let state = pair.head.state;
    match event {
        Event::Promote { now } => match state {
            Scheduled | Retryable if pair.head.run_at <= *now => next.head.state = Available,
            _ => return Err(refused(pair, "promote")),
        },
        Event::Claim { now, epoch, worker, lease_ms } => match state {
            Available => claim(&mut next, *now, *epoch, worker, *lease_ms),
            _ => return Err(refused(pair, "claim")),
        },
        Event::Cancel { now, lease_past } => match state {
            Available | Scheduled | Retryable => finish(&mut next.head, Cancelled, *now),
            Executing if *lease_past => {
                next.head.cancel_requested = true;
                take_back(&mut next, Reason::LeaseExpired, *now)?;
            }
            Executing => next.head.cancel_requested = true,
            Cancelled => {}
            Completed | Discarded => return Err(refused(pair, "cancel")),
        },
        Event::Retry { now } => match state {
            Completed | Discarded | Cancelled => retry(&mut next, *now),
            _ => return Err(refused(pair, "retry")),
        },
        Event::Expire { now } | Event::Crash { now } if state == Executing => {
            let reason =
                if matches!(event, Event::Expire { .. }) { Reason::LeaseExpired } else { Reason::ProcessCrash };
            take_back(&mut next, reason, *now)?;
        }
        Event::Expire { .. } | Event::Crash { .. } => return Err(refused(pair, "take back")),
        held => {
            let Some(lease) = next.head.lease.take().filter(|_| state == Executing) else {
                return Err(lease_lost(pair.id()));
            };
            holder(&mut next, lease, held)?;
        }
    }
    Ok(next)
}

/// The events of whoever holds the lease.
fn holder(next: &mut Pair, mut lease: Grant, event: &Event) -> Result<()> {
    let Pair { body, head } = next;
    match event {
        Event::Heartbeat { now, lease_ms } => {
            lease.lease_ms = lease_ms.unwrap_or(lease.lease_ms);
            lease.expires_at = expiry(body, lease.started_at, *now, lease.lease_ms);
            lease.renewals += 1;
            head.lease = Some(lease);
        }
        Event::Progress { percent, checkpoint } => {
            head.progress = percent.or(head.progress);
            head.checkpoint = checkpoint.clone().or(head.checkpoint.take());
            head.lease = Some(lease);
        }
        Event::Complete { now, result } => {
            end_attempt(head, lease, Reason::Completed, None, *now);
            finish(head, State::Completed, *now);
            if *result != body.result {
                *body = Arc::new(Body { result: result.clone(), ..Body::clone(body) });
            }
        }
        Event::Fail { now, reason, error, retry_in_ms, random } => {
            if !stopped(head, &lease, error, *now) {
                end_attempt(head, lease, *reason, error.clone(), *now);
                // At least, not equal: crashes keep their attempt counted and may carry it past the maximum.
                if head.attempt >= body.max_attempts {
                    finish(head, State::Discarded, *now);
                } else {
                    let delay = retry_in_ms.unwrap_or_else(|| body.backoff.delay_ms(head.attempt, *random));
                    head.state = State::Retryable;
                    head.run_at = now.saturating_add(delay);
                }
            }
        }
        Event::Discard { now, error } => {
            if !stopped(head, &lease, error, *now) {
                end_attempt(head, lease, Reason::Failed, error.clone(), *now);
                finish(head, State::Discarded, *now);
            }
        }
        Event::Snooze { now, delay_ms } => {
            if !stopped(head, &lease, &None, *now) {
                end_attempt(head, lease, Reason::Snoozed, None, *now);
                head.attempt = head.attempt.saturating_sub(1);
                head.state = State::Scheduled;
                head.run_at = now.saturating_add(*delay_ms);
            }
        }
        Event::Release { now } => {
            if !stopped(head, &lease, &None, *now) {
                end_attempt(head, lease, Reason::Released, None, *now);
                head.attempt = head.attempt.saturating_sub(1);
                head.state = State::Available;
            }
        }
        other => return Err(Error::internal(format!("job {}: {other:?} is no holder's event", JobId(body.id)))),
    }
    Ok(())
}

fn claim(next: &mut Pair, now: u64, epoch: Epoch, worker: &str, lease_ms: u64) {
    let head = &mut next.head;
    head.state = State::Executing;
    head.claims += 1;
    head.attempt = head.attempt.saturating_add(1);
    head.last = None;
    head.lease = Some(Grant {
        epoch,
        worker: worker.to_owned(),
        started_at: now,
        expires_at: expiry(&next.body, now, now, lease_ms),
        lease_ms,
        renewals: 0,
    });
}

fn retry(next: &mut Pair, now: u64) {
    let head = &mut next.head;
    head.state = State::Available;
    head.run_at = now;
    head.attempt = 0;
    head.crash_count = 0;
    head.finished_at = None;
    head.cancel_requested = false;
    // The attempt goes to the history; a job that starts afresh has no reason and no error.
    head.last = None;
    if next.body.result.is_some() {
        next.body = Arc::new(Body { result: None, ..Body::clone(&next.body) });
    }
}

/// The lease is gone without its holder's word: the crash is counted, the attempt stays counted.
fn take_back(next: &mut Pair, reason: Reason, now: u64) -> Result<()> {
    let head = &mut next.head;
    let lease = head.lease.take().ok_or_else(|| lease_lost(JobId(next.body.id)))?;
    head.crash_count = head.crash_count.saturating_add(1);
    end_attempt(head, lease, reason, None, now);
    if head.cancel_requested {
        finish(head, State::Cancelled, now);
    } else if head.crash_count >= next.body.max_crashes {
        finish(head, State::Discarded, now);
    } else {
        head.state = State::Available;
    }
    Ok(())
}

/// Ends the attempt as cancelled when that was asked for.
fn stopped(head: &mut Head, lease: &Grant, error: &Option<String>, now: u64) -> bool {
    if head.cancel_requested {
        end_attempt(head, lease.clone(), Reason::Cancelled, error.clone(), now);
        finish(head, State::Cancelled, now);
    }
    head.cancel_requested
}

fn end_attempt(head: &mut Head, lease: Grant, reason: Reason, error: Option<String>, now: u64) {
    head.last = Some(Attempt {
        attempt: head.attempt,
        claim: head.claims,
        worker: lease.worker,
        started_at: lease.started_at,
        ended_at: Some(now),
        reason: Some(reason),
        error,
    });
}

fn finish(head: &mut Head, state: State, now: u64) {
    head.state = state;
    head.finished_at = Some(now);
}

/// When a lease granted or renewed now ends: never after the attempt's timeout.
fn expiry(body: &Body, started_at: u64, now: u64, lease_ms: u64) -> u64 {
    let timeout_at = body.timeout_ms.map_or(u64::MAX, |timeout_ms| started_at.saturating_add(timeout_ms));
    now.saturating_add(lease_ms).min(timeout_at)
}

/// Refuses a token that is not the one of the running claim. A token stays good until its claim is ended, also past
/// its lease's time.
pub(crate) fn fence(pair: Option<Pair>, token: &Token) -> Result<Pair> {
    pair.filter(|pair| pair.token().as_ref() == Some(token)).ok_or_else(|| lease_lost(token.job))
}

fn lease_lost(id: JobId) -> Error {
    Error::lease_lost(format!("job {id}: this claim is over: finished, taken back, or of an earlier opening"))
}

fn refused(pair: &Pair, what: &str) -> Error {
    Error::conflict(format!("job {}: can't {what} a job that is {}", pair.id(), pair.head.state))
}

#[cfg(test)]
#[path = "transition_tests.rs"]
mod tests;
