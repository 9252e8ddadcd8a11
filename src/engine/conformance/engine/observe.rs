//! What an observer is told, when, and in which order.
//!
//! ```text
//! commit ─ publish ─> watched keys of it, with their final state ─> observer ─ returns ─> the commit is answered
//! ```
//!
//! Nothing is promised about commits from before the observer was added, nor after it was dropped.

use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use super::{Make, expect_kind, put, value};
use crate::config::Durability;
use crate::engine::{Cursor, Observer, Told, Tree, TxnOptions, read_counter};
use crate::error::{Error, ErrorKind, Result};

/// Writes what it hears into a channel.
#[derive(Debug)]
struct Listener {
    watches: Vec<(Tree, Vec<u8>)>,
    heard: mpsc::Sender<(Cursor, Tree, Vec<u8>, bool)>,
}

impl Observer for Listener {
    fn watches(&self) -> Vec<(Tree, Vec<u8>)> {
        self.watches.clone()
    }

    fn published(&self, cursor: Cursor, told: &[Told<'_>]) {
        assert!(!told.is_empty());
        for Told { tree, key, present } in told {
            self.heard.send((cursor, *tree, key.to_vec(), *present)).expect("the check listens to the end");
        }
    }
}

/// Only keys under its prefixes, with their final state, of commits of either durability; none after it is dropped.
pub fn an_observer_hears_what_it_watches_before_the_commit_is_answered(make: Make<'_>) -> Result<()> {
    let engine = make();
    put(&*engine, Tree::Kv, b"w0", b"before")?;
    let (heard, hears) = mpsc::channel();
    let watches = vec![(Tree::Kv, b"w".to_vec()), (Tree::Counter, Vec::new())];
    let listener: Arc<dyn Observer> = Arc::new(Listener { watches, heard });
    engine.observe(Arc::downgrade(&listener));
    let just_heard = || hears.try_iter().map(|(_, tree, key, present)| (tree, key, present)).collect::<Vec<_>>();
    let told = |tree: Tree, key: &[u8], present: bool| (tree, key.to_vec(), present);
    for durability in [Durability::PowerLoss, Durability::Buffered] {
        just_heard();
        let options = TxnOptions::durability(durability);
        let mut last = None;
        for _ in 0..2 {
            let committed = engine.transact(&options, &mut |txn| {
                txn.put(Tree::Kv, b"w1", value("1"))?;
                txn.delete(Tree::Kv, b"w1")?;
                txn.put(Tree::Kv, b"w2", value("2"))?;
                txn.put(Tree::Kv, b"v", value("not watched"))?;
                txn.put(Tree::Jobs, b"w", value("not watched"))?;
                txn.add(Tree::Counter, b"c", 1)
            })?;
            let all = hears.try_iter().collect::<Vec<_>>();
            assert!(all.iter().all(|(cursor, ..)| *cursor == committed.cursor && Some(*cursor) >= last), "{all:?}");
            last = Some(committed.cursor);
            let mut keys: Vec<_> = all.into_iter().map(|(_, tree, key, present)| (tree, key, present)).collect();
            keys.sort_unstable();
            let mut expected =
                [told(Tree::Kv, b"w1", false), told(Tree::Kv, b"w2", true), told(Tree::Counter, b"c", true)];
            expected.sort_unstable();
            assert_eq!(keys, expected, "{durability:?}");
        }
        engine.transact(&options, &mut |txn| txn.put(Tree::Kv, b"x", value("not watched")))?;
        let failed = engine.transact(&options, &mut |txn| {
            txn.put(Tree::Kv, b"w3", value("taken back"))?;
            Err(Error::conflict("wanted"))
        });
        expect_kind(failed, ErrorKind::Conflict, "a body that fails");
        assert_eq!(just_heard(), []);
        engine.transact(&options, &mut |txn| txn.delete(Tree::Kv, b"w2"))?;
        assert_eq!(just_heard(), [told(Tree::Kv, b"w2", false)]);
    }
    drop(listener);
    put(&*engine, Tree::Kv, b"w9", b"nobody listens")?;
    assert_eq!(just_heard(), []);
    Ok(())
}

/// Four threads write numbered keys in both durabilities while a fifth looks for each key that it hears of.
pub fn what_an_observer_hears_of_is_visible_and_comes_in_commit_order(make: Make<'_>) -> Result<()> {
    const THREADS: usize = 4;
    const EACH: usize = 50;
    let engine = make();
    let (heard, hears) = mpsc::channel();
    let listener: Arc<dyn Observer> = Arc::new(Listener { watches: vec![(Tree::Kv, b"n".to_vec())], heard });
    engine.observe(Arc::downgrade(&listener));
    let start = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|writer| {
                let (engine, start) = (&engine, &start);
                scope.spawn(move || {
                    start.wait();
                    (0..EACH).try_for_each(|turn| {
                        let durability =
                            if (turn + writer) % 3 == 0 { Durability::PowerLoss } else { Durability::Buffered };
                        engine
                            .transact(&TxnOptions::durability(durability), &mut |txn| {
                                let count =
                                    read_counter(Tree::Counter, b"n", txn.get(Tree::Counter, b"n")?.as_deref())?;
                                txn.add(Tree::Counter, b"n", 1)?;
                                txn.put(Tree::Kv, format!("n{count:08}").as_bytes(), value("numbered"))
                            })
                            .map(drop)
                    })
                })
            })
            .collect();
        start.wait();
        let mut last = None;
        for expected in 0..THREADS * EACH {
            // A commit that is held back becomes visible with the next sync.
            let (cursor, _, key, present) = hears.recv().expect("the listener lives");
            assert_eq!((key.as_slice(), present), (format!("n{expected:08}").as_bytes(), true));
            assert!(engine.get(Tree::Kv, &key)?.is_some(), "{} was told before it was visible", key.escape_ascii());
            assert!(last.replace(cursor) <= Some(cursor));
        }
        writers.into_iter().try_for_each(|writer| writer.join().expect("a writer does not panic"))
    })?;
    Ok(())
}
