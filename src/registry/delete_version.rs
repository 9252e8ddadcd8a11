//! Deletes a version for good.

use super::txn::{RegistryTxn, one_less};
use super::{Change, pointers, row, version};
use crate::error::Result;

impl RegistryTxn<'_, '_> {
    /// Deletes a version, every pointer to it, and its inline artifact unless another version holds the same bytes.
    /// Its number is not given out again.
    ///
    /// # Errors
    /// `NotFound` for a missing model or version; `Conflict` when the version is not at the revision that `change`
    /// expects.
    pub fn delete_version(&mut self, model: &str, number: u32, change: &Change) -> Result<()> {
        change.check()?;
        let old_model = self.model_record(model)?;
        let old = self.version_record(&old_model, number)?;
        change.check_revision(version::named(model, number), old.revision)?;
        let mut new_model = old_model.clone();
        new_model.versions = one_less(&old_model, "versions", old_model.versions)?;
        if old.archived {
            new_model.archived_versions = one_less(&old_model, "archived_versions", old_model.archived_versions)?;
        }
        row::remove(self.txn, &old_model, &old)?;
        new_model.updated_at = self.txn.now_ms();
        new_model.changed_by = change.by.clone();
        pointers::unpoint(self.txn, &mut new_model, number, change.by.as_deref())?;
        self.txn.update(&old_model, new_model)?;
        Ok(())
    }
}
