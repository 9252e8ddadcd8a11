//! What snapshots rely on: the feed's times and hashes, positions, holds of the feed, and waiting for more of it.
//!
//! An engine without a feed has nothing to promise here but to say so (`Unsupported`).

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::engine::{Check, Make, put};
use super::{expect_kind, value};
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::config::Durability;
use crate::engine::{
    ChainHash, Change, Cursor, Direction, Engine, Epoch, FeedHold, KeyRange, SCAN_LIMIT_MAX, Tree, TxnOptions, Value,
};
use crate::error::{ErrorKind, Result};

list! { Check:
    an_engine_without_a_feed_says_so,
    the_feed_tells_when_each_commit_was_made,
    the_chain_hash_follows_from_what_was_committed_and_a_position_has_it,
    a_position_lists_the_openings_that_led_to_its_cursor,
    a_position_is_refused_for_what_is_not_of_this_history,
    what_is_committed_after_a_hold_began_lies_behind_its_start,
    a_scan_with_what_the_feed_tells_from_a_hold_on_is_the_state_at_its_sync,
    a_watch_answers_whether_there_is_more_and_ends_with_its_time,
    a_commit_wakes_those_who_watch,
    a_watch_refuses_strangers_and_ends_with_the_engine,
}

/// Longest wait of a check: one that is used up has failed.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Every change behind a cursor.
pub(super) fn told(engine: &dyn Engine, after: &Cursor) -> Result<Vec<Change>> {
    let (mut cursor, mut told) = (*after, Vec::new());
    loop {
        let page = engine.changes(&cursor, 100)?;
        if page.cursor == cursor {
            return Ok(told);
        }
        told.extend(page.changes);
        cursor = page.cursor;
    }
}

/// All three calls, and nothing else of the engine, are missing then.
pub fn an_engine_without_a_feed_says_so(make: Make<'_>) -> Result<()> {
    let engine = make();
    let here = engine.cursor();
    if engine.capabilities().feeds_changes {
        engine.hold_changes()?;
        engine.position(&here)?;
        engine.watch(&here, Duration::ZERO)?;
        return Ok(());
    }
    expect_kind(engine.hold_changes().map(|_| "held"), ErrorKind::Unsupported, "hold_changes");
    expect_kind(engine.position(&here), ErrorKind::Unsupported, "position");
    expect_kind(engine.watch(&here, Duration::ZERO), ErrorKind::Unsupported, "watch");
    put(&*engine, Tree::Kv, b"k", b"x").map(drop)
}

/// By the system's clock, which the engine was made with: between the call and its answer, the same for a whole batch.
pub fn the_feed_tells_when_each_commit_was_made(make: Make<'_>) -> Result<()> {
    let engine = make();
    if !engine.capabilities().feeds_changes {
        return Ok(());
    }
    let clock = SystemClock::default();
    for _ in 0..5 {
        let start = engine.sync()?;
        let before_ms = clock.now_ms();
        engine.transact(&TxnOptions::default(), &mut |txn| {
            txn.put(Tree::Kv, b"a", value("1"))?;
            txn.delete(Tree::Jobs, b"b")
        })?;
        let after_ms = clock.now_ms();
        let told = told(&*engine, &start)?;
        assert_eq!(told.len(), 2);
        for change in told {
            // A clock that is set while this runs may be ahead of itself.
            assert!(
                (before_ms..=after_ms.max(before_ms)).contains(&change.committed_ms),
                "{change:?} at {before_ms} ms"
            );
        }
    }
    Ok(())
}

/// A batch as a journal frame spells it, which is what the chain hash is made of.
fn spelled(changes: &[&Change]) -> Vec<u8> {
    let mut sorted = changes.to_vec();
    sorted.sort_by(|a, b| (a.tree, &a.key).cmp(&(b.tree, &b.key)));
    let mut bytes = (sorted.len() as u32).to_le_bytes().to_vec();
    for change in sorted {
        let stored = change.value.as_deref().unwrap_or_default();
        bytes.extend([change.tree.number(), u8::from(change.value.is_some())]);
        bytes.extend((change.key.len() as u16).to_le_bytes());
        bytes.extend((stored.len() as u32).to_le_bytes());
        bytes.extend([change.key.as_slice(), stored].concat());
    }
    bytes
}

