//! Step by step, with the sync of the journal held up: what may be seen and answered meanwhile, and what not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ml_persistence::engine::{Direction, Engine, KeyRange, Tree, TxnOptions};
use ml_persistence::{Durability, Error, ErrorKind, Result};

use super::disk::Ledger;
use super::stamp::{Part, Stamp, key_bytes};

/// Looks at an answer that must not have come yet, in steps of a millisecond: long enough to catch an engine that gives
/// one on a busy machine, too.
const EARLY_LOOKS: usize = 500;
/// Looks at an answer that must come: they only bound a hang.
const LATE_LOOKS: usize = 120_000;

/// Opens the gate however its test ends: threads behind it are joined after that.
struct Closed<'l>(&'l Ledger);

impl<'l> Closed<'l> {
    fn shut(engine: &dyn Engine, ledger: &'l Ledger) -> Self {
        // The keeper installs the first spare segment in the background; that waits for syncs, and bodies for it.
        polled(LATE_LOOKS, || engine.stats().segments_prepared > 0);
        ledger.shut();
        Closed(ledger)
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn put(engine: &dyn Engine, durability: Durability, key: usize, ran: &AtomicUsize) -> Result<()> {
    let durable = durability == Durability::PowerLoss;
    let stamp = Stamp { key, version: 1, writer: 1, removed: false, draft: false, durable };
    let options = TxnOptions::durability(durability);
    let body = &mut |txn: &mut dyn ml_persistence::engine::Txn| {
        ran.fetch_add(1, Ordering::SeqCst);
        txn.put(Tree::Kv, &key_bytes(key, Part::Stamp), stamp.encode(Part::Stamp, 100))
    };
    engine.transact(&options, body).map(drop)
}

/// How many of the first two keys each way of reading shows.
fn shown(engine: &dyn Engine) -> Result<Vec<(&'static str, usize)>> {
    let names = [0, 1].map(|key| key_bytes(key, Part::Stamp));
    let asked: Vec<(Tree, &[u8])> = names.iter().map(|name| (Tree::Kv, name.as_slice())).collect();
    let mut shown = Vec::new();
    let gets = names.iter().map(|name| engine.get(Tree::Kv, name)).collect::<Result<Vec<_>>>()?;
    shown.push(("get", gets.iter().flatten().count()));
    shown.push(("get_many", engine.get_many(&asked)?.iter().flatten().count()));
    for direction in [Direction::Ascending, Direction::Descending] {
        shown.push(("scan", engine.scan(Tree::Kv, &KeyRange::all(), direction, 10)?.entries.len()));
    }
    engine.read_view(&mut |view| {
        shown.push(("read_view", view.get_many(&asked)?.iter().flatten().count()));
        Ok(())
    })?;
    Ok(shown)
}

fn polled(looks: usize, mut done: impl FnMut() -> bool) -> bool {
    (0..looks).any(|_| {
        let done = done();
        if !done {
            thread::park_timeout(Duration::from_millis(1));
        }
        done
    })
}

/// A `PowerLoss` write, and a `Buffered` one behind it that returns at once, are seen only after the sync, both
/// together, by every way of reading.
pub fn writes_are_seen_after_their_sync(engine: &dyn Engine, ledger: &Ledger) -> Result<(), String> {
    let told = |error: Error| error.to_string();
    let (before, ran) = (engine.cursor(), AtomicUsize::new(0));
    thread::scope(|scope| {
        let shut = Closed::shut(engine, ledger);
        let writer = scope.spawn(|| put(engine, Durability::PowerLoss, 0, &ran));
        ledger.wait_until_held();
        let buffered = scope.spawn(|| put(engine, Durability::Buffered, 1, &ran));
        if !polled(LATE_LOOKS, || buffered.is_finished()) {
            return Err("a buffered commit waits for a sync".to_owned());
        }
        if let Some((how, count)) = shown(engine).map_err(told)?.iter().find(|(_, count)| *count > 0) {
            return Err(format!("{how} shows {count} keys before the sync"));
        }
        if engine.cursor() != before {
            return Err("the cursor is ahead of what is durable".to_owned());
        }
        if writer.is_finished() {
            return Err("acknowledged before the sync".to_owned());
        }
        drop(shut);
        writer.join().expect("it does not panic").map_err(told)?;
        match shown(engine).map_err(told)?.iter().find(|(_, count)| *count < 2) {
            Some((how, count)) => Err(format!("{how} shows {count} keys of 2 after the sync")),
            None => Ok(()),
        }
    })
}

/// `Buffered` commits go on while any sync is under way, also one that begins a new segment.
pub fn buffered_commits_return_during_every_sync(engine: &dyn Engine, ledger: &Ledger) -> Result<(), String> {
    let large = Stamp { key: 0, version: 1, writer: 1, removed: false, draft: false, durable: true };
    let large = large.encode(Part::Stamp, 15_000);
    let ran = AtomicUsize::new(0);
    // More than the first segment of 256 KiB takes.
    for round in 0..40 {
        thread::scope(|scope| {
            let shut = Closed(ledger);
            ledger.shut();
            let durable = scope.spawn(|| {
                let name = key_bytes(0, Part::Stamp);
                engine.transact(&TxnOptions::default(), &mut |txn| txn.put(Tree::Kv, &name, large.clone()))
            });
            ledger.wait_until_held();
            // Over some time, since the next segment takes a while to prepare.
            let buffered = scope.spawn(|| {
                (0..20).try_for_each(|_| {
                    thread::park_timeout(Duration::from_millis(1));
                    put(engine, Durability::Buffered, 1, &ran)
                })
            });
            let returned = polled(LATE_LOOKS, || buffered.is_finished());
            drop(shut);
            for result in [durable.join().expect("it does not panic").map(drop), buffered.join().expect("nor that")] {
                result.map_err(|error| error.to_string())?;
            }
            if returned { Ok(()) } else { Err(format!("round {round}: a buffered commit waits for a sync")) }
        })?;
    }
    Ok(())
}

/// Errors and read-only answers of bodies that saw a write whose batch is being synced, or the one behind that, come
/// after its sync; `Buffered` ones need not wait.
pub fn answers_come_after_the_sync(engine: &dyn Engine, ledger: &Ledger) -> Result<(), String> {
    let ran = AtomicUsize::new(0);
    let (wait_for, ran) = (
        |count| {
            while ran.load(Ordering::SeqCst) < count {
                thread::yield_now()
            }
        },
        &ran,
    );
    // Answers whether the write was durable when the answer came.
    let ask = |durability: Durability, key: usize, fail: bool| {
        let mut found = false;
        let answer = engine.transact(&TxnOptions::durability(durability), &mut |txn| {
            found = txn.get(Tree::Kv, &key_bytes(key, Part::Stamp))?.is_some();
            ran.fetch_add(1, Ordering::SeqCst);
            if fail { Err(Error::conflict("planned")) } else { Ok(()) }
        });
        let durable = ledger.is_durable(key, 1);
        let as_planned = match answer {
            Ok(_) => !fail,
            Err(error) => fail && error.kind() == ErrorKind::Conflict,
        };
        if found && as_planned { Ok(durable) } else { Err(format!("k{key}: the body went another way")) }
    };
    thread::scope(|scope| {
        let shut = Closed::shut(engine, ledger);
        let mut writers = vec![scope.spawn(|| put(engine, Durability::PowerLoss, 0, ran))];
        ledger.wait_until_held();
        // Its body has run under the mutex that it commits under: whoever comes next finds it.
        writers.push(scope.spawn(|| put(engine, Durability::PowerLoss, 1, ran)));
        wait_for(2);
        let cases = [(0, false), (0, true), (1, false), (1, true)];
        let spawn = |durability| cases.map(|(key, fail)| scope.spawn(move || ask(durability, key, fail)));
        let waiting = spawn(Durability::PowerLoss);
        let hasty = spawn(Durability::Buffered);
        if !polled(LATE_LOOKS, || hasty.iter().all(|asked| asked.is_finished())) {
            return Err("a buffered answer waits for a sync".to_owned());
        }
        wait_for(2 + 2 * cases.len());
        polled(EARLY_LOOKS, || waiting.iter().any(|asked| asked.is_finished()));
        drop(shut);
        for ((key, fail), asked) in cases.iter().zip(waiting) {
            if !asked.join().expect("it does not panic")? {
                let what = if *fail { "an error" } else { "a read-only answer" };
                return Err(format!("{what} that saw k{key} came before its sync"));
            }
        }
        for asked in hasty {
            if asked.join().expect("it does not panic")? {
                return Err("this proves nothing: the gate was open".to_owned());
            }
        }
        writers.into_iter().try_for_each(|writer| writer.join().expect("it does not panic").map_err(|e| e.to_string()))
    })
}
