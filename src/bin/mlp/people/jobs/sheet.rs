//! How a job looks to people: a line of a list, or a sheet of its own with what its attempts came to.

use ml_persistence::jobs::{Attempts, Job, Reason, State};

use crate::table::{cut, facts, optional, table, time_or_none};
use crate::time;

/// Characters of an error that a list shows.
const NOTE_CHARS: usize = 60;

/// One line of a list.
pub fn row(job: &Job) -> [String; 7] {
    [
        job.id.to_string(),
        job.state.to_string(),
        job.queue.clone(),
        job.kind.clone(),
        format!("{}/{}", job.attempt, job.max_attempts),
        time::shown(job.run_at),
        note(job),
    ]
}

/// What is going on with a job, or how it went.
fn note(job: &Job) -> String {
    let mut words = Vec::new();
    if job.state == State::Executing {
        words.extend(job.worker.as_ref().map(|worker| format!("worker {worker}")));
        words.extend(job.progress.map(|percent| format!("{percent} %")));
        words.extend(job.cancel_requested.then(|| "asked to stop".to_owned()));
    } else if job.state != State::Completed {
        words.extend(job.reason.map(reason));
        words.extend(job.error.as_ref().map(|error| cut(error, NOTE_CHARS)));
    }
    words.join(", ")
}

/// How an attempt ended, in words.
fn reason(reason: Reason) -> String {
    let words = match reason {
        Reason::Completed => "completed",
        Reason::Failed => "failed",
        Reason::Panicked => "panicked",
        Reason::Dropped => "dropped unfinished",
        Reason::TimedOut => "timed out",
        Reason::LeaseExpired => "lease expired",
        Reason::ProcessCrash => "its process ended",
        Reason::Snoozed => "snoozed",
        Reason::Released => "given back",
        Reason::Cancelled => "cancelled",
        other => return format!("{other:?}"),
    };
    words.to_owned()
}

/// One job, every field.
pub fn sheet(job: &Job) -> String {
    facts([
        ("job", job.id.to_string()),
        ("queue", job.queue.clone()),
        ("kind", job.kind.clone()),
        ("target", optional(job.target.as_ref())),
        ("state", job.state.to_string()),
        ("note", note(job)),
        ("priority", job.priority.to_string()),
        ("attempt", format!("{} of {}", job.attempt, job.max_attempts)),
        ("crashes", format!("{} of {}", job.crash_count, job.max_crashes)),
        ("enqueued at", time::shown(job.enqueued_at)),
        ("run at", time::shown(job.run_at)),
        ("started at", time_or_none(job.started_at)),
        ("lease until", time_or_none(job.lease_expires_at)),
        ("finished at", time_or_none(job.finished_at)),
        ("worker", optional(job.worker.as_ref())),
        ("progress", optional(job.progress.map(|percent| format!("{percent} %")))),
        ("unique key", optional(job.unique_key.as_ref())),
        ("payload", job.payload.to_string()),
        ("checkpoint", optional(job.checkpoint.as_ref())),
        ("result", optional(job.result.as_ref())),
        ("revision", job.revision.to_string()),
    ])
}

/// Its attempts, newest first; nothing before the first.
pub fn history(attempts: &Attempts) -> String {
    if attempts.newest.is_empty() {
        return String::new();
    }
    let rows = attempts.newest.iter().map(|attempt| {
        [
            attempt.attempt.to_string(),
            time::shown(attempt.started_at),
            time_or_none(attempt.ended_at),
            attempt.worker.clone(),
            attempt.reason.map_or_else(|| "runs".to_owned(), reason),
            attempt.error.as_deref().map_or_else(String::new, |error| cut(error, NOTE_CHARS)),
        ]
    });
    let newest = table(["attempt", "started at", "ended at", "worker", "ended", "error"], rows);
    let older: Vec<String> =
        attempts.older.iter().map(|(ended, count)| format!("{count} {}", reason(*ended))).collect();
    match older.as_slice() {
        [] => format!("\n\n{newest}"),
        older => format!("\n\n{newest}\nand before: {}", older.join(", ")),
    }
}
