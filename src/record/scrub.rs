//! Finds what disagrees: records that can't be read, index entries and counters that are not what the records say.
//!
//! Every check reads only, goes on behind a bad record, and reports it. What an unreadable record would have in the
//! indexes and counters is unknown, so counters that differ only because of it are reported too.
//!
//! Memory: one page of entries, one record, and one sum for each group of the counters at hand. At most
//! [`DETAILS_MAX`] violations are described; all are counted.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::codec::{self, Part};
use crate::engine::{KeyRange, Tree, read_counter};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyWriter};

use super::kind::{Fixed, Kind};
use super::schema::{Entity, IndexPlace, IndexRef};
use super::stage::for_each_staged;
use super::upkeep;
use super::value::PartReader;
use super::view::{View, for_each, read_entry};

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
}

impl Report {
    /// Adds a violation; the layers above report their own cross-references with it.
    pub fn violation(&mut self, kind: ViolationKind, tree: Tree, key: &[u8], detail: impl Into<String>) {
        self.violations_found += 1;
        if self.violations.len() < DETAILS_MAX {
            let key = key.escape_ascii().to_string();
            self.violations.push(Violation { kind, tree: tree.name(), key, detail: detail.into() });
        }
    }
}

/// Checks every record of a kind, its index entries in both directions, and its counters by a recount.
///
/// # Errors
/// What keeps the sweep from reading on (`Closed`, `Unavailable`, damage that the engine itself refuses): never a bad
/// record.
pub fn verify<R: Entity>(view: &View<'_>, report: &mut Report) -> Result<()> {
    verify_kind(&Fixed::<R>::new(), view, report)
}

/// [`verify`] for any kind of record. What is under construction is compared with the records that it holds.
///
/// # Errors
/// As [`verify`].
pub(crate) fn verify_kind<K: Kind>(kind: &K, view: &View<'_>, report: &mut Report) -> Result<()> {
    let mut sums = BTreeMap::new();
    let mut unreadable = 0u64;
    let tree = kind.part().tree;
    for_each(view.reader(), tree, kind.range(), |stored_key, _| {
        let Some(key) = kind.primary_of(stored_key) else { return Ok(()) };
        report.records += 1;
        let record = match damage(view.get_of(kind, key))? {
            Ok(Some(record)) if kind.key(&record) == key => record,
            found => {
                unreadable += 1;
                let (violation, detail) = match found {
                    Ok(Some(record)) => {
                        let key = kind.key(&record);
                        (ViolationKind::Misplaced, format!("{} of key `{}`", kind.name(), key.escape_ascii()))
                    }
                    Ok(None) => (ViolationKind::Unreadable, format!("{} is not whole", kind.name())),
                    Err(error) => (ViolationKind::Unreadable, error.to_string()),
                };
                report.violation(violation, tree, stored_key, detail);
                return Ok(());
            }
        };
        let built = kind.is_built(view, key)?;
        for counter in kind.counters().filter(|counter| built || !counter.building) {
            counter.add_to(&record, 1, &mut sums)?;
        }
        let mut indexes = kind.indexes().filter(|index| built || !index.building);
        indexes.try_for_each(|index| verify_entries_of(kind, view, &index, &record, key, report))
    })?;
    for index in kind.indexes() {
        verify_index(kind, view, &index, report)?;
    }
    for counter in kind.counters() {
        verify_sums(view, counter.number, counter.name, &mut sums, unreadable, report)?;
    }
    Ok(())
}

