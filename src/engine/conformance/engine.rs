//! The promises of [`Engine`] and [`Reader`] apart from transactions, which are in [`txn`](super::txn). Those about
//! observers are written down in `observe`.

mod observe;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use super::{BOTH_DIRECTIONS, Dice, Model, every_range, expect_kind, model_scan, value};
use crate::config::Durability;
use crate::engine::{
    Committed, Direction, Engine, GET_MANY_MAX, KeyRange, Reader, SCAN_LIMIT_MAX, Tree, TxnOptions, Value, read_counter,
};
use crate::error::{Error, ErrorKind, Result};

pub use observe::{
    an_observer_hears_what_it_watches_before_the_commit_is_answered,
    what_an_observer_hears_of_is_visible_and_comes_in_commit_order,
};

/// Makes an empty engine.
pub type Make<'a> = &'a dyn Fn() -> Arc<dyn Engine>;

/// A promise, as a function.
pub type Check = fn(Make<'_>) -> Result<()>;

list! { Check:
    a_new_engine_is_empty_and_says_what_it_can,
    get_many_answers_in_the_order_asked_up_to_its_bound,
    scans_find_what_a_model_finds_wherever_the_entries_lie,
    resuming_reads_everything_exactly_once,
    removed_entries_are_not_seen_however_many,
    the_size_of_a_page_has_bounds,
    a_commit_is_visible_when_it_returns,
    commits_become_visible_in_their_order,
    a_view_does_not_see_a_commit_made_while_it_lasts,
    a_view_is_one_point_in_time,
    get_many_and_a_page_are_each_one_point_in_time,
    an_error_in_a_view_comes_back,
    the_cursor_grows_with_commits_and_sync_covers_them,
    a_checkpoint_changes_nothing_that_is_seen,
    the_feed_tells_every_write_once_in_order_with_final_values,
    the_feed_refuses_cursors_that_are_not_of_this_history,
    an_observer_hears_what_it_watches_before_the_commit_is_answered,
    what_an_observer_hears_of_is_visible_and_comes_in_commit_order,
    a_closed_engine_answers_closed_and_closes_twice,
}

/// Commits one put.
pub(super) fn put(engine: &dyn Engine, tree: Tree, key: &[u8], stored: &[u8]) -> Result<Committed> {
    engine.transact(&TxnOptions::default(), &mut |txn| txn.put(tree, key, value(stored)))
}

/// Commits one add.
pub(super) fn increment(engine: &dyn Engine, key: &[u8], delta: i64) -> Result<()> {
    engine.transact(&TxnOptions::default(), &mut |txn| txn.add(Tree::Counter, key, delta)).map(drop)
}

/// The counter at `key`.
pub(super) fn number(engine: &dyn Engine, key: &[u8]) -> Result<i64> {
    read_counter(Tree::Counter, key, engine.get(Tree::Counter, key)?.as_deref())
}

/// Every key of a tree.
pub(super) fn keys(engine: &dyn Engine, tree: Tree) -> Result<Vec<Vec<u8>>> {
    let found = walk(engine, tree, &KeyRange::all(), Direction::Ascending, SCAN_LIMIT_MAX)?;
    Ok(found.into_iter().map(|(key, _)| key).collect())
}

/// Reads all of a range, page by page.
fn walk(
    reader: &(impl Reader + ?Sized),
    tree: Tree,
    range: &KeyRange,
    direction: Direction,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Value)>> {
    let (mut found, mut rest) = (Vec::new(), range.clone());
    loop {
        let page = reader.scan(tree, &rest, direction, limit)?;
        assert!(page.entries.len() <= limit, "a page of {} entries, asked for {limit}", page.entries.len());
        found.extend(page.entries);
        let Some(resume) = page.resume else { return Ok(found) };
        let next = rest.behind(&resume, direction);
        assert!(rest.contains(&resume) && next != rest, "{resume:02x?} is no place to go on in {rest:?}");
        rest = next;
    }
}

/// Numbers below `end` in parts that fit in a transaction of any engine.
fn in_parts(end: u32, write: &mut dyn FnMut(Range<u32>) -> Result<Committed>) -> Result<()> {
    (0..end).step_by(1000).try_for_each(|start| write(start..end.min(start + 1000)).map(drop))
}

/// Limits that something fits in, an epoch from 1 on, no entries.
pub fn a_new_engine_is_empty_and_says_what_it_can(make: Make<'_>) -> Result<()> {
    let engine = make();
    for tree in Tree::ALL {
        assert_eq!(engine.get(*tree, b"k")?, None);
        let mut found = keys(&*engine, *tree)?;
        // `meta` keys that begin with a zero byte are the engine's own.
        found.retain(|key| *tree != Tree::Meta || key.first() != Some(&0));
        assert_eq!(found, Vec::<Vec<u8>>::new());
    }
    let can = engine.capabilities();
    assert!(!can.engine.is_empty() && can.txn_writes_max >= 1024 && can.txn_bytes_max >= 1 << 20, "{can:?}");
    assert!(engine.epoch().number >= 1);
    let before = engine.stats().commits;
    put(&*engine, Tree::Kv, b"k", b"x")?;
    assert!(engine.stats().commits > before);
    Ok(())
}

/// Repeated and absent keys included; 1024 keys are answered, 1025 are not.
pub fn get_many_answers_in_the_order_asked_up_to_its_bound(make: Make<'_>) -> Result<()> {
    let engine = make();
    put(&*engine, Tree::Kv, b"a", b"1")?;
    engine.checkpoint()?;
    put(&*engine, Tree::Jobs, b"a", b"2")?;
    let asked: [(Tree, &[u8]); 4] = [(Tree::Jobs, b"a"), (Tree::Kv, b"b"), (Tree::Kv, b"a"), (Tree::Jobs, b"a")];
    let expected = [Some(value("2")), None, Some(value("1")), Some(value("2"))];
    assert_eq!(engine.get_many(&asked)?, expected);
    engine.read_view(&mut |view| {
        assert_eq!(view.get_many(&asked)?, expected);
        Ok(())
    })?;
    assert_eq!(engine.get_many(&[])?, []);
    let mut many = vec![(Tree::Kv, b"a".as_slice()); GET_MANY_MAX];
    assert_eq!(engine.get_many(&many)?.len(), GET_MANY_MAX);
    many.push((Tree::Kv, b"a"));
    expect_kind(engine.get_many(&many), ErrorKind::Invalid, "one key too many");
    Ok(())
}

/// Every kind of bound, both directions, several page sizes, over entries that were put, replaced, removed and put
/// again before and after checkpoints; plain and in a view.
pub fn scans_find_what_a_model_finds_wherever_the_entries_lie(make: Make<'_>) -> Result<()> {
    let engine = make();
    let names: [&[u8]; 8] = [b"a", b"ab", b"b", b"ba", b"c", b"ca", b"d", b"\xff"];
    let ranges = every_range(&[b"a", b"aa", b"b", b"c", b"ca", b"\xff"]);
    let (mut dice, mut model) = (Dice(2), Model::new());
    for round in 0..6 {
        for _ in 0..4 {
            let name = names.get(dice.below(8) as usize).copied().unwrap_or(b"a");
            if dice.below(3) == 0 {
                engine.transact(&TxnOptions::default(), &mut |txn| txn.delete(Tree::Index, name))?;
                model.remove(name);
            } else {
                let stored = value(format!("round {round}"));
                put(&*engine, Tree::Index, name, &stored)?;
                model.insert(name.to_vec(), stored);
            }
        }
        for range in &ranges {
            for direction in BOTH_DIRECTIONS {
                let expected = model_scan(&model, range, direction);
                for limit in [1, 3, SCAN_LIMIT_MAX] {
                    let found = walk(&*engine, Tree::Index, range, direction, limit)?;
                    assert_eq!(found, expected, "round {round} {range:?} {direction:?} limit {limit}");
                }
                engine.read_view(&mut |view| {
                    assert_eq!(walk(view, Tree::Index, range, direction, 2)?, expected, "in a view: {range:?}");
                    Ok(())
                })?;
            }
        }
        if round % 2 == 1 {
            engine.checkpoint()?;
        }
    }
    Ok(())
}

/// Half in the store, half not, some removed again; page sizes that divide nothing.
pub fn resuming_reads_everything_exactly_once(make: Make<'_>) -> Result<()> {
    let engine = make();
    let write = |chosen: fn(u32) -> bool, keep: bool| {
        in_parts(3000, &mut |part| {
            engine.transact(&TxnOptions::default(), &mut |txn| {
                part.clone().filter(|number| chosen(*number)).try_for_each(|number| match keep {
                    true => txn.put(Tree::Records, &number.to_be_bytes(), value("x")),
                    false => txn.delete(Tree::Records, &number.to_be_bytes()),
                })
            })
        })
    };
    write(|number| number % 2 == 0, true)?;
    engine.checkpoint()?;
    write(|number| number % 2 == 1, true)?;
    write(|number| number % 7 == 0, false)?;
    let expected: Vec<Vec<u8>> =
        (0..3000u32).filter(|number| number % 7 != 0).map(|number| number.to_be_bytes().to_vec()).collect();
    for direction in BOTH_DIRECTIONS {
        for limit in [101, 1000] {
            let found = walk(&*engine, Tree::Records, &KeyRange::all(), direction, limit)?;
            let mut found: Vec<Vec<u8>> = found.into_iter().map(|(key, _)| key).collect();
            if direction == Direction::Descending {
                found.reverse();
            }
            assert_eq!(found, expected, "{direction:?} limit {limit}");
        }
    }
    Ok(())
}

/// A long run of removed entries at either end of a range neither shows nor ends a walk.
pub fn removed_entries_are_not_seen_however_many(make: Make<'_>) -> Result<()> {
    let engine = make();
    let key = |number: u32| number.to_be_bytes();
    in_parts(6000, &mut |part| {
        engine.transact(&TxnOptions::default(), &mut |txn| {
            part.clone().try_for_each(|number| txn.put(Tree::Index, &key(number), value("x")))
        })
    })?;
    for checkpointed in [false, true] {
        if checkpointed {
            engine.checkpoint()?;
        } else {
            in_parts(6000, &mut |part| {
                engine.transact(&TxnOptions::default(), &mut |txn| {
                    let gone = part.clone().filter(|number| *number != 3000);
                    gone.map(key).try_for_each(|key| txn.delete(Tree::Index, &key))
                })
            })?;
        }
        for direction in BOTH_DIRECTIONS {
            let found = walk(&*engine, Tree::Index, &KeyRange::all(), direction, 2)?;
            assert_eq!(found, [(key(3000).to_vec(), value("x"))]);
        }
        assert_eq!(engine.get(Tree::Index, &key(0))?, None);
    }
    Ok(())
}

/// 1 and 10,000 entries are pages, 0 and 10,001 are not.
pub fn the_size_of_a_page_has_bounds(make: Make<'_>) -> Result<()> {
    let engine = make();
    let scan = |limit| engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, limit);
    for limit in [0, SCAN_LIMIT_MAX + 1, usize::MAX] {
        expect_kind(scan(limit), ErrorKind::Invalid, "a page out of bounds");
        engine.read_view(&mut |view| {
            let page = view.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, limit);
            expect_kind(page, ErrorKind::Invalid, "a page out of bounds in a view");
            Ok(())
        })?;
    }
    for limit in [1, SCAN_LIMIT_MAX] {
        assert_eq!(scan(limit)?.entries, []);
    }
    Ok(())
}

