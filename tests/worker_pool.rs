//! The worker pool: panics, renewal, shutdown, isolation; and drain, its single-threaded twin.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure, in a helper too")]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::channel::{bounded, unbounded};
use ml_persistence::jobs::{NewJob, Reason, State};
use ml_persistence::{
    Backoff, Done, Error, ErrorKind, Handlers, Job, JobId, Jobs, ManualClock, MlPersistence, WorkerPool,
};
use serde_json::json;

use rig::{Rig, job, until};

/// Long enough for any handler that means to return; a test that needs it all has failed.
const GRACE_MS: u64 = 60_000;

fn store() -> MlPersistence {
    MlPersistence::in_memory().open().unwrap()
}

fn enqueue(jobs: &Jobs, kind: &str) -> JobId {
    jobs.enqueue(NewJob::new("q", kind)).unwrap().job
}

fn get(jobs: &Jobs, id: JobId) -> Job {
    jobs.get(id).unwrap().unwrap()
}

fn counted(jobs: &Jobs, queue: &str, state: State) -> u64 {
    jobs.counts(Some(queue)).unwrap()[queue].of(state)
}

/// How many are inside at once, and were at most.
#[derive(Default)]
struct Crowd {
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Crowd {
    fn enter(&self) {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn each_queue_has_as_many_jobs_at_once_as_it_was_given_workers_and_no_more() {
    let db = store();
    let (wide, narrow) = (Arc::new(Crowd::default()), Arc::new(Crowd::default()));
    let (crowd, two) = (Arc::clone(&wide), std::sync::Barrier::new(2));
    let handlers = Handlers::new().on("wide", move |_| {
        crowd.enter();
        // Nobody gets past alone, so both workers are at work at once.
        two.wait();
        crowd.leave();
        Ok(Done::ok())
    });
    let crowd = Arc::clone(&narrow);
    let handlers = handlers.on("narrow", move |_| {
        crowd.enter();
        std::thread::yield_now();
        crowd.leave();
        Ok(Done::ok())
    });
    for _ in 0..10 {
        db.jobs().enqueue(NewJob::new("w", "wide")).unwrap();
        db.jobs().enqueue(NewJob::new("n", "narrow")).unwrap();
    }
    let pool = WorkerPool::builder(db.jobs(), handlers).name("host").queue("w", 2).queue("n", 1).start().unwrap();
    until("all done", || ["w", "n"].iter().all(|queue| counted(db.jobs(), queue, State::Completed) == 10));
    let ended = pool.shutdown(GRACE_MS).unwrap();
    assert_eq!((wide.most.load(Ordering::SeqCst), narrow.most.load(Ordering::SeqCst)), (2, 1));
    assert_eq!((ended.stats.tally.of(Reason::Completed), ended.stats.errors), (20, 0));
    let jobs = db.jobs().list(&Default::default(), None, 100).unwrap().jobs;
    assert!(jobs.iter().all(|job| job.attempt == 1 && job.worker.as_ref().unwrap().starts_with("host/")));
}

#[test]
fn a_panic_an_error_and_an_unknown_kind_fail_the_attempt_and_the_worker_lives_on() {
    let db = store();
    let handlers = Handlers::new()
        .on("panics", |run| panic!("bad depth {}", run.job().payload))
        .on("errs", |_| Err("no such feature".into()))
        .on("works", |_| Ok(Done::with(json!(7))));
    let pool = WorkerPool::builder(db.jobs(), handlers).queue("q", 1).start().unwrap();
    let ids = ["panics", "errs", "unknown", "works"].map(|kind| enqueue(db.jobs(), kind));
    until("the last is done", || get(db.jobs(), ids[3]).state == State::Completed);
    let stats = pool.shutdown(GRACE_MS).unwrap().stats;
    let [panicked, failed, unknown, done] = ids.map(|id| get(db.jobs(), id));
    assert_eq!((panicked.state, panicked.reason), (State::Retryable, Some(Reason::Panicked)));
    assert_eq!(panicked.error.as_deref(), Some("bad depth null"));
    assert_eq!((failed.reason, failed.error.as_deref()), (Some(Reason::Failed), Some("no such feature")));
    assert_eq!(unknown.error.as_deref(), Some("no handler for jobs of kind \"unknown\""));
    assert_eq!(done.result, Some(json!(7).into()));
    assert_eq!([Reason::Panicked, Reason::Failed, Reason::Completed].map(|reason| stats.tally.of(reason)), [1, 2, 1]);
}

#[test]
fn a_handler_that_computes_for_many_leases_keeps_its_job() {
    let clock = ManualClock::at(1_000);
    let db = MlPersistence::in_memory().clock(Arc::new(clock.clone())).open().unwrap();
    let handlers = Handlers::new().on("long", move |run| {
        for _ in 0..5 {
            clock.advance(600);
            let before = run.remaining_ms();
            // The handler does nothing for its lease; the second renewal seen began after the step of the clock.
            let seen = get(run.jobs(), run.job().id).revision;
            until("a renewal", || get(run.jobs(), run.job().id).revision >= seen + 2);
            assert!(before < run.remaining_ms());
        }
        Ok(Done::ok())
    });
    let id = enqueue(db.jobs(), "long");
    let pool = WorkerPool::builder(db.jobs(), handlers).queue("q", 1).lease_ms(1_000).heartbeat_ms(5).start().unwrap();
    until("it is done", || get(db.jobs(), id).state.is_terminal() || get(db.jobs(), id).reason.is_some());
    pool.shutdown(GRACE_MS).unwrap();
    let done = get(db.jobs(), id);
    assert_eq!((done.state, done.attempt, done.crash_count), (State::Completed, 1, 0), "{:?}", done.error);
}

#[test]
fn a_timeout_is_noticed_while_every_worker_is_busy() {
    let clock = ManualClock::at(1_000);
    let db = MlPersistence::in_memory().clock(Arc::new(clock.clone())).open().unwrap();
    let id = db.jobs().enqueue(NewJob::new("q", "stuck").timeout_ms(5_000)).unwrap().job;
    let handlers = Handlers::new().on("stuck", move |run| {
        clock.advance(5_000);
        until("the lease is lost", || run.is_lost());
        Ok(Done::ok())
    });
    let pool =
        WorkerPool::builder(db.jobs(), handlers).queue("q", 1).lease_ms(1_000_000).heartbeat_ms(5).start().unwrap();
    until("the late finish was refused", || pool.stats().tally.lost == 1);
    pool.shutdown(GRACE_MS).unwrap();
    assert_eq!((get(db.jobs(), id).state, get(db.jobs(), id).reason), (State::Retryable, Some(Reason::TimedOut)));
}

#[test]
fn a_cancel_reaches_the_handler_at_once() {
    let db = store();
    let (started, hears) = bounded(0);
    let handlers = Handlers::new().on("k", move |run| {
        started.send(run.job().id).unwrap();
        until("asked to stop", || run.cancel_requested());
        assert!(!run.is_shutting_down());
        Ok(Done::release())
    });
    let pool = WorkerPool::builder(db.jobs(), handlers).queue("q", 1).start().unwrap();
    let id = enqueue(db.jobs(), "k");
    assert_eq!(hears.recv().unwrap(), id);
    assert!(db.jobs().cancel(id).unwrap().cancel_requested);
    until("it is cancelled", || get(db.jobs(), id).state == State::Cancelled);
    assert_eq!(pool.shutdown(GRACE_MS).unwrap().stats.tally.of(Reason::Cancelled), 1);
}

#[test]
fn a_shutdown_asks_what_runs_to_stop_and_leaves_what_waits_where_it_is() {
    let db = store();
    let (started, hears) = unbounded();
    let handlers = Handlers::new().on("k", move |run| {
        started.send(()).unwrap();
        until("asked to stop", || run.cancel_requested() && run.is_shutting_down());
        Ok(Done::release())
    });
    let pool = WorkerPool::builder(db.jobs(), handlers).queue("q", 2).start().unwrap();
    for _ in 0..50 {
        enqueue(db.jobs(), "k");
    }
    hears.recv().unwrap();
    hears.recv().unwrap();
    let ended = pool.shutdown(GRACE_MS).unwrap();
    assert_eq!((ended.released, ended.still_running), (0, 0), "they came back in time");
    assert_eq!(ended.stats.tally.of(Reason::Released), 2);
    let jobs = db.jobs().list(&Default::default(), None, 100).unwrap().jobs;
    assert!(jobs.iter().all(|job| (job.state, job.attempt, job.crash_count) == (State::Available, 0, 0)));
    assert_eq!(jobs.len(), 50);
}

#[test]
fn after_the_grace_period_leases_are_given_back_and_a_late_finish_changes_nothing() {
    let db = store();
    let ((started, hears), (go_on, waits)) = (bounded(0), bounded::<()>(0));
    let handlers = Handlers::new().on("k", move |run| {
        started.send(run.token()).unwrap();
        // Deaf: it neither looks nor returns until the test lets it.
        waits.recv().unwrap();
        assert!(run.is_lost());
        Ok(Done::with(json!("late")))
    });
    let id = enqueue(db.jobs(), "k");
    let pool = WorkerPool::builder(db.jobs(), handlers).queue("q", 1).start().unwrap();
    let token = hears.recv().unwrap();
    let ended = pool.shutdown(1).unwrap();
    assert_eq!((ended.released, ended.still_running), (1, 1));
    let free = get(db.jobs(), id);
    assert_eq!((free.state, free.attempt, free.reason), (State::Available, 0, Some(Reason::Released)));
    // Somebody else has it by the time the first one is done.
    let lease = db.jobs().claim(&["q"], 1).unwrap().remove(0);
    let before = get(db.jobs(), id);
    go_on.send(()).unwrap();
    assert_eq!(db.jobs().complete(&token, None).unwrap_err().kind(), ErrorKind::LeaseLost);
    assert_eq!(get(db.jobs(), id), before);
    lease.complete(json!("in time")).unwrap();
    assert_eq!(get(db.jobs(), id).result, Some(json!("in time").into()));
}

#[test]
fn a_pool_that_is_dropped_gives_its_leases_back_at_once() {
    let db = store();
    let ((started, hears), (go_on, waits)) = (bounded(0), bounded::<()>(0));
    let handlers = Handlers::new().on("k", move |_| {
        started.send(()).unwrap();
        waits.recv().ok();
        Ok(Done::ok())
    });
    let id = enqueue(db.jobs(), "k");
    let pool = WorkerPool::builder(db.jobs(), handlers).queue("q", 1).start().unwrap();
    hears.recv().unwrap();
    drop(pool);
    assert_eq!((get(db.jobs(), id).state, get(db.jobs(), id).attempt), (State::Available, 0));
    drop(go_on);
}

#[test]
fn a_pool_that_is_dropped_leaves_no_thread_behind_but_those_in_a_handler() {
    let db = store();
    // Every thread of a pool holds its handlers, and so this.
    let held = Arc::new(());
    let ((started, hears), (go_on, waits)) = (bounded(0), bounded::<()>(0));
    let handlers = || {
        let (held, started, waits) = (Arc::clone(&held), started.clone(), waits.clone());
        let deaf = move |_: &ml_persistence::Run<'_>| {
            started.send(Arc::strong_count(&held)).unwrap();
            waits.recv().ok();
            Ok(Done::ok())
        };
        Handlers::new().on("deaf", deaf).on("quick", |_| Ok(Done::ok()))
    };
    for kind in [None, Some("quick"), Some("quick")] {
        let pool = WorkerPool::builder(db.jobs(), handlers()).queue("q", 8).queue("r", 8).start().unwrap();
        if let Some(kind) = kind {
            enqueue(db.jobs(), kind);
        }
        drop(pool);
        assert_eq!(Arc::strong_count(&held), 1, "no thread of it is left");
    }
    let pool = WorkerPool::builder(db.jobs(), handlers()).queue("deaf", 2).queue("r", 8).start().unwrap();
    db.jobs().enqueue(NewJob::new("deaf", "deaf")).unwrap();
    assert_eq!(hears.recv().unwrap(), 2);
    drop(pool);
    assert_eq!(Arc::strong_count(&held), 2, "one is in its handler still");
    drop(go_on);
    until("its handler has returned", || Arc::strong_count(&held) == 1);
}

#[test]
fn a_completion_with_writes_is_one_commit_and_a_body_that_fails_or_panics_fails_the_attempt() {
    let db = store();
    let handlers = Handlers::new()
        .on("writes", |_| {
            Ok(Done::writing_with(json!(1), |txn| txn.jobs().enqueue(NewJob::new("next", "k")).map(drop)))
        })
        .on("refuses", |_| {
            Ok(Done::writing(|txn| {
                txn.jobs().enqueue(NewJob::new("next", "k"))?;
                Err(Error::invalid("no good"))
            }))
        })
        .on("panics", |_| Ok(Done::writing(|_| panic!("in the body"))));
    let ids = ["writes", "refuses", "panics"].map(|kind| enqueue(db.jobs(), kind));
    let pool = WorkerPool::builder(db.jobs(), handlers).queue("q", 1).start().unwrap();
    until("all ended", || counted(db.jobs(), "q", State::Completed) + counted(db.jobs(), "q", State::Retryable) == 3);
    pool.shutdown(GRACE_MS).unwrap();
    let [written, refused, panicked] = ids.map(|id| get(db.jobs(), id));
    assert_eq!((written.state, written.result), (State::Completed, Some(json!(1).into())));
    assert_eq!((refused.reason, refused.error.as_deref()), (Some(Reason::Failed), Some("no good")));
    assert_eq!((panicked.reason, panicked.error.as_deref()), (Some(Reason::Panicked), Some("in the body")));
    assert_eq!(counted(db.jobs(), "next", State::Available), 1, "only what was committed with a completion");
}

#[test]
fn answers_beyond_a_limit_fail_the_attempt_and_the_rest_are_the_verbs_of_a_lease() {
    let db = store();
    let handlers = Handlers::new()
        .on("large", |_| Ok(Done::with(json!("x".repeat(2 << 20)))))
        .on("now", |_| Ok(Done::snooze(0)))
        .on("later", |_| Ok(Done::snooze(60_000)))
        .on("again", |_| Ok(Done::retry_in(60_000, "busy")))
        .on("never", |_| Ok(Done::discard("useless")))
        .on("fine", |run| {
            run.progress(30)?;
            run.checkpoint(json!([1]))?;
            Ok(Done::ok())
        });
    let kinds = ["large", "now", "later", "again", "never", "fine"];
    let ids = kinds.map(|kind| enqueue(db.jobs(), kind));
    let pool = WorkerPool::builder(db.jobs(), handlers).queue("q", 1).start().unwrap();
    until("all ended", || ids.iter().all(|id| get(db.jobs(), *id).reason.is_some()));
    pool.shutdown(GRACE_MS).unwrap();
    use State::{Completed, Discarded, Retryable, Scheduled};
    let jobs = ids.map(|id| get(db.jobs(), id));
    let states = [Retryable, Retryable, Scheduled, Retryable, Discarded, Completed];
    assert_eq!(jobs.each_ref().map(|job| job.state), states);
    assert!(jobs[0].error.as_ref().unwrap().starts_with("result:"), "{:?}", jobs[0].error);
    assert!(jobs[1].error.as_ref().unwrap().starts_with("delay_ms:"), "{:?}", jobs[1].error);
    assert_eq!((jobs[5].progress, &jobs[5].checkpoint), (Some(30), &Some(json!([1]).into())));
}

#[test]
fn a_suspect_runs_while_nothing_else_of_its_pool_does() {
    let mut rig = Rig::new();
    let suspects: Vec<JobId> = (0..3).map(|_| rig.enqueue(NewJob::new("q", "suspect"))).collect();
    assert_eq!(rig.claim(3).len(), 3);
    assert_eq!(rig.crash().requeued, 3);
    let mut batch: Vec<NewJob> = (0..40).map(|_| NewJob::new("q", "plain")).collect();
    batch.extend((0..40).map(|_| NewJob::new("r", "plain").priority(200)));
    rig.jobs().enqueue_batch(&batch).unwrap();
    let (crowd, alone) = (Arc::new(Crowd::default()), Arc::new(Crowd::default()));
    let run = |alone: Option<Arc<Crowd>>| {
        let crowd = Arc::clone(&crowd);
        move |_: &ml_persistence::Run<'_>| {
            crowd.enter();
            for _ in 0..200 {
                std::thread::yield_now();
                if let Some(alone) = &alone {
                    alone.most.fetch_max(crowd.inside.load(Ordering::SeqCst), Ordering::SeqCst);
                }
            }
            crowd.leave();
            Ok(Done::ok())
        }
    };
    let handlers = Handlers::new().on("plain", run(None)).on("suspect", run(Some(Arc::clone(&alone))));
    let pool = WorkerPool::builder(rig.jobs(), handlers).queue("q", 3).queue("r", 3).isolate_suspects(true);
    let pool = pool.start().unwrap();
    until("all done", || {
        ["q", "r"].iter().map(|queue| counted(rig.jobs(), queue, State::Completed)).sum::<u64>() == 83
    });
    let ended = pool.shutdown(GRACE_MS).unwrap();
    assert_eq!(alone.most.load(Ordering::SeqCst), 1, "nothing ran beside a suspect");
    assert!(crowd.most.load(Ordering::SeqCst) > 1, "the others ran beside each other");
    assert_eq!((ended.released, ended.still_running), (0, 0));
    assert!(suspects.iter().all(|id| rig.get(*id).crash_count == 1));
}

#[test]
fn workers_end_when_the_store_closes_and_say_so() {
    let db = store();
    let pool = WorkerPool::builder(db.jobs(), Handlers::new()).queue("q", 3).start().unwrap();
    db.close().unwrap();
    // One of them meets it and tells the others; a shutdown is then a matter of counting.
    until("somebody met it", || pool.stats().errors > 0);
    assert_eq!(pool.stats().last_error.unwrap().kind(), ErrorKind::Closed);
    assert_eq!(pool.shutdown(GRACE_MS).unwrap().still_running, 0);
}

#[test]
fn settings_that_could_not_work_are_refused_by_name() {
    let db = store();
    let pool = || WorkerPool::builder(db.jobs(), Handlers::new());
    let long = "n".repeat(257);
    for (pool, field) in [
        (pool(), "queue:"),
        (pool().queue("q", 0), "queue \"q\":"),
        (pool().queue("q", 1_025), "queue \"q\":"),
        (pool().queue("", 1), "queue:"),
        (pool().queue("q", 1).lease_ms(0), "lease_ms:"),
        (pool().queue("q", 1).lease_ms(1_000).heartbeat_ms(334), "heartbeat_ms:"),
        (pool().queue("q", 1).heartbeat_ms(0), "heartbeat_ms:"),
        (pool().queue("q", 1).name(&long), "name:"),
        (pool().queue(&long[..256], 1), "name:"),
    ] {
        let error = pool.start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with(field), "{error}");
    }
    pool().queue("q\0", 1).lease_ms(999).heartbeat_ms(333).start().unwrap().shutdown(GRACE_MS).unwrap();
}

