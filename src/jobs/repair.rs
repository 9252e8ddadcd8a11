//! What verify and repair know about jobs beyond their indexes and counters.
//!
//! ```text
//! jobs     every key is a job's or a claim's        claim -> its job
//! history  attempts -> their job                    and they can be read
//! meta     the enqueue order is not behind any job  and pause marks can be read
//! ```
//!
//! A job whose body or claim can't be read goes to quarantine as a whole: body, claim and attempts. To go on with a
//! body alone would hand out again what may have been completed. Of attempts that can't be read only they themselves
//! go: the job works on without its history. A pause mark that can't be read is written again, since a mark is only
//! ever there for a queue that is paused.

use super::apply::Past;
use super::enqueue::{Sequence, parse_key};
use super::maintain::{STEP, readable};
use super::pair::Pair;
use super::schema::{LEASE, ORDER, attempts_key, sequence_key};
use crate::config::Durability;
use crate::engine::{Direction, KeyRange, Tree};
use crate::error::Result;
use crate::keys::{self, KeyReader, KeyWriter};
use crate::record::repair::{self, Changes, Repairer};
use crate::record::scrub::{self, Report, ViolationKind, damage};
use crate::record::{RecordStore, Transaction, View, catalog, quarantine};

/// Claims every key that belongs to the queue.
pub(crate) fn claim(report: &mut Report) {
    scrub::claim::<Pair>(report);
    report.claim(Tree::Jobs, &[]);
    report.claim(Tree::History, &attempts_prefix());
    report.claim(Tree::Meta, &paused_prefix());
    report.claim(Tree::Meta, &sequence_key());
}

/// Checks every job with its claim, attempts, index entries and counters, and the marks of the queues.
///
/// # Errors
/// As [`scrub::verify`].
pub fn verify(view: &View<'_>, report: &mut Report) -> Result<()> {
    scrub::verify::<Pair>(view, report)?;
    scrub::for_each_entry(view, Tree::Jobs, KeyRange::all(), |key, _| {
        if let Some(what) = lone_claim(view, key)? {
            report.violation(ViolationKind::ReferenceBroken, Tree::Jobs, key, what);
        }
        Ok(())
    })?;
    scrub::for_each_entry(view, Tree::History, KeyRange::prefix(&attempts_prefix()), |key, _| {
        report.records += 1;
        if let Some((kind, what)) = wrong_attempts(view, key)? {
            report.violation(kind, Tree::History, key, what);
        }
        Ok(())
    })?;
    scrub::verify_values(view, catalog::QUEUE_PAUSED, &paused_prefix(), None, report)?;
    match damage(view.get_part::<Sequence>(catalog::QUEUE_SEQUENCE, &sequence_key()))? {
        Ok(sequence) => {
            let given = sequence.unwrap_or_default().last;
            // Without an index to go by, which was reported, the last job is not known.
            let last = damage(last_given(view))?.unwrap_or_default();
            if last > given {
                let what = format!("the last number given out is {given}, yet there is a job with {last}");
                report.violation(ViolationKind::ReferenceBroken, Tree::Meta, &sequence_key(), what);
            }
        }
        Err(error) => report.violation(ViolationKind::Unreadable, Tree::Meta, &sequence_key(), error.to_string()),
    }
    Ok(())
}