/// Batch by batch, over checkpoints, in pages of any size: each hash is that of the one before and of the changes that the
/// feed tells, whatever the engine. The positions of old cursors and of the newest have the same.
pub fn the_chain_hash_follows_from_what_was_committed_and_a_position_has_it(make: Make<'_>) -> Result<()> {
    let engine = make();
    if !engine.capabilities().feeds_changes {
        return Ok(());
    }
    let start = engine.sync()?;
    let mut cursors = vec![start];
    for number in 0..40u8 {
        let durability = if number.is_multiple_of(3) { Durability::PowerLoss } else { Durability::Buffered };
        engine.transact(&TxnOptions::durability(durability), &mut |txn| {
            txn.put(Tree::Kv, &[1 + number % 7], value([number; 50]))?;
            txn.delete(Tree::Jobs, b"gone")?;
            txn.add(Tree::Counter, b"c", 1)
        })?;
        if number.is_multiple_of(4) {
            cursors.push(engine.sync()?);
        }
        if number == 21 {
            engine.checkpoint()?;
        }
    }
    cursors.push(engine.sync()?);
    let first = engine.position(&start)?.chain.expect("the feed reaches back to it");
    let mut hashes = BTreeMap::from([(start.sequence, first)]);
    for limit in [1, 7, SCAN_LIMIT_MAX] {
        let (mut cursor, mut hash) = (start, first);
        loop {
            let page = engine.changes(&cursor, limit)?;
            if page.cursor == cursor {
                break;
            }
            assert_eq!(page.chain.last().map(|(sequence, _)| *sequence), Some(page.cursor.sequence));
            for (sequence, told) in page.chain {
                let of_batch: Vec<&Change> =
                    page.changes.iter().filter(|change| change.cursor.sequence == sequence).collect();
                hash = hash.after(sequence, &spelled(&of_batch));
                assert_eq!(told, hash, "batch {sequence}, limit {limit}");
                hashes.insert(sequence, told);
            }
            cursor = page.cursor;
        }
    }
    for cursor in &cursors {
        let hash: Option<&ChainHash> = hashes.get(&cursor.sequence);
        assert_eq!(engine.position(cursor)?.chain.as_ref(), hash, "the position of {cursor:?}");
    }
    Ok(())
}

/// The newest of them is this opening's own, and each cursor of before lies on the way.
pub fn a_position_lists_the_openings_that_led_to_its_cursor(make: Make<'_>) -> Result<()> {
    let engine = make();
    if !engine.capabilities().feeds_changes {
        return Ok(());
    }
    let first = put(&*engine, Tree::Kv, b"k", b"1")?.cursor;
    let second = put(&*engine, Tree::Kv, b"k", b"2")?.cursor;
    let (early, late) = (engine.position(&first)?, engine.position(&second)?);
    for (position, cursor) in [(&early, first), (&late, second)] {
        assert_eq!(position.cursor, cursor);
        assert_eq!(position.epochs.last().map(|start| start.epoch), Some(engine.epoch()));
        assert!(position.epochs.is_sorted_by_key(|start| start.epoch.number), "{position:?}");
    }
    assert!(late.came_through(&first) && !early.came_through(&second));
    Ok(())
}

