//! The promises of the traits, as functions: whoever writes an engine, a store or a disk runs them on it.
//!
//! Each list `ALL` holds (name, function). A function makes what it needs, panics where a promise is broken, and hands
//! on an error that should not have been. Threads meet at barriers; nothing sleeps.
//!
//! ```
//! use std::sync::Arc;
//! use ml_persistence::engine::{KvStore, conformance::store, memory::MemoryStore};
//! for (name, check) in store::ALL {
//!     check(&|| Arc::new(MemoryStore::new()) as Arc<dyn KvStore>).expect(name);
//! }
//! ```
//!
//! What a power cut does is not asked here: that takes the simulated disk, and tests that know it.

/// Lists checks by name.
macro_rules! list {
    ($check:ty: $($name:ident,)*) => {
        /// Every promise by name.
        pub const ALL: &[(&str, $check)] = &[$((stringify!($name), $name),)*];
    };
}

pub mod disk;
pub mod engine;
pub mod history;
#[cfg(test)]
mod model;
pub mod replace;
pub mod store;
#[cfg(test)]
pub(crate) mod twin;
pub mod txn;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use super::{Direction, KeyRange, Value};
use crate::clock::mix;
use crate::error::{ErrorKind, Result};

const BOTH_DIRECTIONS: [Direction; 2] = [Direction::Ascending, Direction::Descending];

type Model = BTreeMap<Vec<u8>, Value>;

fn value(text: impl AsRef<[u8]>) -> Value {
    Value::from(text.as_ref())
}

/// Panics unless `result` is an error of this kind.
#[track_caller]
fn expect_kind<T: fmt::Debug>(result: Result<T>, kind: ErrorKind, doing: &str) {
    match result {
        Err(error) => assert_eq!(error.kind(), kind, "{doing}: {error}"),
        Ok(answer) => panic!("{doing}: expected {}, got {answer:?}", kind.name()),
    }
}

/// Ranges with every kind of bound at each of `keys`, empty and upside-down ones included.
fn every_range(keys: &[&[u8]]) -> Vec<KeyRange> {
    let mut bounds = vec![Bound::Unbounded];
    for key in keys {
        bounds.extend([Bound::Included(key.to_vec()), Bound::Excluded(key.to_vec())]);
    }
    let with_end = |start: &Bound<Vec<u8>>| {
        bounds.iter().map(|end| KeyRange { start: start.clone(), end: end.clone() }).collect::<Vec<_>>()
    };
    bounds.iter().flat_map(with_end).collect()
}

/// What a scan of all of `range` ought to find.
fn model_scan(model: &Model, range: &KeyRange, direction: Direction) -> Vec<(Vec<u8>, Value)> {
    let inside = model.iter().filter(|(key, _)| range.contains(key)).map(|(key, value)| (key.clone(), value.clone()));
    match direction {
        Direction::Ascending => inside.collect(),
        Direction::Descending => inside.rev().collect(),
    }
}

/// Choices that repeat from run to run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 += 1;
        mix(self.0) % end.max(1)
    }
}
