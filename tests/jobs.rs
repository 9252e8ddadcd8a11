//! The job queue on the real engine, over a simulated disk: every test may stop the process and open again.
//!
//! After each test, and after each step of the random walk, the whole queue is verified: index entries and counters
//! against the jobs, executing jobs against their leases.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure, in a helper too")]

mod rig;

use std::collections::{BTreeMap, HashSet};

use ml_persistence::jobs::{Counts, JobFilter, NewJob, Outcome, Reason, State, recovery, recovery::SweepReport};
use ml_persistence::{Backoff, ClaimRequest, Clock, Durability, Error, ErrorKind, Job, JobId, Json, Result, Token};
use serde_json::json;

use rig::{Rig, all, all_by, job, kind_of, reasons};

#[test]
fn jobs_are_claimed_by_priority_then_run_at_then_enqueue_order_also_after_a_restart() {
    let mut rig = Rig::new();
    let now = rig.clock.now_ms();
    let plain = rig.enqueue(job());
    let urgent = rig.enqueue(job().priority(0));
    let older = rig.enqueue(job().run_at(now - 500));
    let later = rig.enqueue(job().priority(0).run_at(now + 10));
    let batch: Vec<JobId> =
        rig.jobs().enqueue_batch(&[job(), job(), job().priority(255)]).unwrap().iter().map(|e| e.job).collect();
    assert_eq!(rig.get(later).state, State::Scheduled);
    assert_eq!(rig.crash(), SweepReport::default());
    rig.clock.advance(10);
    let order: Vec<JobId> = rig.claim(10).iter().map(|(job, _)| job.id).collect();
    assert_eq!(order, [urgent, later, older, plain, batch[0], batch[1], batch[2]]);
}

#[test]
fn a_wall_clock_that_jumps_back_puts_no_later_job_in_front_and_expires_no_lease() {
    let rig = Rig::new();
    let first = rig.enqueue(job());
    rig.clock.set_wall(10);
    let second = rig.enqueue(job());
    assert_eq!(rig.get(second).state, State::Available);
    let claimed = rig.claim(2);
    assert_eq!(claimed.iter().map(|(job, _)| job.id).collect::<Vec<_>>(), [first, second]);
    rig.clock.set_wall(u64::MAX / 2);
    assert_eq!(rig.jobs().maintain().unwrap().taken_back, 0);
    rig.jobs().complete(&claimed[0].1, None).unwrap();
    rig.jobs().complete(&claimed[1].1, None).unwrap();
}

#[test]
fn eight_threads_never_claim_a_job_twice_and_leave_none_behind() {
    let rig = Rig::new();
    let total = 400;
    let batch: Vec<NewJob> = (0..total).map(|_| job()).collect();
    rig.jobs().enqueue_batch(&batch).unwrap();
    let claimed: Vec<JobId> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                let jobs = rig.jobs().with_durability(Durability::Buffered);
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    while jobs.counts(Some("q")).unwrap()["q"].available > 0 {
                        let request = ClaimRequest::new(["q"]).worker(format!("w{worker}")).limit(1 + worker % 4);
                        for lease in jobs.claim_with(&request).unwrap() {
                            mine.push(lease.job().id);
                            lease.complete(json!(worker)).unwrap();
                        }
                    }
                    mine
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(claimed.len(), total);
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), total);
    let counts = rig.jobs().counts(Some("q")).unwrap()["q"];
    assert_eq!(counts.completed, total as u64);
    assert!(all(rig.jobs(), &JobFilter::new()).iter().all(|job| job.attempt == 1));
}

#[test]
fn a_token_ends_with_its_claim_and_changes_nothing_afterwards() {
    let mut rig = Rig::new();
    let id = rig.enqueue(job());
    let (_, released) = rig.claim_one();
    rig.jobs().release(&released).unwrap();
    let (_, expired) = rig.claim_one();
    rig.clock.advance(60_000);
    let (_, crashed) = rig.claim_one();
    rig.crash();
    let (_, current) = rig.claim_one();
    let before = rig.get(id);
    let jobs = rig.jobs();
    for stale in [&released, &expired, &crashed] {
        let stale = &stale.to_string().parse::<Token>().unwrap();
        assert_eq!(kind_of(jobs.heartbeat(stale, None)), ErrorKind::LeaseLost);
        assert_eq!(kind_of(jobs.progress(stale, Some(1), None)), ErrorKind::LeaseLost);
        assert_eq!(kind_of(jobs.complete(stale, None)), ErrorKind::LeaseLost);
        assert_eq!(kind_of(jobs.fail(stale, None, None)), ErrorKind::LeaseLost);
        assert_eq!(kind_of(jobs.snooze(stale, 1)), ErrorKind::LeaseLost);
        assert_eq!(kind_of(jobs.release(stale)), ErrorKind::LeaseLost);
        assert_eq!(kind_of(jobs.discard(stale, None)), ErrorKind::LeaseLost);
        assert_eq!(kind_of(jobs.complete_with(stale, |txn| txn.jobs().enqueue(job()))), ErrorKind::LeaseLost);
        assert_eq!(kind_of(jobs.complete_and_claim(stale, None, &ClaimRequest::new(["q"]))), ErrorKind::LeaseLost);
    }
    assert_eq!(rig.get(id), before);
    assert_eq!((before.attempt, before.crash_count), (3, 2), "release gave its attempt back");
    assert_eq!(rig.jobs().complete(&current, Some(json!({"f1": 0.9}).into())).unwrap().state, State::Completed);
    assert_eq!(kind_of(rig.jobs().complete(&current, None)), ErrorKind::LeaseLost);
    use Reason::{Completed, LeaseExpired, ProcessCrash, Released};
    assert_eq!(reasons(&rig, id), [Completed, ProcessCrash, LeaseExpired, Released].map(Some));
}

