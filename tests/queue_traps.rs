//! The traps that other queues fell into, one test each, named after it.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure, in a helper too")]

mod rig;

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::channel::bounded;
use ml_persistence::jobs::{JobFilter, NewJob, Outcome, Reason, State, recovery};
use ml_persistence::{
    Backoff, ClaimRequest, Clock, Done, Durability, Error, ErrorKind, Handlers, Job, JobId, Lease, Stopwatch, Token,
    WorkerPool,
};
use serde_json::json;

use rig::{Rig, all, all_by, job, kind_of, until};

fn ids(claims: &[(Job, Token)]) -> Vec<JobId> {
    claims.iter().map(|(job, _)| job.id).collect()
}

#[test]
fn a_stale_workers_ack_is_not_accepted_by_the_next_attempt() {
    let mut rig = Rig::new();
    let id = rig.enqueue(job().max_crashes(9).max_attempts(9));
    let mut stale: Vec<Token> = Vec::new();
    // However the claim before ended: the worker that still holds its token is refused, and changes nothing.
    for end in 0..5 {
        let (_, token) = rig.claim_one();
        match end {
            0 => rig.clock.advance(60_000),
            1 => rig.jobs().release(&token).map(|_| 0).unwrap(),
            2 => rig.jobs().fail(&token, None, Some(0)).map(|_| 0).unwrap(),
            3 => rig.jobs().snooze(&token, 1).map(|_| rig.clock.advance(1)).unwrap(),
            _ => rig.crash().requeued,
        };
        stale.push(token);
    }
    let (running, current) = rig.claim_one();
    assert_eq!(running.id, id);
    let before = rig.get(id);
    for token in &stale {
        assert_eq!(kind_of(rig.jobs().complete(token, Some(json!("stale").into()))), ErrorKind::LeaseLost);
        assert_eq!(kind_of(rig.jobs().fail(token, None, None)), ErrorKind::LeaseLost);
        assert_eq!(kind_of(rig.jobs().heartbeat(token, None)), ErrorKind::LeaseLost);
    }
    assert_eq!(rig.get(id), before);
    assert_eq!(rig.jobs().complete(&current, None).unwrap().state, State::Completed);
}

