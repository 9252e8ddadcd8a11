//! Deletes an alias.

use super::model::Model;
use super::pointers::{self, Pointer};
use super::txn::RegistryTxn;
use super::{Change, name};
use crate::error::Result;

impl RegistryTxn<'_, '_> {
    /// Deletes an alias. A missing one changes nothing, the model's revision included.
    ///
    /// # Errors
    /// `Invalid` for what can't be an alias; `NotFound` for a missing model; `Conflict` when it is not at the revision
    /// that `change` expects.
    pub fn delete_alias(&mut self, model: &str, alias: &str, change: &Change) -> Result<Model> {
        name::check_alias_syntax(alias)?;
        change.check()?;
        let old = self.model_record(model)?;
        change.check_revision(format_args!("model {model:?}"), old.revision)?;
        if !old.aliases.contains_key(alias) {
            return Ok(Model::of(old));
        }
        let mut new = old.clone();
        pointers::point(self.txn, &mut new, &Pointer::Alias(alias.to_owned()), None, change.by.as_deref())?;
        new.changed_by = change.by.clone();
        self.txn.update(&old, new).map(Model::of)
    }
}
