//! What each step of a job costs its engine, counted: transactions, writes, reads. A change that makes one dearer shows
//! here and says why.

#[allow(dead_code)] // Shared with tests that need other parts of it.
mod house;

use ml_persistence::engine::wrap::EngineCounts;
use ml_persistence::{Backoff, ClaimRequest, Durability, Lease, ManualClock, NewJob, Token};

use house::{House, Open};

/// What `call` cost.
fn cost<T>(open: &Open, call: impl FnOnce() -> T) -> (T, EngineCounts) {
    let before = open.engine.counts();
    let answer = call();
    let after = open.engine.counts();
    let mut cost = after;
    cost.gets -= before.gets;
    cost.get_manys -= before.get_manys;
    cost.scans -= before.scans;
    cost.transacts -= before.transacts;
    cost.txn_gets -= before.txn_gets;
    cost.txn_writes -= before.txn_writes;
    cost.read_views -= before.read_views;
    cost.syncs -= before.syncs;
    (answer, cost)
}

/// Transactions, writes in them, and reads outside of them.
fn of(cost: &EngineCounts) -> (u64, u64, u64) {
    (cost.transacts, cost.txn_writes, cost.gets + cost.get_manys + cost.scans + cost.read_views)
}

fn token(leases: Vec<Lease>) -> Token {
    leases.into_iter().next().expect("a job was ready").into_parts().1
}

/// The table of `jobs::claim`'s module doc: each line of it is an assertion here.
#[test]
fn each_step_is_one_transaction_of_a_few_writes() {
    let house = House::new(ManualClock::at(1_000_000));
    let open = house.open();
    let jobs = &open.jobs;
    for _ in 0..3 {
        jobs.enqueue(NewJob::new("q", "k")).expect("room");
    }
    // The first claim of a queue reads whether it is paused, the head of its line, what is due and what is prunable.
    let (first, cost_of_first) = cost(&open, || token(jobs.claim(&["q"], 1).expect("a claim")));
    assert_eq!(of(&cost_of_first), (1, 6, 4));

    let is = |step: &str, cost: EngineCounts, writes: u64| assert_eq!(of(&cost), (1, writes, 0), "{step}");
    is("enqueue", cost(&open, || jobs.enqueue(NewJob::new("q", "k")).expect("room")).1, 6);
    is("claim", cost(&open, || token(jobs.claim(&["q"], 1).expect("a claim"))).1, 6);
    is("heartbeat", cost(&open, || jobs.heartbeat(&first, None).expect("held")).1, 1);
    is("progress", cost(&open, || jobs.progress(&first, Some(50), None).expect("held")).1, 1);
    is("complete", cost(&open, || jobs.complete(&first, None).expect("held")).1, 6);
    let mut hand = token(jobs.claim(&["q"], 1).expect("a claim"));
    let request = ClaimRequest::new(["q"]);
    let (next, both) = cost(&open, || token(jobs.complete_and_claim(&hand, None, &request).expect("held")));
    // The count of executing jobs does not change, so the two share one write less than they would apart.
    assert_eq!(of(&both), (1, 10, 0));
    hand = next;
    jobs.complete(&hand, None).expect("held");
}

/// One view is opened, and nothing read in it: a store that was closed has to say so.
#[test]
fn an_idle_claim_reads_nothing_until_something_is_due() {
    let clock = ManualClock::at(1_000_000);
    let open = House::new(clock.clone()).open();
    let jobs = &open.jobs;
    let idle = || cost(&open, || assert!(jobs.claim(&["a", "b"], 10).expect("a claim").is_empty())).1;
    idle();
    assert_eq!(of(&idle()), (0, 0, 1));
    jobs.enqueue(NewJob::new("a", "k").delay_ms(1_000)).expect("room");
    jobs.enqueue(NewJob::new("elsewhere", "k")).expect("room");
    clock.advance(999);
    assert_eq!(of(&idle()), (0, 0, 1), "nothing is due yet");
    clock.advance(1);
    let claimed = token(jobs.claim(&["a"], 1).expect("a claim"));
    jobs.fail(&claimed, None, Some(500)).expect("held");
    assert_eq!(of(&idle()), (0, 0, 1), "the retry is not due yet");
    clock.advance(500);
    token(jobs.claim(&["a"], 1).expect("a claim"));
    jobs.pause("a").expect("a queue can be paused");
    jobs.enqueue(NewJob::new("a", "k")).expect("room");
    assert_eq!(of(&idle()), (0, 0, 1), "a paused queue costs nothing either");
    jobs.resume("a").expect("a queue can be resumed");
    token(jobs.claim(&["a"], 1).expect("a claim"));
}

