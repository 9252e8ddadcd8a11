//! Jobs that can't be read: each is stepped over where it lies and found by verify, and none stops the others.

use super::pair::Pair;
use super::*;
use crate::clock::{Ids, ManualClock};
use crate::engine::Tree;
use crate::keys::{self, KeyWriter};
use crate::record::scrub;
use crate::record::testing::{TestEngine, store};

fn queue() -> (Arc<TestEngine>, Jobs, ManualClock) {
    let (engine, _) = store();
    let clock = ManualClock::at(5_000);
    let shared: Arc<dyn crate::engine::Engine> = Arc::<TestEngine>::clone(&engine);
    let store = RecordStore::new(shared, Arc::new(clock.clone()), Arc::new(Ids::seeded(2)));
    (engine, Jobs::new(store, JobsOptions::default()), clock)
}

fn claim(jobs: &Jobs, limit: usize) -> Vec<Token> {
    jobs.claim(&["q"], limit).unwrap().into_iter().map(|lease| lease.into_parts().1).collect()
}

fn pair(jobs: &Jobs, id: JobId) -> Pair {
    jobs.shared.store.read(|view| view.get::<Pair>(&keys::job(id.0))).unwrap().unwrap()
}

/// How much is wrong, as verify counts it.
fn violations(jobs: &Jobs) -> u64 {
    let mut report = scrub::Report::default();
    jobs.shared.store.read(|view| verify(view, &mut report)).unwrap();
    report.violations_found
}

#[test]
fn a_lease_that_cannot_be_read_keeps_no_other_from_being_renewed() {
    let (engine, jobs, _) = queue();
    jobs.enqueue_batch(&vec![NewJob::new("q", "k"); 3]).unwrap();
    let tokens = claim(&jobs, 3);
    engine.plant(Tree::Jobs, &keys::claim(tokens[1].job.0), Some(b"damaged"));
    let reported = jobs.renew(&tokens).unwrap();
    assert_eq!(reported.iter().map(Error::kind).collect::<Vec<_>>(), [ErrorKind::Corrupt]);
    assert!(reported[0].to_string().contains(&tokens[1].job.to_string()), "{}", reported[0]);
    for token in [&tokens[0], &tokens[2]] {
        assert_eq!(pair(&jobs, token.job).head.lease.unwrap().renewals, 1);
    }
}

#[test]
fn maintain_goes_on_past_a_lease_that_cannot_be_read() {
    let (engine, jobs, clock) = queue();
    jobs.enqueue_batch(&vec![NewJob::new("q", "k").lease_ms(100); 2]).unwrap();
    let tokens = claim(&jobs, 2);
    engine.plant(Tree::Jobs, &keys::claim(tokens[0].job.0), Some(b"damaged"));
    clock.advance(100);
    assert_eq!(jobs.maintain().unwrap().taken_back, 1);
    assert_eq!(pair(&jobs, tokens[1].job).head.state, State::Available);
    // By now memory has forgotten it, and its entry is a lease that nobody knows.
    assert_eq!(jobs.maintain().unwrap(), Maintained::default());
    assert!(violations(&jobs) > 0);
}

#[test]
fn any_number_of_due_jobs_that_cannot_be_read_hold_up_none_that_is_due_with_them_or_later() {
    let (engine, jobs, clock) = queue();
    let due = |delay_ms| NewJob::new("q", "k").delay_ms(delay_ms);
    // More than a claim has steps for.
    let damaged = jobs.enqueue_batch(&vec![due(50); 17 * maintain::STEP / 2]).unwrap();
    let more = jobs.enqueue_batch(&vec![due(50); 17 * maintain::STEP / 2]).unwrap();
    let good = [due(50), due(51)].map(|new| jobs.enqueue(new).unwrap().job);
    for enqueued in damaged.iter().chain(&more) {
        engine.plant(Tree::Jobs, &keys::job(enqueued.job.0), Some(b"damaged"));
    }
    clock.advance(60);
    let claimed = claim(&jobs, 10);
    assert_eq!(claimed.iter().map(|token| token.job).collect::<Vec<_>>(), good);
    assert_eq!(jobs.shared.lines.lock().line("q").due.at(), u64::MAX, "nobody looks at them again");
    // Unless a job falls due among them, which is found all the same.
    jobs.fail(&claimed[0], None, Some(0)).unwrap();
    assert_eq!(claim(&jobs, 10).iter().map(|token| token.job).collect::<Vec<_>>(), [good[0]]);
    assert_eq!(jobs.counts(Some("q")).unwrap()["q"].scheduled, 17 * maintain::STEP as u64, "each is where it was");
    assert!(violations(&jobs) >= 17 * maintain::STEP as u64);
}

