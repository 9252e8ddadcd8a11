//! Points an alias at a version.

use super::model::Model;
use super::pointers::Pointer;
use super::txn::RegistryTxn;
use super::{Change, name};
use crate::error::Result;

impl RegistryTxn<'_, '_> {
    /// Points an alias at a version, wherever it pointed before. Several aliases may point at one version.
    ///
    /// # Errors
    /// `Invalid` for what can't be an alias, and past 256 aliases; `NotFound` for a missing model or version;
    /// `Conflict` when the version is archived, and when the model is not at the revision that `change` expects.
    pub fn set_alias(&mut self, model: &str, alias: &str, number: u32, change: &Change) -> Result<Model> {
        name::check_alias(alias)?;
        self.set_pointer(model, &Pointer::Alias(alias.to_owned()), number, change)
    }
}
