//! The registry inside a caller's transaction: the same verbs as [`Registry`](super::Registry), committed together with
//! whatever else the transaction writes.
//!
//! Each write is a file of its own; here is what they share, and the reads. A verb that answers an error has written
//! nothing that matters: hand the error on, and the whole transaction is undone.

use super::model::Model;
use super::name;
use super::record::{ModelRecord, VERSION_LABELS, VersionRecord};
use super::version::{Version, VersionRef};
use crate::error::{Error, Result};
use crate::keys::{self, KeyWriter};
use crate::record::Transaction;
use crate::record::scrub::damage;

/// How many numbers, from the highest down, `latest` looks at inside a transaction.
pub const LATEST_IN_TRANSACTION_MAX: u32 = 1_000;

/// The registry's verbs inside one transaction.
///
/// The body of a transaction may run more than once; every verb here may too.
pub struct RegistryTxn<'a, 't> {
    pub(crate) txn: &'a mut Transaction<'t>,
}

impl<'t> Transaction<'t> {
    /// The model registry, inside this transaction.
    pub fn registry(&mut self) -> RegistryTxn<'_, 't> {
        RegistryTxn { txn: self }
    }
}

impl RegistryTxn<'_, '_> {
    /// The model, or `None`.
    ///
    /// # Errors
    /// `Invalid` for what can't be a name; `Corrupt`.
    pub fn get_model(&mut self, name: &str) -> Result<Option<Model>> {
        name::check_model_name(name)?;
        Ok(self.txn.get::<ModelRecord>(&keys::model(name))?.map(Model::of))
    }

    /// The version, or `None` when it, its alias or its model does not exist.
    ///
    /// A transaction names the keys that it reads, so `latest` is looked for from the highest number down, version by
    /// version: one read in the common case, and at most [`LATEST_IN_TRANSACTION_MAX`]. Each of them is part of what
    /// must be unchanged when the transaction commits. A row that can't be read is passed over, as outside.
    ///
    /// # Errors
    /// `Invalid` for what can't be a name; `Unsupported` for `latest` of a model whose newest
    /// [`LATEST_IN_TRANSACTION_MAX`] numbers are all archived or deleted: ask outside, and for the number inside;
    /// `Corrupt`.
    pub fn get(&mut self, model: &str, version: impl Into<VersionRef>) -> Result<Option<Version>> {
        let version = version.into();
        version.check(model)?;
        let Some(model) = self.txn.get::<ModelRecord>(&keys::model(model))? else { return Ok(None) };
        let key = match &version {
            VersionRef::Number(number) => Some(keys::version(&model.name, *number)),
            VersionRef::Alias(alias) if alias == name::LATEST => {
                let latest = self.latest(&model)?;
                return Ok(latest.map(|record| Version::of(record, &model)));
            }
            VersionRef::Alias(alias) => model.aliases.get(alias).map(|number| keys::version(&model.name, *number)),
            VersionRef::Label(label) => {
                self.txn.find_unique(&VERSION_LABELS, KeyWriter::new().str(&model.name).str(label))?
            }
        };
        let Some(key) = key else { return Ok(None) };
        let found = self.txn.get::<VersionRecord>(&key)?;
        let found = found.filter(|record| record.is_of(&model) && version.may_be(record));
        Ok(found.map(|record| Version::of(record, &model)))
    }

    fn latest(&mut self, model: &ModelRecord) -> Result<Option<VersionRecord>> {
        if model.versions == model.archived_versions {
            return Ok(None);
        }
        let lowest = model.last_version.saturating_sub(LATEST_IN_TRANSACTION_MAX);
        for number in (lowest + 1..=model.last_version).rev() {
            let found = damage(self.txn.get::<VersionRecord>(&keys::version(&model.name, number)))?.ok().flatten();
            if let Some(record) = found.filter(|record| record.is_of(model) && !record.archived) {
                return Ok(Some(record));
            }
        }
        if lowest == 0 {
            return Ok(None);
        }
        Err(Error::unsupported(format!(
            "alias: latest of model {:?}: its newest {LATEST_IN_TRANSACTION_MAX} numbers are archived or gone, which is as far as a transaction looks",
            model.name
        )))
    }

    /// The model's record; `NotFound` without one.
    pub(crate) fn model_record(&mut self, name: &str) -> Result<ModelRecord> {
        name::check_model(name)?;
        self.txn.get(&keys::model(name))?.ok_or_else(|| no_such_model(name))
    }

    /// The version's record; `NotFound` without one.
    pub(crate) fn version_record(&mut self, model: &ModelRecord, number: u32) -> Result<VersionRecord> {
        self.txn
            .get::<VersionRecord>(&keys::version(&model.name, number))?
            .filter(|record| record.incarnation == model.incarnation)
            .ok_or_else(|| no_such_version(&model.name, number))
    }
}

pub(crate) fn no_such_model(name: &str) -> Error {
    Error::not_found(format!("model {name:?}: there is no such model"))
}

pub(crate) fn no_such_version(model: &str, number: u32) -> Error {
    Error::not_found(format!("{}: there is no such version", super::version::named(model, number)))
}

/// A count in the model's record, less one. It can't be 0 while one of what it counts is there.
pub(crate) fn one_less(model: &ModelRecord, field: &str, count: u32) -> Result<u32> {
    count
        .checked_sub(1)
        .ok_or_else(|| Error::corrupt(format!("model {:?}: {field} is 0, yet there is one", model.name)))
}
