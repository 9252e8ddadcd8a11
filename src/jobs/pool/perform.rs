//! One attempt from handler to finish: run it, catch its panic, end its claim.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::handlers::{Ending, Handlers};
use super::run::Run;
use crate::error::{Result, panic_text};
use crate::jobs::act::Finish;
use crate::jobs::new_job::cut_error;
use crate::jobs::{Jobs, Reason, Token};

/// Has the job's handler work on it. A panic is an ending like any other.
pub(super) fn perform(handlers: &Handlers, run: &Run<'_>) -> Ending {
    let kind = &run.job().kind;
    let Some(handler) = handlers.of(kind) else {
        return Ending::Fail { error: format!("no handler for jobs of kind {kind:?}"), retry_in_ms: None };
    };
    match catch_unwind(AssertUnwindSafe(|| handler(run))) {
        Ok(Ok(done)) => done.0,
        Ok(Err(error)) => Ending::Fail { error: error.to_string(), retry_in_ms: None },
        Err(panic) => Ending::Panicked(panic_text(&*panic).to_owned()),
    }
}

impl Ending {
    /// Ends the claim behind `token` in this way; answers how the attempt ended. May be tried again after a failure.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` for what is beyond a limit; those of a body.
    pub fn apply(&mut self, jobs: &Jobs, token: &Token) -> Result<Reason> {
        let finish = self.finish()?;
        let Ending::CompleteWith(_, body) = self else {
            return Ok(jobs.finish(token, &finish)?.reason.unwrap_or(Reason::Cancelled));
        };
        // A body that panics must not take the worker with it.
        let outcome = catch_unwind(AssertUnwindSafe(|| jobs.finish_with(token, &finish, |txn| body(txn))));
        match outcome {
            Ok(outcome) => outcome.map(|()| Reason::Completed),
            Err(panic) => {
                *self = Ending::Panicked(panic_text(&*panic).to_owned());
                self.apply(jobs, token)
            }
        }
    }

    /// What to do instead when this ending was refused for `error`: the attempt fails.
    pub fn refused(error: &crate::Error) -> Self {
        Ending::Fail { error: error.to_string(), retry_in_ms: None }
    }

    fn finish(&self) -> Result<Finish> {
        match self {
            Ending::Complete(result) | Ending::CompleteWith(result, _) => Finish::complete(result.clone()),
            Ending::Fail { error, retry_in_ms } => Ok(Finish::fail(Some(error), *retry_in_ms)),
            Ending::Panicked(error) => {
                Ok(Finish::Fail { reason: Reason::Panicked, error: Some(cut_error(error)), retry_in_ms: None })
            }
            Ending::Snooze(delay_ms) => Finish::snooze(*delay_ms),
            Ending::Release => Ok(Finish::Release),
            Ending::Discard(reason) => Ok(Finish::discard(Some(reason))),
        }
    }
}