#[test]
fn complete_with_commits_the_workers_writes_with_the_completion_or_neither() {
    let rig = Rig::new();
    let id = rig.enqueue(job().backoff(Backoff::fixed(0)));
    let (_, token) = rig.claim_one();
    let refused = rig.jobs().complete_with(&token, |txn| {
        txn.jobs().enqueue(NewJob::new("other", "k"))?;
        Err::<(), _>(Error::invalid("no good"))
    });
    assert_eq!(kind_of(refused), ErrorKind::Invalid);
    assert_eq!(rig.get(id).state, State::Executing);
    assert!(!rig.jobs().counts(None).unwrap().contains_key("other"));
    rig.jobs().release(&token).unwrap();

    let lease = rig.jobs().claim(&["q"], 1).unwrap().remove(0);
    let refused: Result<()> = lease.complete_with(|txn| {
        txn.jobs().enqueue(NewJob::new("other", "k"))?;
        Err(Error::invalid("no good"))
    });
    assert_eq!(kind_of(refused), ErrorKind::Invalid);
    let failed = rig.get(id);
    assert_eq!((failed.state, failed.reason), (State::Retryable, Some(Reason::Dropped)));
    assert_eq!(failed.error.as_deref(), Some("no good"));
    assert!(!rig.jobs().counts(None).unwrap().contains_key("other"));

    let lease = rig.jobs().claim(&["q"], 1).unwrap().remove(0);
    let child = lease.complete_with(|txn| txn.jobs().enqueue(NewJob::new("other", "k"))).unwrap();
    assert_eq!(rig.get(id).state, State::Completed);
    assert_eq!(rig.get(child.job).state, State::Available);
}

#[test]
fn a_unique_key_is_held_until_its_job_is_finished() {
    let rig = Rig::new();
    let unique = || job().unique_key("nightly");
    let first = rig.enqueue(unique());
    let again = rig.jobs().enqueue(unique()).unwrap();
    assert_eq!((again.job, again.outcome), (first, Outcome::Existing));
    rig.enqueue(NewJob::new("elsewhere", "k").unique_key("nightly"));
    let (_, token) = rig.claim_one();
    assert_eq!(rig.jobs().enqueue(unique()).unwrap().job, first);
    rig.jobs().fail(&token, Some("e"), Some(10)).unwrap();
    assert_eq!(rig.jobs().enqueue(unique()).unwrap().job, first);
    rig.jobs().cancel(first).unwrap();
    let second = rig.enqueue(unique());
    let conflict = rig.jobs().retry(first).unwrap_err();
    assert_eq!(conflict.kind(), ErrorKind::Conflict);
    assert!(conflict.to_string().contains(&second.to_string()), "{conflict}");
    rig.jobs().cancel(second).unwrap();
    assert_eq!(rig.jobs().retry(first).unwrap().state, State::Available);
    assert_eq!(rig.jobs().enqueue(unique()).unwrap().job, first);
    // Two of one key in one batch: the second finds the first.
    let batch = [job().unique_key("twice"), job().unique_key("twice")];
    let outcomes = rig.jobs().enqueue_batch(&batch).unwrap();
    assert_eq!(outcomes.iter().map(|e| e.outcome).collect::<Vec<_>>(), [Outcome::Inserted, Outcome::Existing]);
}

#[test]
fn of_many_concurrent_enqueues_with_one_unique_key_one_inserts() {
    let rig = Rig::new();
    let inserted: usize = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..8).map(|_| scope.spawn(|| rig.jobs().enqueue(job().unique_key("one")).unwrap().outcome)).collect();
        all.into_iter().filter(|_| true).map(|one| usize::from(one.join().unwrap() == Outcome::Inserted)).sum()
    });
    assert_eq!(inserted, 1);
}

#[test]
fn an_id_of_the_callers_choosing_is_enqueued_once_in_any_state() {
    let rig = Rig::new();
    let mine = JobId(77);
    assert_eq!(rig.enqueue(job().id(mine).unique_key("u")), mine);
    for step in 0..3 {
        let again = rig.jobs().enqueue(job().id(mine).unique_key("u")).unwrap();
        assert_eq!((again.job, again.outcome), (mine, Outcome::Existing));
        match step {
            0 => drop(rig.jobs().complete(&rig.claim_one().1, None).unwrap()),
            // Its key is free again and another job takes it: the id still comes first.
            _ => drop(rig.jobs().enqueue(job().unique_key("u")).unwrap()),
        }
    }
    assert_eq!(kind_of(rig.jobs().enqueue(NewJob::new("other", "k").id(mine))), ErrorKind::Conflict);
    assert_eq!(kind_of(rig.jobs().enqueue(NewJob::new("q", "other").id(mine))), ErrorKind::Conflict);
    assert_eq!(rig.jobs().prune(None, Some(0)).unwrap(), 1);
    assert_eq!(rig.enqueue(job().id(mine)), mine, "forgotten once pruned");
}

