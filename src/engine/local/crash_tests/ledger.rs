//! What the program did, in commit order, and how much of it must survive.
//!
//! Each transaction reads and raises one counter, `order`, so the number of its commit is known and two recoveries
//! agree on it. The state after commit `n` is the fold of the first `n` operations: whatever a crash leaves must be
//! exactly one such state, and no earlier than the newest one that was promised.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::Durability;
use crate::engine::{Direction, Engine, KeyRange, Tree, Txn, TxnOptions, Value, counter_value, read_counter};
use crate::error::{Error, ErrorKind, Result};

const ORDER: &[u8] = b"order";

/// One write of an operation.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Put(Value),
    Delete,
    Add(i64),
}

/// The writes of one transaction, no key twice.
pub(super) type Operation = Vec<(Tree, Vec<u8>, Change)>;

type State = BTreeMap<(Tree, Vec<u8>), Value>;

#[derive(Debug, Clone, Default)]
struct Entries {
    /// Operation `n` at place `n - 1`. What was never committed may stand at the end.
    operations: Vec<Arc<Operation>>,
    /// Commits up to this one were promised to survive a power cut.
    durable: u64,
    /// Commits up to this one have returned.
    returned: u64,
}

#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Entries>);

impl Ledger {
    pub(super) fn fork(&self) -> Self {
        Ledger(Mutex::new(self.0.lock().clone()))
    }

    pub(super) fn durable(&self) -> u64 {
        self.0.lock().durable
    }

    /// A promise was made that everything up to `order` survives.
    pub(super) fn promise(&self, order: u64) {
        let mut entries = self.0.lock();
        entries.durable = entries.durable.max(order);
    }

    /// Takes back promises above `durable`: they were made after the moment that this ledger stands for.
    pub(super) fn promised_only(&self, durable: u64) {
        self.0.lock().durable = durable;
    }

    pub(super) fn returned(&self) -> u64 {
        self.0.lock().returned
    }

    /// A crash left the first `order` commits. Nothing is known about promises of this new life yet.
    pub(super) fn cut_to(&self, order: u64) {
        let mut entries = self.0.lock();
        entries.operations.truncate(order as usize);
        entries.returned = order;
    }

    /// Commits `operation` and books what was promised by the answer.
    pub(super) fn commit(&self, engine: &dyn Engine, operation: &Arc<Operation>, durability: Durability) -> Result<()> {
        let mut order = 0;
        engine.transact(&TxnOptions::durability(durability), &mut |txn| {
            order = read_order(txn)? + 1;
            {
                // Whoever got this number before did not commit: bodies run one at a time.
                let mut entries = self.0.lock();
                entries.operations.truncate(order as usize - 1);
                entries.operations.push(Arc::clone(operation));
            }
            txn.put(Tree::Kv, ORDER, Value::from(order.to_le_bytes().as_slice()))?;
            operation.iter().try_for_each(|(tree, key, change)| match change {
                Change::Put(value) => txn.put(*tree, key, value.clone()),
                Change::Delete => txn.delete(*tree, key),
                Change::Add(delta) => txn.add(*tree, key, *delta),
            })
        })?;
        let mut entries = self.0.lock();
        entries.returned = entries.returned.max(order);
        if durability == Durability::PowerLoss {
            entries.durable = entries.durable.max(order);
        }
        Ok(())
    }

    /// Reads in a transaction that ends well or with an error: both answers promise what they read from.
    pub(super) fn observe(&self, engine: &dyn Engine, refuse: bool) -> Result<()> {
        let mut order = 0;
        let outcome = engine.transact(&TxnOptions::default(), &mut |txn| {
            order = read_order(txn)?;
            if refuse { Err(Error::conflict("refused by the script")) } else { Ok(()) }
        });
        match outcome {
            Err(error) if !(refuse && error.kind() == ErrorKind::Conflict) => return Err(error),
            _ => self.promise(order),
        }
        Ok(())
    }

    /// The state that the first `order` operations make; `None` when there were never that many.
    fn state(&self, order: u64) -> Option<State> {
        let entries = self.0.lock();
        let mut state = State::new();
        for operation in entries.operations.get(..order as usize)? {
            for (tree, key, change) in operation.iter() {
                let place = (*tree, key.clone());
                let value = match change {
                    Change::Put(value) => Some(value.clone()),
                    Change::Delete => None,
                    Change::Add(delta) => {
                        let before = state.get(&place).map(|value| &**value);
                        let sum = read_counter(*tree, key, before).unwrap() + delta;
                        (sum != 0).then(|| counter_value(*tree, key, sum))
                    }
                };
                match value {
                    Some(value) => state.insert(place, value),
                    None => state.remove(&place),
                };
            }
        }
        if order > 0 {
            state.insert((Tree::Kv, ORDER.to_vec()), Value::from(order.to_le_bytes().as_slice()));
        }
        Some(state)
    }

    /// Compares what `engine` holds with what it may hold; answers the number of its newest commit.
    pub(super) fn check(&self, engine: &dyn Engine) -> std::result::Result<u64, String> {
        let (order, found) = read_all(engine).map_err(|error| format!("reading failed: {error}"))?;
        let promised = self.durable();
        if order < promised {
            return Err(format!("lost: {promised} commits were promised, {order} are there"));
        }
        let expected = self.state(order).ok_or_else(|| format!("{order} commits are there, more than were made"))?;
        if found != expected {
            let differs = |place: &&(Tree, Vec<u8>)| found.get(*place) != expected.get(*place);
            let places: Vec<String> = found
                .keys()
                .chain(expected.keys())
                .filter(differs)
                .map(|(tree, key)| format!("{}/{}", tree.name(), String::from_utf8_lossy(key)))
                .collect();
            return Err(format!("half done: after {order} commits (promised {promised}) wrong at {places:?}"));
        }
        Ok(order)
    }
}

fn number(value: Option<Value>) -> u64 {
    value.map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()))
}

fn read_order(txn: &mut dyn Txn) -> Result<u64> {
    txn.get(Tree::Kv, ORDER).map(number)
}

/// What plain reads see as the number of the newest commit.
pub(super) fn visible_order(engine: &dyn Engine) -> Result<u64> {
    engine.get(Tree::Kv, ORDER).map(number)
}

fn read_all(engine: &dyn Engine) -> Result<(u64, State)> {
    let mut state = State::new();
    for tree in Tree::ALL.iter().filter(|tree| **tree != Tree::Meta) {
        let page = engine.scan(*tree, &KeyRange::all(), Direction::Ascending, 10_000)?;
        assert!(page.resume.is_none(), "the scripts use few keys");
        state.extend(page.entries.into_iter().map(|(key, value)| ((*tree, key), value)));
    }
    Ok((visible_order(engine)?, state))
}
