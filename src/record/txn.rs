//! The only writer: a transaction over records, single parts and sums.
//!
//! Time is read, and identifiers are drawn, before the body runs, so that a body that runs twice does the same twice.
//!
//! A write that fails half-way (a limit of the engine, a damaged entry) spoils the transaction: it can't be committed
//! even by a body that swallows the error, since indexes and records would then disagree. A refusal that came before
//! anything was written (`AlreadyExists`) spoils nothing.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::Part;
use crate::engine::{Tree, Txn};
use crate::error::{Error, Result};
use crate::keys::{self, KeyWriter};

use super::collection::Snapshot;
use super::fresh::FreshIds;
use super::kind::{Built, Fixed, Kind};
use super::schema::{Entity, Index, IndexPlace};
use super::upkeep::{self, Difference};
use super::value::{PartReader, PartWriter};

/// Reads and writes that are committed together, or not at all.
pub struct Transaction<'t> {
    pub(super) txn: &'t mut dyn Txn,
    pub(super) ids: FreshIds,
    now_ms: u64,
    /// What this body adds to which counter key.
    sums: BTreeMap<Vec<u8>, i128>,
    /// The revision of each record as this body last read or wrote it, by tag and name of its kind and its key.
    seen: HashMap<(u16, &'static str, Vec<u8>), Option<u64>>,
    spoiled: Option<Error>,
    /// The collections that were open when the transaction began.
    pub(super) opened: Snapshot,
}

impl<'t> Transaction<'t> {
    pub(super) fn new(txn: &'t mut dyn Txn, now_ms: u64, base_id: u128, opened: Snapshot) -> Self {
        Transaction {
            txn,
            ids: FreshIds::new(base_id),
            now_ms,
            sums: BTreeMap::new(),
            seen: HashMap::new(),
            spoiled: None,
            opened,
        }
    }

    /// Applies the gathered sums. The last thing that happens before the commit.
    pub(super) fn finish(self) -> Result<()> {
        if let Some(error) = self.spoiled {
            return Err(error);
        }
        for (key, sum) in self.sums {
            let sum = i64::try_from(sum).map_err(|_| Error::invalid("counter: the sum leaves 64 bits"))?;
            if sum != 0 {
                self.txn.add(Tree::Counter, &key, sum)?;
            }
        }
        Ok(())
    }

    /// The time, in milliseconds since the Unix epoch: read once, before the body.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// An identifier that was never given out before; the same each time the body runs.
    pub fn fresh_id(&mut self) -> u128 {
        self.ids.next_id()
    }

    /// The record at `key`, or `None`.
    ///
    /// # Errors
    /// `Corrupt` for damage; `Unsupported` for a newer format.
    pub fn get<R: Entity>(&mut self, key: &[u8]) -> Result<Option<R>> {
        self.get_of(&Fixed::<R>::new(), key)
    }

    /// Writes a new record, as revision 1; answers it as written.
    ///
    /// # Errors
    /// `AlreadyExists` when its key, or its place in a unique index, is taken; `Invalid` past a limit.
    pub fn insert<R: Entity>(&mut self, record: R) -> Result<R> {
        self.expect_absent::<R>(&record.key())?;
        self.write(&Fixed::new(), None, record, Built::WHOLE)
    }

    /// Writes a record whether or not it exists; answers it as written.
    ///
    /// # Errors
    /// `AlreadyExists` when its place in a unique index is taken; `Invalid` past a limit; `Corrupt` when the old one
    /// can't be read, since its index entries could not be removed.
    pub fn put<R: Entity>(&mut self, record: R) -> Result<R> {
        let old = self.get::<R>(&record.key())?;
        self.write(&Fixed::new(), old.as_ref(), record, Built::WHOLE)
    }

    /// Writes `new` over `old`, which this very body got or wrote; answers it as written, one revision on.
    ///
    /// # Errors
    /// `AlreadyExists` when a place in a unique index is taken; `Invalid` past a limit; `Internal` when `old` is not
    /// the record as this body last saw it, or the key changes.
    pub fn update<R: Entity>(&mut self, old: &R, new: R) -> Result<R> {
        self.expect_same(old, &new)?;
        self.write(&Fixed::new(), Some(old), new, Built::WHOLE)
    }

