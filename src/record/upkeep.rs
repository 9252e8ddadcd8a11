//! The upkeep of one write: what changes in indexes and counters when `old` becomes `new`, and nothing else.
//!
//! Entries that both have are not written again. The sums of a counter are gathered by the transaction and applied
//! when its body is done, one `add` a key.

use std::collections::BTreeMap;

use crate::codec;
use crate::engine::{Tree, Txn, Value};
use crate::error::{Error, Result};

use super::catalog::UNIQUE_ENTRY;
use super::kind::{Built, Kind};
use super::schema::IndexPlace;
use crate::codec::Bytes;

/// The difference between two states of one record.
pub(super) struct Difference {
    primary: Vec<u8>,
    removed: Vec<Entry>,
    added: Vec<Entry>,
    pub(super) sums: BTreeMap<Vec<u8>, i128>,
}

struct Entry {
    index_name: &'static str,
    unique: bool,
    key: Vec<u8>,
}

impl Difference {
    /// What has to change when `old` becomes `new` at the primary key `primary`.
    ///
    /// # Errors
    /// `Invalid` for values that leave no room in an index or a counter.
    pub(super) fn between<K: Kind>(
        kind: &K,
        primary: &[u8],
        old: Option<&K::Record>,
        new: Option<&K::Record>,
        built: Built,
    ) -> Result<Self> {
        let mut difference =
            Difference { primary: primary.to_vec(), removed: Vec::new(), added: Vec::new(), sums: BTreeMap::new() };
        for index in kind.indexes() {
            let entries = |record: Option<&K::Record>, held: bool| match record {
                Some(record) if held || !index.building => index.entry_keys(record, primary),
                _ => Ok(Vec::new()),
            };
            let (before, after) = (entries(old, built.old)?, entries(new, built.new)?);
            let IndexPlace { name, unique, .. } = index.place;
            let entry = |key: &Vec<u8>| Entry { index_name: name, unique, key: key.clone() };
            // Both are sorted.
            difference.removed.extend(before.iter().filter(|key| after.binary_search(key).is_err()).map(entry));
            difference.added.extend(after.iter().filter(|key| before.binary_search(key).is_err()).map(entry));
        }
        for counter in kind.counters() {
            if let Some(old) = old.filter(|_| built.old || !counter.building) {
                counter.add_to(old, -1, &mut difference.sums)?;
            }
            if let Some(new) = new.filter(|_| built.new || !counter.building) {
                counter.add_to(new, 1, &mut difference.sums)?;
            }
        }
        Ok(difference)
    }

    /// Refuses a difference that would give a unique entry to a second record. Writes nothing.
    ///
    /// # Errors
    /// `AlreadyExists`, naming the index and the holder.
    pub(super) fn check_unique(&self, record_name: &str, txn: &mut dyn Txn) -> Result<()> {
        for entry in self.added.iter().filter(|entry| entry.unique) {
            let Some(holder) = txn.get(Tree::Index, &entry.key)? else { continue };
            let holder = read_holder(&entry.key, &holder)?;
            if holder != self.primary {
                return Err(Error::already_exists(format!(
                    "{record_name} `{}`: `{}` holds its place in the unique index {}",
                    self.primary.escape_ascii(),
                    holder.escape_ascii(),
                    entry.index_name
                )));
            }
        }
        Ok(())
    }

    /// Writes the entries that changed.
    pub(super) fn apply(&self, txn: &mut dyn Txn) -> Result<()> {
        for entry in &self.removed {
            txn.delete(Tree::Index, &entry.key)?;
        }
        for entry in &self.added {
            txn.put(Tree::Index, &entry.key, entry_value(entry.unique, &entry.key, &self.primary)?)?;
        }
        Ok(())
    }
}

/// What is stored at an index entry: nothing for a plain one, whose key says it all.
pub(super) fn entry_value(unique: bool, entry: &[u8], primary: &[u8]) -> Result<Value> {
    if !unique {
        return Ok(Value::from([]));
    }
    codec::encode(UNIQUE_ENTRY, entry, &Bytes(primary.to_vec())).map(Value::from)
}

/// The primary key stored at the entry of a unique index.
pub(super) fn read_holder(entry: &[u8], stored: &[u8]) -> Result<Vec<u8>> {
    codec::decode::<Bytes>(UNIQUE_ENTRY, entry, stored).map(|primary| primary.0)
}

/// Whether `stored` is what upkeep writes at this entry for this record.
pub(super) fn is_entry_of(index: IndexPlace, entry: &[u8], primary: &[u8], stored: &[u8]) -> bool {
    if index.unique { read_holder(entry, stored).is_ok_and(|holder| holder == primary) } else { stored.is_empty() }
}
