//! Replacing the whole state, and standing in the history of another store: what imports and replicas rely on.
//!
//! An engine that can't replace its state says so (`Unsupported`) and keeps it. What a crash leaves is not asked here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::engine::{Check, Make, keys, put};
use super::{expect_kind, value};
use crate::engine::{
    ChainHash, Cursor, Direction, Engine, Epoch, EpochStart, Fresh, KEY_BYTES_MAX, KeyRange, Observer, Position, Told,
    Tree, TxnOptions, VALUE_BYTES_MAX,
};
use crate::error::{Error, ErrorKind, Result};

list! { Check:
    a_replaced_state_is_the_new_one_alone,
    a_state_that_was_to_be_empty_stays_when_it_is_not,
    a_filler_that_fails_changes_nothing,
    a_state_that_was_taken_over_stands_where_it_stood,
    the_first_write_of_its_own_begins_a_history_of_its_own,
    a_commit_that_adopts_a_position_moves_the_state_and_its_cursor_at_once,
    observers_are_told_once_that_the_state_was_replaced_and_hear_of_the_new_one,
}

/// A place in the history of a store that never was, after so many batches.
fn elsewhere(sequence: u64) -> Position {
    let (first, last) = (Epoch { number: 3, id: 30 }, Epoch { number: 8, id: 80 });
    Position {
        cursor: Cursor { lineage: 77, epoch: last, sequence },
        chain: Some(ChainHash::START.after(sequence, b"elsewhere")),
        epochs: vec![EpochStart { epoch: first, after_sequence: 0 }, EpochStart { epoch: last, after_sequence: 900 }],
    }
}

/// Fills a state of a few hundred entries that stands after 1,000 batches of elsewhere.
fn fill(fresh: &mut dyn Fresh) -> Result<Position> {
    for number in 0..300u32 {
        fresh.write(Tree::Kv, format!("new {number:03}").as_bytes(), Some(&[7; 100]))?;
    }
    Ok(elsewhere(1_000))
}

/// An engine with one entry of its own; `None` for one whose state can't be replaced, which is asked by trying.
fn made(make: Make<'_>) -> Result<Option<Arc<dyn Engine>>> {
    let engine = make();
    put(&*engine, Tree::Kv, b"old", b"x")?;
    match engine.replace(true, &mut |_| Err(Error::internal("it was filled"))) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            assert_eq!(engine.get(Tree::Kv, b"old")?, Some(value("x")));
            Ok(None)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            Ok(Some(engine))
        }
        Ok(()) => panic!("a store with data was replaced, as if it were empty"),
    }
}

/// What the filler wrote, later writes over earlier ones, read back on the way; nothing of before.
pub fn a_replaced_state_is_the_new_one_alone(make: Make<'_>) -> Result<()> {
    let Some(engine) = made(make)? else { return Ok(()) };
    let (tokens, long) = (engine.epoch(), vec![1; VALUE_BYTES_MAX + 1]);
    engine.replace(false, &mut |fresh| {
        let position = fill(fresh)?;
        fresh.write(Tree::Kv, b"new 000", Some(b"again"))?;
        fresh.write(Tree::Kv, b"new 001", None)?;
        fresh.write(Tree::Jobs, b"j", Some(b""))?;
        fresh.read(&mut |reader| {
            assert_eq!(reader.get(Tree::Kv, b"new 000")?, Some(value("again")));
            assert_eq!(reader.get(Tree::Kv, b"new 001")?, None);
            assert_eq!(reader.get(Tree::Kv, b"old")?, None);
            let page = reader.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 1_000)?;
            assert_eq!((page.entries.len(), page.resume), (299, None));
            Ok(())
        })?;
        for (tree, key, stored) in [
            (Tree::Meta, b"\0own".as_slice(), b"x".as_slice()),
            (Tree::Kv, b"", b"x"),
            (Tree::Kv, &[1; KEY_BYTES_MAX + 1], b"x"),
            (Tree::Kv, b"k", &long),
        ] {
            expect_kind(fresh.write(tree, key, Some(stored)), ErrorKind::Invalid, "a write out of bounds");
        }
        // Plain reads see the old state until the new one is whole.
        assert_eq!(engine.get(Tree::Kv, b"old")?, Some(value("x")));
        Ok(position)
    })?;
    for _ in 0..2 {
        assert_eq!(keys(&*engine, Tree::Kv)?.len(), 299);
        assert_eq!(engine.get(Tree::Kv, b"new 000")?, Some(value("again")));
        assert_eq!(engine.get(Tree::Jobs, b"j")?, Some(value("")));
        assert_eq!(engine.get(Tree::Kv, b"old")?, None);
        engine.checkpoint()?;
    }
    assert!(engine.epoch().number > tokens.number.max(elsewhere(0).cursor.epoch.number), "tokens of before are over");
    put(&*engine, Tree::Kv, b"goes on", b"x")?;
    assert_eq!(engine.get(Tree::Kv, b"goes on")?, Some(value("x")));
    Ok(())
}

