//! Models of waiting and waking: small programs of workers that wait and of others that make jobs ready, run over and
//! over on schedules that shuttle picks. See `engine/local/shuttle_tests.rs` for how, and for what a model can't show.
//!
//! ```text
//! RUSTFLAGS='--cfg shuttle' cargo test --lib --target-dir target/shuttle jobs::bell::models
//! ```
//!
//! Whoever waits here has no timer to rescue them: a wait with a limit may block for good, so a wake-up that is lost
//! ends in a deadlock. Where a timer *is* the plan, for a due time or a lease, the model moves the clock and then
//! [fires](State::fire_timers) the timers that were set, and no other.

use std::cell::Cell;

use shuttle::thread;

use super::*;
use crate::clock::{Ids, ManualClock};
use crate::config::Durability;
use crate::engine::Engine;
use crate::engine::local::shuttle_tests::{explore_times, failure_within};
use crate::engine::local::sync::modelled::{Lost, lose};
use crate::error::ErrorKind;
use crate::jobs::{Backoff, ClaimRequest, JobId, JobsOptions, Lease, NewJob, Token};
use crate::record::RecordStore;
use crate::record::testing::TestEngine;

/// Schedules of each kind; within as many the sabotaged twins below are caught.
const ITERATIONS: usize = 400;

fn explore(model: fn()) {
    explore_times(ITERATIONS, model);
}

fn failure_of(model: fn()) -> String {
    failure_within(ITERATIONS, model)
}

impl State {
    /// What timers do: wakes every thread that was to look by itself by now.
    fn fire_timers(&self, clock: &ManualClock) {
        let (now, now_monotonic) = (clock.now_ms(), clock.monotonic_ms());
        let slots = self.sleepers.slots.values();
        slots.filter(|slot| slot.until.0 <= now || slot.until.1 <= now_monotonic).for_each(Slot::wake);
    }
}

std::thread_local! {
    static SKIPS_LAST_LOOK: Cell<bool> = const { Cell::new(false) };
}

/// A sabotage: whoever goes to sleep does not ask once more whether there is something by now.
pub(super) fn skips_last_look() -> bool {
    SKIPS_LAST_LOOK.get()
}

/// A queue over an engine whose every lock is a place where another thread may go first.
#[derive(Debug, Clone)]
struct Model {
    engine: Arc<TestEngine>,
    clock: ManualClock,
    jobs: Jobs,
}

impl Model {
    fn open() -> Self {
        let engine = Arc::new(TestEngine::default());
        let clock = ManualClock::at(1_000_000);
        let shared: Arc<dyn Engine> = Arc::<TestEngine>::clone(&engine);
        let store = RecordStore::new(shared, Arc::new(clock.clone()), Arc::new(Ids::seeded(1)));
        Model { engine, clock, jobs: Jobs::new(store, JobsOptions::default()) }
    }

    fn spawn<T: Send + 'static>(&self, run: impl FnOnce(&Model) -> T + Send + 'static) -> thread::JoinHandle<T> {
        let model = self.clone();
        thread::spawn(move || run(&model))
    }

    /// A worker that does not rest before it has a job.
    fn worker(&self) -> thread::JoinHandle<Token> {
        self.spawn(|model| {
            loop {
                if let Some(token) = model.wait_once() {
                    return token;
                }
            }
        })
    }

    fn wait_once(&self) -> Option<Token> {
        let leases = self.jobs.claim_wait(&ClaimRequest::new(["q"]), 60_000).unwrap();
        leases.into_iter().next().map(|lease| lease.into_parts().1)
    }

    fn enqueue(&self, new: NewJob) -> JobId {
        self.jobs.enqueue(new).unwrap().job
    }

    /// Lets time pass, with what it does to timers.
    fn pass(&self, ms: u64) {
        self.clock.advance(ms);
        self.jobs.shared.lines.lock().fire_timers(&self.clock);
    }
}

fn job() -> NewJob {
    NewJob::new("q", "k")
}

