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
    /// # Errors
    /// `Invalid` for what can't be a name; `Unsupported` for `latest`, which takes a scan and so can't be asked for
    /// inside a transaction; `Corrupt`.
    pub fn get(&mut self, model: &str, version: impl Into<VersionRef>) -> Result<Option<Version>> {
        let version = version.into();
        version.check(model)?;
        let Some(model) = self.txn.get::<ModelRecord>(&keys::model(model))? else { return Ok(None) };
        let key = match &version {
            VersionRef::Number(number) => Some(keys::version(&model.name, *number)),
            VersionRef::Alias(alias) if alias == name::LATEST => {
                return Err(Error::unsupported("alias: latest can't be asked for inside a transaction"));
            }
            VersionRef::Alias(alias) => model.aliases.get(alias).map(|number| keys::version(&model.name, *number)),
            VersionRef::Label(label) => {
                self.txn.find_unique(&VERSION_LABELS, KeyWriter::new().str(&model.name).str(label))?
            }
        };
        let Some(key) = key else { return Ok(None) };
        let found = self.txn.get::<VersionRecord>(&key)?.filter(|record| record.incarnation == model.incarnation);
        Ok(found.map(|record| Version::of(record, &model)))
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
