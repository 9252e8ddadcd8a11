//! A collection inside a transaction: the verbs that name their records by key.
//!
//! Lists need a scan, and a transaction names its keys, so they stay outside: list first, then get again and decide
//! inside.

use std::borrow::Borrow;
use std::sync::Arc;

use super::definition::{Build, build_key, definition_key, late_key};
use super::layout::{Layout, Opened, moved_on};
use super::opened::Snapshot;
use super::ordered::Ordered;
use super::record::{Record, Row};
use crate::engine::Tree;
use crate::error::{Error, Result};
use crate::record::kind::Built;
use crate::record::value::PartReader;
use crate::record::{Transaction, catalog};

/// One collection inside a transaction.
pub struct CollectionTxn<'a, 't, T> {
    pub(super) txn: &'a mut Transaction<'t>,
    pub(super) layout: Arc<Layout<T>>,
}

impl<'t> Transaction<'t> {
    /// The collection of `T` inside this transaction. It was opened on the store before.
    ///
    /// # Errors
    /// `Invalid` when this process has not opened it; `Conflict` when it was opened again with another definition.
    pub fn collection<T: Record>(&mut self) -> Result<CollectionTxn<'_, 't, T>> {
        let opened = opened_layout::<T>(&self.opened)?;
        let stored = self.txn.get(Tree::Meta, &definition_key(T::COLLECTION))?;
        let layout = opened.current(stored, &mut PartReader::in_transaction(self.txn))?;
        Ok(CollectionTxn { txn: self, layout })
    }
}

/// The layout that the collection of `T` had when it was last looked at.
pub(super) fn opened_layout<T: Record>(opened: &Snapshot) -> Result<Arc<Layout<T>>> {
    let Some(opened) = opened.get(T::COLLECTION) else {
        let name = T::COLLECTION;
        return Err(Error::invalid(format!("collection {name}: open it on the store before it is used")));
    };
    opened.as_any().downcast_ref::<Opened<T>>().map(|opened| Arc::clone(&opened.0)).ok_or_else(moved_on::<T>)
}

/// Where a record stands to what is under construction, and what becomes of its mark as a late one.
struct Standing {
    built: Built,
    late: Late,
}

enum Late {
    Stays,
    Put,
    Removed,
}

impl<T: Record> CollectionTxn<'_, '_, T> {
    /// The record at `key`, or `None`.
    ///
    /// # Errors
    /// `Corrupt` for damage; `Unsupported` for a record of a version that this build can't read.
    pub fn get<Q>(&mut self, key: &Q) -> Result<Option<Row<T>>>
    where
        T::Key: Borrow<Q>,
        Q: Ordered + ?Sized,
    {
        self.txn.get_of(&*self.layout, &Layout::<T>::key_bytes(key)?)
    }

    /// Writes a new record; answers it as revision 1.
    ///
    /// # Errors
    /// `AlreadyExists` when its key, or a place in a unique index, is taken; `Invalid` past a limit.
    pub fn insert(&mut self, record: T) -> Result<Row<T>> {
        self.write(record, |old, key| match old {
            Some(_) => Err(Error::already_exists(format!("{} `{}` exists", T::COLLECTION, key.escape_ascii()))),
            None => Ok(()),
        })
    }

    /// Writes a record whether or not it exists; answers it with its new revision.
    ///
    /// # Errors
    /// `AlreadyExists` when a place in a unique index is taken; `Invalid` past a limit; `Corrupt` when the old one
    /// can't be read.
    pub fn save(&mut self, record: T) -> Result<Row<T>> {
        self.write(record, |_, _| Ok(()))
    }

    /// Writes a record over its revision `expected`; answers it with its new revision.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when another revision is stored; otherwise as [`CollectionTxn::save`].
    pub fn update(&mut self, record: T, expected: u64) -> Result<Row<T>> {
        self.write(record, |old, key| check_revision::<T>(old, key, expected))
    }