#[test]
fn drain_works_off_what_is_ready_in_claim_order_and_the_same_way_each_time() {
    let run = || {
        let rig = Rig::new();
        let (said, heard) = unbounded();
        let say = |what: &'static str| {
            let said = said.clone();
            move |run: &ml_persistence::Run<'_>| (said.send((what, run.job().id, run.job().attempt)).unwrap(), ()).1
        };
        let (parent, child, fails, gives, panics) =
            (say("parent"), say("child"), say("fails"), say("gives"), say("panics"));
        let handlers = Handlers::new()
            .on("parent", move |run| {
                parent(run);
                Ok(Done::writing(|txn| txn.jobs().enqueue(NewJob::new("q", "child").priority(0)).map(drop)))
            })
            .on("child", move |run| (child(run), Ok(Done::ok())).1)
            .on("fails", move |run| (fails(run), Err("again".into())).1)
            .on("gives", move |run| (gives(run), Ok(Done::release())).1)
            .on("panics", move |run| {
                panics(run);
                panic!("no")
            });
        let new = |kind: &str| NewJob::new("q", kind).max_attempts(2);
        rig.enqueue(new("gives").priority(1));
        rig.enqueue(new("parent"));
        rig.enqueue(new("fails").backoff(Backoff::fixed(0)));
        rig.enqueue(new("panics"));
        rig.enqueue(job().delay_ms(5));
        let tally = rig.jobs().drain(&["q"], &handlers).unwrap();
        let all: Vec<Job> = rig::all(rig.jobs(), &Default::default());
        (heard.try_iter().collect::<Vec<_>>(), tally, all)
    };
    let (said, tally, all) = run();
    let names: Vec<(&str, u32)> = said.iter().map(|(what, _, attempt)| (*what, *attempt)).collect();
    assert_eq!(names, [("gives", 1), ("parent", 1), ("child", 1), ("fails", 1), ("fails", 2), ("panics", 1)]);
    assert_eq!((tally.of(Reason::Completed), tally.of(Reason::Failed), tally.of(Reason::Panicked)), (2, 2, 1));
    use State::{Available, Completed, Discarded, Retryable, Scheduled};
    let states: Vec<State> = all.iter().map(|job| job.state).collect();
    assert_eq!(states, [Available, Completed, Discarded, Retryable, Scheduled, Completed]);
    assert_eq!((all[0].attempt, all[0].crash_count), (0, 0), "given back, and worked on once");
    assert_eq!(run(), (said, tally, all), "ids, jitter and order repeat");
}