    /// Writes `new` with the revision that it carries, over `old` or, without one, where nothing is: for upkeep that is
    /// no change of the record, and for a record that comes here from another key.
    ///
    /// # Errors
    /// Without `old` as [`Transaction::insert`], with it as [`Transaction::update`].
    pub fn restate<R: Entity>(&mut self, old: Option<&R>, new: R) -> Result<R> {
        match old {
            Some(old) => self.expect_same(old, &new)?,
            None => self.expect_absent::<R>(&new.key())?,
        }
        self.write_as(&Fixed::new(), old, new, Built::WHOLE)
    }

    /// Removes a record, which this very body got or wrote, and everything kept about it.
    ///
    /// # Errors
    /// `Internal` when `old` is not the record as this body last saw it.
    pub fn delete<R: Entity>(&mut self, old: &R) -> Result<()> {
        self.remove(&Fixed::new(), old, Built::WHOLE)
    }

    /// The primary key of the record that holds this place in a unique index.
    ///
    /// # Errors
    /// `Corrupt` for damage; `Internal` when the index is not unique.
    pub fn find_unique<R: Entity>(&mut self, index: &Index<R>, parts: KeyWriter) -> Result<Option<Vec<u8>>> {
        let entry = unique_entry(index.place(), parts)?;
        self.txn.get(Tree::Index, &entry)?.map(|stored| upkeep::read_holder(&entry, &stored)).transpose()
    }

    /// A single value that no index knows, or `None`.
    ///
    /// # Errors
    /// `Corrupt` for damage; `Unsupported` for a newer format.
    pub fn get_part<T: DeserializeOwned>(&mut self, part: Part, key: &[u8]) -> Result<Option<T>> {
        PartReader::in_transaction(self.txn).get(part, key)
    }

    /// Whether there is a value of `part` at `key`; reads no pieces and checks nothing else.
    ///
    /// # Errors
    /// `Invalid` for a key outside its limits.
    pub fn holds_part(&mut self, part: Part, key: &[u8]) -> Result<bool> {
        Ok(self.txn.get(part.tree, key)?.is_some())
    }

    /// Writes a single value that no index knows.
    ///
    /// # Errors
    /// `Invalid` for a value beyond 16 MiB, or past a limit.
    pub fn put_part<T: Serialize>(&mut self, part: Part, key: &[u8], value: &T) -> Result<()> {
        let outcome = PartWriter::new(self.txn, &mut self.ids).put(part, key, value);
        self.settle(outcome)
    }

    /// Removes a single value that no index knows; no error when it is absent.
    ///
    /// # Errors
    /// `Invalid` past a limit.
    pub fn delete_part(&mut self, part: Part, key: &[u8]) -> Result<()> {
        let outcome = PartWriter::new(self.txn, &mut self.ids).delete(part, key);
        self.settle(outcome)
    }

    /// Adds `amount` to one group of the counter with this number, for counts that are not a function of one record.
    /// Applied when the body is done; a sum that leaves 64 bits fails the commit with `Invalid`.
    pub fn add(&mut self, counter: u32, group: KeyWriter, amount: i64) {
        *self.sums.entry(keys::counter(counter, &group.finish())).or_default() += i128::from(amount);
    }

    /// The record of this kind at `key`, or `None`.
    pub(super) fn get_of<K: Kind>(&mut self, kind: &K, key: &[u8]) -> Result<Option<K::Record>> {
        let record = kind.load(key, &mut PartReader::in_transaction(self.txn))?;
        self.saw(kind, key, record.as_ref());
        Ok(record)
    }

    /// Writes `new` and the difference to `old`, one revision on.
    pub(super) fn write<K: Kind>(
        &mut self,
        kind: &K,
        old: Option<&K::Record>,
        mut new: K::Record,
        built: Built,
    ) -> Result<K::Record> {
        kind.set_revision(&mut new, old.map_or(0, |old| kind.revision(old)).saturating_add(1));
        self.write_as(kind, old, new, built)
    }

