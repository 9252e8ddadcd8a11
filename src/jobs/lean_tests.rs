//! What each step writes, and that bodies may run twice: on the test engine, which runs every body twice and compares.

use super::pair::Pair;
use super::*;
use crate::clock::ManualClock;
use crate::engine::Tree;
use crate::json::Json;
use crate::keys;
use crate::record::testing::{TestEngine, store};

fn queue() -> (Arc<TestEngine>, Jobs) {
    let (engine, store) = store();
    (engine, Jobs::new(store, JobsOptions::default()))
}

/// Keys of `jobs` that the last commit wrote.
fn written(engine: &TestEngine) -> Vec<Vec<u8>> {
    engine.last_writes().keys().filter(|(tree, _)| *tree == Tree::Jobs).map(|(_, key)| key.clone()).collect()
}

#[test]
fn the_payload_is_written_at_enqueue_and_again_only_with_a_result() {
    let (engine, jobs) = queue();
    let large = serde_json::json!("x".repeat(100_000));
    let id = jobs.enqueue(NewJob::new("q", "k").payload(large).backoff(Backoff::fixed(0))).unwrap().job;
    let (body, head) = (vec![keys::job(id.0)], vec![keys::claim(id.0)]);
    assert_eq!(written(&engine), body, "an enqueue writes one value");
    let claim = || jobs.claim(&["q"], 1).unwrap().remove(0).into_parts().1;

    let token = claim();
    assert_eq!(written(&engine), head);
    jobs.heartbeat(&token, None).unwrap();
    assert_eq!(written(&engine), head);
    jobs.progress(&token, Some(3), None).unwrap();
    assert_eq!(written(&engine), head);
    jobs.release(&token).unwrap();
    assert_eq!(written(&engine), head);
    jobs.fail(&claim(), None, None).unwrap();
    assert_eq!(written(&engine), head);
    let token = claim();
    jobs.cancel(id).unwrap();
    assert_eq!(written(&engine), head);
    jobs.complete(&token, Some(Json::null())).unwrap();
    assert_eq!(written(&engine), [body, head].concat());
}

#[test]
fn an_enqueue_writes_nothing_when_the_job_exists() {
    let (engine, jobs) = queue();
    let new = || NewJob::new("q", "k").unique_key("u");
    jobs.enqueue(new()).unwrap();
    jobs.enqueue(new()).unwrap();
    assert!(engine.last_writes().is_empty());
}

#[test]
fn a_job_that_cannot_be_read_stops_neither_a_claim_nor_the_sweep() {
    let (engine, jobs) = queue();
    let first = jobs.enqueue(NewJob::new("q", "k")).unwrap().job;
    let second = jobs.enqueue(NewJob::new("q", "k")).unwrap().job;
    engine.plant(Tree::Jobs, &keys::job(first.0), Some(b"damaged"));
    let lease = jobs.claim(&["q"], 1).unwrap().remove(0);
    assert_eq!(lease.job().id, second);
    assert!(jobs.claim(&["q"], 1).unwrap().is_empty());

    let third = jobs.enqueue(NewJob::new("q", "k")).unwrap().job;
    let (_, token) = jobs.claim(&["q"], 1).unwrap().remove(0).into_parts();
    assert_eq!(token.job(), third);
    engine.plant(Tree::Jobs, &keys::claim(second.0), Some(b"damaged"));
    let later = Epoch { number: 9, id: 9 };
    let report = recovery::sweep(&jobs.shared.store, later).unwrap();
    assert_eq!((report.requeued, report.unreadable), (1, 1));
    drop(lease.into_parts());
}

#[test]
fn a_lease_that_memory_has_lost_is_taken_back_after_a_full_lease() {
    let (_engine, store) = store();
    let clock = ManualClock::at(5_000);
    let store =
        RecordStore::new(Arc::clone(store.engine()), Arc::new(clock.clone()), Arc::new(crate::clock::Ids::seeded(2)));
    let forgetful = Jobs::new(store.clone(), JobsOptions::default());
    let id = forgetful.enqueue(NewJob::new("q", "k").lease_ms(100)).unwrap().job;
    drop(forgetful.claim(&["q"], 1).unwrap().remove(0).into_parts());
    let jobs = Jobs::new(store, JobsOptions::default());
    clock.advance(1_000);
    assert_eq!(jobs.maintain().unwrap().taken_back, 0);
    clock.advance(100);
    assert_eq!(jobs.maintain().unwrap().taken_back, 1);
    assert_eq!(jobs.get(id).unwrap().unwrap().crash_count, 1);
}