/// Another store, what is still to come, and openings that never were.
pub fn a_position_is_refused_for_what_is_not_of_this_history(make: Make<'_>) -> Result<()> {
    let (engine, other) = (make(), make());
    if !engine.capabilities().feeds_changes {
        return Ok(());
    }
    let here = put(&*engine, Tree::Kv, b"k", b"1")?.cursor;
    put(&*other, Tree::Kv, b"k", b"1")?;
    let strangers = [
        other.cursor(),
        Cursor { sequence: here.sequence + 1, ..here },
        Cursor { epoch: Epoch { id: here.epoch.id ^ 1, ..here.epoch }, ..here },
        Cursor { epoch: Epoch { number: here.epoch.number + 1, ..here.epoch }, ..here },
    ];
    for stranger in strangers {
        expect_kind(engine.position(&stranger), ErrorKind::Invalid, "the position of a stranger");
    }
    Ok(())
}

/// What was visible before is not told again without end, and nothing that came after is left out; `sync` covers `Buffered`
/// commits that have returned.
pub fn what_is_committed_after_a_hold_began_lies_behind_its_start(make: Make<'_>) -> Result<()> {
    let engine = make();
    if !engine.capabilities().feeds_changes {
        return Ok(());
    }
    let before = put(&*engine, Tree::Kv, b"before", b"x")?.cursor;
    let hold = engine.hold_changes()?;
    engine
        .transact(&TxnOptions::durability(Durability::Buffered), &mut |txn| txn.put(Tree::Kv, b"after", value("x")))?;
    assert_eq!(hold.start().lineage, before.lineage);
    let end = hold.sync()?;
    assert!(hold.start() < end, "{:?} is no start of what goes up to {end:?}", hold.start());
    let told = told(&*engine, &hold.start())?;
    let after: Vec<_> = told.iter().filter(|change| change.key == b"after").map(|change| change.cursor).collect();
    assert!(matches!(after.as_slice(), [cursor] if *cursor <= end), "{after:?} up to {end:?}");
    Ok(())
}

fn entries(engine: &dyn Engine) -> Result<BTreeMap<Vec<u8>, Value>> {
    let (mut found, mut rest) = (BTreeMap::new(), KeyRange::all());
    loop {
        // Small pages, so that commits come between them.
        let page = engine.scan(Tree::Kv, &rest, Direction::Ascending, 5)?;
        found.extend(page.entries);
        let Some(resume) = page.resume else { return Ok(found) };
        rest = rest.behind(&resume, Direction::Ascending);
    }
}

/// However many commits come between the pages: the changes over what the scan met are the state at the end.
pub fn a_scan_with_what_the_feed_tells_from_a_hold_on_is_the_state_at_its_sync(make: Make<'_>) -> Result<()> {
    let engine = make();
    if !engine.capabilities().feeds_changes {
        return Ok(());
    }
    let write = |writer: u8, turn: u8| {
        let durability = if turn.is_multiple_of(3) { Durability::PowerLoss } else { Durability::Buffered };
        engine.transact(&TxnOptions::durability(durability), &mut |txn| {
            txn.put(Tree::Kv, &[1 + turn % 50, writer], value([turn]))?;
            txn.delete(Tree::Kv, &[1 + turn.wrapping_mul(7) % 50, writer])
        })
    };
    for round in 0..3 {
        (0..100).try_for_each(|turn| write(0, turn).map(drop))?;
        let (start, stop) = (Barrier::new(3), AtomicBool::new(false));
        let (hold, scanned) = thread::scope(|scope| -> Result<(Box<dyn FeedHold>, _)> {
            let writers: Vec<_> = [1, 2]
                .map(|writer| {
                    let (start, stop, write) = (&start, &stop, &write);
                    scope.spawn(move || {
                        start.wait();
                        let mut turn = 0u8;
                        while !stop.load(Ordering::Acquire) {
                            write(writer, turn)?;
                            turn = turn.wrapping_add(1);
                        }
                        Ok(())
                    })
                })
                .into();
            start.wait();
            let hold = engine.hold_changes();
            let scanned = entries(&*engine);
            stop.store(true, Ordering::Release);
            writers.into_iter().try_for_each(|writer| writer.join().expect("a writer does not panic"))?;
            Ok((hold?, scanned?))
        })?;
        let end = hold.sync()?;
        let mut state = scanned;
        let told = told(&*engine, &hold.start())?;
        for change in told.into_iter().filter(|change| change.tree == Tree::Kv && change.cursor <= end) {
            match change.value {
                Some(stored) => state.insert(change.key, stored),
                None => state.remove(&change.key),
            };
        }
        assert_eq!(state, entries(&*engine)?, "round {round}");
        engine.checkpoint()?;
    }
    Ok(())
}

