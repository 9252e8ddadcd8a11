//! The job as its readers see it: one flat value, every field always there.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use super::state::{Reason, State};
use crate::base64;
use crate::error::{Error, Result};
use crate::json::Json;

/// A job's identifier; shown as 32 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u128);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for JobId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("job: 32 lower-case hex digits, got {text:?}"));
        if text.len() != 32 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        u128::from_str_radix(text, 16).map(JobId).map_err(|_| wrong())
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A job at one point in time. Times are milliseconds since the Unix epoch.
///
/// `reason`, `error`, `worker` and `started_at` are those of its newest attempt: the running one while it executes
/// (so `reason` and `error` are then `None`), else the one that ended last. A cancelled job's reason is
/// [`Reason::Cancelled`] whatever its attempts ended with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Job {
    /// Its identifier.
    pub id: JobId,
    /// The queue it waits in.
    pub queue: String,
    /// What kind of work it is; workers choose by it.
    pub kind: String,
    /// What it is about: a model, a feature.
    pub target: Option<String>,
    /// Where it is in its life.
    pub state: State,
    /// How its newest attempt ended.
    pub reason: Option<Reason>,
    /// 0 first, 255 last.
    pub priority: u8,
    /// What to work on; JSON `null` when none was given.
    pub payload: Json,
    /// What it came to; only a completed job has one.
    pub result: Option<Json>,
    /// Claims that count, the running one included.
    pub attempt: u32,
    /// Attempts that ended by a crash or an expired lease.
    pub crash_count: u32,
    /// A failure of this attempt or a later one is final.
    pub max_attempts: u32,
    /// A crash that makes `crash_count` this many is final.
    pub max_crashes: u32,
    /// When it may run; its place in line among equals in priority.
    pub run_at: u64,
    /// When it was enqueued.
    pub enqueued_at: u64,
    /// When its newest attempt began.
    pub started_at: Option<u64>,
    /// When it reached its terminal state.
    pub finished_at: Option<u64>,
    /// When its lease ends by the wall clock. For show: leases are taken back by the monotonic clock.
    pub lease_expires_at: Option<u64>,
    /// Who works on it, or worked on it last.
    pub worker: Option<String>,
    /// Whether its worker was asked to stop.
    pub cancel_requested: bool,
    /// Per cent done, as its worker last said.
    pub progress: Option<u8>,
    /// What its worker left for the next attempt.
    pub checkpoint: Option<Json>,
    /// The error of its newest attempt, at most 4 KiB.
    pub error: Option<String>,
    /// While it is not terminal, no other job of its queue has this key.
    pub unique_key: Option<String>,
    /// 1, then +1 a write.
    pub revision: u64,
}

impl Job {
    /// The bytes of a payload given by [`NewJob::payload_bytes`](super::NewJob::payload_bytes); `None` for other JSON.
    ///
    /// ```
    /// # use ml_persistence::{MlPersistence, NewJob};
    /// # fn main() -> ml_persistence::Result<()> {
    /// let db = MlPersistence::in_memory().open()?;
    /// let id = db.jobs().enqueue(NewJob::new("train", "fit").payload_bytes(&[0, 255]))?.job;
    /// assert_eq!(db.jobs().get(id)?.and_then(|job| job.payload_bytes()), Some(vec![0, 255]));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn payload_bytes(&self) -> Option<Vec<u8>> {
        let payload = self.payload.to_value();
        let object = payload.as_object().filter(|object| object.len() == 1)?;
        base64::decode(object.get("base64")?.as_str()?).ok()
    }
}

/// One attempt of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// Its number; attempts that were given back share theirs with the next.
    pub attempt: u32,
    /// The claim's number: grows with every claim of the job.
    pub claim: u64,
    /// Who worked on it.
    pub worker: String,
    /// When it began.
    pub started_at: u64,
    /// When it ended; `None` while it runs.
    pub ended_at: Option<u64>,
    /// How it ended; `None` while it runs.
    pub reason: Option<Reason>,
    /// What its worker reported, at most 4 KiB.
    pub error: Option<String>,
}

/// The attempts of a job: the newest in full, the rest counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Attempts {
    /// The newest 16, newest first, the running one included.
    pub newest: Vec<Attempt>,
    /// How the older ones ended.
    pub older: BTreeMap<Reason, u64>,
}

/// Jobs of one queue, by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Ready to be claimed.
    pub available: u64,
    /// Waiting for their time.
    pub scheduled: u64,
    /// Claimed.
    pub executing: u64,
    /// Waiting for their next attempt.
    pub retryable: u64,
    /// Finished.
    pub completed: u64,
    /// Given up.
    pub discarded: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl Counts {
    /// The number of jobs in `state`.
    #[must_use]
    pub fn of(&self, state: State) -> u64 {
        match state {
            State::Available => self.available,
            State::Scheduled => self.scheduled,
            State::Executing => self.executing,
            State::Retryable => self.retryable,
            State::Completed => self.completed,
            State::Discarded => self.discarded,
            State::Cancelled => self.cancelled,
        }
    }

    pub(crate) fn set(&mut self, state: State, count: u64) {
        let field = match state {
            State::Available => &mut self.available,
            State::Scheduled => &mut self.scheduled,
            State::Executing => &mut self.executing,
            State::Retryable => &mut self.retryable,
            State::Completed => &mut self.completed,
            State::Discarded => &mut self.discarded,
            State::Cancelled => &mut self.cancelled,
        };
        *field = count;
    }
}
