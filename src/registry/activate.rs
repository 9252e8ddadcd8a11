//! Makes a version the active one.

use super::model::Model;
use super::pointers::{self, Pointer};
use super::txn::RegistryTxn;
use super::{Change, version};
use crate::error::{Error, Result};

impl RegistryTxn<'_, '_> {
    /// Makes a version the active one of its model, whichever was before.
    ///
    /// # Errors
    /// `NotFound` for a missing model or version; `Conflict` when the version is archived, and when the model is not
    /// at the revision that `change` expects.
    pub fn activate(&mut self, model: &str, number: u32, change: &Change) -> Result<Model> {
        self.set_pointer(model, &Pointer::Active, number, change)
    }

    /// Points at a version that is there and not archived.
    pub(crate) fn set_pointer(
        &mut self,
        model: &str,
        pointer: &Pointer,
        number: u32,
        change: &Change,
    ) -> Result<Model> {
        change.check()?;
        let old = self.model_record(model)?;
        change.check_revision(format_args!("model {model:?}"), old.revision)?;
        let target = self.version_record(&old, number)?;
        if target.archived {
            return Err(Error::conflict(format!("{}: is archived; unarchive it first", version::named(model, number))));
        }
        let mut new = old.clone();
        if let Pointer::Alias(alias) = pointer
            && !old.aliases.contains_key(alias)
            && old.aliases.len() >= pointers::ALIASES_MAX
        {
            return Err(Error::invalid(format!("alias: a model has at most {} of them", pointers::ALIASES_MAX)));
        }
        pointers::point(self.txn, &mut new, pointer, Some(number), change.by.as_deref())?;
        new.changed_by = change.by.clone();
        self.txn.update(&old, new).map(Model::of)
    }
}
