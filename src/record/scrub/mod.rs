//! Finds what disagrees: records that can't be read, index entries and counters that are not what the records say,
//! pieces of nobody, and keys that no part of the store knows.
//!
//! ```text
//!   check    what is wrong with one record, one entry       used by verify on a view, by repair in a transaction
//!   records  every record of a kind, its entries, its sums  values   single values, counted by key
//!   collections  what hosts keep, as far as no type is needed to judge it
//!   pieces   what no value refers to                        strays   what no other check has looked at
//!   sums     a recount against the counters
//! ```
//!
//! Every check reads only, goes on behind a bad record, and reports it. What an unreadable record would have in the
//! indexes and counters is unknown, so counters that differ only because of it are reported too.
//!
//! Memory: one page of entries, one record, and one sum for each group of the counters at hand. At most
//! [`DETAILS_MAX`] violations are described; all are counted.

pub(super) mod check;
pub(super) mod collections;
pub(super) mod pieces;
mod records;
pub(super) mod strays;
pub(super) mod sums;
mod values;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::engine::{KeyRange, Tree};
use crate::error::{Error, ErrorKind, Result};

use super::view::{View, for_each};

pub(crate) use collections::verify_collections;
pub use pieces::verify_pieces;
pub use records::verify;
pub(crate) use records::{claim, verify_kind};
pub(crate) use strays::claim_own;
pub use strays::verify_strays;
pub use sums::KeyCounter;
pub(crate) use values::claim_values;
pub use values::verify_values;

/// How many violations a report describes.
pub const DETAILS_MAX: usize = 1_000;

/// What a sweep found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Records and single values that were looked at, bad ones included.
    pub records: u64,
    /// How many violations there are.
    pub violations_found: u64,
    /// The first [`DETAILS_MAX`] of them.
    pub violations: Vec<Violation>,
    /// Values that an earlier repair set aside. They are no violation: nothing refers to them any more.
    pub quarantined: u64,
    /// What somebody answers for: all keys of a tree that begin so. The rest are strays.
    #[serde(skip)]
    pub(super) claimed: BTreeSet<(Tree, Vec<u8>)>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Violation {
    /// What is wrong.
    pub kind: ViolationKind,
    /// The tree of the key.
    pub tree: &'static str,
    /// The key, with what can't be printed escaped.
    pub key: String,
    /// For people: what was expected, what was found.
    pub detail: String,
}

/// The ways in which stored state can disagree with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ViolationKind {
    /// A record or value can't be read: damaged, moved, cut short, or of a newer format.
    Unreadable,
    /// A key that the record's kind owns holds a record of another key.
    Misplaced,
    /// A record has no entry in an index that it belongs in.
    EntryMissing,
    /// An index has an entry that no record asks for.
    EntryUnexpected,
    /// An index entry leads to another record than the one that asks for it, or can't be read.
    EntryWrong,
    /// A counter is not the sum over the records.
    CounterWrong,
    /// A piece of a large value that no value refers to.
    PieceOrphaned,
    /// Something refers to what does not exist, for the checks of the layers above.
    ReferenceBroken,
    /// A record can be read, and says two things that can't both be so.
    Contradictory,
    /// A key that nothing in this build knows: of an unknown tag, index number or counter number.
    Stray,
}

impl Report {
    /// Adds a violation; the layers above report their own cross-references with it.
    pub fn violation(&mut self, kind: ViolationKind, tree: Tree, key: &[u8], detail: impl Into<String>) {
        self.violations_found += 1;
        if self.violations.len() < DETAILS_MAX {
            self.violations.push(Violation::new(kind, tree, key, detail));
        }
    }

    /// Says that the caller answers for every key of `tree` that begins with `prefix`, so that
    /// [`verify_strays`] passes over them.
    pub fn claim(&mut self, tree: Tree, prefix: &[u8]) {
        self.claimed.insert((tree, prefix.to_vec()));
    }
}

impl Violation {
    /// A violation at this key.
    pub(crate) fn new(kind: ViolationKind, tree: Tree, key: &[u8], detail: impl Into<String>) -> Self {
        Violation { kind, tree: tree.name(), key: key.escape_ascii().to_string(), detail: detail.into() }
    }
}

/// Calls `visit` with every entry of `range`, page by page, in order: for the checks of the layers above.
pub(crate) fn for_each_entry(
    view: &View<'_>,
    tree: Tree,
    range: KeyRange,
    visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    for_each(view.reader(), tree, range, visit)
}

/// Sorts what is wrong with one entry (inner) from what stops the sweep (outer).
pub(crate) fn damage<T>(outcome: Result<T>) -> Result<Result<T, Error>> {
    match outcome {
        Err(error) if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => Err(error),
        outcome => Ok(outcome),
    }
}
