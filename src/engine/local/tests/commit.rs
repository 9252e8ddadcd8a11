//! From a body to its acknowledgement: durability, group commit, visibility.

use super::*;
use crate::engine::local::core::Sabotage;

#[test]
fn an_acknowledged_commit_survives_a_power_cut_and_a_buffered_one_survives_it_after_sync() {
    let machine = Machine::new();
    let engine = machine.engine();
    put(&engine, Durability::PowerLoss, "a", "1").unwrap();
    put(&engine, Durability::Buffered, "b", "2").unwrap();
    assert_eq!(get(&engine, "b").as_deref(), Some("2"));
    engine.sync().unwrap();
    for seed in 0..20 {
        let after = machine.power_cut(seed);
        let (engine, report) = after.open().unwrap();
        assert!(!report.created && report.replayed >= 2);
        assert_eq!(get(&engine, "a").as_deref(), Some("1"));
        assert_eq!(get(&engine, "b").as_deref(), Some("2"));
        assert_eq!(engine.epoch().number, 2);
    }
}

#[test]
fn commits_that_come_during_a_sync_share_the_next_one_and_none_is_seen_or_acknowledged_before_its_own() {
    let machine = Machine::new();
    let gate = Arc::new(Gate::default());
    let disk = GatedDisk { disk: machine.disk.clone(), gate: Arc::clone(&gate) };
    let opener = MemoryOpener::shared(Arc::clone(&machine.store));
    let (engine, _) = LocalEngine::open(Arc::new(disk), Path::new(FOLDER), &opener, &machine.config).unwrap();
    let before = engine.stats();
    let acknowledged = AtomicUsize::new(0);
    gate.set(true);
    std::thread::scope(|scope| {
        for thread in 0..64 {
            let (engine, acknowledged) = (&engine, &acknowledged);
            scope.spawn(move || {
                let options = TxnOptions::default();
                let key = format!("key {thread}");
                engine
                    .transact(&options, &mut |txn| {
                        txn.put(Tree::Kv, key.as_bytes(), Value::from(&b"x"[..]))?;
                        txn.add(Tree::Counter, b"sum", 1)
                    })
                    .unwrap();
                acknowledged.fetch_add(1, Ordering::SeqCst);
            });
        }
        // All 64 have committed, to the batch whose sync is held up and to the one behind it.
        let committed = || {
            let pipeline = engine.core.pipeline.lock();
            pipeline.open.commits + pipeline.sealed.as_ref().map_or(0, |sealed| sealed.commits)
        };
        while committed() < 64 {
            std::thread::yield_now();
        }
        assert_eq!(acknowledged.load(Ordering::SeqCst), 0);
        assert_eq!(engine.get(Tree::Counter, b"sum").unwrap(), None);
        // A power cut here may take any of it, but a counter and its keys go together.
        for seed in 0..20 {
            let engine = machine.power_cut(seed).engine();
            let keys = engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 100).unwrap().entries.len();
            let sum = engine.get(Tree::Counter, b"sum").unwrap();
            assert_eq!(read_counter(Tree::Counter, b"sum", sum.as_deref()).unwrap(), keys as i64);
        }
        gate.set(false);
    });
    let stats = engine.stats();
    assert_eq!(stats.commits - before.commits, 64);
    assert_eq!(stats.journal_syncs - before.journal_syncs, 2);
    for seed in 0..20 {
        let engine = machine.power_cut(seed).engine();
        let sum = engine.get(Tree::Counter, b"sum").unwrap();
        assert_eq!(read_counter(Tree::Counter, b"sum", sum.as_deref()).unwrap(), 64);
    }
}

#[test]
fn a_scan_under_writers_and_a_moving_applier_is_one_point_in_time() {
    let machine = Machine::new();
    let engine = machine.engine();
    let keys: Vec<String> = (0..50).map(|i| format!("k{i:02}")).collect();
    let write = |round: u32| {
        let options = TxnOptions::durability(Durability::Buffered);
        let value = Value::from(vec![round as u8; 2_000]);
        engine
            .transact(&options, &mut |txn| {
                keys.iter().try_for_each(|key| txn.put(Tree::Kv, key.as_bytes(), value.clone()))
            })
            .unwrap();
    };
    write(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..300 {
                write(round);
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                engine.checkpoint().unwrap();
            }
        });
        let mut pages = 0;
        while !done.load(Ordering::SeqCst) {
            let page = engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 100).unwrap();
            assert_eq!(page.entries.len(), 50);
            assert!(page.entries.windows(2).all(|pair| pair[0].1 == pair[1].1), "a torn page");
            engine
                .read_view(&mut |view| {
                    let first = view.get(Tree::Kv, b"k00")?;
                    let last = view.get(Tree::Kv, b"k49")?;
                    assert_eq!(first, last);
                    Ok(())
                })
                .unwrap();
            pages += 1;
        }
        assert!(pages > 0);
    });
    assert!(engine.stats().store_syncs > 0);
}

