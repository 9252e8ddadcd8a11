//! `mlp jobs …`: the job queue, looked at and steered.
//!
//! In the tables a job's last column says what is going on with it in words; everything else is in `jobs show` and in
//! JSON, where jobs have the fields of `mlp exec`.

mod prune;
mod sheet;

use std::collections::BTreeMap;

use ml_persistence::jobs::{Attempt, Counts, Job, JobFilter, JobId, Reason, State};
use ml_persistence::{Error, Result};
use serde::Serialize;
use serde_json::json;

use super::agree::YES;
use super::pages::{PAGES, Pages};
use super::{Ask, COMMON, Command, Does, Noun};
use crate::line::{Flag, Line, Shape, Wrong};
use crate::table::table;
use sheet::{history, row, sheet};

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
            does: Does::Destroys(prune::prune),
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