/// With either durability, to every way of reading.
pub fn a_commit_is_visible_when_it_returns(make: Make<'_>) -> Result<()> {
    let engine = make();
    for (round, durability) in [Durability::PowerLoss, Durability::Buffered].repeat(20).into_iter().enumerate() {
        let stored = value(format!("{round}"));
        engine.transact(&TxnOptions::durability(durability), &mut |txn| txn.put(Tree::Kv, b"k", stored.clone()))?;
        assert_eq!(engine.get(Tree::Kv, b"k")?.as_ref(), Some(&stored), "{durability:?}");
        assert_eq!(engine.get_many(&[(Tree::Kv, b"k")])?, [Some(stored.clone())]);
        let page = engine.scan(Tree::Kv, &KeyRange::all(), Direction::Descending, 1)?;
        assert_eq!(page.entries, [(b"k".to_vec(), stored.clone())]);
        engine.read_view(&mut |view| {
            assert_eq!(view.get(Tree::Kv, b"k")?.as_ref(), Some(&stored));
            Ok(())
        })?;
        engine.transact(&TxnOptions::durability(durability), &mut |txn| {
            assert_eq!(txn.get(Tree::Kv, b"k")?.as_ref(), Some(&stored));
            Ok(())
        })?;
    }
    Ok(())
}

