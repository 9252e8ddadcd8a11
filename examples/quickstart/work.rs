//! The queue's side: enqueueing the grid, and the workers that run it.

use std::sync::atomic::{AtomicU64, Ordering};

use ml_persistence::jobs::Counts;
use ml_persistence::{Job, Lease, MlPersistence, NewJob, NewVersion};

use crate::training::{self, Failure, Outcome, TrainingJob};

/// The queue that all training goes through.
pub const QUEUE: &str = "train";

/// The seed of the first grid; each repetition within one run takes the next.
const SEED: u64 = 42;

/// What one run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Jobs completed.
    pub completed: u64,
    /// Those among them that an earlier run had begun when it crashed.
    pub rerun: u64,
}

/// The jobs of the queue by state.
pub fn counts(db: &MlPersistence) -> Result<Counts, Failure> {
    Ok(db.jobs().counts(Some(QUEUE))?.remove(QUEUE).unwrap_or_default())
}

/// Jobs that are still to be done.
pub fn open_jobs(db: &MlPersistence) -> Result<u64, Failure> {
    let counts = counts(db)?;
    Ok(counts.available + counts.scheduled + counts.executing + counts.retryable)
}

/// Adds `count` jobs, up to a thousand in one transaction: after a crash there are all of them, or none.
pub fn enqueue(db: &MlPersistence, count: usize) -> Result<(), Failure> {
    let mut jobs = Vec::new();
    for job in (SEED..).flat_map(training::grid).take(count) {
        jobs.push(NewJob::new(QUEUE, "fit").target(job.question.model()).payload(serde_json::to_value(&job)?));
    }
    for some in jobs.chunks(1_000) {
        db.jobs().enqueue_batch(some)?;
    }
    Ok(())
}

/// Runs the queue empty on `workers` threads.
///
/// With `crash_after`, the process ends the moment that many jobs are done: no destructor runs, nothing is flushed.
pub fn run(db: &MlPersistence, workers: usize, crash_after: Option<u64>) -> Result<Done, Failure> {
    let total = open_jobs(db)?;
    let (completed, rerun) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || -> Result<(), Failure> {
        // A job takes a second at most and its lease is a minute long: no need for heartbeats.
        while let Some(lease) = db.jobs().claim(&[QUEUE], 1)?.pop() {
            let crashed_before = lease.job().crash_count > 0;
            let Some(line) = train(lease)? else { continue };
            rerun.fetch_add(u64::from(crashed_before), Ordering::SeqCst);
            let done = completed.fetch_add(1, Ordering::SeqCst) + 1;
            println!("[{done:>3}/{total}] {line}{}", if crashed_before { "  (again, after a crash)" } else { "" });
            if Some(done) == crash_after {
                eprintln!("{done} jobs are completed: crashing now, as asked");
                std::process::abort();
            }
        }
        Ok(())
    };
    let panicked = |_| "a worker panicked";
    crossbeam::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(|_| work())).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(panicked)?)
    })
    .map_err(panicked)??;
    Ok(Done { completed: completed.into_inner(), rerun: rerun.into_inner() })
}

/// Trains what the lease's job asks for and registers it; answers the line to show, or nothing when training failed.
fn train(lease: Lease) -> Result<Option<String>, Failure> {
    let trained = understand(lease.job()).and_then(|training| Ok((training.run()?, training)));
    let (outcome, training) = match trained {
        Ok(trained) => trained,
        Err(failure) => {
            println!("a job failed and will be tried again: {failure}");
            lease.fail(failure.to_string())?;
            return Ok(None);
        }
    };
    let new = new_version(lease.job(), &training, &outcome);
    // The version exists if and only if the job is completed, whatever happens in between.
    let version = lease.complete_with(|txn| txn.registry().register_version(training.question.model(), &new))?;
    Ok(Some(format!(
        "{:<14} v{:<4} {:<19} accuracy {:.4}  f1 {:.4}",
        version.model,
        version.version,
        training.algorithm.name(),
        outcome.accuracy,
        outcome.f1
    )))
}

fn understand(job: &Job) -> Result<TrainingJob, Failure> {
    Ok(serde_json::from_str(job.payload.as_str())?)
}

fn new_version(job: &Job, training: &TrainingJob, outcome: &Outcome) -> NewVersion {
    let mut new = NewVersion::new()
        .source(job.id.to_string())
        .training_data_hash(&outcome.training_data_hash)
        .metric("accuracy", outcome.accuracy)
        .metric("f1", outcome.f1)
        .tag("algorithm", training.algorithm.name())
        .artifact(outcome.artifact.clone())
        .make_active(false);
    for (name, value) in training.algorithm.hyperparams() {
        new = new.hyperparam(name, value);
    }
    new.hyperparam("seed", serde_json::json!(training.seed))
}
