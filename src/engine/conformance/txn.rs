//! The promises of [`Engine::transact`] and [`Txn`](crate::engine::Txn).

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::engine::{Check, Make, increment, keys, number, put};
use super::{expect_kind, value};
use crate::config::Durability;
use crate::engine::{
    Direction, Engine, KEY_BYTES_MAX, KeyRange, Tree, TxnOptions, VALUE_BYTES_MAX, counter_value, read_counter,
};
use crate::error::{Error, ErrorKind, Result};

list! { Check:
    a_transaction_commits_all_that_it_wrote,
    a_failing_body_writes_nothing_and_answers_its_own_error,
    a_failing_body_takes_back_only_its_own_writes,
    a_panic_in_a_body_writes_nothing_and_unwinds_on,
    a_body_sees_its_own_writes_first,
    a_body_without_writes_is_fine,
    a_missing_counter_is_zero_and_one_that_becomes_zero_is_removed,
    several_deltas_of_one_body_add_up,
    a_counter_can_not_be_read_again_in_the_body_that_added,
    overflow_of_a_counter_is_invalid_and_changes_nothing,
    adding_to_something_else_is_corrupt,
    keys_and_values_outside_their_limits_are_invalid,
    a_transaction_past_its_number_of_writes_is_invalid_and_writes_nothing,
    a_transaction_past_its_bytes_is_invalid_and_writes_nothing,
    calling_the_engine_inside_a_body_is_invalid,
    concurrent_counters_add_up,
    concurrent_increments_by_get_and_put_add_up,
    of_many_that_create_one_key_one_wins,
    write_skew_does_not_happen,
}

const THREADS: usize = 8;

/// Alternates between the two, so that a check holds for both.
fn options(round: usize) -> TxnOptions {
    TxnOptions::durability(if round.is_multiple_of(2) { Durability::PowerLoss } else { Durability::Buffered })
}

/// Runs `work` on some threads at once; each gets its number.
fn together(work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let start = Barrier::new(THREADS);
    let run = |thread| {
        start.wait();
        work(thread)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        // All are joined before the first error goes on.
        let results: Vec<Result<()>> =
            threads.into_iter().map(|t| t.join().expect("a thread's panic is the failure of this check")).collect();
        results.into_iter().collect()
    })
}

/// Puts and deletes over several trees become visible together.
pub fn a_transaction_commits_all_that_it_wrote(make: Make<'_>) -> Result<()> {
    let engine = make();
    put(&*engine, Tree::Kv, b"gone", b"x")?;
    engine.transact(&TxnOptions::default(), &mut |txn| {
        for tree in Tree::ALL {
            txn.put(*tree, b"k", value(tree.name()))?;
        }
        txn.delete(Tree::Kv, b"gone")?;
        txn.delete(Tree::Kv, b"absent")?;
        txn.add(Tree::Counter, b"count", 3)
    })?;
    for tree in Tree::ALL {
        assert_eq!(engine.get(*tree, b"k")?, Some(value(tree.name())));
    }
    assert_eq!(engine.get(Tree::Kv, b"gone")?, None);
    assert_eq!(number(&*engine, b"count")?, 3);
    Ok(())
}

/// Whatever the body had written, read or added.
pub fn a_failing_body_writes_nothing_and_answers_its_own_error(make: Make<'_>) -> Result<()> {
    let engine = make();
    put(&*engine, Tree::Kv, b"a", b"old")?;
    for round in 0..2 {
        let result = engine.transact(&options(round), &mut |txn| {
            txn.put(Tree::Kv, b"a", value("new"))?;
            txn.put(Tree::Jobs, b"b", value("new"))?;
            txn.delete(Tree::Kv, b"a")?;
            txn.add(Tree::Counter, b"count", 1)?;
            Err(Error::conflict("the body's own"))
        });
        match result {
            Ok(_) => panic!("a failing body was committed"),
            Err(error) => {
                assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Conflict, "the body's own"));
            }
        }
        assert_eq!(engine.get(Tree::Kv, b"a")?, Some(value("old")));
        assert_eq!(engine.get(Tree::Jobs, b"b")?, None);
        assert_eq!(number(&*engine, b"count")?, 0);
    }
    Ok(())
}

