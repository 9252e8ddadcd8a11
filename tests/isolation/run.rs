//! Random concurrent runs: bodies, reads, scans and checkpoints on few keys, each call written down as an event.
//!
//! The seed decides what each thread does, not how the threads meet: a failure may take a few tries to come again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ml_persistence::engine::{
    Cursor, Direction, Engine, KeyRange, Page, Reader, Tree, Txn, TxnOptions, Value, read_counter,
};
use ml_persistence::{Durability, Error, Ids, Result};

use super::disk::Ledger;
use super::history::{Event, Kind, Seen};
use super::stamp::{Part, SUM, Stamp, key_bytes};

/// Choices that repeat from the same seed.
pub struct Dice(Ids);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(Ids::seeded(seed))
    }

    pub fn below(&self, end: usize) -> usize {
        (self.0.next_u64() % end.max(1) as u64) as usize
    }

    /// True once in `n`.
    fn once_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Some of `0..keys` in any order, at least one.
    fn some_of(&self, keys: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..keys).collect();
        (0..=self.below(keys)).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }
}

/// How large a run is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub writers: u64,
    pub readers: u64,
    /// Bodies of each writer. A reader reads at most four times as often.
    pub bodies: usize,
}

pub struct Run<'e> {
    engine: &'e dyn Engine,
    ledger: &'e Ledger,
    keys: usize,
    clock: AtomicU64,
    ids: AtomicU64,
    writing: AtomicUsize,
}

/// What one event has looked at so far.
#[derive(Debug, Default)]
struct Looks {
    seen: Vec<(usize, Part, Option<Stamp>)>,
    sum: Option<i64>,
    faults: Vec<String>,
}

impl Looks {
    fn at(&mut self, key: usize, part: Part, value: Option<&Value>) {
        let stamp = value.and_then(|value| Stamp::decode(value));
        if value.is_some() != stamp.is_some() || stamp.is_some_and(|stamp| stamp.key != key) {
            self.faults.push(format!("k{key}: a value that nobody wrote there"));
        }
        self.seen.push((key, part, stamp));
    }

    fn at_sum(&mut self, value: Option<&Value>) -> Result<()> {
        self.sum = Some(read_counter(SUM.0, SUM.1, value.map(|value| &**value))?);
        Ok(())
    }

    fn version(&self, key: usize) -> u64 {
        let mut stamps = self.seen.iter().filter(|(seen, part, _)| *seen == key && *part == Part::Stamp);
        stamps.next_back().and_then(|(_, _, stamp)| *stamp).map_or(0, |stamp| stamp.version)
    }

    fn stamps(&self) -> impl Iterator<Item = &Stamp> {
        self.seen.iter().filter_map(|(_, _, stamp)| stamp.as_ref())
    }

    /// Every key of `page`, and those that would be in it if they were there.
    fn page(&mut self, page: &Page, range: &KeyRange, direction: Direction, keys: usize) {
        for key in 0..keys {
            for part in [Part::Stamp, Part::Body] {
                let name = key_bytes(key, part);
                let read = page.resume.as_ref().is_none_or(|last| match direction {
                    Direction::Ascending => name <= *last,
                    Direction::Descending => name >= *last,
                });
                if read && range.contains(&name) {
                    let entry = page.entries.iter().find(|(found, _)| *found == name);
                    self.at(key, part, entry.map(|(_, value)| value));
                }
            }
        }
        let in_order = |a: &[u8], b: &[u8]| if direction == Direction::Ascending { a < b } else { a > b };
        if !page.entries.windows(2).all(|pair| in_order(&pair[0].0, &pair[1].0)) {
            self.faults.push("a page out of order".to_owned());
        }
    }