#[test]
fn a_failed_job_waits_for_its_backoff_and_is_discarded_with_its_last_attempt() {
    let rig = Rig::new();
    let backoff = Backoff::exponential(1_000, 10_000).jitter_percent(0);
    let id = rig.enqueue(job().max_attempts(3).backoff(backoff));
    for (attempt, delay) in [(1, 1_000), (2, 2_000)] {
        let (claimed, token) = rig.claim_one();
        assert_eq!((claimed.attempt, claimed.reason, claimed.error), (attempt, None, None));
        let failed = rig.jobs().fail(&token, Some(&"é".repeat(4_000)), None).unwrap();
        assert_eq!((failed.state, failed.reason), (State::Retryable, Some(Reason::Failed)));
        assert_eq!(failed.error.as_deref().map(str::len), Some(4_096), "cut between characters");
        assert_eq!(failed.run_at, rig.clock.now_ms() + delay);
        rig.clock.advance(delay - 1);
        assert!(rig.claim(1).is_empty());
        assert_eq!(rig.get(id).state, State::Retryable);
        rig.clock.advance(1);
    }
    let (_, token) = rig.claim_one();
    let discarded = rig.jobs().fail(&token, Some("third"), Some(5)).unwrap();
    assert_eq!((discarded.state, discarded.attempt), (State::Discarded, 3));
    assert_eq!(discarded.finished_at, Some(rig.clock.now_ms()));
    let retried = rig.jobs().retry(id).unwrap();
    assert_eq!((retried.state, retried.attempt, retried.reason, retried.error), (State::Available, 0, None, None));
    let (_, token) = rig.claim_one();
    let exact = rig.jobs().fail(&token, None, Some(7)).unwrap();
    assert_eq!(exact.run_at, rig.clock.now_ms() + 7);
    assert_eq!(reasons(&rig, id), [Some(Reason::Failed); 4]);
}

#[test]
fn opening_takes_back_what_was_executing_and_stops_a_job_that_keeps_crashing() {
    let mut rig = Rig::new();
    let poison = rig.enqueue(job().max_crashes(2).priority(0));
    let done = rig.enqueue(job());
    let stopping = rig.enqueue(job());
    let claimed = rig.claim(3);
    rig.jobs().complete(&claimed[1].1, Some(json!("kept").into())).unwrap();
    assert!(rig.jobs().cancel(stopping).unwrap().cancel_requested);
    assert_eq!(rig.crash(), sweep_report(1, 0, 1));
    assert_eq!(rig.get(stopping).state, State::Cancelled);
    assert_eq!(rig.get(stopping).crash_count, 1);
    assert_eq!(rig.get(done).result, Some(json!("kept").into()));
    let again = rig.get(poison);
    assert_eq!((again.state, again.reason), (State::Available, Some(Reason::ProcessCrash)));
    assert_eq!((again.attempt, again.crash_count), (1, 1));
    rig.claim_one();
    assert_eq!(rig.crash(), sweep_report(0, 1, 0));
    assert_eq!(rig.get(poison).state, State::Discarded);
    assert_eq!(rig.crash(), SweepReport::default());
}

fn sweep_report(requeued: u64, discarded: u64, cancelled: u64) -> SweepReport {
    let mut report = SweepReport::default();
    (report.requeued, report.discarded, report.cancelled) = (requeued, discarded, cancelled);
    report
}

#[test]
fn a_sweep_over_more_jobs_than_one_step_takes_back_each_exactly_once() {
    let mut rig = Rig::new();
    let batch: Vec<NewJob> = (0..200).map(|_| job()).collect();
    rig.jobs().enqueue_batch(&batch).unwrap();
    assert_eq!(rig.claim(150).len(), 150);
    assert_eq!(rig.crash(), sweep_report(150, 0, 0));
    let jobs = all(rig.jobs(), &JobFilter::new());
    assert!(jobs.iter().enumerate().all(|(place, job)| job.crash_count == u32::from(place < 150)));
    // Place in line kept: the order of claims is the order of enqueues.
    let order: Vec<JobId> = rig.claim(200).iter().map(|(job, _)| job.id).collect();
    assert_eq!(order, jobs.iter().map(|job| job.id).collect::<Vec<_>>());
}

#[test]
fn a_sweep_leaves_the_leases_of_its_own_opening_alone_and_a_copys_opening_is_another() {
    let rig = Rig::new();
    let id = rig.enqueue(job());
    let (_, token) = rig.claim_one();
    let mut epoch = rig.store().engine().epoch();
    assert_eq!(recovery::sweep(rig.store(), epoch).unwrap(), SweepReport::default());
    assert!(!rig.jobs().heartbeat(&token, None).unwrap());
    // The same number, as a copy of the folder would count on; only the id tells them apart.
    epoch.id ^= 1;
    assert_eq!(recovery::sweep(rig.store(), epoch).unwrap(), sweep_report(1, 0, 0));
    assert_eq!(rig.get(id).state, State::Available);
    assert_eq!(kind_of(rig.jobs().heartbeat(&token, None)), ErrorKind::LeaseLost);
}