/// A commit that came while the new state was filled counts.
pub fn a_state_that_was_to_be_empty_stays_when_it_is_not(make: Make<'_>) -> Result<()> {
    if made(make)?.is_none() {
        return Ok(());
    }
    let engine = make();
    let meanwhile = engine.replace(true, &mut |fresh| {
        put(&*engine, Tree::Kv, b"meanwhile", b"x")?;
        fill(fresh)
    });
    expect_kind(meanwhile, ErrorKind::Conflict, "a commit while the new state was filled");
    assert_eq!(keys(&*engine, Tree::Kv)?, [b"meanwhile".to_vec()]);
    let empty = make();
    empty.replace(true, &mut fill)?;
    assert_eq!(keys(&*empty, Tree::Kv)?.len(), 300);
    Ok(())
}

/// Its own error comes back.
pub fn a_filler_that_fails_changes_nothing(make: Make<'_>) -> Result<()> {
    let Some(engine) = made(make)? else { return Ok(()) };
    let here = engine.cursor();
    let failed = engine.replace(false, &mut |fresh| {
        fill(fresh)?;
        let another = engine.replace(false, &mut fill);
        expect_kind(another, ErrorKind::Unavailable, "a second replacement at the same time");
        Err(Error::new(ErrorKind::Corrupt, "wanted"))
    });
    expect_kind(failed, ErrorKind::Corrupt, "a filler that fails");
    assert_eq!((keys(&*engine, Tree::Kv)?, engine.cursor()), (vec![b"old".to_vec()], here));
    engine.replace(false, &mut fill)?;
    assert_eq!(keys(&*engine, Tree::Kv)?.len(), 300);
    Ok(())
}

/// Its cursor, position and hash are those that it had there; the feed has nothing behind it and does not reach before it.
pub fn a_state_that_was_taken_over_stands_where_it_stood(make: Make<'_>) -> Result<()> {
    let Some(engine) = made(make)? else { return Ok(()) };
    let own = engine.cursor();
    engine.replace(false, &mut fill)?;
    let there = elsewhere(1_000);
    for _ in 0..2 {
        assert_eq!((engine.cursor(), engine.sync()?), (there.cursor, there.cursor));
        assert_eq!(engine.position(&there.cursor)?, there);
        let page = engine.changes(&there.cursor, 1)?;
        assert_eq!((page.changes.len(), page.cursor), (0, there.cursor));
        assert!(!engine.watch(&there.cursor, Duration::ZERO)?);
        let earlier = Cursor { sequence: 950, ..there.cursor };
        expect_kind(engine.changes(&earlier, 1), ErrorKind::NeedsFull, "the feed before it");
        let other_branch = Cursor { sequence: 800, ..there.cursor };
        expect_kind(engine.changes(&other_branch, 1), ErrorKind::Invalid, "the feed of another branch");
        expect_kind(engine.changes(&own, 1), ErrorKind::Invalid, "the feed of the state that is gone");
        expect_kind(engine.position(&own), ErrorKind::Invalid, "a position in the state that is gone");
        // A body that writes nothing is no write.
        let read = engine.transact(&TxnOptions::default(), &mut |txn| txn.get(Tree::Kv, b"new 000").map(drop))?;
        assert_eq!(read.cursor, there.cursor);
        engine.checkpoint()?;
    }
    Ok(())
}

