//! Changes what is said about a version.

use std::borrow::Borrow;

use super::row;
use super::txn::RegistryTxn;
use super::version::{self, Version, VersionUpdate};
use crate::error::Result;

impl RegistryTxn<'_, '_> {
    /// Changes description, tags, properties and stage. Moving it to another stage is a change of the model too: its
    /// `updated_at` moves and its revision grows.
    ///
    /// # Errors
    /// `NotFound` for a missing model or version; `Conflict` when the version is not at the revision that the update
    /// expects; `Invalid` past a limit.
    pub fn update_version(&mut self, model: &str, number: u32, update: impl Borrow<VersionUpdate>) -> Result<Version> {
        let update = update.borrow();
        update.check()?;
        let old_model = self.model_record(model)?;
        let old = self.version_record(&old_model, number)?;
        update.change.check_revision(version::named(model, number), old.revision)?;
        let mut new = old.clone();
        new.description = update.description.clone().or(new.description);
        new.stage = update.stage.clone().unwrap_or(new.stage);
        update.edit.apply(&mut new.tags, &mut new.properties);
        new.updated_at = self.txn.now_ms();
        new.changed_by = update.change.by.clone();
        new.check_weight()?;
        let new = row::update(self.txn, &old_model, &old, new)?;
        if new.stage == old.stage {
            return Ok(Version::of(new, &old_model));
        }
        let mut new_model = old_model.clone();
        new_model.updated_at = self.txn.now_ms();
        new_model.changed_by = update.change.by.clone();
        let new_model = self.txn.update(&old_model, new_model)?;
        Ok(Version::of(new, &new_model))
    }
}
