//! What is wrong with one record, or with one index entry. The same questions are asked of a view, where the answer is
//! a finding, and inside a transaction, where it decides about a write: repair never changes what it has not found
//! wrong in the very transaction that changes it.

use crate::engine::{KEY_BYTES_MAX, Tree};
use crate::error::{ErrorKind, Result};

use super::super::schema::{Entity, Index};
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

/// Looks at the record at `key`.
pub(crate) fn row<R: Entity>(parts: &mut PartReader<'_>, key: &[u8]) -> Result<Row<R>> {
    let schema = R::schema();
    let bad = |kind, detail| Ok(Row::Bad(Fault { kind, detail }));
    match damage(R::load(key, parts))? {
        Ok(Some(record)) if record.key() == key => Ok(Row::Whole(record)),
        Ok(Some(record)) => {
            bad(ViolationKind::Misplaced, format!("{} of key `{}`", schema.name, record.key().escape_ascii()))
        }
        Ok(None) if parts.stored(schema.primary.tree, key)?.is_none() => Ok(Row::Absent),
        Ok(None) => bad(ViolationKind::Unreadable, format!("{} is not whole", schema.name)),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            Ok(Row::Newer(Fault { kind: ViolationKind::Unreadable, detail: error.to_string() }))
        }
        Err(error) => bad(ViolationKind::Unreadable, error.to_string()),
    }
}

/// The entries that `record` asks for and does not have.
pub(crate) fn missing_entries<R: Entity>(
    parts: &mut PartReader<'_>,
    record: &R,
    key: &[u8],
) -> Result<Vec<MissingEntry>> {
    let mut missing = Vec::new();
    for index in R::schema().indexes {
        for entry in index.entry_keys(record, key)? {
            let of = || format!("index {} of {} `{}`", index.name, R::schema().name, key.escape_ascii());
            let fault = match parts.stored(Tree::Index, &entry)? {
                None => Fault { kind: ViolationKind::EntryMissing, detail: of() },
                Some(stored) if !upkeep::is_entry_of(index, &entry, key, &stored) => Fault {
                    kind: ViolationKind::EntryWrong,
                    detail: format!("{} leads elsewhere, or is damaged", of()),
                },
                Some(_) => continue,
            };
            missing.push(MissingEntry { key: entry, unique: index.unique, fault });
        }
    }
    Ok(missing)
}

/// What is wrong with an entry of `index`, seen from the record that it leads to. An entry of a record that can't be
/// read is not judged: what that record asks for is unknown.
pub(crate) fn entry_fault<R: Entity>(
    parts: &mut PartReader<'_>,
    index: &Index<R>,
    entry: &[u8],
    stored: &[u8],
) -> Result<Option<Fault>> {
    let read = match damage(read_entry(index, entry.to_vec(), stored))? {
        Ok(read) => read,
        Err(error) => return Ok(Some(Fault { kind: ViolationKind::EntryWrong, detail: error.to_string() })),
    };
    let unexpected = |found: &str| {
        let detail = format!("index {}: {} `{}` {found}", index.name, R::schema().name, read.primary.escape_ascii());
        Ok(Some(Fault { kind: ViolationKind::EntryUnexpected, detail }))
    };
    if read.primary.is_empty() || read.primary.len() > KEY_BYTES_MAX {
        return unexpected("can be no key");
    }
    match row::<R>(parts, &read.primary)? {
        Row::Absent => unexpected("does not exist"),
        Row::Whole(record) => {
            // One that is asked for and holds the wrong value is found from the record's side.
            let asked_for = index.entry_keys(&record, &read.primary)?.iter().any(|asked| asked == entry);
            if asked_for { Ok(None) } else { unexpected("does not ask for it") }
        }
        Row::Bad(_) | Row::Newer(_) => Ok(None),
    }
}