fn join<T>(threads: impl IntoIterator<Item = thread::JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// As many workers as jobs, which come from two sides.
fn as_many_workers_as_jobs(model: &Model) {
    let workers = [model.worker(), model.worker()];
    let hosts = [(); 2].map(|()| model.spawn(|model| model.enqueue(job())));
    let mut jobs = join(hosts);
    let mut claimed: Vec<JobId> = join(workers).iter().map(Token::job).collect();
    jobs.sort_unstable();
    claimed.sort_unstable();
    assert_eq!(claimed, jobs, "each job once");
}

#[test]
fn as_many_workers_as_jobs_are_all_served() {
    explore(|| as_many_workers_as_jobs(&Model::open()));
}

#[test]
fn three_workers_share_a_batch_of_three() {
    explore(|| {
        let model = Model::open();
        let workers = [(); 3].map(|()| model.worker());
        model.jobs.enqueue_batch(&[job(), job(), job()]).unwrap();
        join(workers);
    });
}

#[test]
fn whoever_is_woken_and_gives_up_passes_it_on() {
    explore(|| {
        let model = Model::open();
        let stays = model.worker();
        // Woken or not, it never looks.
        let gives_up = model.spawn(|model| {
            let ready = model.jobs.on_ready("q", Waker::noop()).unwrap();
            thread::yield_now();
            drop(ready);
        });
        model.enqueue(job());
        stays.join().unwrap();
        gives_up.join().unwrap();
    });
}

#[test]
fn everybody_who_waits_learns_that_the_queue_closes() {
    explore(|| {
        let model = Model::open();
        let waits = |model: &Model| {
            loop {
                match model.jobs.claim_wait(&ClaimRequest::new(["q"]), 60_000) {
                    Ok(leases) => leases.into_iter().for_each(|lease| drop(lease.into_parts())),
                    Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed),
                }
            }
        };
        let workers = [model.spawn(waits), model.spawn(waits)];
        let host = model.spawn(|model| model.enqueue(job()));
        model.jobs.release_all_on_close().unwrap();
        join(workers);
        host.join().unwrap();
    });
}

#[test]
fn jobs_that_fall_due_one_after_the_other_are_noticed_by_those_who_wait() {
    explore(|| {
        let model = Model::open();
        let workers = [model.worker(), model.worker()];
        let host = model.spawn(|model| model.enqueue(job().delay_ms(60)));
        model.enqueue(job().delay_ms(50));
        host.join().unwrap();
        model.pass(50);
        model.pass(10);
        join(workers);
    });
}

#[test]
fn a_lease_that_runs_out_is_noticed_by_whoever_waits() {
    explore(|| {
        let model = Model::open();
        model.enqueue(job().lease_ms(100));
        // One of them has it first, and the other once that lease has run out.
        let workers = [model.worker(), model.worker()];
        let mut claimed = 0;
        while claimed < 1 {
            claimed = model.jobs.counts(Some("q")).unwrap()["q"].executing;
            thread::yield_now();
        }
        model.pass(100);
        join(workers);
    });
}

#[test]
fn a_lease_that_is_dropped_is_failed_by_whoever_waits() {
    explore(|| {
        let model = Model::open();
        model.enqueue(job().backoff(Backoff::fixed(0)));
        let lease = model.jobs.claim(&["q"], 1).unwrap().remove(0);
        let worker = model.worker();
        let dropper = model.spawn(move |_| drop::<Lease>(lease));
        worker.join().unwrap();
        dropper.join().unwrap();
    });
}

#[test]
fn a_queue_that_is_resumed_and_a_job_inside_a_transaction_wake() {
    explore(|| {
        let model = Model::open();
        model.jobs.pause("q").unwrap();
        let workers = [model.worker(), model.worker()];
        let inside = |model: &Model| {
            let store = &model.jobs.shared.store;
            store.transact(Durability::PowerLoss, |txn| txn.jobs().enqueue_batch(&[job(), job()]).map(drop)).unwrap();
        };
        let host = model.spawn(inside);
        model.jobs.resume("q").unwrap();
        host.join().unwrap();
        join(workers);
    });
}

// ---- sabotaged twins: what proves that the models would notice -------------------------------------------------------

#[test]
fn a_sabotaged_signal_that_wakes_nobody_now_and_then_is_caught() {
    lose(Lost::NotifyOne);
    let failure = failure_of(|| as_many_workers_as_jobs(&Model::open()));
    assert!(failure.contains("deadlock"), "{failure}");
}

#[test]
fn a_sabotaged_engine_that_rings_before_it_publishes_is_caught() {
    let failure = failure_of(|| {
        let model = Model::open();
        model.engine.tell_before_it_is_visible();
        as_many_workers_as_jobs(&model);
    });
    assert!(failure.contains("deadlock"), "{failure}");
}

#[test]
fn a_sabotaged_sleeper_that_does_not_look_again_is_caught() {
    SKIPS_LAST_LOOK.set(true);
    let failure = failure_of(|| as_many_workers_as_jobs(&Model::open()));
    assert!(failure.contains("deadlock"), "{failure}");
}