#[test]
fn a_clean_close_releases_leases_without_a_crash() {
    let mut rig = Rig::new();
    let id = rig.enqueue(job());
    let (_, token) = rig.claim_one();
    assert_eq!(rig.close_and_open(), SweepReport::default());
    let job = rig.get(id);
    assert_eq!((job.state, job.attempt, job.crash_count), (State::Available, 0, 0));
    assert_eq!(kind_of(rig.jobs().complete(&token, None)), ErrorKind::LeaseLost);
}

#[test]
fn a_lease_holds_while_heartbeats_come_and_is_taken_back_by_the_next_claim_after() {
    let rig = Rig::new();
    let id = rig.enqueue(job().lease_ms(1_000));
    let (_, token) = rig.claim_one();
    for _ in 0..5 {
        rig.clock.advance(900);
        assert!(!rig.jobs().heartbeat(&token, None).unwrap());
        assert!(rig.claim(1).is_empty());
    }
    rig.clock.advance(5_000);
    // Past its time and not yet taken back: the token still works.
    assert!(!rig.jobs().heartbeat(&token, Some(100)).unwrap());
    rig.clock.advance(99);
    assert!(rig.claim(1).is_empty());
    rig.clock.advance(1);
    let (again, _) = rig.claim_one();
    assert_eq!((again.id, again.attempt, again.crash_count), (id, 2, 1));
    assert_eq!(kind_of(rig.jobs().heartbeat(&token, None)), ErrorKind::LeaseLost);
}

#[test]
fn no_heartbeat_carries_an_attempt_past_its_timeout() {
    let rig = Rig::new();
    let id = rig.enqueue(job().lease_ms(1_000).timeout_ms(2_500).backoff(Backoff::fixed(50)));
    let (claimed, token) = rig.claim_one();
    for _ in 0..3 {
        rig.clock.advance(800);
        rig.jobs().heartbeat(&token, None).unwrap();
    }
    assert_eq!(rig.get(id).lease_expires_at, Some(claimed.started_at.unwrap() + 2_500));
    rig.clock.advance(100);
    assert_eq!(rig.jobs().maintain().unwrap().taken_back, 1);
    let late = rig.get(id);
    assert_eq!((late.state, late.reason), (State::Retryable, Some(Reason::TimedOut)));
    assert_eq!((late.crash_count, late.run_at), (0, rig.clock.now_ms() + 50));
}

#[test]
fn cancel_stops_a_waiting_job_at_once_and_asks_an_executing_one() {
    let rig = Rig::new();
    let (available, scheduled) = (rig.enqueue(job()), rig.enqueue(job().delay_ms(5)));
    for id in [available, scheduled] {
        let cancelled = rig.jobs().cancel(id).unwrap();
        assert_eq!((cancelled.state, cancelled.reason), (State::Cancelled, Some(Reason::Cancelled)));
        assert_eq!(rig.jobs().cancel(id).unwrap(), cancelled, "cancelling again changes nothing");
    }
    assert_eq!(kind_of(rig.jobs().cancel(JobId(1))), ErrorKind::NotFound);

    let id = rig.enqueue(job().lease_ms(100));
    let (_, token) = rig.claim_one();
    let asked = rig.jobs().cancel(id).unwrap();
    assert_eq!((asked.state, asked.cancel_requested), (State::Executing, true));
    assert!(rig.jobs().heartbeat(&token, None).unwrap());
    let ended = rig.jobs().fail(&token, Some("stopped"), None).unwrap();
    assert_eq!((ended.state, ended.error.as_deref()), (State::Cancelled, Some("stopped")));

    let id = rig.enqueue(job());
    let (_, token) = rig.claim_one();
    rig.jobs().cancel(id).unwrap();
    let won = rig.jobs().complete(&token, Some(json!(1).into())).unwrap();
    assert_eq!((won.state, won.result), (State::Completed, Some(json!(1).into())));
    assert_eq!(kind_of(rig.jobs().cancel(id)), ErrorKind::Conflict);

    let id = rig.enqueue(job().lease_ms(100));
    let (_, token) = rig.claim_one();
    rig.clock.advance(100);
    let past = rig.jobs().cancel(id).unwrap();
    assert_eq!((past.state, past.crash_count), (State::Cancelled, 1));
    assert_eq!(kind_of(rig.jobs().complete(&token, None)), ErrorKind::LeaseLost);
    assert_eq!(kind_of(rig.jobs().retry(JobId(1))), ErrorKind::NotFound);
}