#[test]
fn a_rescue_that_looked_at_an_old_snapshot_of_the_job_leaves_the_newer_claim_alone() {
    // Four rescuers look for leases that are past while four holders renew, finish and claim anew: the
    // look is outside the transaction, so each verifies inside what it saw.
    let rig = Rig::new();
    let jobs: Vec<NewJob> =
        (0..32).map(|_| job().lease_ms(10).max_crashes(1_000_000).max_attempts(1_000_000)).collect();
    rig.jobs().enqueue_batch(&jobs).unwrap();
    let (over, kept) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (jobs, over) = (rig.jobs().with_durability(Durability::Buffered), &over);
            scope.spawn(move || {
                while over.load(Ordering::SeqCst) < 4 {
                    jobs.maintain().unwrap();
                }
            });
        }
        for _ in 0..4 {
            let (jobs, clock, over, kept) =
                (rig.jobs().with_durability(Durability::Buffered), &rig.clock, &over, &kept);
            scope.spawn(move || {
                for round in 0..50 {
                    for lease in jobs.claim(&["q"], 4).unwrap() {
                        clock.advance(4);
                        // A heartbeat that succeeded holds for its lease, whatever a rescuer saw before it.
                        match lease.heartbeat() {
                            Ok(_) if round % 2 == 0 => {
                                let current = jobs.get(lease.job().id).unwrap().unwrap();
                                let mine = current.state == State::Executing && current.attempt == lease.job().attempt;
                                kept.fetch_add(usize::from(mine), Ordering::SeqCst);
                                lease.release().map(drop).or_else(lost).unwrap();
                            }
                            _ => lease.fail("next").map(drop).or_else(lost).unwrap(),
                        }
                    }
                }
                over.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    assert!(kept.load(Ordering::SeqCst) > 0);
    assert!(all_by(rig.jobs(), &JobFilter::new(), 100).iter().all(|job| job.crash_count < job.attempt + 1));
}

fn lost(error: Error) -> Result<(), Error> {
    if error.kind() == ErrorKind::LeaseLost { Ok(()) } else { Err(error) }
}

#[test]
fn a_slot_is_not_given_back_twice_so_no_more_run_than_there_are_slots() {
    // Where a pool counts slots with a semaphore, a job that fails twice over (an error, then a lost lease) returns its
    // slot twice. Here a slot is a thread: after panics, errors and lost leases there are as many as before.
    let rig = Rig::new();
    let (inside, most) = (std::sync::Arc::new(AtomicUsize::new(0)), std::sync::Arc::new(AtomicUsize::new(0)));
    let crowd = (inside, std::sync::Arc::clone(&most));
    let (clock, jobs) = (rig.clock.clone(), rig.jobs().clone());
    let handlers = Handlers::new().on("k", move |run| {
        crowd.1.fetch_max(crowd.0.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::yield_now();
        crowd.0.fetch_sub(1, Ordering::SeqCst);
        match run.job().priority % 4 {
            0 => panic!("a bug"),
            1 => Err("an error".into()),
            2 => {
                clock.advance(60_000);
                jobs.maintain()?;
                Ok(Done::with(json!("late")))
            }
            _ => Ok(Done::ok()),
        }
    });
    for place in 0..80 {
        rig.enqueue(job().priority(place).max_attempts(1).max_crashes(1));
    }
    let pool = WorkerPool::builder(rig.jobs(), handlers).queue("q", 2).start().unwrap();
    until("all ended", || rig.jobs().counts(Some("q")).unwrap()["q"].available == 0);
    pool.shutdown(60_000).unwrap();
    assert!(most.load(Ordering::SeqCst) <= 2, "two slots, {most:?} at once");
}

#[test]
fn retry_touches_one_row_and_no_other() {
    let rig = Rig::new();
    let finished: Vec<JobId> = (0..20).map(|_| rig.enqueue(job())).collect();
    for id in &finished {
        rig.jobs().cancel(*id).unwrap();
    }
    let before = all(rig.jobs(), &JobFilter::new());
    rig.clock.advance(1);
    let retried = rig.jobs().retry(finished[7]).unwrap();
    for (old, new) in before.iter().zip(all(rig.jobs(), &JobFilter::new())) {
        assert_eq!(new, if old.id == finished[7] { retried.clone() } else { old.clone() });
    }
}

#[test]
fn a_heartbeat_interval_equal_to_the_limit_is_refused_and_three_of_them_must_fit() {
    let rig = Rig::new();
    let pool = |lease_ms, heartbeat_ms| {
        let pool = WorkerPool::builder(rig.jobs(), Handlers::new()).queue("q", 1);
        pool.lease_ms(lease_ms).heartbeat_ms(heartbeat_ms).start().map(|pool| pool.shutdown(60_000).map(drop))
    };
    for heartbeat_ms in [30_000, 15_000, 10_001] {
        assert_eq!(kind_of(pool(30_000, heartbeat_ms)), ErrorKind::Invalid);
    }
    pool(30_000, 10_000).unwrap().unwrap();
}

#[test]
fn a_panic_neither_kills_the_worker_nor_leaves_the_job_running() {
    let rig = Rig::new();
    let handlers = Handlers::new().on("panics", |_| panic!("out of range")).on("k", |_| Ok(Done::ok()));
    let id = rig.enqueue(NewJob::new("q", "panics").max_attempts(2).backoff(Backoff::fixed(0)));
    let next = rig.enqueue(job().priority(200));
    let pool = WorkerPool::builder(rig.jobs(), handlers).queue("q", 1).start().unwrap();
    until("the one worker came to the next job", || rig.get(next).state == State::Completed);
    pool.shutdown(60_000).unwrap();
    let panicked = rig.get(id);
    assert_eq!((panicked.state, panicked.attempt), (State::Discarded, 2));
    assert_eq!((panicked.reason, panicked.error.as_deref()), (Some(Reason::Panicked), Some("out of range")));
}

#[test]
fn ids_do_not_start_over_after_a_reopening_that_finds_nothing_or_fails() {
    let mut rig = Rig::new();
    let mut seen = BTreeSet::new();
    // The same seed each time, and never a job left to continue from.
    for _ in 0..5 {
        for _ in 0..10 {
            let id = rig.enqueue(job().retention_ms(0));
            assert!(seen.insert(id), "{id} was given out before");
            rig.jobs().cancel(id).unwrap();
        }
        rig.crash();
        assert!(all(rig.jobs(), &JobFilter::new()).is_empty());
    }
    // The place in line goes on, too: a job of now stands behind one of before.
    let first = rig.enqueue(job());
    rig.crash();
    let second = rig.enqueue(job());
    assert_eq!(ids(&rig.claim(2)), [first, second]);
}

#[test]
fn state_is_written_inside_the_transaction_so_no_older_one_lands_over_a_newer() {
    // Many threads note growing numbers on one job: what each call answered is there, or something newer.
    let rig = Rig::new();
    let id = rig.enqueue(job());
    let (_, token) = rig.claim_one();
    let (next, last) = (AtomicUsize::new(1), 400);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (jobs, next) = (rig.jobs().with_durability(Durability::Buffered), &next);
            scope.spawn(move || {
                let mut revision = 0;
                while next.fetch_add(1, Ordering::SeqCst) <= last {
                    jobs.progress(&token, None, Some(json!(1).into())).unwrap();
                    jobs.heartbeat(&token, None).unwrap();
                    let seen = jobs.get(id).unwrap().unwrap().revision;
                    assert!(seen > revision, "a read went back from {revision} to {seen}");
                    revision = seen;
                }
            });
        }
    });
    // Enqueue 1, claim 2; the first note of a checkpoint writes, the others change nothing; each heartbeat writes.
    assert_eq!(rig.get(id).revision, 3 + last as u64);
}