#[test]
fn a_take_back_never_beats_a_heartbeat_that_came_between() {
    let (_engine, store) = store();
    let clock = ManualClock::at(5_000);
    let store =
        RecordStore::new(Arc::clone(store.engine()), Arc::new(clock.clone()), Arc::new(crate::clock::Ids::seeded(2)));
    let jobs = Jobs::new(store.clone(), JobsOptions::default());
    let id = jobs.enqueue(NewJob::new("q", "k").lease_ms(100)).unwrap().job;
    let (_, token) = jobs.claim(&["q"], 1).unwrap().remove(0).into_parts();
    clock.advance(100);
    // Committed, and its note in memory not yet made.
    store.transact(Durability::PowerLoss, |txn| act::heartbeat(txn, &token, None)).unwrap();
    assert_eq!(jobs.maintain().unwrap().taken_back, 0);
    assert!(jobs.cancel(id).unwrap().cancel_requested);
    assert!(jobs.heartbeat(&token, None).unwrap());
    clock.advance(100);
    assert_eq!(jobs.maintain().unwrap().taken_back, 1);
}

/// The stored form of both parts: these bytes are on disks. A change needs a new schema version, not new bytes here.
#[test]
fn stored_jobs_keep_their_bytes() {
    let (engine, jobs) = queue();
    let new = NewJob::new("q", "k").id(JobId(1)).payload(serde_json::json!({"a": 1})).unique_key("u").timeout_ms(9);
    jobs.enqueue(new).unwrap();
    let (_, token) = jobs.claim(&["q"], 1).unwrap().remove(0).into_parts();
    jobs.fail(&token, Some("e"), Some(7)).unwrap();
    // Without the trailing checksum: behind it, the CRC of any content is the same.
    let content = |bytes: &[u8]| (bytes.len(), crc32c::crc32c(&bytes[..bytes.len() - 4]));
    let stored: Vec<(usize, u32)> = engine.entries(Tree::Jobs).iter().map(|(_, bytes)| content(bytes)).collect();
    assert_eq!(stored, [(155, 4_273_768_166), (113, 1_750_120_150)]);
    let index = engine.entries(Tree::Index);
    let index: Vec<&[u8]> = index.iter().map(|(key, _)| key.strip_suffix(b"\0 ").unwrap_or(key)).collect();
    let id = "00000000000000000000000000000001";
    let due = format!("\0\0\0\x02q\0\0\0\0\0\0\0\0\x03?\0\0\0\0\0\0\0\x01{id}");
    let due = due.replace('?', "\u{ef}").chars().map(|byte| byte as u8).collect::<Vec<_>>();
    let state = format!("\0\0\0\x04q\0\0\x04\0\0\0\0\0\0\0\x01k\0\0{id}");
    let order = format!("\0\0\0\x05\0\0\0\0\0\0\0\x01k\0\0{id}");
    assert_eq!(index, [&due[..], state.as_bytes(), order.as_bytes(), b"\0\0\0\x07q\0\0u\0\0"]);
    let pair = jobs.shared.store.read(|view| view.get::<Pair>(&keys::job(1))).unwrap().unwrap();
    assert_eq!(pair.head.run_at, 1_007);
}

#[test]
fn maintain_takes_back_every_lease_that_is_past_whatever_it_passes_over() {
    let (_engine, store) = store();
    let clock = ManualClock::at(5_000);
    let store =
        RecordStore::new(Arc::clone(store.engine()), Arc::new(clock.clone()), Arc::new(crate::clock::Ids::seeded(2)));
    let jobs = Jobs::new(store.clone(), JobsOptions::default());
    let new: Vec<NewJob> = (0..600).map(|_| NewJob::new("q", "k").lease_ms(100)).collect();
    jobs.enqueue_batch(&new).unwrap();
    jobs.enqueue_batch(&new).unwrap();
    let claim = || jobs.claim(&["q"], 600).unwrap().into_iter().map(|lease| lease.into_parts().1);
    let tokens: Vec<Token> = claim().chain(claim()).collect();
    // In a transaction of the caller's own, of which memory does not learn.
    store.transact(Durability::PowerLoss, |txn| txn.jobs().complete(&tokens[0], None)).unwrap();
    clock.advance(100);
    assert_eq!(jobs.maintain().unwrap().taken_back, 1_199);
}