/// At once where there is more; else after its time, and not before.
pub fn a_watch_answers_whether_there_is_more_and_ends_with_its_time(make: Make<'_>) -> Result<()> {
    let engine = make();
    if !engine.capabilities().feeds_changes {
        return Ok(());
    }
    let before = engine.sync()?;
    for at_most in [Duration::ZERO, Duration::from_millis(20)] {
        let took = Stopwatch::start();
        assert!(!engine.watch(&before, at_most)?, "there is nothing behind the newest commit");
        assert!(took.elapsed() >= at_most);
    }
    put(&*engine, Tree::Kv, b"k", b"x")?;
    for at_most in [Duration::ZERO, WAIT_MAX, Duration::MAX] {
        assert!(engine.watch(&before, at_most)?, "there is a commit behind it");
    }
    assert!(!engine.watch(&engine.sync()?, Duration::ZERO)?);
    Ok(())
}

/// Each of several, and also when the commit was `Buffered`.
pub fn a_commit_wakes_those_who_watch(make: Make<'_>) -> Result<()> {
    let engine = make();
    if !engine.capabilities().feeds_changes {
        return Ok(());
    }
    for durability in [Durability::PowerLoss, Durability::Buffered] {
        let before = engine.sync()?;
        let start = Barrier::new(4);
        thread::scope(|scope| {
            let watch = || {
                let took = Stopwatch::start();
                start.wait();
                let more = engine.watch(&before, WAIT_MAX)?;
                assert!(more && took.elapsed() < WAIT_MAX, "not woken by a commit of {durability:?}");
                Ok(())
            };
            let watchers = [scope.spawn(watch), scope.spawn(watch), scope.spawn(watch)];
            start.wait();
            // Those who are not waiting yet find it there.
            engine.transact(&TxnOptions::durability(durability), &mut |txn| txn.put(Tree::Kv, b"k", value("x")))?;
            watchers.into_iter().try_for_each(|watcher| watcher.join().expect("a watcher's panic is this check's"))
        })?;
    }
    Ok(())
}

/// Also for those who wait already.
pub fn a_watch_refuses_strangers_and_ends_with_the_engine(make: Make<'_>) -> Result<()> {
    let (engine, other) = (make(), make());
    if !engine.capabilities().feeds_changes {
        return Ok(());
    }
    let here = put(&*engine, Tree::Kv, b"k", b"x")?.cursor;
    put(&*other, Tree::Kv, b"k", b"x")?;
    expect_kind(engine.watch(&other.cursor(), WAIT_MAX), ErrorKind::Invalid, "a watch behind a foreign cursor");
    let ahead = Cursor { sequence: here.sequence + 1, ..here };
    expect_kind(engine.watch(&ahead, WAIT_MAX), ErrorKind::Invalid, "a watch behind what is still to come");
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            start.wait();
            let took = Stopwatch::start();
            (engine.watch(&here, WAIT_MAX), took.elapsed())
        });
        start.wait();
        let closed = engine.close();
        let (outcome, took) = waiting.join().expect("it answers");
        expect_kind(outcome, ErrorKind::Closed, "a watch while the engine closes");
        assert!(took < WAIT_MAX);
        closed
    })?;
    expect_kind(engine.watch(&here, Duration::ZERO), ErrorKind::Closed, "a watch on a closed engine");
    expect_kind(engine.position(&here), ErrorKind::Closed, "position on a closed engine");
    expect_kind(engine.hold_changes().map(|_| "held"), ErrorKind::Closed, "hold_changes on a closed engine");
    Ok(())
}