    /// Writes down what was seen, and what is wrong with it without looking at anybody else.
    fn settle(mut self, keys: usize, event: &mut Event) {
        for key in 0..keys {
            let of_key = || self.seen.iter().filter(|(seen, _, _)| *seen == key);
            let gone = of_key().any(|(_, part, stamp)| *part == Part::Body && stamp.is_none());
            let there = of_key().any(|(_, part, stamp)| *part == Part::Stamp && stamp.is_some_and(|it| !it.removed));
            if gone && there {
                self.faults.push(format!("k{key}: half there"));
            }
        }
        for (key, part, stamp) in &self.seen {
            event.seen.extend(match (stamp, part) {
                (Some(Stamp { version, writer, draft, .. }), _) => {
                    Some(Seen { key: *key, version: *version, writer: *writer, draft: *draft })
                }
                (None, Part::Stamp) => Some(Seen { key: *key, version: 0, writer: 0, draft: false }),
                // Removed, or never written: only the stamp tells.
                (None, Part::Body) => None,
            });
        }
        if let Some(sum) = self.sum {
            let versions: u64 = (0..keys).map(|key| self.version(key)).sum();
            if sum != versions as i64 {
                self.faults.push(format!("the sum is {sum}, the versions make {versions}"));
            }
        }
        event.faults.append(&mut self.faults);
    }
}

/// What a body is going to do. Made up outside of it, since a body may run twice.
struct BodyPlan {
    durability: Durability,
    reads: Vec<(usize, bool)>,
    writes: Vec<WritePlan>,
    yields: bool,
    end: End,
}

struct WritePlan {
    key: usize,
    remove: bool,
    draft: bool,
    filler: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Fail,
    Panic,
}

impl BodyPlan {
    fn draw(dice: &Dice, keys: usize) -> Self {
        let reads: Vec<(usize, bool)> = dice.some_of(keys).into_iter().map(|key| (key, dice.once_in(2))).collect();
        let write = |(key, _): &(usize, bool)| WritePlan {
            key: *key,
            remove: dice.once_in(4),
            draft: dice.once_in(4),
            filler: if dice.once_in(8) { 1_000 + dice.below(4_000) } else { 100 + dice.below(600) },
        };
        let writes = reads.iter().take(dice.below(reads.len() + 1)).map(write).collect();
        let end = match dice.below(20) {
            0..3 => End::Fail,
            3 => End::Panic,
            _ => End::Commit,
        };
        let durability = if dice.once_in(2) { Durability::PowerLoss } else { Durability::Buffered };
        BodyPlan { durability, reads, writes, yields: dice.once_in(3), end }
    }

    fn run(&self, id: u64, txn: &mut dyn Txn, looks: &mut Looks, wrote: &mut Vec<(usize, u64)>) -> Result<()> {
        for (key, both) in &self.reads {
            looks.at(*key, Part::Stamp, txn.get(Tree::Kv, &key_bytes(*key, Part::Stamp))?.as_ref());
            if self.yields {
                thread::yield_now();
            }
            if *both {
                looks.at(*key, Part::Body, txn.get(Tree::Kv, &key_bytes(*key, Part::Body))?.as_ref());
            }
        }
        for write in &self.writes {
            let version = looks.version(write.key) + 1;
            let durable = self.durability == Durability::PowerLoss;
            let stamp =
                Stamp { key: write.key, version, writer: id, removed: write.remove, draft: write.draft, durable };
            if write.draft {
                self.put(txn, &stamp, write.filler / 2, looks)?;
            }
            self.put(txn, &Stamp { draft: false, ..stamp }, write.filler, looks)?;
            wrote.push((write.key, version));
        }
        if !self.writes.is_empty() {
            txn.add(SUM.0, SUM.1, self.writes.len() as i64)?;
        }
        match self.end {
            End::Commit => Ok(()),
            End::Fail => Err(Error::conflict("planned")),
            // Not `panic!`: nobody needs to read about it.
            End::Panic => resume_unwind(Box::new("planned")),
        }
    }

    fn put(&self, txn: &mut dyn Txn, stamp: &Stamp, filler: usize, looks: &mut Looks) -> Result<()> {
        let (stamp_key, body_key) = (key_bytes(stamp.key, Part::Stamp), key_bytes(stamp.key, Part::Body));
        txn.put(Tree::Kv, &stamp_key, stamp.encode(Part::Stamp, 0))?;
        match stamp.removed {
            true => txn.delete(Tree::Kv, &body_key)?,
            false => txn.put(Tree::Kv, &body_key, stamp.encode(Part::Body, filler))?,
        }
        let own = txn.get(Tree::Kv, &stamp_key)?.and_then(|value| Stamp::decode(&value));
        if own != Some(*stamp) || txn.get(Tree::Kv, &body_key)?.is_none() != stamp.removed {
            looks.faults.push(format!("k{}: a body does not see its own write", stamp.key));
        }
        Ok(())
    }
}