#[test]
fn first_in_is_first_out_also_over_a_restart() {
    let mut rig = Rig::new();
    let mut line: Vec<JobId> = (0..5).map(|_| rig.enqueue(job())).collect();
    rig.crash();
    // A clock that was set back meanwhile puts nobody in front.
    rig.clock.set_wall(rig.clock.now_ms() - 500_000);
    line.extend((0..5).map(|_| rig.enqueue(job())));
    rig.close_and_open();
    line.extend(rig.jobs().enqueue_batch(&[job(), job(), job()]).unwrap().iter().map(|enqueued| enqueued.job));
    // Crashed and released jobs keep their place.
    let claimed = rig.claim(3);
    rig.jobs().release(&claimed[1].1).unwrap();
    rig.crash();
    assert_eq!(ids(&rig.claim(100)), line);
}

#[test]
fn a_shutdown_neither_drains_the_queue_nor_hangs_on_a_deaf_handler() {
    let rig = Rig::new();
    let ((started, hears), (go_on, waits)) = (bounded(0), bounded::<()>(0));
    let handlers = Handlers::new().on("k", move |_| {
        started.send(()).unwrap();
        waits.recv().ok();
        Ok(Done::ok())
    });
    rig.jobs().enqueue_batch(&(0..200).map(|_| job()).collect::<Vec<_>>()).unwrap();
    let pool = WorkerPool::builder(rig.jobs(), handlers).queue("q", 2).start().unwrap();
    hears.recv().unwrap();
    hears.recv().unwrap();
    let took = Stopwatch::start();
    let ended = pool.shutdown(20).unwrap();
    assert!(took.elapsed().as_secs() < 600, "{:?}", took.elapsed());
    assert_eq!((ended.released, ended.still_running), (2, 2));
    let counts = rig.jobs().counts(Some("q")).unwrap()["q"];
    assert_eq!((counts.available, counts.executing, counts.completed), (200, 0, 0));
    drop(go_on);
}

#[test]
fn finished_jobs_do_not_pile_up_for_ever() {
    let rig = Rig::new();
    for round in 0..6 {
        for _ in 0..20 {
            rig.enqueue(job().retention_ms(1_000));
            rig.enqueue(job().retention_ms(0));
        }
        for (job, token) in rig.claim(40) {
            rig.jobs().progress(&token, None, Some(json!("left behind").into())).unwrap();
            if job.priority == 100 {
                rig.jobs().complete(&token, None).unwrap();
            }
        }
        rig.clock.advance(500);
        rig.jobs().maintain().unwrap();
        let kept = rig.jobs().counts(Some("q")).unwrap()["q"].completed;
        assert!(kept <= 40, "round {round}: {kept} finished jobs are kept");
    }
    rig.clock.advance(1_000);
    rig.jobs().maintain().unwrap();
    assert!(rig.jobs().counts(None).unwrap().is_empty());
}

