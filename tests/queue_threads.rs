//! Many threads on one queue: every job has one winner at a time, none is done twice, none is lost; and a token of an
//! older attempt changes nothing, in this opening and in any later one.
//!
//! Workers claim, heartbeat, complete, fail, release, snooze, let go without a word, cancel and retry at random, while
//! a manual clock is moved so that leases run out under them. An account is kept beside the store: who holds which claim
//! of which job. It is updated after each answer, so it says only what must hold whatever the interleaving.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::sim::SimDisk;
use ml_persistence::engine::memory::{MemoryOpener, MemoryStore};
use ml_persistence::jobs::{self, JobFilter, JobsOptions, State, recovery};
use ml_persistence::record::scrub;
use ml_persistence::{
    Backoff, ClaimRequest, Clock, Config, Durability, ErrorKind, Ids, JobId, Jobs, Lease, ManualClock, NewJob,
    RecordStore, SystemClock, Token,
};

/// A store in memory, behind a journal on a simulated disk, that can be opened again.
struct House {
    disk: SimDisk,
    data: Arc<MemoryStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
}

impl House {
    fn new(clock: impl Clock + 'static) -> Self {
        let ids = Arc::new(Ids::seeded(11));
        House { disk: SimDisk::new(), data: Arc::new(MemoryStore::new()), clock: Arc::new(clock), ids }
    }

    fn open(&self) -> (RecordStore, Jobs) {
        let mut config = Config::new().expect("this machine has randomness");
        config.clock = Arc::clone(&self.clock);
        config.ids = Arc::clone(&self.ids);
        let opener = MemoryOpener::shared(Arc::clone(&self.data));
        let opened = LocalEngine::open(Arc::new(self.disk.clone()), Path::new("/data"), &opener, &config);
        let engine = Arc::new(opened.expect("the folder opens").0);
        let store = RecordStore::new(engine, Arc::clone(&self.clock), Arc::clone(&self.ids));
        self.ids.enter_epoch(store.engine().epoch().number);
        recovery::sweep(&store, store.engine().epoch()).expect("the sweep goes through");
        (store.clone(), Jobs::new(store, JobsOptions::default()))
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What the answers so far say.
#[derive(Default)]
struct Account {
    /// Claims that were handed out: no claim number of a job may come twice.
    claims: HashSet<(JobId, String)>,
    completed: HashMap<JobId, usize>,
    /// Tokens that ended, in whichever way.
    over: Vec<Token>,
}

/// Accepts success or the loss of the lease; answers whether it was a success.
fn held<T>(outcome: Result<T, ml_persistence::Error>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
            false
        }
    }
}

/// One worker's turn with one claim.
fn work(jobs: &Jobs, lease: Lease, dice: &mut Dice, account: &Mutex<Account>) {
    let (job, token) = lease.into_parts();
    let is_new = account.lock().expect("no panic").claims.insert((job.id, token.to_string()));
    assert!(is_new, "one claim was handed out twice: {token:?}");
    if dice.roll(3) == 0 {
        held(jobs.heartbeat(&token, None));
    }
    let ended = match dice.roll(12) {
        0..=5 => {
            let done = held(jobs.complete(&token, None));
            if done {
                *account.lock().expect("no panic").completed.entry(job.id).or_default() += 1;
            }
            done
        }
        6 => held(jobs.fail(&token, Some("at random"), Some(0))),
        7 => held(jobs.release(&token)),
        8 => held(jobs.snooze(&token, 1)),
        // Nobody ends it: its lease runs out.
        9 => return,
        _ => held(jobs.fail(&token, None, Some(dice.roll(40)))),
    };
    let mut account = account.lock().expect("no panic");
    if !ended {
        assert!(jobs.heartbeat(&token, None).is_err(), "a lost lease came back");
    }
    account.over.push(token);
}

