//! The queue's account of its own memory against the allocator's: what is given back when a queue that knows all of this
//! is dropped is what it had. Alone in its program, since the allocator counts for everybody.

#[allow(dead_code)] // Shared with tests that need other parts of it.
mod house;

use std::alloc::System;

use ml_persistence::jobs::JobsOptions;
use ml_persistence::{Durability, Jobs, ManualClock, NewJob};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use house::House;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LIMIT: usize = 16 << 20;

/// Bytes that were given and not taken back.
fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

#[test]
fn the_account_of_memory_tells_no_less_than_the_allocator_and_keeps_to_its_limit() {
    // One long line; some that fill their windows; as many queues as are known at once, with the longest names.
    for (case, queues, jobs_each) in [(0, 1, 3_000), (1, 60, 200), (2, 8_191, 2)] {
        let open = House::new(ManualClock::at(1_000_000)).open();
        let names: Vec<String> = (0..queues).map(|number| format!("{case}{number:0>255}")).collect();
        let filling = open.jobs.with_durability(Durability::Buffered);
        for some in names.chunks((1_000 / jobs_each).max(1)) {
            let new: Vec<NewJob> = some
                .iter()
                .flat_map(|queue| (0..jobs_each).map(|_| NewJob::new(queue.as_str(), "k").retention_ms(0)))
                .collect();
            new.chunks(1_000).for_each(|part| drop(filling.enqueue_batch(part).expect("room")));
        }
        let jobs = Jobs::new(open.store.clone(), JobsOptions::default()).with_durability(Durability::Buffered);
        for queue in &names {
            for lease in jobs.claim(&[queue.as_str()], 1).expect("a claim") {
                lease.complete(serde_json::Value::Null).expect("it is held");
            }
        }
        let account = jobs.memory();
        assert_eq!(account.queues, queues);
        assert!(account.bytes <= LIMIT, "{account:?}");
        // The engine's threads end first: the allocator counts for them, too.
        open.store.engine().close().expect("a clean end of the engine");
        let before = live();
        drop(jobs);
        let given_back = before.saturating_sub(live());
        println!("{queues} queues: account {}, given back {given_back}", account.bytes);
        assert!(given_back <= account.bytes + 65_536, "{queues} queues: {given_back} bytes, {account:?}");
        assert!(given_back * 3 + 65_536 >= account.bytes, "{queues} queues: far too much: {given_back}, {account:?}");
    }
}
