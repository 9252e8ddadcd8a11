//! What a record is, and what is kept about it: indexes and counters as pure functions of the record.
//!
//! The functions run on the old and the new record of every write, and only the difference is applied. So they look
//! at nothing but the record: an entry that also depended on the clock could never be found again to be removed.

use std::collections::BTreeMap;

use crate::codec::Part;
use crate::engine::KEY_BYTES_MAX;
use crate::error::{Error, Result};
use crate::keys::{self, KeyWriter};

use super::value::{PartReader, PartWriter};

/// A typed record: one or more stored parts under one primary key.
///
/// A record of one part loads, saves and erases it: `parts.get(PART, key)`, `parts.put(PART, &self.key(), self)`,
/// `parts.delete(PART, &self.key())`. A job is a record of two (the job and its claim), and its indexes and counters
/// are functions of the pair.
pub trait Entity: Clone + Sized + 'static {
    /// Its indexes, its counters, and where its kind is found.
    fn schema() -> &'static Schema<Self>;

    /// The primary key, as index entries carry it. It never changes.
    fn key(&self) -> Vec<u8>;

    /// How often it was written: 1 after the first time.
    fn revision(&self) -> u64;

    /// Called by [`Transaction`](super::Transaction) alone, with each write.
    fn set_revision(&mut self, revision: u64);

    /// What the record says that can't be so, or `None`. Verify reports it, and repair sets the record aside.
    fn contradiction(&self) -> Option<String> {
        None
    }

    /// The record at `key`, or `None`.
    ///
    /// # Errors
    /// As [`PartReader::get`].
    fn load(key: &[u8], parts: &mut PartReader<'_>) -> Result<Option<Self>>;

    /// Writes those parts that differ from `old`, all of them when there is none.
    ///
    /// # Errors
    /// As [`PartWriter::put`].
    fn save(&self, old: Option<&Self>, parts: &mut PartWriter<'_>) -> Result<()>;

    /// Removes every part.
    ///
    /// # Errors
    /// As [`PartWriter::delete`].
    fn erase(&self, parts: &mut PartWriter<'_>) -> Result<()>;
}

/// What is kept about one kind of record.
pub struct Schema<R: 'static> {
    /// Its name in messages: `model`, `job`.
    pub name: &'static str,
    /// The part whose tree and keys list every record of the kind.
    pub primary: Part,
    /// Whether a key of that tree is such a record's primary key.
    pub owns: fn(&[u8]) -> bool,
    /// Its indexes.
    pub indexes: &'static [Index<R>],
    /// Its counters.
    pub counters: &'static [Counter<R>],
}

/// An ordered index over one kind of record.
pub struct Index<R: 'static> {
    /// Given out once, in `record/catalog.rs`.
    pub number: u32,
    /// Its name in messages.
    pub name: &'static str,
    /// Whether two records may have the same entry.
    pub unique: bool,
    /// The record's entries: none for a record that the index leaves out.
    pub entries: fn(&R, &mut Entries),
}

/// Sums over one kind of record, by group.
pub struct Counter<R: 'static> {
    /// Given out once, in `record/catalog.rs`.
    pub number: u32,
    /// Its name in messages.
    pub name: &'static str,
    /// What the record adds to which group.
    pub sums: fn(&R, &mut Sums),
}

/// Collects the entries of one record in one index.
#[derive(Debug, Default)]
pub struct Entries(Vec<Vec<u8>>);

impl Entries {
    /// One more entry. The same one twice counts once.
    pub fn push(&mut self, parts: KeyWriter) {
        self.0.push(parts.finish());
    }
}

/// Collects what one record adds to one counter.
#[derive(Debug, Default)]
pub struct Sums(Vec<(Vec<u8>, i64)>);

impl Sums {
    /// Adds `amount` to `group`.
    pub fn add(&mut self, group: KeyWriter, amount: i64) {
        self.0.push((group.finish(), amount));
    }
}

/// An index as upkeep sees it, whoever declared it.
pub(crate) struct IndexRef<'a, R> {
    pub(crate) place: IndexPlace,
    /// Under construction: it holds some of the records.
    pub(crate) building: bool,
    pub(crate) entries: &'a dyn Fn(&R, &mut Entries),
}

/// Where an index lies, and how its entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexPlace {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) unique: bool,
}

/// A counter as upkeep sees it, whoever declared it.
pub(crate) struct CounterRef<'a, R> {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    /// Under construction: it counts some of the records.
    pub(crate) building: bool,
    pub(crate) sums: &'a dyn Fn(&R, &mut Sums),
}

impl<R> Index<R> {
    pub(crate) fn place(&self) -> IndexPlace {
        IndexPlace { number: self.number, name: self.name, unique: self.unique }
    }

    pub(super) fn by_ref(&self) -> IndexRef<'_, R> {
        IndexRef { place: self.place(), building: false, entries: &self.entries }
    }
}

impl<R> Counter<R> {
    pub(super) fn by_ref(&self) -> CounterRef<'_, R> {
        CounterRef { number: self.number, name: self.name, building: false, sums: &self.sums }
    }
}

impl<R> IndexRef<'_, R> {
    /// The entry keys of `record`, in order and without repetition.
    ///
    /// # Errors
    /// `Invalid`, naming the index, for an entry that is no key for an engine.
    pub(crate) fn entry_keys(&self, record: &R, primary: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut entries = Entries::default();
        (self.entries)(record, &mut entries);
        let IndexPlace { number, name, unique } = self.place;
        let primary = (!unique).then_some(primary);
        let mut entry_keys = Vec::with_capacity(entries.0.len());
        for parts in &entries.0 {
            let entry = keys::index_entry(number, parts, primary)?;
            check_room("index", name, entry.len())?;
            entry_keys.push(entry);
        }
        entry_keys.sort_unstable();
        entry_keys.dedup();
        Ok(entry_keys)
    }
}

impl<R> CounterRef<'_, R> {
    /// Adds `sign` times what `record` counts for to `sums`, by counter key. 128 bits hold any number of `i64`s that
    /// memory can hold.
    ///
    /// # Errors
    /// `Invalid`, naming the counter, for a group that is no key for an engine.
    pub(crate) fn add_to(&self, record: &R, sign: i128, sums: &mut BTreeMap<Vec<u8>, i128>) -> Result<()> {
        let mut collected = Sums::default();
        (self.sums)(record, &mut collected);
        for (group, amount) in collected.0 {
            let key = keys::counter(self.number, &group);
            check_room("counter", self.name, key.len())?;
            *sums.entry(key).or_default() += sign * i128::from(amount);
        }
        Ok(())
    }
}

/// Refused before anything is written: an engine would refuse it half-way.
fn check_room(what: &str, name: &str, bytes: usize) -> Result<()> {
    if bytes > KEY_BYTES_MAX {
        return Err(Error::invalid(format!(
            "{what} {name}: the record's values take {bytes} bytes there, at most {KEY_BYTES_MAX} fit"
        )));
    }
    Ok(())
}
