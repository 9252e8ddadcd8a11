//! What is wrong with one record, or with one index entry. The same questions are asked of a view, where the answer is
//! a finding, and inside a transaction, where it decides about a write: repair never changes what it has not found
//! wrong in the very transaction that changes it.

use crate::engine::{KEY_BYTES_MAX, Tree};
use crate::error::{ErrorKind, Result};

use super::super::kind::Kind;
use super::super::schema::{IndexPlace, IndexRef};
use super::super::upkeep;
use super::super::value::PartReader;
use super::super::view::read_entry;
use super::{ViolationKind, damage};

/// What is wrong with something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: ViolationKind,
    /// For people: what was expected, what was found.
    pub(crate) detail: String,
}

/// What stands at a record's key.
#[derive(Debug)]
pub(crate) enum Row<R> {
    /// Nothing.
    Absent,
    /// A record of this key.
    Whole(R),
    /// Something that is no record of this key, and never will be.
    Bad(Fault),
    /// Something that a newer build wrote. It is not damaged; this build only can't read it.
    Newer(Fault),
}

/// An index entry that a record asks for and that is not there as it should be.
pub(crate) struct MissingEntry {
    pub(crate) key: Vec<u8>,
    pub(crate) unique: bool,
    pub(crate) fault: Fault,
}

/// Looks at the record at the primary key `key`. Something that stands at `stored_key` and is no whole record is a bad
/// one; without a `stored_key` it is none.
pub(crate) fn row<K: Kind>(
    kind: &K,
    parts: &mut PartReader<'_>,
    key: &[u8],
    stored_key: Option<&[u8]>,
) -> Result<Row<K::Record>> {
    let name = kind.name();
    let bad = |kind, detail| Ok(Row::Bad(Fault { kind, detail }));
    match damage(kind.load(key, parts))? {
        Ok(Some(record)) if kind.key(&record) != key => {
            let found = kind.key(&record);
            bad(ViolationKind::Misplaced, format!("{name} of key `{}`", found.escape_ascii()))
        }
        Ok(Some(record)) => match kind.contradiction(&record) {
            Some(what) => bad(ViolationKind::Contradictory, format!("{name} `{}`: {what}", key.escape_ascii())),
            None => Ok(Row::Whole(record)),
        },
        Ok(None) => match stored_key {
            Some(stored_key) if parts.stored(kind.part().tree, stored_key)?.is_some() => {
                bad(ViolationKind::Unreadable, format!("{name} is not whole"))
            }
            _ => Ok(Row::Absent),
        },
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            Ok(Row::Newer(Fault { kind: ViolationKind::Unreadable, detail: error.to_string() }))
        }
        Err(error) => bad(ViolationKind::Unreadable, error.to_string()),
    }
}

/// The entries that `record` asks for and does not have. With `building`, those in indexes under construction too.
pub(crate) fn missing_entries<K: Kind>(
    kind: &K,
    parts: &mut PartReader<'_>,
    record: &K::Record,
    key: &[u8],
    building: bool,
) -> Result<Vec<MissingEntry>> {
    let mut missing = Vec::new();
    for index in kind.indexes().filter(|index| building || !index.building) {
        for entry in index.entry_keys(record, key)? {
            let IndexPlace { name, unique, .. } = index.place;
            let of = || format!("index {name} of {} `{}`", kind.name(), key.escape_ascii());
            let fault = match parts.stored(Tree::Index, &entry)? {
                None => Fault { kind: ViolationKind::EntryMissing, detail: of() },
                Some(stored) if !upkeep::is_entry_of(index.place, &entry, key, &stored) => Fault {
                    kind: ViolationKind::EntryWrong,
                    detail: format!("{} leads elsewhere, or is damaged", of()),
                },
                Some(_) => continue,
            };
            missing.push(MissingEntry { key: entry, unique, fault });
        }
    }
    Ok(missing)
}

/// What is wrong with an entry of `index`, seen from the record that it leads to. An entry of a record that can't be
/// read is not judged: what that record asks for is unknown. `holds` says whether the index holds the record of a
/// primary key: one under construction does not hold all of them yet.
pub(crate) fn entry_fault<K: Kind>(
    kind: &K,
    parts: &mut PartReader<'_>,
    index: &IndexRef<'_, K::Record>,
    entry: &[u8],
    stored: &[u8],
    holds: impl FnOnce(&[u8]) -> Result<bool>,
) -> Result<Option<Fault>> {
    let read = match damage(read_entry(index.place, entry.to_vec(), stored))? {
        Ok(read) => read,
        Err(error) => return Ok(Some(Fault { kind: ViolationKind::EntryWrong, detail: error.to_string() })),
    };
    let primary = &read.primary;
    let unexpected = |found: &str| {
        let detail = format!("index {}: {} `{}` {found}", index.place.name, kind.name(), primary.escape_ascii());
        Ok(Some(Fault { kind: ViolationKind::EntryUnexpected, detail }))
    };
    if primary.is_empty() || primary.len() > KEY_BYTES_MAX {
        return unexpected("can be no key");
    }
    match row(kind, parts, primary, None)? {
        Row::Absent => unexpected("does not exist"),
        Row::Whole(_) if !holds(primary)? => unexpected("is not in it yet"),
        Row::Whole(record) => {
            // One that is asked for and holds the wrong value is found from the record's side.
            let asked_for = index.entry_keys(&record, primary)?.iter().any(|asked| asked == entry);
            if asked_for { Ok(None) } else { unexpected("does not ask for it") }
        }
        Row::Bad(_) | Row::Newer(_) => Ok(None),
    }
}