fn check_store(store: &RecordStore, jobs: &Jobs) {
    let mut report = scrub::Report::default();
    store.read(|view| jobs::verify(view, &mut report)).expect("the store can be read");
    assert_eq!(report.violations_found, 0, "{:#?}", report.violations);
    let mut after = None;
    loop {
        let page = jobs.list(&JobFilter::new(), after.as_deref(), 1_000).expect("the list can be read");
        for job in &page.jobs {
            assert_eq!(job.state == State::Executing, job.lease_expires_at.is_some(), "{job:?}");
            assert!(job.attempt <= job.max_attempts + job.max_crashes, "{job:?}");
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

fn many_threads_share_a_queue(threads: usize, count: usize, durability: Durability) {
    let clock = ManualClock::at(1_000_000);
    let house = House::new(clock.clone());
    let (store, jobs) = house.open();
    let jobs = jobs.with_durability(durability);
    let account = Mutex::new(Account::default());
    let cancelled = Mutex::new(HashSet::new());
    let (enqueued, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let new = |number: usize| {
        let job = NewJob::new(if number.is_multiple_of(4) { "b" } else { "a" }, "k").max_attempts(1_000_000);
        job.max_crashes(1_000_000).lease_ms(60).backoff(Backoff::fixed(1)).priority((number % 3) as u8)
    };
    thread::scope(|scope| {
        for worker in 0..threads {
            let (jobs, account, cancelled, clock) = (&jobs, &account, &cancelled, &clock);
            let (enqueued, turns) = (&enqueued, &turns);
            scope.spawn(move || {
                let mut dice = Dice(worker as u64 + 1);
                let request = ClaimRequest::new(["a", "b"]).worker(format!("w{worker}"));
                loop {
                    let number = enqueued.fetch_add(1, Ordering::Relaxed);
                    if number < count {
                        jobs.enqueue(new(number)).expect("room for a job");
                    }
                    let limit = 1 + dice.roll(3) as usize;
                    let claimed = jobs.claim_with(&request.clone().limit(limit)).expect("a claim");
                    let found = !claimed.is_empty();
                    for lease in claimed {
                        let id = lease.job().id;
                        if dice.roll(20) == 0 {
                            match jobs.cancel(id) {
                                Ok(_) => drop(cancelled.lock().expect("no panic").insert(id)),
                                // Its lease ran out meanwhile, and another has finished it.
                                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                            }
                        }
                        work(jobs, lease, &mut dice, account);
                    }
                    // Turns move time, so that what nobody ends runs out and what was put off is due.
                    if turns.fetch_add(1, Ordering::Relaxed).is_multiple_of(8) || !found {
                        clock.advance(5);
                    }
                    let counts = jobs.counts(None).expect("the counters can be read");
                    let open: u64 =
                        counts.values().map(|of| of.available + of.scheduled + of.executing + of.retryable).sum();
                    if open == 0 && number >= count {
                        return;
                    }
                }
            });
        }
    });
    check_store(&store, &jobs);
    let account = account.into_inner().expect("no panic");
    let cancelled = cancelled.into_inner().expect("no panic");
    let counts = jobs.counts(None).expect("the counters can be read");
    let of = |pick: fn(&jobs::Counts) -> u64| counts.values().map(pick).sum::<u64>() as usize;
    assert_eq!(of(|of| of.completed) + of(|of| of.cancelled), count, "none is lost");
    assert_eq!(of(|of| of.discarded), 0);
    assert_eq!(account.completed.len(), of(|of| of.completed));
    assert!(account.completed.values().all(|times| *times == 1), "none is done twice");
    assert!(cancelled.len() >= of(|of| of.cancelled));
    // Tokens of attempts that are over change nothing, here and in a later opening.
    let lost = |jobs: &Jobs| {
        for token in account.over.iter().step_by(1 + account.over.len() / 200) {
            let outcomes = [
                jobs.heartbeat(token, None).map(drop),
                jobs.complete(token, None).map(drop),
                jobs.release(token).map(drop),
                jobs.fail(token, None, None).map(drop),
            ];
            assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|e| e.kind() == ErrorKind::LeaseLost)));
        }
    };
    lost(&jobs);
    assert_eq!(jobs.memory().reserved_jobs, 0, "every reservation was given back, once");
    let digest =
        |store: &RecordStore| ml_persistence::record::digest(&**store.engine()).expect("the store can be read");
    store.engine().close().expect("a clean end");
    drop((store, jobs));
    let (store, jobs) = house.open();
    let before = digest(&store);
    lost(&jobs);
    assert_eq!(digest(&store), before, "a token of an earlier opening changed something");
    check_store(&store, &jobs);
}

#[test]
fn eight_threads_do_each_job_once_under_expiries_cancels_and_heartbeats() {
    many_threads_share_a_queue(8, 600, Durability::PowerLoss);
}

#[test]
fn eight_threads_do_each_job_once_also_when_commits_are_buffered() {
    many_threads_share_a_queue(8, 600, Durability::Buffered);
}

#[test]
fn sixty_four_threads_do_each_job_once_under_expiries_cancels_and_heartbeats() {
    many_threads_share_a_queue(64, 1_200, Durability::PowerLoss);
}

#[test]
fn a_token_of_an_older_attempt_is_refused_while_a_newer_one_runs_also_across_a_reopen() {
    let clock = ManualClock::at(1_000_000);
    let house = House::new(clock.clone());
    let (store, jobs) = house.open();
    jobs.enqueue(NewJob::new("a", "k").lease_ms(100)).expect("room");
    let claim = |jobs: &Jobs| jobs.claim(&["a"], 1).expect("a claim").remove(0).into_parts().1;
    let first = claim(&jobs);
    clock.advance(100);
    let second = claim(&jobs);
    let refused = |jobs: &Jobs, token: &Token| {
        assert_eq!(jobs.complete(token, None).expect_err("an old token").kind(), ErrorKind::LeaseLost);
        assert_eq!(jobs.heartbeat(token, None).expect_err("an old token").kind(), ErrorKind::LeaseLost);
    };
    refused(&jobs, &first);
    store.engine().close().expect("a clean end");
    drop((store, jobs));
    let (_store, jobs) = house.open();
    let third = claim(&jobs);
    refused(&jobs, &first);
    refused(&jobs, &second);
    jobs.complete(&third, None).expect("the newest token");
    refused(&jobs, &third);
}

/// Each job wakes one waiter, and every waiter is woken in the end: nobody polls, so a lost wake-up would only be
/// noticed by the backstop, and this would take a second each.
#[test]
fn as_many_waiters_as_jobs_are_served_and_no_wake_up_is_lost() {
    const WAITERS: usize = 16;
    const ROUNDS: usize = 40;
    let house = House::new(SystemClock::default());
    let (_store, jobs) = house.open();
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..WAITERS {
            let (jobs, served) = (&jobs, &served);
            scope.spawn(move || {
                // Half of them wait for two queues.
                let queues = if worker.is_multiple_of(2) { vec!["a", "b"] } else { vec!["a"] };
                let request = ClaimRequest::new(queues);
                while served.load(Ordering::SeqCst) < ROUNDS {
                    for lease in jobs.claim_wait(&request, 60_000).expect("a claim") {
                        let stops = lease.job().kind == "stop";
                        lease.complete(serde_json::Value::Null).expect("it is held");
                        if stops {
                            return;
                        }
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let queue = |number: usize| if number.is_multiple_of(3) { "b" } else { "a" };
        for number in 0..ROUNDS {
            jobs.enqueue(NewJob::new(queue(number), "work")).expect("room");
        }
        for _ in 0..WAITERS {
            jobs.enqueue(NewJob::new("a", "stop")).expect("room");
        }
    });
    assert!(served.load(Ordering::SeqCst) <= ROUNDS);
    assert_eq!(jobs.memory().sleepers, 0);
}