#[test]
fn snooze_and_release_give_the_attempt_back() {
    let rig = Rig::new();
    let id = rig.enqueue(job().max_attempts(1));
    let run_at = rig.get(id).run_at;
    for _ in 0..3 {
        rig.clock.advance(1);
        let (claimed, token) = rig.claim_one();
        assert_eq!(claimed.attempt, 1);
        let released = rig.jobs().release(&token).unwrap();
        assert_eq!((released.attempt, released.run_at), (0, run_at), "place in line kept");
    }
    let (_, token) = rig.claim_one();
    assert_eq!(kind_of(rig.jobs().snooze(&token, 0)), ErrorKind::Invalid);
    let snoozed = rig.jobs().snooze(&token, 40).unwrap();
    assert_eq!((snoozed.state, snoozed.attempt), (State::Scheduled, 0));
    assert_eq!(snoozed.run_at, rig.clock.now_ms() + 40);
    rig.clock.advance(40);
    let (_, token) = rig.claim_one();
    let gone = rig.jobs().discard(&token, Some("useless")).unwrap();
    assert_eq!((gone.state, gone.error.as_deref()), (State::Discarded, Some("useless")));
}

#[test]
fn a_lease_dropped_unfinished_fails_its_attempt_and_says_whether_by_a_panic() {
    let rig = Rig::new();
    let id = rig.enqueue(job().backoff(Backoff::fixed(10)));
    drop(rig.jobs().claim(&["q"], 1).unwrap());
    let dropped = rig.get(id);
    assert_eq!((dropped.state, dropped.reason), (State::Retryable, Some(Reason::Dropped)));
    rig.clock.advance(10);
    let lease = rig.jobs().claim(&["q"], 1).unwrap().remove(0);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = lease;
        panic!("a worker's bug");
    }));
    assert!(outcome.is_err());
    let panicked = rig.get(id);
    assert_eq!((panicked.state, panicked.reason), (State::Retryable, Some(Reason::Panicked)));
    assert_eq!(panicked.attempt, 2);
}

/// A drop that wrote by itself was refused inside a body, and the attempt then sat there until its lease ran out.
#[test]
fn a_lease_dropped_inside_a_transaction_fails_its_attempt_with_the_next_call() {
    let rig = Rig::new();
    let id = rig.enqueue(job());
    let mut leases = rig.jobs().claim(&["q"], 1).unwrap();
    let (token, commits) = (leases[0].token(), rig.store().engine().stats().commits);
    rig.store()
        .transact(Durability::PowerLoss, |_| {
            leases.clear();
            Ok(())
        })
        .unwrap();
    assert_eq!(rig.store().engine().stats().commits, commits, "dropping writes nothing by itself");
    // Whatever is called next knows of it: also a token that was copied before.
    assert_eq!(kind_of(rig.jobs().heartbeat(&token, None)), ErrorKind::LeaseLost);
    assert_eq!((rig.get(id).state, rig.get(id).reason), (State::Retryable, Some(Reason::Dropped)));
}

#[test]
fn a_clean_close_fails_what_was_dropped_before_it() {
    let mut rig = Rig::new();
    let id = rig.enqueue(job());
    drop(rig.jobs().claim(&["q"], 1).unwrap());
    assert_eq!(rig.close_and_open(), SweepReport::default());
    let dropped = rig.get(id);
    assert_eq!((dropped.reason, dropped.attempt, dropped.crash_count), (Some(Reason::Dropped), 1, 0));
}

#[test]
fn a_lease_knows_without_a_write_whether_it_is_asked_to_stop_or_lost_and_how_long_it_holds() {
    let rig = Rig::new();
    let id = rig.enqueue(job().lease_ms(1_000).max_crashes(9));
    let lease = rig.jobs().claim(&["q"], 1).unwrap().remove(0);
    rig.clock.advance(400);
    let commits = rig.store().engine().stats().commits;
    assert_eq!((lease.remaining_ms(), lease.cancel_requested(), lease.is_lost()), (600, false, false));
    assert_eq!(rig.store().engine().stats().commits, commits);
    rig.jobs().cancel(id).unwrap();
    assert!(lease.cancel_requested() && !lease.is_lost());
    assert!(lease.heartbeat().unwrap() && lease.cancel_requested());
    assert_eq!(lease.remaining_ms(), 1_000);
    rig.clock.advance(1_000);
    assert_eq!((lease.remaining_ms(), lease.is_lost()), (0, false), "past its time, and nobody took it back");
    rig.jobs().cancel(id).unwrap();
    assert!(lease.is_lost(), "cancelled at once, since its lease was past");

    // Lost to a take-back, also while another claim of the same job runs.
    let id = rig.enqueue(job().lease_ms(1_000));
    let lease = rig.jobs().claim(&["q"], 1).unwrap().remove(0);
    rig.clock.advance(1_000);
    let (again, _) = rig.claim_one();
    assert_eq!((again.id, lease.is_lost(), lease.remaining_ms(), lease.cancel_requested()), (id, true, 0, false));
}

#[test]
fn a_token_can_be_used_inside_a_transaction_with_the_same_verbs() {
    let rig = Rig::new();
    let ids: Vec<JobId> = (0..5).map(|_| rig.enqueue(job())).collect();
    let tokens: Vec<Token> = rig.claim(5).iter().map(|(_, token)| *token).collect();
    rig.store()
        .transact(Durability::PowerLoss, |txn| {
            let mut jobs = txn.jobs();
            jobs.progress(&tokens[0], Some(7), None)?;
            jobs.snooze(&tokens[1], 5)?;
            jobs.release(&tokens[2])?;
            jobs.discard(&tokens[3], Some("no use"))?;
            jobs.complete(&tokens[4], None).map(drop)
        })
        .unwrap();
    use State::{Available, Completed, Discarded, Executing, Scheduled};
    let states: Vec<State> = ids.iter().map(|id| rig.get(*id).state).collect();
    assert_eq!(states, [Executing, Scheduled, Available, Discarded, Completed]);
    assert_eq!(rig.get(ids[0]).progress, Some(7));
}

