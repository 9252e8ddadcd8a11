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

use super::fresh::FreshIds;
use super::schema::{Entity, Index};
use super::upkeep::{self, Difference};
use super::value::{PartReader, PartWriter};

/// Reads and writes that are committed together, or not at all.
pub struct Transaction<'t> {
    pub(super) txn: &'t mut dyn Txn,
    pub(super) ids: FreshIds,
    now_ms: u64,
    /// What this body adds to which counter key.
    sums: BTreeMap<Vec<u8>, i128>,
    /// The revision of each record as this body last read or wrote it, by tag of its primary part and key.
    seen: HashMap<(u16, Vec<u8>), Option<u64>>,
    spoiled: Option<Error>,
}

impl<'t> Transaction<'t> {
    pub(super) fn new(txn: &'t mut dyn Txn, now_ms: u64, base_id: u128) -> Self {
        Transaction {
            txn,
            ids: FreshIds::new(base_id),
            now_ms,
            sums: BTreeMap::new(),
            seen: HashMap::new(),
            spoiled: None,
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
        let record = R::load(key, &mut PartReader::in_transaction(self.txn))?;
        self.saw::<R>(key, record.as_ref());
        Ok(record)
    }

    /// Writes a new record, as revision 1; answers it as written.
    ///
    /// # Errors
    /// `AlreadyExists` when its key, or its place in a unique index, is taken; `Invalid` past a limit.
    pub fn insert<R: Entity>(&mut self, record: R) -> Result<R> {
        self.expect_absent::<R>(&record.key())?;
        self.write(None, record)
    }

    /// Writes a record whether or not it exists; answers it as written.
    ///
    /// # Errors
    /// `AlreadyExists` when its place in a unique index is taken; `Invalid` past a limit; `Corrupt` when the old one
    /// can't be read, since its index entries could not be removed.
    pub fn put<R: Entity>(&mut self, record: R) -> Result<R> {
        let old = self.get::<R>(&record.key())?;
        self.write(old.as_ref(), record)
    }

    /// Writes `new` over `old`, which this very body got or wrote; answers it as written, one revision on.
    ///
    /// # Errors
    /// `AlreadyExists` when a place in a unique index is taken; `Invalid` past a limit; `Internal` when `old` is not
    /// the record as this body last saw it, or the key changes.
    pub fn update<R: Entity>(&mut self, old: &R, new: R) -> Result<R> {
        self.expect_same(old, &new)?;
        self.write(Some(old), new)
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
        self.write_as(old, new)
    }

    /// Removes a record, which this very body got or wrote, and everything kept about it.
    ///
    /// # Errors
    /// `Internal` when `old` is not the record as this body last saw it.
    pub fn delete<R: Entity>(&mut self, old: &R) -> Result<()> {
        self.expect_seen(old)?;
        let key = old.key();
        let difference = Difference::between(&key, Some(old), None)?;
        let erased = old.erase(&mut PartWriter::new(self.txn, &mut self.ids));
        let applied = erased.and_then(|()| difference.apply(self.txn));
        self.settle(applied)?;
        self.count(difference);
        self.saw::<R>(&key, None);
        Ok(())
    }

    /// The primary key of the record that holds this place in a unique index.
    ///
    /// # Errors
    /// `Corrupt` for damage; `Internal` when the index is not unique.
    pub fn find_unique<R: Entity>(&mut self, index: &Index<R>, parts: KeyWriter) -> Result<Option<Vec<u8>>> {
        let entry = unique_entry(index, parts)?;
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

    /// Writes `new` and the difference to `old`, one revision on.
    fn write<R: Entity>(&mut self, old: Option<&R>, mut new: R) -> Result<R> {
        new.set_revision(old.map_or(0, R::revision).saturating_add(1));
        self.write_as(old, new)
    }

    /// Writes `new` as it is, and the difference to `old`. Everything that can be refused is looked at before the first
    /// write.
    fn write_as<R: Entity>(&mut self, old: Option<&R>, new: R) -> Result<R> {
        let key = new.key();
        let difference = Difference::between(&key, old, Some(&new))?;
        difference.check_unique(R::schema().name, self.txn)?;
        let saved = new.save(old, &mut PartWriter::new(self.txn, &mut self.ids));
        let applied = saved.and_then(|()| difference.apply(self.txn));
        self.settle(applied)?;
        self.count(difference);
        self.saw(&key, Some(&new));
        Ok(new)
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

    fn saw<R: Entity>(&mut self, key: &[u8], record: Option<&R>) {
        self.seen.insert((R::schema().primary.tag, key.to_vec()), record.map(R::revision));
    }

    fn expect_absent<R: Entity>(&mut self, key: &[u8]) -> Result<()> {
        match self.get::<R>(key)? {
            Some(_) => Err(Error::already_exists(format!("{} `{}` exists", R::schema().name, key.escape_ascii()))),
            None => Ok(()),
        }
    }

    /// `new` must take the place of `old`, which this body has read or written.
    fn expect_same<R: Entity>(&self, old: &R, new: &R) -> Result<()> {
        self.expect_seen(old)?;
        if old.key() != new.key() {
            let (old, new) = (old.key(), new.key());
            return Err(Error::internal(format!("key `{}` became `{}`", old.escape_ascii(), new.escape_ascii())));
        }
        Ok(())
    }

    /// A stale `old` would leave its successor's index entries behind for ever.
    fn expect_seen<R: Entity>(&self, old: &R) -> Result<()> {
        let key = old.key();
        let name = R::schema().name;
        match self.seen.get(&(R::schema().primary.tag, key.clone())) {
            Some(Some(revision)) if *revision == old.revision() => Ok(()),
            _ => Err(Error::internal(format!(
                "{name} `{}`: revision {} is not the one that this transaction read",
                key.escape_ascii(),
                old.revision()
            ))),
        }
    }
}

/// The key of an entry of a unique index.
pub(super) fn unique_entry<R>(index: &Index<R>, parts: KeyWriter) -> Result<Vec<u8>> {
    if !index.unique {
        return Err(Error::internal(format!("index {} is not unique", index.name)));
    }
    keys::index_entry(index.number, &parts.finish(), None)
}
