//! Changes what is said about a model.

use std::borrow::Borrow;

use super::model::{Model, ModelUpdate};
use super::name;
use super::txn::RegistryTxn;
use crate::error::Result;

impl RegistryTxn<'_, '_> {
    /// Changes description, tags, properties and whether the model is archived. `updated_at` moves with the
    /// description only.
    ///
    /// # Errors
    /// `NotFound` for a missing model; `Conflict` when it is not at the revision that the update expects; `Invalid`
    /// past a limit.
    pub fn update_model(&mut self, name: &str, update: impl Borrow<ModelUpdate>) -> Result<Model> {
        let update = update.borrow();
        name::check_model_name(name)?;
        update.check()?;
        let old = self.model_record(name)?;
        update.change.check_revision(format_args!("model {name:?}"), old.revision)?;
        let mut new = old.clone();
        if let Some(description) = &update.description {
            new.description = Some(description.clone());
            new.updated_at = self.txn.now_ms();
        }
        update.edit.apply(&mut new.tags, &mut new.properties);
        new.archived = update.archived.unwrap_or(new.archived);
        new.changed_by = update.change.by.clone();
        new.check_weight()?;
        self.txn.update(&old, new).map(Model::of)
    }
}