#[test]
fn a_paused_queue_adds_nothing_to_a_claim_also_after_a_restart() {
    let mut rig = Rig::new();
    let other = rig.enqueue(NewJob::new("other", "k"));
    rig.enqueue(job());
    rig.jobs().pause("q").unwrap();
    rig.crash();
    assert!(rig.jobs().is_paused("q").unwrap());
    rig.enqueue(job());
    let claimed = rig.jobs().claim(&["q", "other"], 5).unwrap();
    assert_eq!(claimed.iter().map(|lease| lease.job().id).collect::<Vec<_>>(), [other]);
    rig.jobs().resume("q").unwrap();
    assert_eq!(rig.claim(5).len(), 2);
    drop(claimed);
}

#[test]
fn several_queues_are_claimed_in_list_order() {
    let rig = Rig::new();
    let a = rig.enqueue(NewJob::new("a", "k").priority(200));
    let b = rig.enqueue(NewJob::new("b", "k").priority(0));
    let claim = |queues: &[&str]| {
        let leases = rig.jobs().claim(queues, 3).unwrap();
        leases.into_iter().map(|lease| (lease.job().id, lease.release().unwrap()).0).collect::<Vec<_>>()
    };
    assert_eq!(claim(&["a", "b"]), [a, b]);
    assert_eq!(claim(&["b", "a", "b"]), [b, a]);
}

#[test]
fn finished_jobs_go_by_their_own_retention_or_by_a_given_age() {
    let rig = Rig::new();
    let gone = rig.enqueue(job().retention_ms(0));
    let (_, token) = rig.claim_one();
    assert_eq!(rig.jobs().complete(&token, None).unwrap().state, State::Completed);
    assert_eq!(rig.jobs().get(gone).unwrap(), None);
    assert_eq!(kind_of(rig.jobs().complete(&token, None)), ErrorKind::LeaseLost);

    let finish = |retention_ms| {
        let id = rig.enqueue(job().retention_ms(retention_ms));
        rig.jobs().cancel(id).unwrap();
        id
    };
    let (short, long) = (finish(100), finish(1_000));
    let waiting = rig.enqueue(job().delay_ms(1 << 40));
    rig.clock.advance(99);
    assert_eq!(rig.jobs().prune(None, None).unwrap(), 0);
    rig.clock.advance(1);
    assert_eq!(rig.jobs().maintain().unwrap().pruned, 1);
    assert_eq!(rig.jobs().get(short).unwrap(), None);
    assert_eq!(rig.jobs().prune(Some("other"), Some(0)).unwrap(), 0);
    assert_eq!(rig.jobs().prune(Some("q"), Some(101)).unwrap(), 0);
    assert_eq!(rig.jobs().prune(Some("q"), Some(100)).unwrap(), 1);
    assert_eq!(rig.jobs().get(long).unwrap(), None);
    assert_eq!(rig.get(waiting).state, State::Scheduled);
}

#[test]
fn a_list_is_in_enqueue_order_and_its_pages_fit_together() {
    let rig = Rig::new();
    for place in 0..40u64 {
        let new = NewJob::new(["q", "r"][(place % 2) as usize], ["k", "l", "m"][(place % 3) as usize]);
        let id = rig.enqueue(if place % 5 == 0 { new.delay_ms(5) } else { new });
        if place % 4 == 0 {
            rig.jobs().cancel(id).unwrap();
        }
    }
    let everything = all(rig.jobs(), &JobFilter::new());
    assert_eq!(everything.len(), 40);
    let filters = [None, Some("q"), Some("none")].into_iter().flat_map(|queue| {
        [None, Some(State::Available), Some(State::Cancelled)].into_iter().flat_map(move |state| {
            [None, Some("l"), Some("z")].map(|kind: Option<&str>| {
                let mut filter = JobFilter::new();
                filter.queue = queue.map(str::to_owned);
                filter.state = state;
                filter.kind = kind.map(str::to_owned);
                filter
            })
        })
    });
    for filter in filters {
        let wanted: Vec<&Job> = everything
            .iter()
            .filter(|job| filter.queue.as_ref().is_none_or(|queue| *queue == job.queue))
            .filter(|job| filter.state.is_none_or(|state| state == job.state))
            .filter(|job| filter.kind.as_ref().is_none_or(|kind| *kind == job.kind))
            .collect();
        let listed = all(rig.jobs(), &filter);
        assert_eq!(listed.iter().collect::<Vec<_>>(), wanted, "{filter:?}");
    }
    let next = rig.jobs().list(&JobFilter::new(), None, 3).unwrap().next.unwrap();
    let other = JobFilter::new().queue("q");
    for (filter, after, limit) in
        [(&other, Some(next.as_str()), 3), (&other, Some("zz"), 3), (&other, None, 0), (&other, None, 1_001)]
    {
        assert_eq!(kind_of(rig.jobs().list(filter, after, limit)), ErrorKind::Invalid);
    }
}