/// The number of a batch: the last eight bytes of a cursor.
fn batch_of(cursor: &Cursor) -> Option<u64> {
    cursor.to_bytes().last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

impl Run<'_> {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn body(&self, plan: &BodyPlan) -> Event {
        let id = self.next_id();
        let (mut looks, mut wrote) = (Looks::default(), Vec::new());
        let start = self.tick();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.engine.transact(&TxnOptions::durability(plan.durability), &mut |txn| {
                (looks, wrote) = (Looks::default(), Vec::new());
                plan.run(id, txn, &mut looks, &mut wrote)
            })
        }));
        // Asked before the clock ticks: what it answers was so when the call returned.
        let leaks = |looks: &Looks, wrote: &[(usize, u64)]| {
            let seen = looks.stamps().map(|stamp| (stamp.key, stamp.version));
            seen.chain(wrote.iter().copied()).find(|(key, version)| !self.ledger.is_durable(*key, *version))
        };
        let (what, kind) = match (plan.end, plan.durability) {
            // Nobody promises that a panic waits.
            (End::Panic, _) => ("body that panicked", Kind::Hasty),
            (End::Fail, Durability::PowerLoss) => ("failed body", Kind::Durable),
            (End::Fail, _) => ("failed body", Kind::Hasty),
            (End::Commit, Durability::PowerLoss) => ("body", Kind::Durable),
            (End::Commit, _) => ("body", Kind::Hasty),
        };
        let mut committed = None;
        match outcome {
            Ok(Ok(at)) if plan.end == End::Commit => committed = Some(at),
            Ok(Err(error)) if error.to_string().starts_with("planned") => wrote.clear(),
            Err(_) if plan.end == End::Panic => wrote.clear(),
            Ok(other) => looks.faults.push(format!("a body that was to end otherwise answered {other:?}")),
            Err(panic) => resume_unwind(panic),
        }
        if kind == Kind::Durable
            && let Some((key, version)) = leaks(&looks, &wrote)
        {
            looks.faults.push(format!("k{key}@{version} was behind an answer, and not durable"));
        }
        let mut event = Event::new(id, what, kind, start, self.tick());
        event.batch = committed.filter(|_| !wrote.is_empty()).and_then(|at| batch_of(&at.cursor));
        event.wrote = wrote;
        looks.settle(self.keys, &mut event);
        event
    }

    fn plain(&self, what: &'static str, read: impl FnOnce(&mut Looks) -> Result<()>) -> Event {
        let id = self.next_id();
        let mut looks = Looks::default();
        let start = self.tick();
        let outcome = read(&mut looks);
        let early = looks.stamps().find(|stamp| stamp.durable && !self.ledger.is_durable(stamp.key, stamp.version));
        if let Some(Stamp { key, version, .. }) = early.copied() {
            looks.faults.push(format!("k{key}@{version} was seen before it was durable"));
        }
        if let Err(error) = outcome {
            looks.faults.push(format!("{what} answered {error}"));
        }
        let mut event = Event::new(id, what, Kind::Plain, start, self.tick());
        looks.settle(self.keys, &mut event);
        event
    }

    /// One random read through `reader`.
    fn read(&self, reader: &dyn Reader, kind: usize, dice: &Dice, looks: &mut Looks) -> Result<()> {
        match kind {
            0 => {
                let key = dice.below(self.keys);
                let part = if dice.once_in(2) { Part::Stamp } else { Part::Body };
                looks.at(key, part, reader.get(Tree::Kv, &key_bytes(key, part))?.as_ref());
            }
            1 => {
                let chosen = if dice.once_in(2) { (0..self.keys).collect() } else { dice.some_of(self.keys) };
                self.get_many(reader, &chosen, looks)?;
            }
            _ => {
                let direction = if dice.once_in(2) { Direction::Ascending } else { Direction::Descending };
                let mut range = KeyRange::prefix(b"k");
                if dice.once_in(3) {
                    range = range.behind(&key_bytes(dice.below(self.keys), Part::Stamp), direction);
                }
                let limit = if dice.once_in(2) { 100 } else { 1 + dice.below(2 * self.keys) };
                let page = reader.scan(Tree::Kv, &range, direction, limit)?;
                looks.page(&page, &range, direction, self.keys);
            }
        }
        Ok(())
    }

    fn get_many(&self, reader: &dyn Reader, chosen: &[usize], looks: &mut Looks) -> Result<()> {
        let places: Vec<(usize, Part)> =
            chosen.iter().flat_map(|key| [(*key, Part::Stamp), (*key, Part::Body)]).collect();
        let names: Vec<Vec<u8>> = places.iter().map(|(key, part)| key_bytes(*key, *part)).collect();
        let mut asked: Vec<(Tree, &[u8])> = names.iter().map(|name| (Tree::Kv, name.as_slice())).collect();
        asked.push(SUM);
        let values = reader.get_many(&asked)?;
        for ((key, part), value) in places.iter().zip(&values) {
            looks.at(*key, *part, value.as_ref());
        }
        if chosen.len() == self.keys {
            looks.at_sum(values.last().and_then(Option::as_ref))?;
        }
        Ok(())
    }

    fn plain_read(&self, dice: &Dice) -> Event {
        let kind = dice.below(6);
        if kind < 3 {
            return self.plain(["get", "get_many", "page"][kind], |looks| self.read(self.engine, kind, dice, looks));
        }
        self.plain("read_view", |looks| {
            let reads = 2 + dice.below(3);
            self.engine.read_view(&mut |view| {
                *looks = Looks::default();
                for _ in 0..reads {
                    self.read(view, dice.below(3), dice, looks)?;
                    if dice.once_in(2) {
                        thread::yield_now();
                    }
                }
                Ok(())
            })
        })
    }

    fn write(&self, dice: &Dice, bodies: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..bodies {
            events.push(self.body(&BodyPlan::draw(dice, self.keys)));
            if dice.once_in(40) {
                self.engine.sync().expect("nothing here makes a sync fail");
            }
        }
        self.writing.fetch_sub(1, Ordering::SeqCst);
        events
    }

    fn is_over(&self) -> bool {
        self.writing.load(Ordering::SeqCst) == 0
    }
}

