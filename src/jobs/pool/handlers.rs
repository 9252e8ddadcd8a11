//! What a host brings: a function per kind of job, and what it answers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::run::Run;
use crate::error::Result;
use crate::json::Json;
use crate::record::Transaction;

/// Any error: a handler's `?` takes it, and its text becomes the attempt's.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Works on one job.
pub(super) type Handler = dyn Fn(&Run<'_>) -> std::result::Result<Done, HandlerError> + Send + Sync;

/// Handlers by kind of job. Cheap to clone.
///
/// ```
/// use ml_persistence::{Done, Handlers, MlPersistence, NewJob};
/// use serde_json::json;
///
/// # fn main() -> ml_persistence::Result<()> {
/// let db = MlPersistence::in_memory().open()?;
/// let handlers = Handlers::new().on("fit", |run| {
///     run.progress(50)?;
///     Ok(Done::with(json!({"f1": 0.91})))
/// });
/// db.jobs().enqueue(NewJob::new("train", "fit"))?;
/// db.jobs().drain(&["train"], &handlers)?;
/// assert_eq!(db.jobs().counts(None)?["train"].completed, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Handlers {
    by_kind: BTreeMap<String, Arc<Handler>>,
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_kind.keys()).finish()
    }
}

impl Handlers {
    /// None yet. A job of a kind without a handler fails its attempt, with its backoff: another host may know it.
    #[must_use]
    pub fn new() -> Self {
        Handlers::default()
    }

    /// Has jobs of `kind` worked on by `handler`; a second one for the same kind replaces the first.
    ///
    /// An error fails the attempt, a panic too (reason `panicked`), and the worker goes on with the next job. A handler
    /// that runs for long asks [`Run::cancel_requested`] now and then, and answers [`Done::release`] when it is.
    #[must_use]
    pub fn on(
        mut self,
        kind: impl Into<String>,
        handler: impl Fn(&Run<'_>) -> std::result::Result<Done, HandlerError> + Send + Sync + 'static,
    ) -> Self {
        self.by_kind.insert(kind.into(), Arc::new(handler));
        self
    }

    pub(super) fn of(&self, kind: &str) -> Option<&Handler> {
        self.by_kind.get(kind).map(|handler| &**handler)
    }
}

/// What becomes of a job that its handler is done with.
#[derive(Debug)]
pub struct Done(pub(super) Ending);

/// The writes that are to go with a completion.
pub(super) type Body = Box<dyn FnMut(&mut Transaction<'_>) -> Result<()> + Send>;

pub(super) enum Ending {
    Complete(Option<Json>),
    CompleteWith(Option<Json>, Body),
    Fail { error: String, retry_in_ms: Option<u64> },
    Panicked(String),
    Snooze(u64),
    Release,
    Discard(String),
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ending::Complete(_) => "Complete",
            Ending::CompleteWith(..) => "CompleteWith",
            Ending::Fail { .. } => "Fail",
            Ending::Panicked(_) => "Panicked",
            Ending::Snooze(_) => "Snooze",
            Ending::Release => "Release",
            Ending::Discard(_) => "Discard",
        })
    }
}

impl Done {
    /// Completed, without a result.
    #[must_use]
    pub fn ok() -> Self {
        Done(Ending::Complete(None))
    }

    /// Completed with a result of at most 1 MiB.
    #[must_use]
    pub fn with(result: impl Into<Json>) -> Self {
        Done(Ending::Complete(Some(result.into())))
    }

    /// Completed in the same commit as the writes of `body`: all or nothing. When it fails the attempt fails with its
    /// error's text. It may run more than once: no I/O, no clock, no lock in it.
    #[must_use]
    pub fn writing(body: impl FnMut(&mut Transaction<'_>) -> Result<()> + Send + 'static) -> Self {
        Done(Ending::CompleteWith(None, Box::new(body)))
    }

    /// As [`Done::writing`], with a result.
    #[must_use]
    pub fn writing_with(
        result: impl Into<Json>,
        body: impl FnMut(&mut Transaction<'_>) -> Result<()> + Send + 'static,
    ) -> Self {
        Done(Ending::CompleteWith(Some(result.into()), Box::new(body)))
    }

    /// Failed; the next attempt may run in exactly `delay_ms`. (An error fails it with the job's backoff.)
    #[must_use]
    pub fn retry_in(delay_ms: u64, error: impl Into<String>) -> Self {
        Done(Ending::Fail { error: error.into(), retry_in_ms: Some(delay_ms) })
    }

    /// Put off for exactly `delay_ms` (at least 1); the attempt does not count.
    #[must_use]
    pub fn snooze(delay_ms: u64) -> Self {
        Done(Ending::Snooze(delay_ms))
    }

    /// Let go, back to its place in line; the attempt does not count. The answer of a handler that was asked to stop:
    /// a job whose cancel was asked for is then cancelled.
    #[must_use]
    pub fn release() -> Self {
        Done(Ending::Release)
    }

    /// Given up for good.
    #[must_use]
    pub fn discard(reason: impl Into<String>) -> Self {
        Done(Ending::Discard(reason.into()))
    }
}