#[test]
fn a_list_by_state_over_more_queues_than_are_merged_is_the_same_list() {
    let rig = Rig::new();
    let new: Vec<NewJob> = (0..1_100).map(|number| NewJob::new(format!("q{number}"), ["k", "l"][number % 2])).collect();
    let mut ids = Vec::new();
    for new in new.chunks(550) {
        ids.extend(rig.jobs().enqueue_batch(new).unwrap().iter().map(|enqueued| enqueued.job));
    }
    rig.enqueue(NewJob::new("z", "k").delay_ms(5));
    let held = rig.jobs().claim(&["q3", "q700"], 2).unwrap();
    rig.jobs().cancel(ids[1_050]).unwrap();
    let everything = all_by(rig.jobs(), &JobFilter::new(), 1_000);
    for state in State::ALL {
        for kind in [None, Some("l")] {
            let mut filter = JobFilter::new().state(state);
            filter.kind = kind.map(str::to_owned);
            let is_wanted = |job: &&Job| job.state == state && kind.is_none_or(|kind| kind == job.kind);
            let wanted: Vec<&Job> = everything.iter().filter(is_wanted).collect();
            let listed = all_by(rig.jobs(), &filter, 300);
            assert_eq!(listed.iter().collect::<Vec<_>>(), wanted, "{filter:?}");
        }
    }
    held.into_iter().for_each(|lease| drop(lease.into_parts()));
}

#[test]
fn counts_name_every_state_and_every_queue_that_has_a_job() {
    let rig = Rig::new();
    assert_eq!(rig.jobs().counts(Some("q")).unwrap()["q"], Counts::default());
    assert!(rig.jobs().counts(None).unwrap().is_empty());
    rig.enqueue(job());
    rig.enqueue(NewJob::new("r", "k").delay_ms(1));
    let counts = serde_json::to_value(rig.jobs().counts(None).unwrap()).unwrap();
    assert_eq!(counts["q"]["available"], 1);
    assert_eq!(counts["r"]["scheduled"], 1);
    assert_eq!(counts["q"].as_object().unwrap().len(), 7);
}

#[test]
fn a_job_serializes_every_field_in_the_documented_order() {
    let rig = Rig::new();
    let id = rig.enqueue(job().payload(Json::parse("{ \"depth\": 7.0 }").unwrap()));
    let text = serde_json::to_string(&rig.get(id)).unwrap();
    let expected = format!(
        "{{\"id\":\"{id}\",\"queue\":\"q\",\"kind\":\"k\",\"target\":null,\"state\":\"available\",\"reason\":null,\
         \"priority\":100,\"payload\":{{\"depth\":7.0}},\"result\":null,\"attempt\":0,\"crash_count\":0,\
         \"max_attempts\":5,\"max_crashes\":5,\"run_at\":1000000,\"enqueued_at\":1000000,\"started_at\":null,\
         \"finished_at\":null,\"lease_expires_at\":null,\"worker\":null,\"cancel_requested\":false,\
         \"progress\":null,\"checkpoint\":null,\"error\":null,\"unique_key\":null,\"revision\":1}}"
    );
    assert_eq!(text, expected);
}

#[test]
fn progress_and_checkpoint_reach_the_next_attempt() {
    let rig = Rig::new();
    rig.enqueue(job());
    let (_, token) = rig.claim_one();
    rig.jobs().progress(&token, Some(40), Some(json!({"epoch": 3}).into())).unwrap();
    rig.jobs().progress(&token, Some(50), None).unwrap();
    assert_eq!(kind_of(rig.jobs().progress(&token, Some(101), None)), ErrorKind::Invalid);
    let large = Json::from(json!("x".repeat(64 << 10)));
    assert_eq!(kind_of(rig.jobs().progress(&token, None, Some(large))), ErrorKind::Invalid);
    rig.clock.advance(60_000);
    let (again, _) = rig.claim_one();
    assert_eq!((again.progress, again.checkpoint), (Some(50), Some(json!({"epoch": 3}).into())));
}

#[test]
fn complete_and_claim_is_one_commit() {
    let rig = Rig::new();
    let (first, second) = (rig.enqueue(job()), rig.enqueue(job()));
    let (_, token) = rig.claim_one();
    let before = rig.store().engine().cursor();
    let next = rig.jobs().complete_and_claim(&token, Some(json!(1).into()), &ClaimRequest::new(["q"])).unwrap();
    assert_eq!(next.iter().map(|lease| lease.job().id).collect::<Vec<_>>(), [second]);
    assert_eq!(rig.get(first).state, State::Completed);
    let commits = rig.store().engine().stats().commits;
    let none = next.into_iter().next().unwrap().complete_and_claim(json!(2), &ClaimRequest::new(["q"])).unwrap();
    assert!(none.is_empty() && rig.store().engine().cursor() > before);
    assert_eq!(rig.store().engine().stats().commits, commits + 1);
    assert_eq!(rig.get(second).state, State::Completed);
}

