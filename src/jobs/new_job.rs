//! What to say about a job when it is enqueued, with defaults and limits.

use super::backoff::Backoff;
use super::job::JobId;
use super::schema::check_room;
use crate::base64;
use crate::error::{Error, Result};
use crate::json::Json;

/// Longest payload, and longest result, as compact JSON.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Longest checkpoint, as compact JSON.
pub const CHECKPOINT_BYTES_MAX: usize = 64 << 10;
/// Longest error text kept; the rest is cut off.
pub const ERROR_BYTES_MAX: usize = 4 << 10;
/// Longest queue, kind, worker, target and unique key.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest lease: a day.
pub const LEASE_MS_MAX: u64 = 86_400_000;
/// The lease of a job that names none.
pub const LEASE_MS_DEFAULT: u64 = 60_000;
/// How long a finished job is kept by default: 7 days.
pub const RETENTION_MS_DEFAULT: u64 = 7 * 86_400_000;
/// Most jobs in one batch.
pub const BATCH_MAX: usize = 1_000;
/// Most jobs in one claim or one page.
pub const LIMIT_MAX: usize = 1_000;

/// A job to enqueue. Times and delays in milliseconds.
///
/// ```
/// use ml_persistence::NewJob;
/// let job = NewJob::new("train", "fit").payload(serde_json::json!({"depth": 6})).priority(10).unique_key("fit:6");
/// ```
#[derive(Debug, Clone)]
pub struct NewJob {
    pub(crate) queue: String,
    pub(crate) kind: String,
    pub(crate) id: Option<JobId>,
    pub(crate) target: Option<String>,
    pub(crate) payload: Json,
    pub(crate) priority: u8,
    pub(crate) start: Start,
    pub(crate) max_attempts: u32,
    pub(crate) max_crashes: u32,
    pub(crate) lease_ms: u64,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) retention_ms: u64,
    pub(crate) backoff: Backoff,
    pub(crate) unique_key: Option<String>,
}

/// When a new job may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Now,
    At(u64),
    In(u64),
}

impl NewJob {
    /// A job of `kind` for `queue`, ready at once, with every default.
    #[must_use]
    pub fn new(queue: impl Into<String>, kind: impl Into<String>) -> Self {
        NewJob {
            queue: queue.into(),
            kind: kind.into(),
            id: None,
            target: None,
            payload: Json::null(),
            priority: 100,
            start: Start::Now,
            max_attempts: 5,
            max_crashes: 5,
            lease_ms: LEASE_MS_DEFAULT,
            timeout_ms: None,
            retention_ms: RETENTION_MS_DEFAULT,
            backoff: Backoff::default(),
            unique_key: None,
        }
    }

    /// An identifier of the caller's choosing: enqueuing it again answers [`Outcome::Existing`](super::Outcome).
    #[must_use]
    pub fn id(mut self, id: JobId) -> Self {
        self.id = Some(id);
        self
    }

