//! `mlp jobs …`: the job queue, looked at and steered.
//!
//! In the tables a job's last column says what is going on with it in words; everything else is in `jobs show` and in
//! JSON, where jobs have the fields of `mlp exec`.

use std::collections::BTreeMap;

use ml_persistence::jobs::{Attempt, Attempts, Counts, Job, JobFilter, JobId, Reason, State};
use ml_persistence::{Clock, Error, MlPersistence, Result, SystemClock};
use serde::Serialize;
use serde_json::json;

use super::agree::{Plan, YES};
use super::pages::{PAGES, Pages};
use super::{Ask, COMMON, Command, Destroy, Does, Noun};
use crate::line::{Flag, Line, Shape, Wrong};
use crate::table::{cut, facts, optional, table, time_or_none};
use crate::time;

/// Characters of an error that a list shows.
const NOTE_CHARS: usize = 60;
const STATES: &str = "available, scheduled, executing, retryable, completed, discarded or cancelled";

pub const NOUN: Noun = Noun {
    title: "jobs",
    commands: &[
        Command {
            shape: Shape {
                words: "jobs list",
                operands: "",
                about: "jobs, oldest enqueue first",
                flags: &[
                    &[
                        Flag::of("queue", "QUEUE", "only of this queue"),
                        Flag::of("state", "STATE", STATES),
                        Flag::of("kind", "KIND", "only of this kind"),
                    ],
                    PAGES,
                    COMMON,
                ],
            },
            does: Does::Reads(list),
        },
        Command {
            shape: Shape {
                words: "jobs show",
                operands: "JOB",
                about: "one job with its newest attempts",
                flags: &[COMMON],
            },
            does: Does::Reads(show),
        },
        Command {
            shape: Shape {
                words: "jobs counts",
                operands: "[QUEUE]",
                about: "jobs by queue and state, from counters",
                flags: &[COMMON],
            },
            does: Does::Reads(counts),
        },
        Command {
            shape: Shape {
                words: "jobs cancel",
                operands: "JOB",
                about: "cancel a job that is not finished",
                flags: &[COMMON],
            },
            does: Does::Writes(cancel),
        },
        Command {
            shape: Shape {
                words: "jobs retry",
                operands: "JOB",
                about: "bring a finished job back; its attempts count from 0",
                flags: &[COMMON],
            },
            does: Does::Writes(retry),
        },
        Command {
            shape: Shape {
                words: "jobs pause",
                operands: "QUEUE",
                about: "hand out no job of a queue until it is resumed",
                flags: &[COMMON],
            },
            does: Does::Writes(pause),
        },
        Command {
            shape: Shape {
                words: "jobs resume",
                operands: "QUEUE",
                about: "hand out the jobs of a paused queue again",
                flags: &[COMMON],
            },
            does: Does::Writes(resume),
        },
        Command {
            shape: Shape {
                words: "jobs prune",
                operands: "",
                about: "remove finished jobs, each once its own retention has passed",
                flags: &[
                    &[
                        Flag::of("queue", "QUEUE", "only of this queue"),
                        Flag::of(
                            "older-than",
                            "AGE",
                            "finished at least so long ago, whatever their retention: 90s, 12h, 7d",
                        ),
                    ],
                    YES,
                    COMMON,
                ],
            },
            does: Does::Destroys(prune),
        },
    ],
};

fn list(line: &mut Line) -> Result<Ask, Wrong> {
    let mut filter = JobFilter::new();
    filter.queue = line.text("queue")?;
    filter.kind = line.text("kind")?;
    filter.state = match line.text("state")? {
        Some(name) => Some(name.parse::<State>().map_err(|_| format!("--state {name}: {STATES}"))?),
        None => None,
    };
    let pages = Pages::read(line)?;
    #[derive(Serialize)]
    struct Page {
        jobs: Vec<Job>,
        next: Option<String>,
    }
    Ok(Box::new(move |db, out| {
        pages.walk(|after, limit| {
            let page = db.jobs().list(&filter, after, limit)?;
            let next = page.next.clone();
            if out.json {
                out.object(&Page { jobs: page.jobs, next: page.next })?;
                return Ok(next);
            }
            let header = ["job", "state", "queue", "kind", "attempt", "run at", "note"];
            let rows = page.jobs.iter().map(row).collect();
            pages.table(out, header, rows, next.as_deref(), "no such jobs")?;
            Ok(next)
        })
    }))
}

fn row(job: &Job) -> [String; 7] {
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

fn job_id(line: &mut Line) -> Result<JobId, Wrong> {
    let text = line.operand("JOB")?;
    text.parse().map_err(|error: Error| error.to_string().into())
}

fn show(line: &mut Line) -> Result<Ask, Wrong> {
    let id = job_id(line)?;
    #[derive(Serialize)]
    struct Shown<'a> {
        job: &'a Job,
        attempts: &'a [Attempt],
        /// How the attempts ended that are no longer kept.
        older_attempts: &'a BTreeMap<Reason, u64>,
    }
    Ok(Box::new(move |db, out| {
        let job = db.jobs().get(id)?.ok_or_else(|| Error::not_found(format!("job {id}: there is no such job")))?;
        let attempts = db.jobs().attempts(id)?;
        let shown = Shown { job: &job, attempts: &attempts.newest, older_attempts: &attempts.older };
        out.answer(&shown, || format!("{}{}", sheet(&job), history(&attempts))).map(|()| true)
    }))
}