/// Beside others that commit in the same batch, on the same keys.
pub fn a_failing_body_takes_back_only_its_own_writes(make: Make<'_>) -> Result<()> {
    let engine = make();
    together(|thread| {
        for round in 0..25 {
            let fails = round % 3 == thread % 3;
            let own = format!("{thread} {round}");
            let result = engine.transact(&options(round + thread), &mut |txn| {
                txn.put(Tree::Kv, own.as_bytes(), value("x"))?;
                txn.put(Tree::Kv, b"shared", value(&own))?;
                txn.add(Tree::Counter, b"count", 1)?;
                if fails { Err(Error::conflict("planned")) } else { Ok(()) }
            });
            assert_eq!(result.is_err(), fails);
        }
        Ok(())
    })?;
    let committed = |thread: usize| (0..25).filter(move |round| round % 3 != thread % 3);
    let mut expected: BTreeSet<Vec<u8>> =
        (0..THREADS).flat_map(|t| committed(t).map(move |round| format!("{t} {round}").into_bytes())).collect();
    assert_eq!(number(&*engine, b"count")?, expected.len() as i64);
    let shared = engine.get(Tree::Kv, b"shared")?.unwrap_or_else(|| value(""));
    assert!(expected.contains(&*shared), "the shared key holds what was taken back");
    expected.insert(b"shared".to_vec());
    let found: BTreeSet<Vec<u8>> = keys(&*engine, Tree::Kv)?.into_iter().collect();
    assert_eq!(found, expected);
    Ok(())
}

/// The panic reaches the caller as it was thrown, and the engine goes on.
pub fn a_panic_in_a_body_writes_nothing_and_unwinds_on(make: Make<'_>) -> Result<()> {
    struct Thrown(u64);
    let engine = make();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        engine.transact(&TxnOptions::default(), &mut |txn| {
            txn.put(Tree::Kv, b"a", value("lost"))?;
            txn.add(Tree::Counter, b"count", 1)?;
            // Not a panic of its own: that would print a message from a check that passes.
            std::panic::resume_unwind(Box::new(Thrown(42)))
        })
    }));
    match unwound {
        Ok(answer) => panic!("a panic in a body became {answer:?}"),
        Err(thrown) => assert!(thrown.downcast_ref().is_some_and(|Thrown(number)| *number == 42), "another panic"),
    }
    assert_eq!(engine.get(Tree::Kv, b"a")?, None);
    assert_eq!(number(&*engine, b"count")?, 0);
    put(&*engine, Tree::Kv, b"a", b"kept")?;
    assert_eq!(engine.get(Tree::Kv, b"a")?, Some(value("kept")));
    Ok(())
}

/// Puts over stored values, deletes over puts, puts over deletes.
pub fn a_body_sees_its_own_writes_first(make: Make<'_>) -> Result<()> {
    let engine = make();
    put(&*engine, Tree::Kv, b"a", b"stored")?;
    for checkpointed in [false, true] {
        if checkpointed {
            engine.checkpoint()?;
        }
        engine.transact(&TxnOptions::default(), &mut |txn| {
            assert_eq!(txn.get(Tree::Kv, b"a")?, Some(value("stored")));
            txn.put(Tree::Kv, b"a", value("own"))?;
            assert_eq!(txn.get(Tree::Kv, b"a")?, Some(value("own")));
            assert_eq!(txn.get(Tree::Jobs, b"a")?, None, "another tree");
            txn.delete(Tree::Kv, b"a")?;
            assert_eq!(txn.get(Tree::Kv, b"a")?, None);
            txn.put(Tree::Kv, b"a", value("stored"))?;
            assert_eq!(txn.get(Tree::Kv, b"a")?, Some(value("stored")));
            Ok(())
        })?;
        assert_eq!(engine.get(Tree::Kv, b"a")?, Some(value("stored")));
    }
    Ok(())
}

/// It answers the position of what it read.
pub fn a_body_without_writes_is_fine(make: Make<'_>) -> Result<()> {
    let engine = make();
    let written = put(&*engine, Tree::Kv, b"a", b"x")?;
    for round in 0..2 {
        let mut seen = None;
        let read = engine.transact(&options(round), &mut |txn| {
            seen = txn.get(Tree::Kv, b"a")?;
            Ok(())
        })?;
        assert_eq!(seen, Some(value("x")));
        assert!(read.cursor >= written.cursor, "a reader's position lies before what it read");
    }
    engine.transact(&TxnOptions::default(), &mut |_| Ok(()))?;
    Ok(())
}