#[test]
fn after_its_order_was_lost_a_queue_goes_on_behind_all_jobs_there_are() {
    let (engine, jobs, clock) = queue();
    let enqueue = |new| jobs.enqueue(new).unwrap().job;
    let first = enqueue(NewJob::new("q", "k"));
    // Available at once, and in front; the last of all, and no word about the mark.
    let past = enqueue(NewJob::new("q", "k").run_at(5));
    let gone = enqueue(NewJob::new("q", "k"));
    engine.plant(Tree::Jobs, &keys::job(gone.0), Some(b"damaged"));
    engine.plant(Tree::Meta, &schema::sequence_key(), Some(b"damaged"));
    clock.set_wall(500);
    assert!(jobs.enqueue(NewJob::new("q", "k")).is_err());
    crate::record::repair::repair(&jobs.shared.store, &mut |_| std::ops::ControlFlow::Continue(()), repair::repair)
        .unwrap();
    assert_eq!(violations(&jobs), 0);
    let next = enqueue(NewJob::new("q", "k"));
    assert!(pair(&jobs, next).body.sequence > pair(&jobs, past).body.sequence);
    assert_eq!(claim(&jobs, 10).iter().map(|token| token.job).collect::<Vec<_>>(), [past, first, next]);
}

#[test]
fn a_job_whose_history_cannot_be_read_holds_up_neither_claims_nor_completions() {
    let (engine, jobs, _) = queue();
    let [damaged, first, second] = [(); 3].map(|()| jobs.enqueue(NewJob::new("q", "k")).unwrap().job);
    // Twice let go: the attempt before the newest lies in the history.
    for _ in 0..2 {
        let leases = jobs.claim(&["q"], 1).unwrap();
        assert_eq!(leases[0].job().id, damaged);
        leases.into_iter().for_each(|lease| drop(lease.release().unwrap()));
    }
    engine.plant(Tree::History, &schema::attempts_key(damaged.0), Some(b"damaged"));
    let claimed = claim(&jobs, 1);
    assert_eq!(claimed[0].job, first);
    jobs.maintain().unwrap();
    let next = jobs.complete_and_claim(&claimed[0], None, &ClaimRequest::new(["q"])).unwrap();
    assert_eq!(next[0].job().id, second);
    assert_eq!(pair(&jobs, first).head.state, State::Completed);
    assert_eq!(pair(&jobs, damaged).head.state, State::Available, "it is where it was");
    assert!(violations(&jobs) > 0);
}

#[test]
fn a_completion_goes_alone_where_damage_is_in_the_way_of_the_claim_behind_it() {
    let (engine, jobs, clock) = queue();
    let damaged = jobs.enqueue(NewJob::new("q", "k").delay_ms(50)).unwrap().job;
    let first = jobs.enqueue(NewJob::new("q", "k")).unwrap().job;
    let token = claim(&jobs, 1).remove(0);
    assert_eq!(token.job, first);
    // An entry of what is due that leads to no key of a job.
    let parts = KeyWriter::new().str("q").u64(1).u64(pair(&jobs, damaged).body.sequence).finish();
    let entry = keys::index_entry(schema::DUE.number, &parts, Some(b"no job")).unwrap();
    engine.plant(Tree::Index, &entry, Some(b""));
    jobs.shared.lines.lock().forget_idle();
    clock.advance(60);
    assert_eq!(jobs.claim(&["q"], 1).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(jobs.complete_and_claim(&token, None, &ClaimRequest::new(["q"])).unwrap().is_empty());
    assert_eq!(pair(&jobs, first).head.state, State::Completed);
    // A claim that is over is told as such all the same.
    let again = jobs.complete_and_claim(&token, None, &ClaimRequest::new(["q"]));
    assert_eq!(again.unwrap_err().kind(), ErrorKind::LeaseLost);
}

#[test]
fn the_claim_of_a_job_that_is_lost_is_not_taken_for_that_of_a_new_one_with_its_id() {
    let (engine, jobs, _) = queue();
    let same = || NewJob::new("q", "k").id(JobId(7));
    jobs.enqueue(same()).unwrap();
    jobs.complete(&claim(&jobs, 1)[0], None).unwrap();
    engine.plant(Tree::Jobs, &keys::job(7), None);
    assert_eq!(jobs.enqueue(same()).unwrap_err().kind(), ErrorKind::Corrupt);
    crate::record::repair::repair(&jobs.shared.store, &mut |_| std::ops::ControlFlow::Continue(()), repair::repair)
        .unwrap();
    jobs.enqueue(same()).unwrap();
    jobs.complete(&claim(&jobs, 1)[0], None).unwrap();
    assert_eq!(violations(&jobs), 0);
}
