//! What the store remembers about a collection: its items, their numbers, and what has become of earlier ones.
//!
//! ```text
//! meta/collection | name          Definition       written when a declaration changes, a build ends, or a rest is gone
//! meta/collection.build | name    Build            while there is something under construction
//! meta/collection.late | name | build u32 | key    records that were inserted where construction had still to come
//! meta/collection.numbers         u32              the next number for an item of any collection; never goes back
//! ```
//!
//! Every write to a collection reads the definition in its own transaction: a writer that knows an older one can't go
//! on with it unnoticed.

use serde::{Deserialize, Serialize};

use crate::codec::Bytes;
use crate::keys::{self, KeyWriter};

/// Everything but the records, their entries and their sums.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Definition {
    /// The host's version of its record.
    pub(super) version: u16,
    /// The shape of the key.
    pub(super) key: String,
    /// Names and shapes of the fields.
    pub(super) fields: Vec<(String, String)>,
    /// The number of the counter of all records.
    pub(super) total: u32,
    /// Indexes and counters, in the order of their declaration, indexes first.
    pub(super) items: Vec<Item>,
    /// Tells the late records of one construction from those of the next.
    pub(super) build: u32,
    /// What is still to be removed of items that are gone.
    pub(super) retired: Vec<Retired>,
}

/// An index or a counter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) counter: bool,
    pub(super) name: String,
    /// What it is over, in words: another one is another item.
    pub(super) signature: String,
    /// Given out once.
    pub(super) number: u32,
    /// Whether it holds every record.
    pub(super) ready: bool,
}

/// What nothing is written to any more, and can be removed in any number of steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Retired {
    Index(u32),
    Counter(u32),
    /// Late records of this build.
    Late(u32),
}

/// How far a construction has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Build {
    pub(super) position: Position,
    /// Records that it holds, for people.
    pub(super) done: u64,
    /// Records that it could not read. Verify names them.
    pub(super) unreadable: u64,
}

/// Records up to here are held, late ones excepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Position {
    Start,
    /// This primary key, and all before it.
    At(Bytes),
    End,
}

impl Definition {
    pub(super) fn is_building(&self) -> bool {
        self.items.iter().any(|item| !item.ready)
    }
}

impl Build {
    pub(super) const FIRST: Build = Build { position: Position::Start, done: 0, unreadable: 0 };
}

impl Position {
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        match self {
            Position::Start => false,
            Position::At(last) => key <= last.0.as_slice(),
            Position::End => true,
        }
    }
}

pub(super) fn definition_key(collection: &str) -> Vec<u8> {
    keys::meta("collection", KeyWriter::new().str(collection))
}

pub(super) fn build_key(collection: &str) -> Vec<u8> {
    keys::meta("collection.build", KeyWriter::new().str(collection))
}

pub(super) fn numbers_key() -> Vec<u8> {
    keys::meta("collection.numbers", KeyWriter::new())
}

/// The mark of a late record; with an empty key, what all marks of a build have in common.
pub(super) fn late_key(collection: &str, build: u32, key: &[u8]) -> Vec<u8> {
    keys::meta("collection.late", KeyWriter::new().str(collection).u32(build).raw(key))
}