/// A counter of 0 takes no room.
pub fn a_missing_counter_is_zero_and_one_that_becomes_zero_is_removed(make: Make<'_>) -> Result<()> {
    let engine = make();
    increment(&*engine, b"count", -5)?;
    assert_eq!(engine.get(Tree::Counter, b"count")?, Some(counter_value(Tree::Counter, b"count", -5)));
    engine.checkpoint()?;
    increment(&*engine, b"count", 4)?;
    assert_eq!(number(&*engine, b"count")?, -1);
    increment(&*engine, b"count", 1)?;
    assert_eq!(engine.get(Tree::Counter, b"count")?, None);
    assert_eq!(keys(&*engine, Tree::Counter)?, Vec::<Vec<u8>>::new());
    increment(&*engine, b"absent", 0)?;
    assert_eq!(engine.get(Tree::Counter, b"absent")?, None, "nothing was added, something is there");
    Ok(())
}

/// The sum of the body's deltas, with the sum before it.
pub fn several_deltas_of_one_body_add_up(make: Make<'_>) -> Result<()> {
    let engine = make();
    for expected in [6, 12] {
        engine.transact(&TxnOptions::default(), &mut |txn| {
            for delta in [10, -7, 2, 1] {
                txn.add(Tree::Counter, b"a", delta)?;
            }
            txn.add(Tree::Counter, b"b", 1)?;
            txn.add(Tree::Counter, b"b", -1)
        })?;
        assert_eq!((number(&*engine, b"a")?, engine.get(Tree::Counter, b"b")?), (expected, None));
    }
    Ok(())
}

/// `Invalid`; other counters can be read.
pub fn a_counter_can_not_be_read_again_in_the_body_that_added(make: Make<'_>) -> Result<()> {
    let engine = make();
    increment(&*engine, b"other", 2)?;
    let result = engine.transact(&TxnOptions::default(), &mut |txn| {
        let before = txn.get(Tree::Counter, b"other")?;
        assert_eq!(read_counter(Tree::Counter, b"other", before.as_deref())?, 2);
        txn.add(Tree::Counter, b"count", 1)?;
        txn.get(Tree::Counter, b"other")?;
        txn.get(Tree::Kv, b"count")?;
        txn.get(Tree::Counter, b"count").map(drop)
    });
    expect_kind(result, ErrorKind::Invalid, "get after add");
    assert_eq!(number(&*engine, b"count")?, 0);
    Ok(())
}

/// In both directions, over one body or two.
pub fn overflow_of_a_counter_is_invalid_and_changes_nothing(make: Make<'_>) -> Result<()> {
    let engine = make();
    for (extreme, step) in [(i64::MAX, 1), (i64::MIN, -1)] {
        let one_body = engine.transact(&TxnOptions::default(), &mut |txn| {
            txn.put(Tree::Kv, b"beside", value("lost"))?;
            txn.add(Tree::Counter, b"count", extreme)?;
            txn.add(Tree::Counter, b"count", step)
        });
        expect_kind(one_body, ErrorKind::Invalid, "overflow within a body");
        increment(&*engine, b"count", extreme)?;
        expect_kind(increment(&*engine, b"count", step), ErrorKind::Invalid, "overflow of what is stored");
        assert_eq!(number(&*engine, b"count")?, extreme);
        assert_eq!(engine.get(Tree::Kv, b"beside")?, None);
        engine.transact(&TxnOptions::default(), &mut |txn| txn.delete(Tree::Counter, b"count"))?;
    }
    Ok(())
}

/// A value that is no counter, and a counter copied from another key.
pub fn adding_to_something_else_is_corrupt(make: Make<'_>) -> Result<()> {
    let engine = make();
    let copied = counter_value(Tree::Counter, b"another", 1);
    for stored in [b"text".as_slice(), &copied] {
        put(&*engine, Tree::Counter, b"count", stored)?;
        expect_kind(increment(&*engine, b"count", 1), ErrorKind::Corrupt, "add to something else");
        assert_eq!(engine.get(Tree::Counter, b"count")?, Some(value(stored)));
    }
    Ok(())
}

