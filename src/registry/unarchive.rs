//! Takes an archived version out again.

use super::Change;
use super::row;
use super::txn::{RegistryTxn, one_less};
use super::version::{self, Version};
use crate::error::Result;

impl RegistryTxn<'_, '_> {
    /// Takes an archived version out again. Pointers that it lost are not restored. For one that is not archived, only
    /// its revision grows.
    ///
    /// # Errors
    /// `NotFound` for a missing model or version; `Conflict` when the version is not at the revision that `change`
    /// expects.
    pub fn unarchive(&mut self, model: &str, number: u32, change: &Change) -> Result<Version> {
        change.check()?;
        let old_model = self.model_record(model)?;
        let old = self.version_record(&old_model, number)?;
        change.check_revision(version::named(model, number), old.revision)?;
        let mut new_model = old_model.clone();
        if old.archived {
            new_model.archived_versions = one_less(&old_model, "archived_versions", old_model.archived_versions)?;
        }
        let mut new = old.clone();
        new.archived = false;
        new.updated_at = self.txn.now_ms();
        new.changed_by = change.by.clone();
        let new = row::update(self.txn, &old_model, &old, new)?;
        if !old.archived {
            return Ok(Version::of(new, &old_model));
        }
        new_model.changed_by = change.by.clone();
        let new_model = self.txn.update(&old_model, new_model)?;
        Ok(Version::of(new, &new_model))
    }
}