/// Runs `read` again and again on some threads while `write` runs on this one: for so many rounds at least, and until
/// every reader had its share.
fn beside(rounds: u64, mut write: impl FnMut(u64) -> Result<()>, read: impl Fn() -> Result<()> + Sync) -> Result<()> {
    const READS_MIN: usize = 50;
    let reads = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let (start, done) = (Barrier::new(reads.len() + 1), AtomicBool::new(false));
    let run = |reads: &AtomicUsize| {
        start.wait();
        while !done.load(Ordering::Acquire) {
            read()?;
            reads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let run = &run;
    thread::scope(|scope| {
        let readers: Vec<_> = reads.iter().map(|reads| (scope.spawn(move || run(reads)), reads)).collect();
        start.wait();
        let (mut round, mut written) = (0, Ok(()));
        while written.is_ok()
            && (round < rounds
                || readers.iter().any(|(r, reads)| !r.is_finished() && reads.load(Ordering::Relaxed) < READS_MIN))
        {
            written = write(round);
            round += 1;
        }
        done.store(true, Ordering::Release);
        let read: Vec<Result<()>> = readers
            .into_iter()
            .map(|(reader, _)| reader.join().expect("a reader's panic is the failure of this check"))
            .collect();
        written.and(read.into_iter().collect())
    })
}

fn length(reader: &(impl Reader + ?Sized), key: &[u8]) -> Result<usize> {
    Ok(reader.get(Tree::Kv, key)?.map_or(0, |stored| stored.len()))
}

/// Plain reads see a prefix: who sees the second of two commits sees the first.
pub fn commits_become_visible_in_their_order(make: Make<'_>) -> Result<()> {
    let engine = make();
    let write = |round: u64| {
        for (key, durability) in
            [(b"a", Durability::PowerLoss), (b"b", Durability::Buffered), (b"c", Durability::PowerLoss)]
        {
            let stored = value(vec![0; round as usize + 1]);
            engine.transact(&TxnOptions::durability(durability), &mut |txn| txn.put(Tree::Kv, key, stored.clone()))?;
        }
        if round % 64 == 63 { engine.checkpoint() } else { Ok(()) }
    };
    beside(200, write, || {
        let (c, b, a) = (length(&*engine, b"c")?, length(&*engine, b"b")?, length(&*engine, b"a")?);
        assert!(c <= b && b <= a, "a later commit was seen before an earlier one: {a} {b} {c}");
        Ok(())
    })
}

/// Moves something from one key to the other and back, in one transaction; sometimes with a checkpoint behind it.
fn move_about(engine: &dyn Engine, round: u64) -> Result<()> {
    let durability = if round.is_multiple_of(2) { Durability::PowerLoss } else { Durability::Buffered };
    let share = (round % 5) as usize;
    engine.transact(&TxnOptions::durability(durability), &mut |txn| {
        txn.put(Tree::Kv, b"left", value(vec![0; share]))?;
        txn.put(Tree::Kv, b"right", value(vec![0; 4 - share]))?;
        // One of two index entries, never both and never neither.
        let (on, off): (&[u8], &[u8]) = if share.is_multiple_of(2) { (b"even", b"odd") } else { (b"odd", b"even") };
        txn.put(Tree::Index, on, value(""))?;
        txn.delete(Tree::Index, off)
    })?;
    if round % 50 == 49 { engine.checkpoint() } else { Ok(()) }
}

/// A commit is asked for between two reads of a view. An engine may hold it back until the view ends, so the body waits
/// for it a while and no longer.
pub fn a_view_does_not_see_a_commit_made_while_it_lasts(make: Make<'_>) -> Result<()> {
    let engine = make();
    move_about(&*engine, 0)?;
    for round in 1..5 {
        let (ask, asked) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        thread::scope(|scope| {
            let engine = &*engine;
            let writer = scope.spawn(move || match asked.recv() {
                Ok(()) => {
                    let moved = move_about(engine, round);
                    // The view may be over, and nobody listening.
                    answer.send(()).ok();
                    moved
                }
                Err(mpsc::RecvError) => Ok(()),
            });
            let viewed = engine.read_view(&mut |view| {
                let left = length(view, b"left")?;
                // The body may run again, when the writer has had its turn; and an engine may hold the commit back.
                ask.send(()).ok();
                answered.recv_timeout(Duration::from_millis(100)).ok();
                assert_eq!(left + length(view, b"right")?, 4, "the view moved on");
                Ok(())
            });
            drop(ask);
            writer.join().expect("a writer's panic is the failure of this check").and(viewed)
        })?;
    }
    Ok(())
}

/// However many calls the view's body makes.
pub fn a_view_is_one_point_in_time(make: Make<'_>) -> Result<()> {
    let engine = make();
    move_about(&*engine, 0)?;
    beside(
        200,
        |round| move_about(&*engine, round),
        || {
            engine.read_view(&mut |view| {
                let (left, right) = (length(view, b"left")?, length(view, b"right")?);
                assert_eq!(left + right, 4, "a view of two points in time");
                let page = view.scan(Tree::Index, &KeyRange::all(), Direction::Ascending, 10)?;
                let expected = if left.is_multiple_of(2) { b"even".as_slice() } else { b"odd" };
                let found: Vec<Vec<u8>> = page.entries.into_iter().map(|(key, _)| key).collect();
                assert_eq!(found, [expected], "a page of another point in time than the view's");
                assert_eq!(length(view, b"left")?, left, "the view moved on");
                Ok(())
            })
        },
    )
}

/// Outside a view too.
pub fn get_many_and_a_page_are_each_one_point_in_time(make: Make<'_>) -> Result<()> {
    let engine = make();
    move_about(&*engine, 0)?;
    beside(
        200,
        |round| move_about(&*engine, round),
        || {
            let both = engine.get_many(&[(Tree::Kv, b"left"), (Tree::Kv, b"right")])?;
            let sum: usize = both.iter().flatten().map(|stored| stored.len()).sum();
            assert_eq!(sum, 4, "get_many of two points in time");
            let page = engine.scan(Tree::Index, &KeyRange::all(), Direction::Ascending, 10)?;
            assert_eq!(page.entries.len(), 1, "a page of two points in time: {:?}", page.entries);
            Ok(())
        },
    )
}

/// As the body answered it.
pub fn an_error_in_a_view_comes_back(make: Make<'_>) -> Result<()> {
    let engine = make();
    let result = engine.read_view(&mut |_| Err(Error::conflict("the body's own")));
    expect_kind(result, ErrorKind::Conflict, "an error in a view");
    engine.read_view(&mut |view| view.get(Tree::Kv, b"k").map(drop))
}

/// Never back; each durable commit has a place of its own behind the one before it.
pub fn the_cursor_grows_with_commits_and_sync_covers_them(make: Make<'_>) -> Result<()> {
    let engine = make();
    let mut newest = engine.cursor();
    let mut places = BTreeSet::new();
    for round in 0..10 {
        let durable = put(&*engine, Tree::Kv, b"k", format!("{round}").as_bytes())?.cursor;
        assert!(durable > newest, "a durable commit did not move the cursor");
        assert!(places.insert(durable) && engine.cursor() >= durable);
        let options = TxnOptions::durability(Durability::Buffered);
        let buffered = engine.transact(&options, &mut |txn| txn.put(Tree::Kv, b"b", value("x")))?.cursor;
        assert!(buffered > durable && engine.cursor() >= buffered);
        let synced = engine.sync()?;
        assert!(synced >= buffered, "sync left out a commit that had returned");
        newest = engine.cursor();
        assert_eq!(newest.to_string().parse().ok(), Some(newest));
    }
    assert!(engine.sync()? >= newest, "sync went back");
    Ok(())
}

/// Before, after, and with commits on top of it; twice is as good as once.
pub fn a_checkpoint_changes_nothing_that_is_seen(make: Make<'_>) -> Result<()> {
    let engine = make();
    engine.checkpoint()?;
    let mut expected = Vec::new();
    for round in 0..5u8 {
        put(&*engine, Tree::Kv, &[round], b"x")?;
        increment(&*engine, b"count", 1)?;
        expected.push((vec![round], value("x")));
        for _ in 0..2 {
            engine.checkpoint()?;
            assert_eq!(walk(&*engine, Tree::Kv, &KeyRange::all(), Direction::Ascending, 2)?, expected);
            assert_eq!(number(&*engine, b"count")?, i64::from(round) + 1);
        }
    }
    Ok(())
}

/// Over a checkpoint, in pages of any size; an engine without a feed says so. Two writes of one commit share a cursor,
/// and a key written twice in it is told once.
pub fn the_feed_tells_every_write_once_in_order_with_final_values(make: Make<'_>) -> Result<()> {
    let engine = make();
    put(&*engine, Tree::Kv, b"before", b"x")?;
    let start = engine.cursor();
    if !engine.capabilities().feeds_changes {
        expect_kind(engine.changes(&start, 1), ErrorKind::Unsupported, "changes");
        return Ok(());
    }
    let mut expected = Vec::new();
    for number in 0..30u8 {
        engine.transact(&TxnOptions::default(), &mut |txn| {
            txn.put(Tree::Kv, b"twice", value("draft"))?;
            txn.put(Tree::Kv, b"twice", value([number]))?;
            txn.delete(Tree::Jobs, &[number])
        })?;
        expected.push((Tree::Jobs, vec![number], None));
        expected.push((Tree::Kv, b"twice".to_vec(), Some(value([number]))));
        if number == 20 {
            engine.checkpoint()?;
        }
    }
    engine.sync()?;
    for limit in [1, 3, 1_000] {
        let (mut cursor, mut told) = (start, Vec::new());
        loop {
            let page = engine.changes(&cursor, limit)?;
            assert!(page.changes.windows(2).all(|pair| matches!(pair, [a, b] if a.cursor <= b.cursor)));
            if page.changes.is_empty() {
                assert_eq!(page.cursor, cursor, "an empty page moves nothing");
                break;
            }
            told.extend(page.changes);
            assert!(page.cursor > cursor, "{:?} does not lie behind {cursor:?}", page.cursor);
            cursor = page.cursor;
        }
        let mut seen: Vec<_> =
            told.iter().map(|change| (change.tree, change.key.clone(), change.value.clone())).collect();
        // Within one commit the order of keys is the engine's own.
        seen.chunks_mut(2).for_each(|commit| commit.sort_by_key(|(tree, ..)| *tree));
        let mut wanted = expected.clone();
        wanted.chunks_mut(2).for_each(|commit| commit.sort_by_key(|(tree, ..)| *tree));
        assert_eq!(seen, wanted, "limit {limit}");
        assert!(told.chunks(2).all(|commit| matches!(commit, [a, b] if a.cursor == b.cursor)));
    }
    Ok(())
}

/// A cursor of another store, and a page size out of bounds.
pub fn the_feed_refuses_cursors_that_are_not_of_this_history(make: Make<'_>) -> Result<()> {
    let (engine, other) = (make(), make());
    if !engine.capabilities().feeds_changes {
        return Ok(());
    }
    put(&*other, Tree::Kv, b"k", b"x")?;
    put(&*engine, Tree::Kv, b"k", b"x")?;
    expect_kind(engine.changes(&other.cursor(), 1), ErrorKind::Invalid, "changes after a foreign cursor");
    for limit in [0, SCAN_LIMIT_MAX + 1] {
        expect_kind(engine.changes(&engine.cursor(), limit), ErrorKind::Invalid, "changes with a limit out of bounds");
    }
    engine.close()?;
    expect_kind(engine.changes(&other.cursor(), 1), ErrorKind::Closed, "changes on a closed engine");
    Ok(())
}

/// Every call that can fail; bodies do not run.
pub fn a_closed_engine_answers_closed_and_closes_twice(make: Make<'_>) -> Result<()> {
    let engine = make();
    put(&*engine, Tree::Kv, b"k", b"x")?;
    engine.close()?;
    let mut ran = false;
    let transact = engine.transact(&TxnOptions::default(), &mut |_| {
        ran = true;
        Ok(())
    });
    expect_kind(transact, ErrorKind::Closed, "transact");
    let view = engine.read_view(&mut |_| {
        ran = true;
        Ok(())
    });
    expect_kind(view, ErrorKind::Closed, "read_view");
    assert!(!ran, "a body ran on a closed engine");
    expect_kind(engine.get(Tree::Kv, b"k"), ErrorKind::Closed, "get");
    expect_kind(engine.get_many(&[(Tree::Kv, b"k")]), ErrorKind::Closed, "get_many");
    expect_kind(engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 1), ErrorKind::Closed, "scan");
    expect_kind(engine.sync(), ErrorKind::Closed, "sync");
    expect_kind(engine.checkpoint(), ErrorKind::Closed, "checkpoint");
    engine.close()?;
    expect_kind(engine.get(Tree::Kv, b"k"), ErrorKind::Closed, "get after the second close");
    Ok(())
}