/// Keys of 0 and 1025 bytes, values of 16 KiB and 1; what is just inside goes through.
pub fn keys_and_values_outside_their_limits_are_invalid(make: Make<'_>) -> Result<()> {
    let engine = make();
    let options = TxnOptions::default();
    let (longest, too_long) = (vec![1; KEY_BYTES_MAX], vec![1; KEY_BYTES_MAX + 1]);
    for key in [b"".as_slice(), &too_long] {
        let get = engine.transact(&options, &mut |txn| txn.get(Tree::Kv, key).map(drop));
        let put = engine.transact(&options, &mut |txn| txn.put(Tree::Kv, key, value("x")));
        let delete = engine.transact(&options, &mut |txn| txn.delete(Tree::Kv, key));
        let add = engine.transact(&options, &mut |txn| txn.add(Tree::Counter, key, 1));
        for (name, result) in [("get", get), ("put", put), ("delete", delete), ("add", add)] {
            expect_kind(result, ErrorKind::Invalid, name);
        }
        expect_kind(engine.get(Tree::Kv, key), ErrorKind::Invalid, "plain get");
        expect_kind(engine.get_many(&[(Tree::Kv, b"a"), (Tree::Kv, key)]), ErrorKind::Invalid, "get_many");
    }
    let (largest, too_large) = (vec![2; VALUE_BYTES_MAX], vec![2; VALUE_BYTES_MAX + 1]);
    expect_kind(put(&*engine, Tree::Kv, b"a", &too_large), ErrorKind::Invalid, "put of a large value");
    for key in [b"a".as_slice(), &longest] {
        for stored in [largest.as_slice(), b""] {
            put(&*engine, Tree::Kv, key, stored)?;
            assert_eq!(engine.get(Tree::Kv, key)?, Some(value(stored)));
        }
    }
    increment(&*engine, &longest, 1)
}

/// Exactly the most writes go through, one more does not.
pub fn a_transaction_past_its_number_of_writes_is_invalid_and_writes_nothing(make: Make<'_>) -> Result<()> {
    let engine = make();
    let most = engine.capabilities().txn_writes_max;
    let write = |tree: Tree, writes: usize| {
        engine.transact(&TxnOptions::default(), &mut |txn| {
            (0..writes as u64).try_for_each(|number| txn.put(tree, &number.to_be_bytes(), value("")))
        })
    };
    expect_kind(write(Tree::Kv, most + 1), ErrorKind::Invalid, "one write too many");
    assert_eq!(engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 1)?.entries, []);
    write(Tree::Kv, most)?;
    assert!(engine.get(Tree::Kv, &(most as u64 - 1).to_be_bytes())?.is_some());
    Ok(())
}

/// Keys and values together may take all the bytes there are, and not one entry more.
pub fn a_transaction_past_its_bytes_is_invalid_and_writes_nothing(make: Make<'_>) -> Result<()> {
    let engine = make();
    let largest = value(vec![5; VALUE_BYTES_MAX]);
    let fitting = engine.capabilities().txn_bytes_max / (VALUE_BYTES_MAX + 8);
    let write = |writes: usize| {
        engine.transact(&TxnOptions::default(), &mut |txn| {
            (0..writes as u64).try_for_each(|number| txn.put(Tree::Blob, &number.to_be_bytes(), largest.clone()))
        })
    };
    expect_kind(write(fitting + 1), ErrorKind::Invalid, "more bytes than fit");
    assert_eq!(engine.scan(Tree::Blob, &KeyRange::all(), Direction::Ascending, 1)?.entries, []);
    write(fitting)?;
    assert!(engine.get(Tree::Blob, &(fitting as u64 - 1).to_be_bytes())?.is_some());
    Ok(())
}