#[test]
fn a_lease_once_seen_to_be_lost_stays_lost() {
    let (_engine, jobs) = queue();
    let id = jobs.enqueue(NewJob::new("q", "k")).unwrap().job;
    let lease = jobs.claim(&["q"], 1).unwrap().remove(0);
    // A heartbeat of another thread: committed, and noted only after the end of the claim.
    let late = jobs.shared.store.read(|view| view.get::<Pair>(&keys::job(id.0))).unwrap().unwrap();
    jobs.release(&lease.token()).unwrap();
    assert!(lease.is_lost());
    jobs.shared.deadlines.note(&late, 0);
    assert!(lease.is_lost());
    drop(lease.into_parts());
}

#[test]
fn a_lease_is_known_though_an_earlier_job_of_its_id_had_more_claims() {
    let (_engine, jobs) = queue();
    let same = || NewJob::new("q", "k").id(JobId(7)).retention_ms(0);
    jobs.enqueue(same().timeout_ms(1)).unwrap();
    jobs.claim(&["q"], 1).unwrap().remove(0).release().unwrap();
    let (_, over) = jobs.claim(&["q"], 1).unwrap().remove(0).into_parts();
    // In a transaction of the caller's own, of which memory does not learn; and removed at once.
    jobs.shared.store.transact(Durability::PowerLoss, |txn| txn.jobs().complete(&over, None)).unwrap();
    jobs.enqueue(same()).unwrap();
    let lease = jobs.claim(&["q"], 1).unwrap().remove(0);
    assert!(!lease.is_lost() && lease.remaining_ms() == LEASE_MS_DEFAULT);
    jobs.finished(&over);
    assert!(!lease.is_lost(), "whoever ends the earlier one ends no other");
    lease.release().unwrap();
}

#[test]
fn a_lease_is_known_though_the_state_before_had_more_claims_of_its_job() {
    let (_engine, jobs) = queue();
    let id = jobs.enqueue(NewJob::new("q", "k")).unwrap().job;
    let (_, token) = jobs.claim(&["q"], 1).unwrap().remove(0).into_parts();
    let here = jobs.shared.store.read(|view| view.get::<Pair>(&keys::job(id.0))).unwrap().unwrap();
    let mut before = here.clone();
    before.head.claims += 5;
    let mut after = here;
    after.head.lease.as_mut().unwrap().epoch.number += 1;
    jobs.shared.deadlines.note(&before, 0);
    jobs.shared.deadlines.note(&after, 0);
    assert!(jobs.shared.deadlines.held(&after.token().unwrap()).is_some());
    // What comes late from the state before changes nothing.
    jobs.shared.deadlines.note(&before, 0);
    jobs.finished(&before.token().unwrap());
    assert!(jobs.shared.deadlines.held(&after.token().unwrap()).is_some());
    assert!(jobs.shared.deadlines.held(&token).is_none());
}

/// A wall clock that goes back by an hour at a given look.
#[derive(Debug, Default)]
struct GoesBack {
    looks: std::sync::atomic::AtomicU64,
    at: std::sync::atomic::AtomicU64,
}

impl crate::clock::Clock for GoesBack {
    fn now_ms(&self) -> u64 {
        use std::sync::atomic::Ordering::SeqCst;
        let (look, at) = (self.looks.fetch_add(1, SeqCst), self.at.load(SeqCst));
        if at != 0 && look < at { 8_000_000 } else { 4_000_000 }
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

#[test]
fn a_job_found_due_is_not_forgotten_when_the_clock_goes_back_before_it_is_promoted() {
    use std::sync::atomic::Ordering::SeqCst;
    // Whichever look of the claim the jump comes before.
    for looks in 1..8 {
        let (_engine, store) = store();
        let clock = Arc::new(GoesBack::default());
        let ids = Arc::new(crate::clock::Ids::seeded(2));
        let shared: Arc<dyn crate::clock::Clock> = Arc::<GoesBack>::clone(&clock);
        let jobs = Jobs::new(RecordStore::new(Arc::clone(store.engine()), shared, ids), JobsOptions::default());
        jobs.enqueue(NewJob::new("q", "k").run_at(5_000_000)).unwrap();
        clock.at.store(clock.looks.load(SeqCst) + looks, SeqCst);
        let mut claimed = jobs.claim(&["q"], 1).unwrap();
        // Its time comes once more.
        clock.at.store(u64::MAX, SeqCst);
        claimed.extend(jobs.claim(&["q"], 1).unwrap());
        assert_eq!(claimed.len(), 1, "the jump before look {looks} lost the job");
        claimed.into_iter().for_each(|lease| drop(lease.into_parts()));
    }
}

/// Candidates are picked from memory, and a pause can come before they are claimed.
#[test]
fn what_was_picked_before_a_pause_is_not_claimed_after_it_and_goes_back_to_its_place() {
    let (_engine, jobs) = queue();
    let id = jobs.enqueue(NewJob::new("q", "k")).unwrap().job;
    let other = jobs.enqueue(NewJob::new("other", "k")).unwrap().job;
    let request = ClaimRequest::new(["q", "other"]).limit(2);
    let picked = jobs.pick(&request).unwrap();
    assert_eq!(picked.candidates.iter().map(|candidate| candidate.job).collect::<Vec<_>>(), [id, other]);
    jobs.pause("q").unwrap();
    let claimed = jobs.claim_picked(&picked.candidates, &request, None).unwrap();
    assert_eq!(claimed.pairs.iter().map(Pair::id).collect::<Vec<_>>(), [other]);
    drop(picked);
    assert!(jobs.claim(&["q"], 1).unwrap().is_empty());
    jobs.resume("q").unwrap();
    assert_eq!(jobs.claim(&["q"], 1).unwrap().remove(0).into_parts().0.id, id);
}

/// A claim is inside the door while it commits.
#[test]
fn a_pause_returns_only_when_claims_that_have_not_seen_it_are_committed() {
    let (_engine, jobs) = queue();
    let is_known = || jobs.shared.lines.lock().line("q").paused == Some(true);
    // From here on the queue has a line, which hears of the pause.
    assert!(!is_known());
    let claim_under_way = jobs.shared.door.enter();
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| jobs.pause("q").unwrap());
        while !is_known() {
            std::thread::yield_now();
        }
        (0..1_000).for_each(|_| std::thread::yield_now());
        assert!(!pausing.is_finished());
        drop(claim_under_way);
    });
}

