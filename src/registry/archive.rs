//! Puts a version away.

use super::Change;
use super::pointers;
use super::row;
use super::txn::RegistryTxn;
use super::version::{self, Version};
use crate::error::Result;

impl RegistryTxn<'_, '_> {
    /// Archives a version and takes every pointer away from it: it stays as it is, but can't be active and has no
    /// aliases. For one that is archived already, only its revision grows.
    ///
    /// # Errors
    /// `NotFound` for a missing model or version; `Conflict` when the version is not at the revision that `change`
    /// expects.
    pub fn archive(&mut self, model: &str, number: u32, change: &Change) -> Result<Version> {
        change.check()?;
        let old_model = self.model_record(model)?;
        let old = self.version_record(&old_model, number)?;
        change.check_revision(version::named(model, number), old.revision)?;
        let mut new = old.clone();
        new.archived = true;
        new.updated_at = self.txn.now_ms();
        new.changed_by = change.by.clone();
        let new = row::update(self.txn, &old_model, &old, new)?;
        if old.archived {
            return Ok(Version::of(new, &old_model));
        }
        let mut new_model = old_model.clone();
        new_model.archived_versions += 1;
        new_model.changed_by = change.by.clone();
        pointers::unpoint(self.txn, &mut new_model, number, change.by.as_deref())?;
        let new_model = self.txn.update(&old_model, new_model)?;
        Ok(Version::of(new, &new_model))
    }
}