#[test]
fn a_payload_and_a_result_of_one_mebibyte_come_back_whole() {
    let mut rig = Rig::new();
    let large = |fill: &str| Json::from(json!(fill.repeat((1 << 20) - 2)));
    let id = rig.enqueue(job().payload(large("p")));
    let (_, token) = rig.claim_one();
    rig.jobs().complete(&token, Some(large("r"))).unwrap();
    rig.crash();
    let job = rig.get(id);
    assert_eq!((job.payload, job.result), (large("p"), Some(large("r"))));
}

#[test]
fn the_newest_attempts_are_kept_in_full_and_the_rest_are_counted() {
    let rig = Rig::new();
    let id = rig.enqueue(job().max_attempts(100));
    for _ in 0..20 {
        let (_, token) = rig.claim_one();
        rig.jobs().fail(&token, Some("again"), Some(0)).unwrap();
    }
    let attempts = rig.jobs().attempts(id).unwrap();
    let numbers: Vec<u32> = attempts.newest.iter().map(|attempt| attempt.attempt).collect();
    assert_eq!(numbers, (5..=20).rev().collect::<Vec<_>>());
    assert_eq!(attempts.older, BTreeMap::from([(Reason::Failed, 4)]));
    assert_eq!(kind_of(rig.jobs().attempts(JobId(9))), ErrorKind::NotFound);
}

#[test]
fn a_request_beyond_a_limit_names_its_field() {
    let rig = Rig::new();
    let cases = [
        ("queues", ClaimRequest::new(Vec::<String>::new())),
        ("queues", ClaimRequest::new([""])),
        ("worker", ClaimRequest::new(["q"]).worker("w".repeat(257))),
        ("limit", ClaimRequest::new(["q"]).limit(0)),
        ("limit", ClaimRequest::new(["q"]).limit(1_001)),
        ("lease_ms", ClaimRequest::new(["q"]).lease_ms(86_400_001)),
    ];
    for (field, request) in cases {
        let error = rig.jobs().claim_with(&request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with(&format!("{field}:")), "{error}");
    }
    assert_eq!(kind_of(rig.jobs().enqueue_batch(&[])), ErrorKind::Invalid);
    assert_eq!(kind_of(rig.jobs().enqueue_batch(&vec![job(); 1_001])), ErrorKind::Invalid);
}

#[test]
fn a_claim_that_waits_is_woken_by_an_enqueue() {
    let rig = Rig::new();
    let request = ClaimRequest::new(["q"]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.jobs().claim_wait(&request, 60_000).unwrap().len());
        rig.enqueue(job().retention_ms(0));
        assert_eq!(waiting.join().unwrap(), 1);
    });
    assert_eq!(kind_of(rig.jobs().claim_wait(&request, 60_001)), ErrorKind::Invalid);
}

/// A seeded stream of numbers: a failing walk replays from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }
}

#[test]
fn whatever_happens_indexes_and_counters_are_what_the_jobs_say() {
    for seed in 0..4 {
        println!("seed {seed}");
        let (mut rig, mut dice) = (Rig::new(), Dice(seed));
        let mut tokens: Vec<Token> = Vec::new();
        let mut ids: Vec<JobId> = Vec::new();
        for _ in 0..150 {
            let token = (!tokens.is_empty()).then(|| tokens[dice.roll(tokens.len())]);
            let id = (!ids.is_empty()).then(|| ids[dice.roll(ids.len())]);
            let jobs = rig.jobs();
            // Refusals are answers too: what matters is what the store says afterwards.
            let refusal = match (dice.roll(16), token, id) {
                (0..=3, _, _) => {
                    let mut new = job().max_attempts(2).max_crashes(2).priority(dice.roll(3) as u8);
                    new = new.lease_ms(100).backoff(Backoff::fixed(30)).retention_ms([0, 200, 10_000][dice.roll(3)]);
                    new = if dice.roll(3) == 0 { new.unique_key(format!("u{}", dice.roll(3))) } else { new };
                    new = if dice.roll(4) == 0 { new.delay_ms(50) } else { new };
                    jobs.enqueue(new).map(|enqueued| ids.push(enqueued.job)).err()
                }
                (4..=6, _, _) => {
                    let leases = jobs.claim(&["q"], 1 + dice.roll(3));
                    leases.map(|leases| tokens.extend(leases.into_iter().map(|lease| lease.into_parts().1))).err()
                }
                (7, Some(token), _) => jobs.complete(&token, Some(json!(1).into())).err(),
                (8, Some(token), _) => jobs.fail(&token, Some("e"), None).err(),
                (9, Some(token), _) => [jobs.snooze(&token, 20).err(), None].into_iter().flatten().next(),
                (10, Some(token), _) => jobs.release(&token).err(),
                (11, Some(token), _) => jobs.heartbeat(&token, None).err(),
                (12, _, Some(id)) => jobs.cancel(id).err(),
                (13, _, Some(id)) => jobs.retry(id).err(),
                (14, _, _) => {
                    rig.clock.advance(60);
                    jobs.maintain().err()
                }
                (15, _, _) => {
                    rig.crash();
                    None
                }
                _ => None,
            };
            if let Some(error) = refusal {
                use ErrorKind::{Conflict, LeaseLost, NotFound};
                assert!(matches!(error.kind(), Conflict | LeaseLost | NotFound), "{error:?}");
            }
            rig.verify();
        }
    }
}