/// Rebuilds what is kept about jobs.
pub(crate) fn repair(run: &mut Repairer<'_>) -> Result<()> {
    repair::records::<Pair>(run, places)?;
    run.sweep(
        Tree::Jobs,
        KeyRange::all(),
        |view, key, _| Ok(lone_claim(view, key)?.map(drop)),
        |txn, key, (), changes| match job_of(key) {
            Some(job) if txn.holds_part(catalog::JOB, &job)? => Ok(()),
            _ => changes.set_aside(txn, Tree::Jobs, key, "a claim without its job"),
        },
    )?;
    run.sweep(
        Tree::History,
        KeyRange::prefix(&attempts_prefix()),
        |view, key, _| Ok(wrong_attempts(view, key)?.map(drop)),
        |txn, key, (), changes| {
            let job = attempted(key);
            let reason = match (job, damage(txn.get_part::<Past>(catalog::JOB_ATTEMPTS, key))?) {
                (_, Err(error)) => error.to_string(),
                (Some(job), Ok(_)) if txn.holds_part(catalog::JOB, &job)? => return Ok(()),
                _ => "attempts without their job".to_owned(),
            };
            changes.set_aside(txn, Tree::History, key, &reason)
        },
    )?;
    run.sweep(
        Tree::Meta,
        KeyRange::prefix(&paused_prefix()),
        |view, key, _| Ok(damage(view.get_part::<bool>(catalog::QUEUE_PAUSED, key))?.is_err().then_some(())),
        |txn, key, (), changes| {
            if damage(txn.get_part::<bool>(catalog::QUEUE_PAUSED, key))?.is_err() {
                changes.set_aside(txn, Tree::Meta, key, "a pause mark that can't be read; the queue stays paused")?;
                txn.put_part(catalog::QUEUE_PAUSED, key, &true)?;
                changes.references += 1;
            }
            Ok(())
        },
    )?;
    enqueue_order(run)
}

/// Sets what could not be read among the executing jobs aside, so that the sweep of an opening gets past it. Costs what
/// the executing jobs cost. Their other index entries and counts are left to [`repair`].
///
/// Answers how many jobs went, and how many entries led nowhere.
///
/// # Errors
/// Those of a commit.
pub(crate) fn set_aside_unreadable_leases(store: &RecordStore) -> Result<(u64, u64)> {
    let mut rest = KeyRange::prefix(&keys::index_prefix(LEASE.number, &[]));
    let (mut jobs, mut entries) = (0, 0);
    loop {
        let page = store.engine().scan(Tree::Index, &rest, Direction::Ascending, 64)?;
        for (entry, _) in &page.entries {
            let key = keys::split_entry(entry).map(|(_, primary)| primary.to_vec()).unwrap_or_default();
            let (gone, dangling) = store.transact(Durability::Buffered, |txn| {
                let mut gone = 0;
                let readable = match parse_key(&key) {
                    Ok(id) => readable(txn, id)?.is_some(),
                    Err(_) => false,
                };
                if readable {
                    return Ok((0, 0));
                }
                for (tree, key) in places(&key) {
                    let why = "an executing job that could not be read when the store was opened";
                    gone += u64::from(quarantine::set_aside(txn, tree, &key, why)?.is_some());
                }
                repair::drop_entry(txn, entry)?;
                Ok((u64::from(gone > 0), u64::from(gone == 0)))
            })?;
            jobs += gone;
            entries += dangling;
        }
        match page.resume {
            Some(resume) => rest = rest.behind(&resume, Direction::Ascending),
            None => return Ok((jobs, entries)),
        }
    }
}

/// Where the parts of the job at `key` lie.
fn places(key: &[u8]) -> Vec<(Tree, Vec<u8>)> {
    let mut places = Vec::new();
    if !key.is_empty() {
        places.push((Tree::Jobs, key.to_vec()));
    }
    if let Ok(id) = parse_key(key) {
        places.push((Tree::Jobs, keys::claim(id.0)));
        places.push((Tree::History, attempts_key(id.0)));
    }
    places
}

/// Brings the enqueue order up to the jobs, which have been repaired by now: who is enqueued next stands behind them.
///
/// That is all that the two numbers are for. What was given out to jobs that are gone, pruned or in quarantine, may come
/// again where the record of it was lost: nothing keeps a number beyond its job, and ids are told apart by their random
/// half.
fn enqueue_order(run: &mut Repairer<'_>) -> Result<()> {
    let key = sequence_key();
    let store = run.store();
    let (wrong, last) = store.read(|view| {
        let last = last_given(view)?;
        let found = damage(view.get_part::<Sequence>(catalog::QUEUE_SEQUENCE, &key))?;
        Ok((found.map_or(true, |found| found.unwrap_or_default().last < last), last))
    })?;
    if !wrong {
        return Ok(());
    }
    let mark_ms = mark(store)?;
    run.step(|txn: &mut Transaction<'_>, changes: &mut Changes| {
        // While it can't be read nobody enqueues. Where it could, it may have grown meanwhile.
        let found = match damage(txn.get_part::<Sequence>(catalog::QUEUE_SEQUENCE, &key))? {
            Ok(found) => found.unwrap_or_default(),
            Err(error) => {
                changes.set_aside(txn, Tree::Meta, &key, &error.to_string())?;
                Sequence::default()
            }
        };
        let right = Sequence { last: found.last.max(last), mark_ms: found.mark_ms.max(mark_ms) };
        txn.put_part(catalog::QUEUE_SEQUENCE, &key, &right)?;
        changes.references += 1;
        Ok(())
    })
}