/// Nothing that was claimed is walked over again: the scans of a line together read each of its jobs once.
#[test]
fn a_long_line_is_read_once_in_pages_whatever_was_finished_in_front_of_it() {
    const COUNT: usize = 2_000;
    let open = House::new(ManualClock::at(1_000_000)).open();
    let jobs = open.jobs.with_durability(Durability::Buffered);
    for _ in 0..COUNT / 1_000 {
        jobs.enqueue_batch(&vec![NewJob::new("q", "k").retention_ms(0); 1_000]).expect("room");
    }
    let (_, all) = cost(&open, || {
        for _ in 0..COUNT {
            jobs.complete(&token(jobs.claim(&["q"], 1).expect("a claim")), None).expect("held");
        }
    });
    // A page of 256 each, and the reads of the very first claim.
    assert_eq!(all.read_views, (COUNT as u64).div_ceil(256) + 3);
    assert_eq!(all.transacts, 2 * COUNT as u64);
    let (_, idle) = cost(&open, || assert!(jobs.claim(&["q"], 1).expect("a claim").is_empty()));
    assert_eq!(of(&idle), (0, 0, 1));
}

#[test]
fn what_is_due_together_is_promoted_in_order_and_without_walking_over_what_was_promoted_before() {
    let clock = ManualClock::at(1_000_000);
    let open = House::new(clock.clone()).open();
    let jobs = &open.jobs;
    let delayed: Vec<NewJob> = (0..300).map(|number| NewJob::new("q", "k").delay_ms(1 + number % 100)).collect();
    let ids: Vec<_> = jobs.enqueue_batch(&delayed).expect("room").into_iter().map(|enqueued| enqueued.job).collect();
    let mut due: Vec<usize> = (0..300).collect();
    due.sort_by_key(|number| (number % 100, *number));
    clock.advance(200);
    let claimed = jobs.claim(&["q"], 300).expect("a claim");
    let found: Vec<_> = claimed.into_iter().map(|lease| lease.into_parts().0.id).collect();
    let expected: Vec<_> = due.into_iter().map(|number| ids[number]).collect();
    assert_eq!(found, expected, "oldest due first");
}

/// Jobs are pruned although nobody ever calls `prune` or `maintain`, a few in each claim, and none too early.
#[test]
fn finished_jobs_do_not_pile_up_where_there_are_claims() {
    let clock = ManualClock::at(1_000_000);
    let open = House::new(clock.clone()).open();
    let jobs = open.jobs.with_durability(Durability::Buffered);
    let stored =
        || jobs.counts(Some("q")).expect("counters").values().map(|of| of.completed + of.discarded).sum::<u64>();
    let mut most = 0;
    for round in 0..1_500u64 {
        let retention = [100, 350, 7][(round % 3) as usize];
        let job = NewJob::new("q", "k").retention_ms(retention).max_attempts(1).backoff(Backoff::fixed(1));
        jobs.enqueue(job).expect("room");
        let held = token(jobs.claim(&["q"], 1).expect("a claim"));
        if round % 5 == 0 {
            jobs.fail(&held, None, None).expect("held");
        } else {
            jobs.complete(&held, None).expect("held");
        }
        clock.advance(2);
        most = most.max(stored());
    }
    // At most those younger than the longest retention, and those of the second between two rounds.
    assert!(most <= (350 + 1_000) / 2 + 64, "{most} finished jobs at once");
    jobs.enqueue(NewJob::new("q", "k").retention_ms(10_000)).expect("room");
    jobs.complete(&token(jobs.claim(&["q"], 1).expect("a claim")), None).expect("held");
    for _ in 0..200 {
        clock.advance(49);
        assert!(jobs.claim(&["q"], 1).expect("a claim").is_empty());
    }
    assert_eq!(stored(), 1, "all but the one that is young enough");
    clock.advance(1_000);
    assert!(jobs.claim(&["q"], 1).expect("a claim").is_empty());
    assert_eq!(stored(), 0);
}

#[test]
fn the_memory_of_the_queue_is_bounded_with_a_long_line_and_with_many_queues() {
    let open = House::new(ManualClock::at(1_000_000)).open();
    let jobs = open.jobs.with_durability(Durability::Buffered);
    for _ in 0..20 {
        jobs.enqueue_batch(&vec![NewJob::new("long", "k"); 1_000]).expect("room");
    }
    for _ in 0..10 {
        jobs.claim(&["long"], 1_000).expect("a claim").into_iter().for_each(|lease| drop(lease.into_parts()));
        let memory = jobs.memory();
        assert!(memory.window_jobs <= 1_024 && memory.reserved_jobs == 0, "{memory:?}");
    }
    // Queues that nobody has put anything into are known as well, once somebody has asked for them.
    for number in 0..17_000 {
        assert!(jobs.claim(&[&format!("queue {number}")], 1).expect("a claim").is_empty());
        if number % 1_000 == 0 {
            assert!(jobs.memory().bytes <= 16 << 20, "{:?}", jobs.memory());
        }
    }
    assert!(jobs.memory().bytes <= 16 << 20);
    token(jobs.claim(&["long"], 1).expect("the line goes on where it was forgotten"));
}
