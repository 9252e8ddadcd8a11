//! `mlp jobs prune`: finished jobs go, once it is said how many.

use std::collections::BTreeMap;

use ml_persistence::jobs::{JobFilter, State};
use ml_persistence::{Clock, MlPersistence, Result, SystemClock};
use serde_json::json;

use crate::line::{Line, Wrong};
use crate::people::Destroy;
use crate::people::agree::Plan;
use crate::time;

pub fn prune(line: &mut Line) -> Result<Destroy, Wrong> {
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