#[test]
fn a_cancel_between_the_commit_of_a_claim_and_its_lease_shows_on_the_lease_at_once() {
    let (engine, jobs) = queue();
    let [first, second] = [(); 2].map(|()| jobs.enqueue(NewJob::new("q", "k")).unwrap().job);
    let canceller = jobs.clone();
    engine.once_committed(move || drop(canceller.cancel(first).unwrap()));
    let leases = jobs.claim(&["q"], 2).unwrap();
    let asked: Vec<bool> = leases.iter().map(Lease::cancel_requested).collect();
    assert_eq!((leases[0].job().id, leases[1].job().id, asked), (first, second, vec![true, false]));
    leases.into_iter().for_each(|lease| drop(lease.into_parts()));
}

/// A clock that closes a door at a given look at monotonic time: which nobody takes while inside.
#[derive(Debug, Default)]
struct ClosesDoor {
    door: door::Door,
    looks_left: std::sync::atomic::AtomicU64,
}

impl crate::clock::Clock for ClosesDoor {
    fn now_ms(&self) -> u64 {
        1_000
    }

    fn monotonic_ms(&self) -> u64 {
        use std::sync::atomic::Ordering::SeqCst;
        if self.looks_left.fetch_sub(1, SeqCst) == 1 {
            self.door.close();
        }
        1_000
    }
}

#[test]
fn a_completion_that_is_on_its_way_when_its_pool_stops_completes_and_claims_nothing() {
    let mut claimed_before = 0;
    // Whichever look of the call the stop comes before; behind the last of them it comes too late.
    for looks in 1..8 {
        let (_engine, store) = store();
        let clock = Arc::new(ClosesDoor::default());
        let shared: Arc<dyn crate::clock::Clock> = Arc::<ClosesDoor>::clone(&clock);
        let ids = Arc::new(crate::clock::Ids::seeded(2));
        let jobs = Jobs::new(RecordStore::new(Arc::clone(store.engine()), shared, ids), JobsOptions::default());
        let [first, second] = [(); 2].map(|()| jobs.enqueue(NewJob::new("q", "k")).unwrap().job);
        let token = jobs.claim(&["q"], 1).unwrap().remove(0).into_parts().1;
        let mut request = ClaimRequest::new(["q"]);
        request.until = Some(clock.door.clone());
        clock.looks_left.store(looks, std::sync::atomic::Ordering::SeqCst);
        let leases = jobs.complete_and_claim(&token, None, &request).unwrap();
        assert_eq!(jobs.get(first).unwrap().unwrap().state, State::Completed);
        let stopped = clock.door.is_closed();
        assert_eq!(leases.is_empty(), stopped, "look {looks}");
        let untouched = State::Available == jobs.get(second).unwrap().unwrap().state;
        assert_eq!(untouched, stopped, "look {looks}");
        claimed_before += u64::from(!stopped);
        leases.into_iter().for_each(|lease| drop(lease.into_parts()));
    }
    assert!((1..7).contains(&claimed_before), "{claimed_before}");
}