    /// Removes the record at `key`; answers whether there was one.
    ///
    /// # Errors
    /// `Invalid` past a limit; `Corrupt` when it can't be read, since its index entries could not be removed.
    pub fn delete<Q>(&mut self, key: &Q) -> Result<bool>
    where
        T::Key: Borrow<Q>,
        Q: Ordered + ?Sized,
    {
        self.remove(&Layout::<T>::key_bytes(key)?, |old, _| Ok(old.is_some()))
    }

    /// Removes the record at `key` if it is of the revision `expected`.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when another revision is stored; otherwise as [`CollectionTxn::delete`].
    pub fn delete_revision<Q>(&mut self, key: &Q, expected: u64) -> Result<()>
    where
        T::Key: Borrow<Q>,
        Q: Ordered + ?Sized,
    {
        let key = Layout::<T>::key_bytes(key)?;
        self.remove(&key, |old, key| check_revision::<T>(old, key, expected).map(|()| true)).map(|_| ())
    }

    /// Removes the record at the encoded `key` if `decide` says so; answers whether.
    pub(super) fn remove(
        &mut self,
        key: &[u8],
        decide: impl FnOnce(Option<&Row<T>>, &[u8]) -> Result<bool>,
    ) -> Result<bool> {
        let old = self.txn.get_of(&*self.layout, key)?;
        let wanted = decide(old.as_ref(), key)?;
        let Some(old) = old.filter(|_| wanted) else { return Ok(false) };
        let standing = self.standing(key, false)?;
        self.txn.remove(&*self.layout, &old, standing.built)?;
        self.mark(key, &standing.late)?;
        Ok(true)
    }

    fn write(&mut self, record: T, check: impl FnOnce(Option<&Row<T>>, &[u8]) -> Result<()>) -> Result<Row<T>> {
        let key = Layout::<T>::key_bytes(&record.key())?;
        let old = self.txn.get_of(&*self.layout, &key)?;
        check(old.as_ref(), &key)?;
        let standing = self.standing(&key, old.is_none())?;
        let row = self.txn.write(&*self.layout, old.as_ref(), Row { record, revision: 0 }, standing.built)?;
        self.mark(&key, &standing.late)?;
        Ok(row)
    }

    /// What is under construction leaves records that it has not reached alone: it will come to them. A record that is
    /// inserted there gets a mark, since the scan that is under way may have passed its place.
    fn standing(&mut self, key: &[u8], inserts: bool) -> Result<Standing> {
        if !self.layout.definition.is_building() {
            return Ok(Standing { built: Built::WHOLE, late: Late::Stays });
        }
        let build = self.txn.get_part::<Build>(catalog::COLLECTION_BUILD, &build_key(T::COLLECTION))?;
        if !build.unwrap_or(Build::FIRST).position.covers(key) {
            let late = if inserts { Late::Put } else { Late::Stays };
            return Ok(Standing { built: Built { old: false, new: false }, late });
        }
        let is_late = self.txn.holds_part(catalog::COLLECTION_LATE, &self.late_key(key))?;
        let late = if is_late { Late::Removed } else { Late::Stays };
        Ok(Standing { built: Built { old: !is_late, new: true }, late })
    }

    fn mark(&mut self, key: &[u8], late: &Late) -> Result<()> {
        let late_key = self.late_key(key);
        match late {
            Late::Stays => Ok(()),
            Late::Put => self.txn.put_part(catalog::COLLECTION_LATE, &late_key, &()),
            Late::Removed => self.txn.delete_part(catalog::COLLECTION_LATE, &late_key),
        }
    }

    pub(super) fn late_key(&self, key: &[u8]) -> Vec<u8> {
        late_key(T::COLLECTION, self.layout.definition.build, key)
    }
}

fn check_revision<T: Record>(old: Option<&Row<T>>, key: &[u8], expected: u64) -> Result<()> {
    let name = T::COLLECTION;
    match old {
        None => Err(Error::not_found(format!("{name} `{}`", key.escape_ascii()))),
        Some(old) if old.revision == expected => Ok(()),
        Some(old) => Err(Error::conflict(format!(
            "{name} `{}`: expected revision {expected}, found {}",
            key.escape_ascii(),
            old.revision
        ))),
    }
}