/// Each call that could wait for the body that makes it; afterwards the engine works as before.
pub fn calling_the_engine_inside_a_body_is_invalid(make: Make<'_>) -> Result<()> {
    let engine = make();
    let engine: &dyn Engine = &*engine;
    let options = TxnOptions::default();
    type Call<'a> = (&'a str, &'a dyn Fn() -> Result<()>);
    let calls: [Call<'_>; 7] = [
        ("get", &|| engine.get(Tree::Kv, b"a").map(drop)),
        ("get_many", &|| engine.get_many(&[(Tree::Kv, b"a")]).map(drop)),
        ("scan", &|| engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 1).map(drop)),
        ("transact", &|| engine.transact(&options, &mut |_| Ok(())).map(drop)),
        ("read_view", &|| engine.read_view(&mut |_| Ok(()))),
        ("sync", &|| engine.sync().map(drop)),
        ("checkpoint", &|| engine.checkpoint()),
    ];
    for (name, call) in calls {
        let mut inside = None;
        let result = engine.transact(&options, &mut |_| {
            inside = Some(call());
            Err(Error::conflict("the body's own"))
        });
        match inside {
            Some(answer) => expect_kind(answer, ErrorKind::Invalid, name),
            None => panic!("the body did not run"),
        }
        assert!(result.is_err(), "{name}: a failing body was committed");
        call()?;
    }
    Ok(())
}

/// Blind adds from many threads, each with another delta.
pub fn concurrent_counters_add_up(make: Make<'_>) -> Result<()> {
    const ROUNDS: usize = 50;
    let engine = make();
    together(|thread| {
        for round in 0..ROUNDS {
            engine.transact(&options(round), &mut |txn| {
                txn.add(Tree::Counter, b"shared", 1 + thread as i64)?;
                txn.add(Tree::Counter, format!("own {thread}").as_bytes(), 1)
            })?;
        }
        Ok(())
    })?;
    let deltas: usize = (1..=THREADS).sum();
    assert_eq!(number(&*engine, b"shared")?, (ROUNDS * deltas) as i64);
    for thread in 0..THREADS {
        assert_eq!(number(&*engine, format!("own {thread}").as_bytes())?, ROUNDS as i64);
    }
    Ok(())
}

/// No update is lost between a body's read and its write.
pub fn concurrent_increments_by_get_and_put_add_up(make: Make<'_>) -> Result<()> {
    const ROUNDS: usize = 25;
    let engine = make();
    together(|thread| {
        for round in 0..ROUNDS {
            engine.transact(&options(round + thread), &mut |txn| {
                let before = txn.get(Tree::Kv, b"n")?.map_or(0, |stored| stored.len());
                txn.put(Tree::Kv, b"n", value(vec![0; before + 1]))
            })?;
        }
        Ok(())
    })?;
    assert_eq!(engine.get(Tree::Kv, b"n")?.map(|stored| stored.len()), Some(THREADS * ROUNDS));
    Ok(())
}

/// A key that a body found absent is still absent when it commits.
pub fn of_many_that_create_one_key_one_wins(make: Make<'_>) -> Result<()> {
    let engine = make();
    for round in 0..20 {
        let (winners, key) = (AtomicUsize::new(0), format!("key {round}"));
        together(|thread| {
            let created = engine.transact(&options(round), &mut |txn| match txn.get(Tree::Kv, key.as_bytes())? {
                Some(_) => Err(Error::already_exists("taken")),
                None => txn.put(Tree::Kv, key.as_bytes(), value(format!("{thread}"))),
            });
            match created {
                Ok(_) => {
                    winners.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(error),
            }
        })?;
        assert_eq!(winners.load(Ordering::Relaxed), 1, "{key}");
    }
    Ok(())
}

/// Of keys of which one must stay, each thread removes its own where it sees another.
pub fn write_skew_does_not_happen(make: Make<'_>) -> Result<()> {
    let engine = make();
    for round in 0..20 {
        let key = |thread: usize| format!("{round} {thread}").into_bytes();
        engine.transact(&options(round), &mut |txn| {
            (0..THREADS).try_for_each(|thread| txn.put(Tree::Kv, &key(thread), value("on duty")))
        })?;
        together(|thread| {
            engine.transact(&options(round), &mut |txn| {
                let mut others = 0;
                for other in (0..THREADS).filter(|other| *other != thread) {
                    others += usize::from(txn.get(Tree::Kv, &key(other))?.is_some());
                }
                if others > 0 { txn.delete(Tree::Kv, &key(thread)) } else { Ok(()) }
            })?;
            Ok(())
        })?;
        let left: Result<usize> =
            (0..THREADS).map(|thread| Ok(usize::from(engine.get(Tree::Kv, &key(thread))?.is_some()))).sum();
        assert_eq!(left?, 1, "round {round}: all went, or one stayed for no reason");
    }
    Ok(())
}