    /// Writes `new` as it is, and the difference to `old`. Everything that can be refused is looked at before the first
    /// write.
    fn write_as<K: Kind>(
        &mut self,
        kind: &K,
        old: Option<&K::Record>,
        new: K::Record,
        built: Built,
    ) -> Result<K::Record> {
        let key = kind.key(&new);
        let difference = Difference::between(kind, &key, old, Some(&new), built)?;
        difference.check_unique(kind.name(), self.txn)?;
        let saved = kind.save(&new, old, &mut PartWriter::new(self.txn, &mut self.ids));
        let applied = saved.and_then(|()| difference.apply(self.txn));
        self.settle(applied)?;
        self.count(difference);
        self.saw(kind, &key, Some(&new));
        Ok(new)
    }

    /// Writes the entries and sums of a record that is stored, for a kind that has none of them yet.
    pub(super) fn derive<K: Kind>(&mut self, kind: &K, record: &K::Record) -> Result<()> {
        let difference = Difference::between(kind, &kind.key(record), None, Some(record), Built::WHOLE)?;
        difference.check_unique(kind.name(), self.txn)?;
        let applied = difference.apply(self.txn);
        self.settle(applied)?;
        self.count(difference);
        Ok(())
    }

    /// Removes `old`, which this very body got or wrote, and everything kept about it.
    pub(super) fn remove<K: Kind>(&mut self, kind: &K, old: &K::Record, built: Built) -> Result<()> {
        self.expect_seen(kind, old)?;
        let key = kind.key(old);
        let difference = Difference::between(kind, &key, Some(old), None, built)?;
        let erased = kind.erase(old, &mut PartWriter::new(self.txn, &mut self.ids));
        let applied = erased.and_then(|()| difference.apply(self.txn));
        self.settle(applied)?;
        self.count(difference);
        self.saw(kind, &key, None);
        Ok(())
    }

    fn count(&mut self, difference: Difference) {
        for (key, sum) in difference.sums {
            *self.sums.entry(key).or_default() += sum;
        }
    }

    /// Remembers the first failure of a write: what it had written by then is not whole.
    pub(super) fn settle<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let (Err(error), None) = (&outcome, &self.spoiled) {
            self.spoiled = Some(error.clone());
        }
        outcome
    }

    fn saw<K: Kind>(&mut self, kind: &K, key: &[u8], record: Option<&K::Record>) {
        self.seen.insert((kind.part().tag, kind.name(), key.to_vec()), record.map(|record| kind.revision(record)));
    }

    fn expect_absent<R: Entity>(&mut self, key: &[u8]) -> Result<()> {
        match self.get::<R>(key)? {
            Some(_) => Err(Error::already_exists(format!("{} `{}` exists", R::schema().name, key.escape_ascii()))),
            None => Ok(()),
        }
    }

    /// `new` must take the place of `old`, which this body has read or written.
    fn expect_same<R: Entity>(&self, old: &R, new: &R) -> Result<()> {
        self.expect_seen(&Fixed::new(), old)?;
        if old.key() != new.key() {
            let (old, new) = (old.key(), new.key());
            return Err(Error::internal(format!("key `{}` became `{}`", old.escape_ascii(), new.escape_ascii())));
        }
        Ok(())
    }

    /// A stale `old` would leave its successor's index entries behind for ever.
    fn expect_seen<K: Kind>(&self, kind: &K, old: &K::Record) -> Result<()> {
        let key = kind.key(old);
        match self.seen.get(&(kind.part().tag, kind.name(), key.clone())) {
            Some(Some(revision)) if *revision == kind.revision(old) => Ok(()),
            _ => Err(Error::internal(format!(
                "{} `{}`: revision {} is not the one that this transaction read",
                kind.name(),
                key.escape_ascii(),
                kind.revision(old)
            ))),
        }
    }
}

/// The key of an entry of a unique index.
pub(super) fn unique_entry(index: IndexPlace, parts: KeyWriter) -> Result<Vec<u8>> {
    if !index.unique {
        return Err(Error::internal(format!("index {} is not unique", index.name)));
    }
    keys::index_entry(index.number, &parts.finish(), None)
}