/// Runs on an empty engine and tells what happened, the final state included.
pub fn run(engine: &dyn Engine, ledger: &Ledger, seed: u64, size: Size) -> Vec<Event> {
    let dice = Dice::new(seed);
    let run = Run {
        engine,
        ledger,
        keys: 3 + dice.below(4),
        clock: AtomicU64::new(1),
        ids: AtomicU64::new(0),
        writing: AtomicUsize::new(size.writers as usize),
    };
    let of_thread = |number: u64| Dice::new(seed ^ (number + 1) << 48);
    let mut events = thread::scope(|scope| {
        let run = &run;
        let writers = (0..size.writers).map(|number| scope.spawn(move || run.write(&of_thread(number), size.bodies)));
        let writers: Vec<_> = writers.collect();
        let read = |dice: Dice| {
            // Some in any case, however little of the machine readers get.
            let reads = (0..4 * size.bodies).take_while(|read| *read < size.bodies / 4 || !run.is_over());
            reads.map(|_| run.plain_read(&dice)).collect()
        };
        let readers = (0..size.readers).map(|number| scope.spawn(move || read(of_thread(size.writers + number))));
        let readers: Vec<_> = readers.collect();
        scope.spawn(|| {
            while !run.is_over() {
                engine.checkpoint().expect("nothing here makes a checkpoint fail");
                thread::park_timeout(Duration::from_millis(2));
            }
        });
        let threads = writers.into_iter().chain(readers);
        threads.flat_map(|thread| thread.join().expect("a thread of the run panicked")).collect::<Vec<Event>>()
    });
    let everything: Vec<usize> = (0..run.keys).collect();
    engine.sync().expect("nothing here makes a sync fail");
    events.push(run.plain("final get_many", |looks| run.get_many(engine, &everything, looks)));
    let reads = everything.iter().map(|key| (*key, true)).collect();
    let last =
        BodyPlan { durability: Durability::PowerLoss, reads, writes: Vec::new(), yields: false, end: End::Commit };
    events.push(run.body(&last));
    events
}
