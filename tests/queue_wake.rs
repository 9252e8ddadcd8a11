//! Who is woken by what: one waiter for each job that becomes ready, whichever way, and nobody for nothing.
//!
//! Tasks stand in for workers here, because a test can count their wake-ups and choose when they look; threads wait in
//! the same lines by the same rule.

#[allow(dead_code)] // Shared with tests that need other parts of it.
mod house;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::thread;

use ml_persistence::jobs::Ready;
use ml_persistence::{Backoff, ClaimRequest, Jobs, Lease, ManualClock, NewJob, Stopwatch, SystemClock, Token};

use house::{Dice, House};

/// Counts how often its task was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Waiter {
    ready: Ready,
    wakes: Arc<Wakes>,
}

fn waiter(jobs: &Jobs, queue: &str) -> Waiter {
    let wakes = Arc::new(Wakes::default());
    let ready = jobs.on_ready(queue, &Waker::from(Arc::clone(&wakes))).expect("the name is within its limit");
    Waiter { ready, wakes }
}

fn woken(waiters: &[Waiter]) -> Vec<bool> {
    waiters.iter().map(|waiter| waiter.wakes.0.load(Ordering::SeqCst) > 0).collect()
}

fn claim(jobs: &Jobs, queue: &str) -> Option<Token> {
    jobs.claim(&[queue], 1).expect("a claim").pop().map(|lease| Lease::into_parts(lease).1)
}

/// A queue that is known to be empty, on a clock that stands.
fn empty() -> (House, ManualClock, house::Open) {
    let clock = ManualClock::at(1_000_000);
    let house = House::new(clock.clone());
    let open = house.open();
    assert!(claim(&open.jobs, "q").is_none());
    (house, clock, open)
}

#[test]
fn n_jobs_wake_n_waiters_those_who_wait_longest() {
    let (_house, _clock, open) = empty();
    let jobs = &open.jobs;
    let waiters: Vec<Waiter> = (0..6).map(|_| waiter(jobs, "q")).collect();
    assert_eq!(woken(&waiters), [false; 6]);
    jobs.enqueue(NewJob::new("elsewhere", "k")).expect("room");
    assert_eq!(woken(&waiters), [false; 6]);
    jobs.enqueue(NewJob::new("q", "k")).expect("room");
    assert_eq!(woken(&waiters), [true, false, false, false, false, false]);
    jobs.enqueue_batch(&vec![NewJob::new("q", "k"); 3]).expect("room");
    assert_eq!(woken(&waiters), [true, true, true, true, false, false]);
    // Each takes its job and leaves, in another order: nobody else is woken by that.
    for waiter in waiters.into_iter().take(4).rev() {
        assert!(waiter.ready.is_rung() && claim(jobs, "q").is_some());
        assert_eq!(waiter.wakes.0.load(Ordering::SeqCst), 1);
        drop(waiter);
    }
    assert_eq!(jobs.memory().sleepers, 0);
}

#[test]
fn whoever_was_woken_and_leaves_without_the_job_passes_it_on() {
    let (_house, _clock, open) = empty();
    let mut waiters: Vec<Waiter> = (0..3).map(|_| waiter(&open.jobs, "q")).collect();
    open.jobs.enqueue(NewJob::new("q", "k")).expect("room");
    assert_eq!(woken(&waiters), [true, false, false]);
    drop(waiters.remove(0));
    assert_eq!(woken(&waiters), [true, false]);
    // Somebody who did not wait was faster.
    assert!(claim(&open.jobs, "q").is_some());
    drop(waiters.remove(0));
    assert_eq!(woken(&waiters), [false]);
}

#[test]
fn every_way_of_becoming_ready_wakes() {
    let (_house, clock, open) = empty();
    let (jobs, store) = (&open.jobs, &open.store);
    let wakes_one = |what: &str, make_ready: &dyn Fn()| {
        let waiters = [waiter(jobs, "q"), waiter(jobs, "q")];
        assert_eq!(woken(&waiters), [false, false], "{what}: before");
        make_ready();
        assert_eq!(woken(&waiters), [true, false], "{what}");
        claim(jobs, "q").unwrap_or_else(|| panic!("{what}: nothing to claim"))
    };
    let new = || NewJob::new("q", "k").backoff(Backoff::fixed(0)).lease_ms(100).max_crashes(9);
    let inside = || {
        store.transact(ml_persistence::Durability::PowerLoss, |txn| txn.jobs().enqueue(new()).map(drop)).expect("room");
    };
    let token = wakes_one("an enqueue inside a transaction", &inside);
    let token = wakes_one("a release", &|| drop(jobs.release(&token).expect("held")));
    let id = token.job();
    let token = wakes_one("a lease that ran out, taken back by another queue's claim", &|| {
        clock.advance(100);
        assert!(claim(jobs, "another").is_none());
    });
    let token = wakes_one("a failure whose time comes, seen by upkeep", &|| {
        jobs.fail(&token, None, Some(50)).expect("held");
        clock.advance(50);
        jobs.maintain().expect("upkeep goes through");
    });
    jobs.complete(&token, None).expect("held");
    let token = wakes_one("a retry", &|| drop(jobs.retry(id).expect("it is over")));
    jobs.pause("q").expect("a queue can be paused");
    jobs.release(&token).expect("held");
    wakes_one("a queue that is resumed", &|| jobs.resume("q").expect("a queue can be resumed"));
}