/// Every entry that `record` asks for is there.
fn verify_entries_of<K: Kind>(
    kind: &K,
    view: &View<'_>,
    index: &IndexRef<'_, K::Record>,
    record: &K::Record,
    key: &[u8],
    report: &mut Report,
) -> Result<()> {
    for entry in index.entry_keys(record, key)? {
        let of = || format!("index {} of {} `{}`", index.place.name, kind.name(), key.escape_ascii());
        match view.reader().get(Tree::Index, &entry)? {
            None => report.violation(ViolationKind::EntryMissing, Tree::Index, &entry, of()),
            Some(stored) if !upkeep::is_entry_of(index.place, &entry, key, &stored) => {
                let detail = format!("{} leads elsewhere, or is damaged", of());
                report.violation(ViolationKind::EntryWrong, Tree::Index, &entry, detail);
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Every entry of `index` is asked for by the record that it leads to.
fn verify_index<K: Kind>(
    kind: &K,
    view: &View<'_>,
    index: &IndexRef<'_, K::Record>,
    report: &mut Report,
) -> Result<()> {
    let IndexPlace { number, name, .. } = index.place;
    let range = KeyRange::prefix(&keys::index_prefix(number, &[]));
    for_each(view.reader(), Tree::Index, range, |entry, stored| {
        let read = match damage(read_entry(index.place, entry.to_vec(), stored))? {
            Ok(read) => read,
            Err(error) => {
                report.violation(ViolationKind::EntryWrong, Tree::Index, entry, error.to_string());
                return Ok(());
            }
        };
        // A record that can't be read was reported with the records; what it asks for is unknown.
        let Ok(record) = damage(view.get_of(kind, &read.primary))? else { return Ok(()) };
        let held = !index.building || kind.is_built(view, &read.primary)?;
        let asked_for = match &record {
            Some(record) if held => index.entry_keys(record, &read.primary)?.iter().any(|asked| asked == entry),
            _ => false,
        };
        if !asked_for {
            let found = if record.is_some() { "does not ask for it" } else { "does not exist" };
            let detail = format!("index {name}: {} `{}` {found}", kind.name(), read.primary.escape_ascii());
            report.violation(ViolationKind::EntryUnexpected, Tree::Index, entry, detail);
        }
        Ok(())
    })
}

/// Compares a counter with a recount; takes the groups that it compared out of `sums`.
fn verify_sums(
    view: &View<'_>,
    number: u32,
    name: &str,
    sums: &mut BTreeMap<Vec<u8>, i128>,
    unreadable: u64,
    report: &mut Report,
) -> Result<()> {
    let but = if unreadable == 0 { String::new() } else { format!(", {unreadable} unreadable not counted") };
    let prefix = keys::counter(number, &[]);
    for_each(view.reader(), Tree::Counter, KeyRange::prefix(&prefix), |key, stored| {
        let expected = sums.remove(key).unwrap_or(0);
        let detail = match damage(read_counter(Tree::Counter, key, Some(stored)))? {
            Ok(found) if i128::from(found) == expected => return Ok(()),
            Ok(found) => format!("counter {name}: holds {found}, the records add up to {expected}{but}"),
            Err(error) => format!("counter {name}: {error}; the records add up to {expected}{but}"),
        };
        report.violation(ViolationKind::CounterWrong, Tree::Counter, key, detail);
        Ok(())
    })?;
    sums.retain(|key, expected| {
        if !key.starts_with(&prefix) {
            return true;
        }
        if *expected != 0 {
            let detail = format!("counter {name}: absent, the records add up to {expected}{but}");
            report.violation(ViolationKind::CounterWrong, Tree::Counter, key, detail);
        }
        false
    });
    Ok(())
}

/// A counter of single values, by key: how many there are in each group.
pub struct KeyCounter {
    /// Given out once, in `record/catalog.rs`.
    pub number: u32,
    /// Its name in messages.
    pub name: &'static str,
    /// The group that a key counts in.
    pub group: fn(&[u8]) -> Result<KeyWriter>,
}

/// Checks single values that no index knows: every key of the part's tree that `owns` accepts holds a whole value of
/// the part. With `counter`, how many there are in each group too.
///
/// # Errors
/// As [`verify`].
pub fn verify_values(
    view: &View<'_>,
    part: Part,
    owns: fn(&[u8]) -> bool,
    counter: Option<&KeyCounter>,
    report: &mut Report,
) -> Result<()> {
    let mut sums = BTreeMap::new();
    for_each(view.reader(), part.tree, KeyRange::all(), |key, stored| {
        if !owns(key) {
            return Ok(());
        }
        report.records += 1;
        // A value counts by its key, also when it can't be read.
        if let Some(counter) = counter {
            match damage((counter.group)(key))? {
                Ok(group) => *sums.entry(keys::counter(counter.number, &group.finish())).or_default() += 1,
                Err(error) => report.violation(ViolationKind::Misplaced, part.tree, key, error.to_string()),
            }
        }
        if let Err(error) = damage(PartReader::in_view(view.reader()).check(part, key, stored))? {
            report.violation(ViolationKind::Unreadable, part.tree, key, error.to_string());
        }
        Ok(())
    })?;
    match counter {
        Some(counter) => verify_sums(view, counter.number, counter.name, &mut sums, 0, report),
        None => Ok(()),
    }
}

/// Finds pieces that no value refers to. Missing ones are found where their value is read. Memory: 20 bytes and their
/// overhead for each value in pieces.
///
/// # Errors
/// As [`verify`].
pub fn verify_pieces(view: &View<'_>, report: &mut Report) -> Result<()> {
    let mut pieces_of = BTreeMap::new();
    for_each_staged(view.reader(), |value_id, pieces| {
        pieces_of.insert(value_id, pieces);
    })?;
    for &tree in Tree::ALL.iter().filter(|tree| !matches!(tree, Tree::Index | Tree::Counter | Tree::Blob)) {
        for_each(view.reader(), tree, KeyRange::all(), |key, stored| {
            // What can't be read is reported by the check of its own kind.
            if let Ok(Some(head)) = codec::read_head(tree, key, stored) {
                pieces_of.insert(head.value_id, head.pieces);
            }
            Ok(())
        })?;
    }
    for_each(view.reader(), Tree::Blob, KeyRange::all(), |key, _| {
        let held = keys::parse_blob(key)
            .is_ok_and(|(value_id, piece)| pieces_of.get(&value_id).is_some_and(|pieces| piece < *pieces));
        if !held {
            report.violation(ViolationKind::PieceOrphaned, Tree::Blob, key, "no value refers to this piece");
        }
        Ok(())
    })
}

/// Sorts what is wrong with one entry (inner) from what stops the sweep (outer).
fn damage<T>(outcome: Result<T>) -> Result<Result<T, Error>> {
    match outcome {
        Err(error) if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => Err(error),
        outcome => Ok(outcome),
    }
}