#[test]
fn a_body_that_swallows_the_error_of_a_write_past_the_limits_commits_nothing() {
    let machine = Machine::new();
    let engine = machine.engine();
    let value = Value::from(vec![0; 16 << 10]);
    let error = engine
        .transact(&TxnOptions::default(), &mut |txn| {
            for i in 0..2_000 {
                if txn.put(Tree::Kv, format!("key {i}").as_bytes(), value.clone()).is_err() {
                    break;
                }
            }
            Ok(())
        })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(engine.scan(Tree::Kv, &KeyRange::all(), Direction::Ascending, 1).unwrap().entries.is_empty());
}

/// An engine whose journal syncs are held up, with one durable commit (`a` = 1) waiting for its own.
fn with_a_commit_held_up(check: impl FnOnce(&LocalEngine, &Gate)) {
    let machine = Machine::new();
    let gate = Arc::new(Gate::default());
    let disk = GatedDisk { disk: machine.disk.clone(), gate: Arc::clone(&gate) };
    let opener = MemoryOpener::shared(Arc::clone(&machine.store));
    let (engine, _) = LocalEngine::open(Arc::new(disk), Path::new(FOLDER), &opener, &machine.config).unwrap();
    gate.set(true);
    std::thread::scope(|scope| {
        scope.spawn(|| put(&engine, Durability::PowerLoss, "a", "1").unwrap());
        while engine.core.pipeline.lock().sealed.is_none() {
            std::thread::yield_now();
        }
        check(&engine, &gate);
        gate.set(false);
    });
}

#[test]
fn an_answer_built_on_a_commit_that_is_not_durable_waits_for_it() {
    with_a_commit_held_up(|engine, gate| {
        let answered = AtomicUsize::new(0);
        let started = AtomicUsize::new(0);
        // A refusal, a body that only reads, and a body that read nothing of the kind.
        let bodies: [(&str, bool); 3] = [("a", true), ("a", false), ("other", false)];
        std::thread::scope(|scope| {
            for (key, refuse) in bodies {
                let (answered, started) = (&answered, &started);
                scope.spawn(move || {
                    let outcome = engine.transact(&TxnOptions::default(), &mut |txn| {
                        let seen = txn.get(Tree::Kv, key.as_bytes())?;
                        started.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(seen.is_some(), key == "a", "a body sees what is on its way");
                        if refuse { Err(Error::conflict("refused")) } else { Ok(()) }
                    });
                    assert_eq!(outcome.is_err(), refuse);
                    answered.fetch_add(1, Ordering::SeqCst);
                });
            }
            // The third depends on nothing and is answered; the others have run and are not.
            while started.load(Ordering::SeqCst) < 3 || answered.load(Ordering::SeqCst) < 1 {
                std::thread::yield_now();
            }
            let waiting = engine.core.pipeline.lock().sealed_waiter_count();
            assert_eq!((waiting, answered.load(Ordering::SeqCst)), (3, 1));
            gate.set(false);
        });
        assert_eq!(answered.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn a_buffered_commit_behind_a_durable_one_becomes_visible_with_it() {
    with_a_commit_held_up(|engine, gate| {
        put(engine, Durability::Buffered, "b", "2").unwrap();
        assert_eq!((get(engine, "a"), get(engine, "b")), (None, None));
        gate.set(false);
        while get(engine, "b").is_none() {
            std::thread::yield_now();
        }
        assert_eq!(get(engine, "a").as_deref(), Some("1"));
    });
}

#[test]
fn an_engine_that_answers_before_its_batch_is_visible_is_noticed() {
    let machine = Machine::new();
    let engine = machine.engine();
    // A waiter that does not lead is needed: the leader itself comes back only after publishing.
    let missed = |sabotage| {
        *engine.core.sabotage.lock() = sabotage;
        let missed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (engine, missed) = (&engine, &missed);
                scope.spawn(move || {
                    for i in 0..25 {
                        let key = format!("{sabotage:?} {thread} {i}");
                        put(engine, Durability::PowerLoss, &key, "x").unwrap();
                        missed.fetch_add(usize::from(get(engine, &key).is_none()), Ordering::SeqCst);
                    }
                });
            }
        });
        missed.into_inner()
    };
    assert_eq!(missed(None), 0);
    assert!(missed(Some(Sabotage::AnswerFirst)) > 0);
}