#[test]
fn a_waiting_task_is_told_when_time_itself_has_something_for_it() {
    let (_house, clock, open) = empty();
    let jobs = &open.jobs;
    assert_eq!(waiter(jobs, "q").ready.look_again_ms(), 1_000, "for safety's sake alone");
    jobs.enqueue(NewJob::new("q", "k").delay_ms(400).lease_ms(150)).expect("room");
    assert_eq!(waiter(jobs, "q").ready.look_again_ms(), 400, "when the job is due");
    clock.advance(100);
    assert_eq!(waiter(jobs, "q").ready.look_again_ms(), 300);
    // A wall clock that jumps far ahead or back is never slept on for longer than the backstop.
    clock.set_wall(0);
    assert_eq!(waiter(jobs, "q").ready.look_again_ms(), 1_000);
    clock.set_wall(u64::MAX / 2);
    assert!(claim(jobs, "q").is_some());
    assert_eq!(waiter(jobs, "q").ready.look_again_ms(), 150, "when the lease runs out");
}

/// Tasks come, look, take and leave at random, while jobs come and go in every way. After each step: as long as
/// somebody waits who was not woken, as many are up as there are jobs. Upkeep makes the queue forget lines that nobody
/// uses, so half of the walks go without it.
#[test]
fn no_wake_up_is_lost_whatever_happens_in_whichever_order() {
    for seed in 0..16 {
        let (_house, clock, open) = empty();
        let jobs = &open.jobs;
        let mut dice = Dice(seed);
        let (mut waiters, mut held, mut paused) = (Vec::new(), Vec::new(), false);
        let forgets = seed % 2 == 0;
        for step in 0..300 {
            match dice.roll(11) {
                0..=2 => waiters.push(waiter(jobs, "q")),
                3 | 4 => {
                    let count = 1 + dice.roll(3) as usize;
                    jobs.enqueue_batch(&vec![NewJob::new("q", "k").lease_ms(1_000_000); count]).expect("room");
                }
                // One who is up looks, and leaves with or without a job.
                5 | 6 => {
                    if let Some(place) = waiters.iter().position(|waiter: &Waiter| waiter.ready.is_rung()) {
                        held.extend(claim(jobs, "q"));
                        drop(waiters.remove(place));
                    }
                }
                // Somebody gives up, up or not; somebody who did not wait takes a job.
                7 if !waiters.is_empty() => {
                    drop(waiters.remove(dice.roll(waiters.len() as u64) as usize));
                }
                8 => held.extend(claim(jobs, "q")),
                9 if !held.is_empty() => {
                    let token = held.remove(dice.roll(held.len() as u64) as usize);
                    match dice.roll(3) {
                        0 => drop(jobs.release(&token).expect("held")),
                        1 => drop(jobs.fail(&token, None, Some(5)).expect("held")),
                        _ => drop(jobs.complete(&token, None).expect("held")),
                    }
                }
                10 => {
                    paused = !paused;
                    if paused { jobs.pause("q") } else { jobs.resume("q") }.expect("a name within its limit");
                }
                _ => {
                    clock.advance(5);
                    if forgets {
                        jobs.maintain().expect("upkeep goes through");
                    } else {
                        held.extend(claim(jobs, "q"));
                    }
                }
            }
            let up = waiters.iter().filter(|waiter| waiter.ready.is_rung()).count();
            let available = jobs.counts(Some("q")).expect("counters")["q"].available as usize;
            if !paused && up < waiters.len() {
                // Of a line that was forgotten nobody knows how long it is: one is up, whose claim finds out.
                let available = if forgets { available.min(1) } else { available };
                assert!(up >= available, "seed {seed}, step {step}: {available} jobs, {up} of {} up", waiters.len());
            }
            assert!(waiters.iter().all(|waiter| waiter.wakes.0.load(Ordering::SeqCst) <= 1), "woken once, not twice");
        }
    }
}

/// Real threads and real time: a job that falls due and a lease that runs out are noticed by a worker that only waits.
#[test]
fn a_thread_that_waits_notices_a_due_job_and_a_lease_that_runs_out() {
    let open = House::new(SystemClock::default()).open();
    let jobs = &open.jobs;
    let request = ClaimRequest::new(["q"]).lease_ms(60);
    thread::scope(|scope| {
        let waiting: Vec<_> =
            (0..3).map(|_| scope.spawn(|| jobs.claim_wait(&request, 60_000).expect("a claim"))).collect();
        while jobs.memory().sleepers < 3 {
            thread::yield_now();
        }
        // Nobody finishes it: each of the three has it in turn, once the one before has lost it.
        let since = Stopwatch::start();
        jobs.enqueue(NewJob::new("q", "k").delay_ms(60).max_crashes(9)).expect("room");
        let mut attempts: Vec<u32> = waiting
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .map(|lease| lease.into_parts().0.attempt)
            .collect();
        attempts.sort_unstable();
        assert_eq!(attempts, [1, 2, 3]);
        // The clock's milliseconds are whole ones: each of the three times may be up to one shorter than it says.
        assert!(since.elapsed().as_millis() >= 3 * 59, "each in its time");
    });
}
