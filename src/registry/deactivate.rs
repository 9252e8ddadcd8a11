//! Takes the active version out of use.

use super::Change;
use super::model::Model;
use super::pointers::{self, Pointer};
use super::txn::RegistryTxn;
use crate::error::Result;

impl RegistryTxn<'_, '_> {
    /// Leaves the model without an active version. Without one before, only its revision grows.
    ///
    /// # Errors
    /// `NotFound` for a missing model; `Conflict` when it is not at the revision that `change` expects.
    pub fn deactivate(&mut self, model: &str, change: &Change) -> Result<Model> {
        change.check()?;
        let old = self.model_record(model)?;
        change.check_revision(format_args!("model {model:?}"), old.revision)?;
        let mut new = old.clone();
        pointers::point(self.txn, &mut new, &Pointer::Active, None, change.by.as_deref())?;
        new.changed_by = change.by.clone();
        self.txn.update(&old, new).map(Model::of)
    }
}
