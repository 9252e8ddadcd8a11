//! What the program does before it is cut off: a random but repeatable run of commits, syncs and reopenings.

use std::sync::Arc;

use super::ledger::{Change, Ledger, Operation, visible_order};
use super::rig::Rig;
use crate::clock::mix;
use crate::config::{Config, Durability};
use crate::engine::{Engine, Tree, VALUE_BYTES_MAX, Value};
use crate::error::Result;

/// A kind of run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) name: &'static str,
    pub(super) steps: u64,
    /// Threads that commit at the same time, at the end of the run.
    pub(super) threads: u64,
    /// Of a hundred commits so many hold a burst of values of the largest size.
    pub(super) bursts: u64,
    /// Largest values in such a commit.
    pub(super) burst_values: u64,
    /// Of a hundred commits so many are `Buffered`.
    pub(super) buffered: u64,
    pub(super) retention: u64,
    /// Every checkpoint comes from the engine itself, when its journal or memtable is full.
    pub(super) left_alone: bool,
    /// Cut off only behind calls that change names or the store. Those that append frames have their turn elsewhere.
    pub(super) names_only: bool,
    /// Crash points for each call, on average: those of the calls themselves and of the recoveries behind them.
    pub(super) points_per_call: u64,
}

/// Small transactions of every kind, reopenings, checkpoints.
pub(super) const MIXED: Style = Style {
    name: "mixed",
    steps: 24,
    threads: 0,
    bursts: 0,
    burst_values: 0,
    buffered: 40,
    retention: 256 << 20,
    left_alone: false,
    names_only: false,
    points_per_call: 25,
};

/// Large transactions: segments fill up, are given up and recycled at once.
pub(super) const ROTATION: Style =
    Style { name: "rotation", steps: 22, bursts: 50, burst_values: 14, retention: 0, ..MIXED };

/// A burst up to the journal's cap, which only the applier can relieve.
pub(super) const CAP: Style = Style {
    name: "cap",
    steps: 80,
    bursts: 90,
    burst_values: 15,
    buffered: 0,
    left_alone: true,
    names_only: true,
    points_per_call: 8,
    ..MIXED
};

/// So short that each of its calls can be made to fail in a run of its own.
pub(super) const SHORT: Style = Style { name: "short", steps: 12, bursts: 8, burst_values: 14, retention: 0, ..MIXED };

/// Many callers.
pub(super) const THREADS: Style = Style { name: "threads", steps: 5, threads: 3, ..MIXED };

impl Style {
    pub(super) fn config(&self) -> Config {
        let mut config = Config::new().unwrap();
        config.memtable_bytes = if self.left_alone { 16 << 20 } else { 2 << 20 };
        config.journal_max_bytes = 4 << 20;
        config.journal_retention_bytes = self.retention;
        // What a watch does to a moment takes its time inside the call.
        config.store_call_max_ms = 3_600_000;
        config.sync_every_ms = 5;
        config
    }

    /// Runs on `rig` until the end or the first error.
    pub(super) fn run(&self, rig: &Arc<Rig>, seed: u64) -> Result<()> {
        let mut dice = Dice(mix(seed));
        let mut engine = rig.open()?.0;
        for _ in 0..self.steps {
            let ledger = &rig.ledger;
            match dice.below(100) {
                0..70 => self.commit(&mut dice, ledger, &engine, 0)?,
                70..76 => {
                    let returned = ledger.returned();
                    engine.sync()?;
                    ledger.promise(returned);
                }
                76..82 => ledger.observe(&engine, dice.below(2) == 0)?,
                82..84 if self.buffered == 0 => ledger.promise(visible_order(&engine)?),
                84..92 if !self.left_alone => {
                    let returned = ledger.returned();
                    engine.checkpoint()?;
                    ledger.promise(returned);
                }
                92..96 if !self.left_alone => {
                    let returned = ledger.returned();
                    engine.close()?;
                    ledger.promise(returned);
                    engine = rig.open()?.0;
                }
                _ => self.commit(&mut dice, ledger, &engine, 0)?,
            }
        }
        std::thread::scope(|scope| {
            let run = |thread: u64| {
                let (mut dice, engine) = (Dice(mix(seed ^ mix(thread + 1))), &engine);
                move || (0..self.steps).try_for_each(|_| self.commit(&mut dice, &rig.ledger, engine, thread + 1))
            };
            let threads: Vec<_> = (0..self.threads).map(|thread| scope.spawn(run(thread))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap())
        })?;
        let returned = rig.ledger.returned();
        engine.close()?;
        rig.ledger.promise(returned);
        Ok(())
    }

    fn commit(&self, dice: &mut Dice, ledger: &Ledger, engine: &dyn Engine, thread: u64) -> Result<()> {
        let buffered = dice.below(100) < self.buffered;
        let durability = if buffered { Durability::Buffered } else { Durability::PowerLoss };
        let burst = if dice.below(100) < self.bursts { 1 + dice.below(self.burst_values) } else { 0 };
        let operation = Arc::new(operation(dice, thread, burst));
        ledger.commit(engine, &operation, durability)
    }
}

/// One of every kind of write on a few keys, some of them shared by all threads.
fn operation(dice: &mut Dice, thread: u64, burst: u64) -> Operation {
    let mut operation: Operation = vec![(Tree::Counter, b"sum".to_vec(), Change::Add(dice.below(5) as i64 - 2))];
    for tree in [Tree::Jobs, Tree::Records, Tree::Kv] {
        let key = format!("k{}", dice.below(6)).into_bytes();
        let change = match dice.below(4) {
            0 => Change::Delete,
            _ => Change::Put(value(dice, 200)),
        };
        operation.push((tree, key, change));
    }
    operation.push((Tree::History, format!("t{thread}").into_bytes(), Change::Put(value(dice, 24))));
    let first = dice.below(8);
    for place in 0..burst {
        let key = format!("piece {}", first + place).into_bytes();
        operation.push((Tree::Blob, key, Change::Put(value(dice, VALUE_BYTES_MAX as u64))));
    }
    operation
}

/// Bytes that no other call makes: the longer, the more alike in length.
fn value(dice: &mut Dice, bytes_max: u64) -> Value {
    let bytes = if bytes_max > 1024 { bytes_max } else { dice.below(bytes_max + 1) };
    let mut value: Vec<u8> = dice.next().to_le_bytes().repeat(bytes.div_ceil(8) as usize);
    value.truncate(bytes as usize);
    value.into()
}

/// A stream of choices that a seed repeats.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}