/// From that very commit on, and with a hash that goes on from the one that was taken over.
pub fn the_first_write_of_its_own_begins_a_history_of_its_own(make: Make<'_>) -> Result<()> {
    let Some(engine) = made(make)? else { return Ok(()) };
    engine.replace(false, &mut fill)?;
    let there = elsewhere(1_000);
    let own = put(&*engine, Tree::Kv, b"own", b"x")?.cursor;
    assert!(own.lineage != there.cursor.lineage && engine.cursor() == own && own.epoch == engine.epoch());
    let position = engine.position(&own)?;
    assert!(position.chain.is_some() && position.chain != there.chain && position.cursor == own);
    expect_kind(engine.position(&there.cursor), ErrorKind::Invalid, "the history that it has left");
    expect_kind(engine.changes(&there.cursor, 1), ErrorKind::Invalid, "the feed that it has left");
    let next = put(&*engine, Tree::Kv, b"own", b"y")?.cursor;
    let told: Vec<_> =
        engine.changes(&own, 10)?.changes.into_iter().map(|change| (change.cursor, change.key)).collect();
    assert_eq!(told, [(next, b"own".to_vec())]);
    Ok(())
}

/// In one step, and again and again; a failing body moves nothing.
pub fn a_commit_that_adopts_a_position_moves_the_state_and_its_cursor_at_once(make: Make<'_>) -> Result<()> {
    let Some(engine) = made(make)? else { return Ok(()) };
    engine.replace(false, &mut fill)?;
    for sequence in [1_001, 1_005, 1_500] {
        let (before, further) = (engine.cursor(), elsewhere(sequence));
        let options = TxnOptions { adopt: Some(further.clone()), ..TxnOptions::default() };
        let failed = engine.transact(&options, &mut |txn| {
            txn.put(Tree::Kv, b"step", value("taken back"))?;
            Err(Error::conflict("wanted"))
        });
        expect_kind(failed, ErrorKind::Conflict, "a body that fails");
        assert_eq!(engine.cursor(), before);
        let stored = value(sequence.to_string());
        let committed = engine.transact(&options, &mut |txn| txn.put(Tree::Kv, b"step", stored.clone()))?;
        assert_eq!(
            (committed.cursor, engine.cursor(), engine.sync()?),
            (further.cursor, further.cursor, further.cursor)
        );
        assert_eq!(engine.position(&further.cursor)?, further);
        assert_eq!(engine.get(Tree::Kv, b"step")?, Some(stored));
        assert!(engine.watch(&before, Duration::ZERO)?, "there is more behind where it stood");
        expect_kind(engine.changes(&before, 1), ErrorKind::NeedsFull, "the feed of a state that was taken over");
    }
    Ok(())
}

/// Counts what it hears.
#[derive(Debug, Default)]
struct Listener {
    replaced: AtomicUsize,
    published: AtomicUsize,
}

impl Observer for Listener {
    fn watches(&self) -> Vec<(Tree, Vec<u8>)> {
        vec![(Tree::Kv, Vec::new())]
    }

    fn published(&self, _cursor: Cursor, told: &[Told<'_>]) {
        self.published.fetch_add(told.len(), Ordering::SeqCst);
    }

    fn replaced(&self) {
        self.replaced.fetch_add(1, Ordering::SeqCst);
    }
}

/// Before the replacement is answered; not when it failed.
pub fn observers_are_told_once_that_the_state_was_replaced_and_hear_of_the_new_one(make: Make<'_>) -> Result<()> {
    let Some(engine) = made(make)? else { return Ok(()) };
    let listener = Arc::new(Listener::default());
    let weak = Arc::downgrade(&listener);
    engine.observe(weak);
    let heard = || (listener.replaced.load(Ordering::SeqCst), listener.published.swap(0, Ordering::SeqCst));
    let failed = engine.replace(false, &mut |_| Err(Error::new(ErrorKind::Corrupt, "wanted")));
    expect_kind(failed, ErrorKind::Corrupt, "a filler that fails");
    assert_eq!(heard(), (0, 0));
    for round in 1..=2 {
        engine.replace(false, &mut fill)?;
        assert_eq!(heard().0, round);
        put(&*engine, Tree::Kv, b"own", b"x")?;
        assert_eq!(heard(), (round, 1));
    }
    Ok(())
}