#[test]
fn the_counters_do_not_drift_from_the_rows() {
    // Each thread ends its jobs in another way, some in transactions that are then refused. The rig recounts at the end.
    let rig = Rig::new();
    rig.jobs().enqueue_batch(&(0..200).map(|_| job().backoff(Backoff::fixed(0))).collect::<Vec<_>>()).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let jobs = rig.jobs().with_durability(Durability::Buffered);
            scope.spawn(move || {
                for round in 0..12 {
                    for lease in jobs.claim(&["q"], 3).unwrap() {
                        let refused: Result<(), Error> = jobs.complete_with(&lease.token(), |txn| {
                            txn.jobs().enqueue(job())?;
                            Err(Error::invalid("taken back"))
                        });
                        assert_eq!(kind_of(refused), ErrorKind::Invalid);
                        match (worker + round) % 6 {
                            0 => drop(lease.complete(json!(1)).unwrap()),
                            1 => drop(lease.fail("e").unwrap()),
                            2 => drop(lease.snooze(1).unwrap()),
                            3 => drop(lease.release().unwrap()),
                            4 => drop(lease.discard("d").unwrap()),
                            _ => drop(lease),
                        }
                    }
                    jobs.prune(None, Some(0)).unwrap();
                }
            });
        }
    });
    rig.verify();
}

#[test]
fn the_unique_check_is_inside_the_transaction() {
    let rig = Rig::new();
    for round in 0..20 {
        let barrier = Barrier::new(8);
        let key = format!("key {round}");
        let enqueued: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let (jobs, barrier, key) = (rig.jobs().with_durability(Durability::Buffered), &barrier, &key);
                    scope.spawn(move || {
                        barrier.wait();
                        jobs.enqueue(job().unique_key(key)).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let inserted = enqueued.iter().filter(|enqueued| enqueued.outcome == Outcome::Inserted).count();
        let jobs: BTreeSet<JobId> = enqueued.iter().map(|enqueued| enqueued.job).collect();
        assert_eq!((inserted, jobs.len()), (1, 1), "one inserts, and the others are told which it was");
    }
}

#[test]
fn what_was_due_first_is_promoted_first() {
    // A bounded step that took the newest first would never come to the oldest while new ones keep falling due.
    let rig = Rig::new();
    let later: Vec<NewJob> = (0..300).rev().map(|place| job().delay_ms(1 + place)).collect();
    let mut enqueued: Vec<JobId> = rig.jobs().enqueue_batch(&later).unwrap().iter().map(|one| one.job).collect();
    enqueued.reverse();
    rig.clock.advance(1);
    assert_eq!(ids(&rig.claim(1)), enqueued[..1]);
    rig.clock.advance(500);
    assert_eq!(ids(&rig.claim(1_000)), enqueued[1..]);
}

#[test]
fn a_jump_of_the_wall_clock_is_not_fed_to_a_wait_or_a_lease() {
    let rig = Rig::new();
    let held = rig.enqueue(job().lease_ms(1_000));
    let (_, token) = rig.claim_one();
    // Due in a century by the wall clock: a wait bounded by real time comes back, however far away that is.
    rig.enqueue(job().delay_ms(100 * 366 * 86_400_000));
    let request = ClaimRequest::new(["q"]);
    for wall in [1, u64::MAX / 4] {
        rig.clock.set_wall(wall);
        let took = Stopwatch::start();
        let leases: Vec<Lease> = rig.jobs().claim_wait(&request, 5).unwrap();
        assert!(took.elapsed().as_secs() < 600);
        leases.into_iter().for_each(|lease| drop(lease.release().unwrap()));
        rig.jobs().maintain().unwrap();
        assert_eq!(rig.get(held).state, State::Executing, "its lease follows the monotonic clock");
    }
    rig.jobs().complete(&token, None).unwrap();
    assert_eq!(recovery::sweep(rig.store(), rig.store().engine().epoch()).unwrap().requeued, 0);
}

#[test]
fn a_stale_workers_ack_is_not_accepted_by_a_later_job_of_the_same_id() {
    let rig = Rig::new();
    let id = JobId(77);
    let same = || job().id(id).retention_ms(0).max_crashes(1);
    rig.enqueue(same());
    let (_, stale) = rig.claim_one();
    // Taken back and, crashed once too often, removed at once: its id is forgotten, and somebody uses it again.
    rig.clock.advance(60_000);
    rig.jobs().maintain().unwrap();
    assert!(rig.jobs().get(id).unwrap().is_none());
    rig.enqueue(same());
    let (running, current) = rig.claim_one();
    assert_eq!(running.id, id);
    let before = rig.get(id);
    assert_eq!(kind_of(rig.jobs().heartbeat(&stale, None)), ErrorKind::LeaseLost);
    assert_eq!(kind_of(rig.jobs().complete(&stale, Some(json!("stale").into()))), ErrorKind::LeaseLost);
    assert_eq!(rig.get(id), before);
    assert_eq!(rig.jobs().complete(&current, None).unwrap().state, State::Completed);
}