/// One job, every field.
fn sheet(job: &Job) -> String {
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

fn history(attempts: &Attempts) -> String {
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

fn counts(line: &mut Line) -> Result<Ask, Wrong> {
    let queue = line.operand_opt();
    #[derive(Serialize)]
    struct Queue {
        #[serde(flatten)]
        counts: Counts,
        paused: bool,
    }
    Ok(Box::new(move |db, out| {
        let mut queues = BTreeMap::new();
        for (name, counts) in db.jobs().counts(queue.as_deref())? {
            let paused = db.jobs().is_paused(&name)?;
            queues.insert(name, Queue { counts, paused });
        }
        let words = || {
            let rows: Vec<_> = queues
                .iter()
                .map(|(name, queue)| {
                    let [a, b, c, d, e, f, g] = State::ALL.map(|state| queue.counts.of(state).to_string());
                    let paused = if queue.paused { "paused" } else { "" };
                    [name.clone(), a, b, c, d, e, f, g, paused.to_owned()]
                })
                .collect();
            if rows.is_empty() {
                return "no queue has a job".to_owned();
            }
            let [a, b, c, d, e, f, g] = State::ALL.map(State::name);
            table(["queue", a, b, c, d, e, f, g, "note"], rows)
        };
        out.answer(&queues, words).map(|()| true)
    }))
}

fn cancel(line: &mut Line) -> Result<Ask, Wrong> {
    let id = job_id(line)?;
    Ok(Box::new(move |db, out| {
        let job = db.jobs().cancel(id)?;
        let asked = if job.state == State::Executing { "its worker is asked to stop" } else { "cancelled" };
        out.answer(&job, || format!("job {id}: {asked}")).map(|()| true)
    }))
}

fn retry(line: &mut Line) -> Result<Ask, Wrong> {
    let id = job_id(line)?;
    Ok(Box::new(move |db, out| {
        let job = db.jobs().retry(id)?;
        out.answer(&job, || format!("job {id}: {} again in queue {}", job.state, job.queue)).map(|()| true)
    }))
}

fn pause(line: &mut Line) -> Result<Ask, Wrong> {
    let queue = line.operand("QUEUE")?;
    Ok(Box::new(move |db, out| {
        db.jobs().pause(&queue)?;
        let words = || format!("queue {queue}: paused; executing jobs go on, and jobs can be enqueued");
        out.answer(&json!({"queue": queue, "paused": true}), words).map(|()| true)
    }))
}

fn resume(line: &mut Line) -> Result<Ask, Wrong> {
    let queue = line.operand("QUEUE")?;
    Ok(Box::new(move |db, out| {
        db.jobs().resume(&queue)?;
        out.answer(&json!({"queue": queue, "paused": false}), || format!("queue {queue}: resumed")).map(|()| true)
    }))
}

fn prune(line: &mut Line) -> Result<Destroy, Wrong> {
    let queue = line.text("queue")?;
    let older_than_ms = match line.text("older-than")? {
        Some(age) => {
            Some(time::age_ms(&age).ok_or_else(|| format!("--older-than {age}: an age such as 90s, 12h or 7d"))?)
        }
        None => None,
    };
    let of = queue.clone();
    Ok(Destroy {
        plan: Box::new(move |db| {
            let words = match older_than_ms {
                Some(age_ms) => finished_before(db, of.as_deref(), age_ms)?,
                None => finished(db, of.as_deref())?,
            };
            Ok(Plan { words, revision: None })
        }),
        act: Box::new(move |db, _, out| {
            let pruned = db.jobs().prune(queue.as_deref(), older_than_ms)?;
            out.answer(&json!({"pruned": pruned}), || format!("{pruned} finished jobs removed"))
        }),
    })
}

/// The finished states.
fn terminal() -> impl Iterator<Item = State> {
    State::ALL.into_iter().filter(|state| state.is_terminal())
}

/// What may go when each job's own retention decides: the counters know how many jobs are finished, not since when.
fn finished(db: &MlPersistence, queue: Option<&str>) -> Result<String> {
    let queues = db.jobs().counts(queue)?;
    let lines = queues.iter().filter_map(|(name, counts)| {
        let finished: u64 = terminal().map(|state| counts.of(state)).sum();
        let words =
            || format!("queue {name}: of {finished} finished jobs, those whose own retention has passed, will go");
        (finished > 0).then(words)
    });
    let lines: Vec<String> = lines.collect();
    Ok(if lines.is_empty() { "no job is finished: nothing will go".to_owned() } else { lines.join("\n") })
}

/// What will go by age: every finished job is looked at, page by page.
fn finished_before(db: &MlPersistence, queue: Option<&str>, age_ms: u64) -> Result<String> {
    let Some(until) = SystemClock::default().now_ms().checked_sub(age_ms) else {
        return Ok("no job is that old: nothing will go".to_owned());
    };
    let mut old: BTreeMap<String, u64> = BTreeMap::new();
    for state in terminal() {
        let mut filter = JobFilter::new().state(state);
        filter.queue = queue.map(str::to_owned);
        let mut after = None;
        loop {
            let page = db.jobs().list(&filter, after.as_deref(), 1000)?;
            for job in page.jobs {
                *old.entry(job.queue).or_default() += u64::from(job.finished_at.is_some_and(|at| at <= until));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    old.retain(|_, count| *count > 0);
    let until = time::shown(until);
    let lines: Vec<String> = old
        .iter()
        .map(|(name, count)| format!("queue {name}: {count} jobs that finished by {until} will go"))
        .collect();
    Ok(if lines.is_empty() { format!("no job finished by {until}: nothing will go") } else { lines.join("\n") })
}
