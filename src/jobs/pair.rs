//! What is stored of a job: a pair of values, split by how often they change.
//!
//! ```text
//! jobs tree   <32 hex>         Body   what enqueue said, and the result      written at enqueue, at completion with a
//!                                                                            result, and when a retry clears that
//!             <32 hex>:claim   Head   state, place in line, attempt, lease   written by every other step
//! ```
//!
//! A job that nothing has happened to since its enqueue has no head of its own: [`Head::first`] derives it, so an
//! enqueue writes one value. State, indexes and counters are functions of the pair. A payload of 1 MiB is therefore
//! never copied by claims, heartbeats, failures, crashes or cancels.
//!
//! The honest limit: checkpoint (<= 64 KiB) and the newest error text (<= 4 KiB) live in the head, so a heartbeat of a
//! job with a large checkpoint writes that again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::backoff::Backoff;
use super::job::{Attempt, Job, JobId};
use super::state::{Reason, State};
use super::token::Token;
use crate::engine::Epoch;
use crate::json::Json;

/// A job as stored. Cloning copies the head only.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub body: Arc<Body>,
    pub head: Head,
}

/// What enqueue said, and the result. Field order is the stored order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Body {
    pub id: u128,
    pub queue: String,
    pub kind: String,
    pub target: Option<String>,
    pub payload: Json,
    pub priority: u8,
    pub max_attempts: u32,
    pub max_crashes: u32,
    pub lease_ms: u64,
    pub timeout_ms: Option<u64>,
    pub retention_ms: u64,
    pub backoff: Backoff,
    pub unique_key: Option<String>,
    /// Place in enqueue order over all queues; from 1, never reused.
    pub sequence: u64,
    pub enqueued_at: u64,
    /// The first place in line: the asked time, or the high-water mark of the clock.
    pub run_at: u64,
    /// Whether it began as scheduled. Not derived from `run_at`: that of an immediate job may lie ahead of the clock.
    pub scheduled: bool,
    /// Of the completion; cleared by retry.
    pub result: Option<Json>,
}

/// Everything that changes over a job's life. Field order is the stored order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// 1 at enqueue, +1 a write of either part.
    pub revision: u64,
    pub state: State,
    pub run_at: u64,
    /// Claims so far: the fencing number of the newest. Never goes back.
    pub claims: u64,
    /// Claims that count; given back by snooze and release.
    pub attempt: u32,
    pub crash_count: u32,
    pub finished_at: Option<u64>,
    pub cancel_requested: bool,
    /// Exactly while executing.
    pub lease: Option<Grant>,
    /// The attempt that ended last; none while executing, where the older ones lie in the history.
    pub last: Option<Attempt>,
    pub progress: Option<u8>,
    pub checkpoint: Option<Json>,
}

/// A lease as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub epoch: Epoch,
    pub worker: String,
    pub started_at: u64,
    /// By the wall clock: for show, and for readers in other processes.
    pub expires_at: u64,
    /// How long each heartbeat holds.
    pub lease_ms: u64,
    /// Heartbeats so far. A take-back names the number it saw, so it never beats a heartbeat that came between.
    pub renewals: u64,
}

impl Head {
    /// The head of a job that nothing has happened to since its enqueue.
    pub fn first(body: &Body) -> Self {
        Head {
            revision: 1,
            state: if body.scheduled { State::Scheduled } else { State::Available },
            run_at: body.run_at,
            claims: 0,
            attempt: 0,
            crash_count: 0,
            finished_at: None,
            cancel_requested: false,
            lease: None,
            last: None,
            progress: None,
            checkpoint: None,
        }
    }
}

impl Pair {
    /// A job just enqueued.
    pub fn first(body: Body) -> Self {
        let head = Head::first(&body);
        Pair { body: Arc::new(body), head }
    }

    pub fn id(&self) -> JobId {
        JobId(self.body.id)
    }

    /// The token of the running claim; `None` unless executing.
    pub fn token(&self) -> Option<Token> {
        let lease = self.head.lease.as_ref()?;
        Some(Token { job: self.id(), sequence: self.body.sequence, number: self.head.claims, epoch: lease.epoch })
    }

    /// Bytes of what may be large in the job: payload, result and checkpoint.
    pub fn carried_bytes(&self) -> usize {
        let json = [Some(&self.body.payload), self.body.result.as_ref(), self.head.checkpoint.as_ref()];
        json.into_iter().flatten().map(|json| json.as_str().len()).sum()
    }

    /// The running attempt, else the one that ended last.
    pub fn newest_attempt(&self) -> Option<Attempt> {
        let Some(lease) = &self.head.lease else { return self.head.last.clone() };
        Some(Attempt {
            attempt: self.head.attempt,
            claim: self.head.claims,
            worker: lease.worker.clone(),
            started_at: lease.started_at,
            ended_at: None,
            reason: None,
            error: None,
        })
    }

    /// The job as readers see it.
    pub fn job(&self) -> Job {
        let Pair { body, head } = self;
        let newest = self.newest_attempt();
        let newest = newest.as_ref();
        let reason = match head.state {
            State::Cancelled => Some(Reason::Cancelled),
            _ => newest.and_then(|attempt| attempt.reason),
        };
        Job {
            id: self.id(),
            queue: body.queue.clone(),
            kind: body.kind.clone(),
            target: body.target.clone(),
            state: head.state,
            reason,
            priority: body.priority,
            payload: body.payload.clone(),
            result: body.result.clone(),
            attempt: head.attempt,
            crash_count: head.crash_count,
            max_attempts: body.max_attempts,
            max_crashes: body.max_crashes,
            run_at: head.run_at,
            enqueued_at: body.enqueued_at,
            started_at: newest.map(|attempt| attempt.started_at),
            finished_at: head.finished_at,
            lease_expires_at: head.lease.as_ref().map(|lease| lease.expires_at),
            worker: newest.map(|attempt| attempt.worker.clone()),
            cancel_requested: head.cancel_requested,
            progress: head.progress,
            checkpoint: head.checkpoint.clone(),
            error: newest.and_then(|attempt| attempt.error.clone()),
            unique_key: body.unique_key.clone(),
            revision: head.revision,
        }
    }
}