    /// What it is about: a model, a feature.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// What to work on: JSON of at most 1 MiB.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Json>) -> Self {
        self.payload = payload.into();
        self
    }

    /// What to work on, as bytes: kept as the JSON `{"base64": "…"}`, so at most 768 KiB less a few bytes fit.
    /// [`Job::payload_bytes`](super::Job::payload_bytes) gives them back.
    #[must_use]
    pub fn payload_bytes(self, bytes: &[u8]) -> Self {
        self.payload(serde_json::json!({ "base64": base64::encode(bytes) }))
    }

    /// 0 is claimed first, 255 last; default 100.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Not before this time. A time in the past only sets its place in line.
    #[must_use]
    pub fn run_at(mut self, run_at: u64) -> Self {
        self.start = Start::At(run_at);
        self
    }

    /// Not before this many milliseconds from now.
    #[must_use]
    pub fn delay_ms(mut self, delay_ms: u64) -> Self {
        self.start = Start::In(delay_ms);
        self
    }

    /// A failure of this attempt is final; default 5, at least 1.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts;
        self
    }

    /// The crash or expiry that is final; default 5, at least 1.
    #[must_use]
    pub fn max_crashes(mut self, max_crashes: u32) -> Self {
        self.max_crashes = max_crashes;
        self
    }

    /// How long a claim holds without a heartbeat: 1..=86,400,000, default 60,000. A claim may name its own.
    #[must_use]
    pub fn lease_ms(mut self, lease_ms: u64) -> Self {
        self.lease_ms = lease_ms;
        self
    }

    /// No attempt runs longer than this, whatever its heartbeats; default none.
    #[must_use]
    pub fn timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.timeout_ms = Some(timeout_ms);
        self
    }

    /// How long it is kept after its end; default 7 days, 0 removes it in the same commit.
    #[must_use]
    pub fn retention_ms(mut self, retention_ms: u64) -> Self {
        self.retention_ms = retention_ms;
        self
    }

    /// How long a failed attempt waits for the next.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// While a job of this queue with this key is not terminal, enqueuing another answers that one.
    #[must_use]
    pub fn unique_key(mut self, unique_key: impl Into<String>) -> Self {
        self.unique_key = Some(unique_key.into());
        self
    }

    /// Refuses what is beyond a limit, naming the field.
    pub(crate) fn check(&self) -> Result<()> {
        check_name("queue", &self.queue)?;
        check_name("kind", &self.kind)?;
        if let Some(target) = &self.target {
            check_name("target", target)?;
        }
        if let Some(unique_key) = &self.unique_key {
            check_name("unique_key", unique_key)?;
        }
        check_room(&self.queue, &self.kind, self.unique_key.as_deref())?;
        check_json("payload", &self.payload, PAYLOAD_BYTES_MAX)?;
        check_lease("lease_ms", self.lease_ms)?;
        let least_one = [
            ("max_attempts", u64::from(self.max_attempts)),
            ("max_crashes", u64::from(self.max_crashes)),
            ("timeout_ms", self.timeout_ms.unwrap_or(1)),
            ("job", u64::from(self.id != Some(JobId(0)))),
        ];
        for (field, value) in least_one {
            if value == 0 {
                return Err(Error::invalid(format!("{field}: at least 1, got 0")));
            }
        }
        self.backoff.check()
    }
}

/// Refuses a name outside 1..=256 bytes.
pub(crate) fn check_name(field: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Error::invalid(format!("{field}: 1..={NAME_BYTES_MAX} bytes, got {}", name.len())));
    }
    Ok(())
}

/// Refuses JSON of more than `max` bytes.
pub(crate) fn check_json(field: &str, json: &Json, max: usize) -> Result<()> {
    let bytes = json.as_str().len();
    if bytes > max {
        return Err(Error::invalid(format!("{field}: at most {max} bytes of JSON, got {bytes}")));
    }
    Ok(())
}

/// Refuses a lease outside 1..=86,400,000 ms.
pub(crate) fn check_lease(field: &str, lease_ms: u64) -> Result<()> {
    if lease_ms == 0 || lease_ms > LEASE_MS_MAX {
        return Err(Error::invalid(format!("{field}: 1..={LEASE_MS_MAX}, got {lease_ms}")));
    }
    Ok(())
}

/// Refuses a limit outside 1..=1000.
pub(crate) fn check_limit(field: &str, limit: usize) -> Result<()> {
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Error::invalid(format!("{field}: 1..={LIMIT_MAX}, got {limit}")));
    }
    Ok(())
}

/// The error text as it is kept: at most 4 KiB, cut between characters.
pub(crate) fn cut_error(text: &str) -> String {
    let mut end = text.len().min(ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_text_is_cut_between_characters() {
        let text = format!("{}é", "x".repeat(ERROR_BYTES_MAX - 1));
        assert_eq!(cut_error(&text), "x".repeat(ERROR_BYTES_MAX - 1));
        assert_eq!(cut_error("short é"), "short é");
        assert_eq!(cut_error(&"x".repeat(ERROR_BYTES_MAX * 2)).len(), ERROR_BYTES_MAX);
    }

    #[test]
    fn a_field_beyond_its_limit_is_refused_by_name() {
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        let good = || NewJob::new("q", "k");
        let cases = [
            ("queue", NewJob::new("", "k")),
            ("kind", NewJob::new("q", &long)),
            ("target", good().target(&long)),
            ("unique_key", good().unique_key("")),
            ("payload", good().payload(serde_json::json!("x".repeat(PAYLOAD_BYTES_MAX)))),
            ("lease_ms", good().lease_ms(0)),
            ("lease_ms", good().lease_ms(LEASE_MS_MAX + 1)),
            ("timeout_ms", good().timeout_ms(0)),
            ("max_attempts", good().max_attempts(0)),
            ("max_crashes", good().max_crashes(0)),
            ("backoff", good().backoff(Backoff::default().factor(0))),
        ];
        for (field, job) in cases {
            let error = job.check().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid);
            assert!(error.to_string().starts_with(&format!("{field}:")), "{error}");
        }
        good().target("t").unique_key("u").timeout_ms(1).retention_ms(0).check().unwrap();
    }
}