/// The number of the last job that can be read: no number that is given out from now on may be below it.
fn last_given(view: &View<'_>) -> Result<u64> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = view.index_page(&ORDER, KeyWriter::new(), Direction::Descending, after.as_deref(), 64)?;
        for entry in &page.entries {
            if let Ok(Some(pair)) = damage(view.get::<Pair>(&entry.primary))? {
                return Ok(pair.body.sequence);
            }
        }
        match page.resume {
            Some(resume) => after = Some(resume),
            None => return Ok(0),
        }
    }
}

/// The least mark behind which a job that is to run at once stands behind every such job there is.
///
/// All jobs are looked at: a job does not say whether it was to run at once or at a time that was past already, and of
/// the latter the last one may have the earliest time of all.
fn mark(store: &RecordStore) -> Result<u64> {
    let mut mark = 0;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let resume = store.read(|view| {
            let page = view.index_page(&ORDER, KeyWriter::new(), Direction::Ascending, after.as_deref(), STEP)?;
            for entry in &page.entries {
                if let Ok(Some(pair)) = damage(view.get::<Pair>(&entry.primary))?
                    && !pair.body.scheduled
                {
                    mark = mark.max(pair.body.run_at);
                }
            }
            Ok(page.resume)
        })?;
        match resume {
            Some(resume) => after = Some(resume),
            None => return Ok(mark),
        }
    }
}

/// What is wrong with a key of `jobs` that is no job's.
fn lone_claim(view: &View<'_>, key: &[u8]) -> Result<Option<&'static str>> {
    if keys::is_job(key) {
        return Ok(None);
    }
    let Some(job) = job_of(key) else { return Ok(Some("the key of neither a job nor a claim")) };
    let held = view.reader().get(Tree::Jobs, &job)?.is_some();
    Ok((!held).then_some("a claim without its job"))
}

/// What is wrong with the attempts at `key`.
fn wrong_attempts(view: &View<'_>, key: &[u8]) -> Result<Option<(ViolationKind, String)>> {
    if let Err(error) = damage(view.get_part::<Past>(catalog::JOB_ATTEMPTS, key))? {
        return Ok(Some((ViolationKind::Unreadable, error.to_string())));
    }
    let held = match attempted(key) {
        Some(job) => view.reader().get(Tree::Jobs, &job)?.is_some(),
        None => false,
    };
    Ok((!held).then(|| (ViolationKind::ReferenceBroken, "attempts without their job".to_owned())))
}

/// The key of the job whose claim this is the key of.
fn job_of(key: &[u8]) -> Option<Vec<u8>> {
    let (job, _) = key.split_at_checked(keys::job(0).len())?;
    let id = parse_key(job).ok()?;
    (keys::claim(id.0) == key).then(|| job.to_vec())
}

/// The key of the job whose attempts lie here.
fn attempted(key: &[u8]) -> Option<Vec<u8>> {
    let mut reader = KeyReader::new(key);
    reader.u16().ok()?;
    let id = reader.u128().ok()?;
    reader.end().ok()?;
    Some(keys::job(id))
}

fn attempts_prefix() -> Vec<u8> {
    keys::history(catalog::JOB_ATTEMPTS.tag, KeyWriter::new())
}

/// What the keys of pause marks begin with.
fn paused_prefix() -> Vec<u8> {
    keys::meta("queue.paused", KeyWriter::new())
}
