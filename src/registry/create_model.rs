//! Creates a model.

use std::borrow::Borrow;

use super::leftovers;
use super::model::{Model, NewModel};
use super::name;
use super::record::ModelRecord;
use super::txn::RegistryTxn;
use crate::error::Result;
use crate::record::Transaction;

impl RegistryTxn<'_, '_> {
    /// Creates a model without versions.
    ///
    /// # Errors
    /// `AlreadyExists` when there is a model of this name, or one with this external id; `Invalid` past a limit.
    pub fn create_model(&mut self, name: &str, new: impl Borrow<NewModel>) -> Result<Model> {
        let new = new.borrow();
        name::check_model_name(name)?;
        new.check()?;
        let record = ModelRecord {
            description: new.description.clone(),
            tags: new.tags.clone(),
            properties: new.properties.clone(),
            external_id: new.external_id.clone(),
            ..blank(self.txn, name, new.by.as_deref())?
        };
        record.check_weight()?;
        self.txn.insert(record).map(Model::of)
    }
}

/// A model with nothing but its name, in the name's next life.
pub(crate) fn blank(txn: &mut Transaction<'_>, name: &str, by: Option<&str>) -> Result<ModelRecord> {
    Ok(ModelRecord {
        name: name.to_owned(),
        incarnation: leftovers::next_life(txn, name)?.incarnation,
        created_by: by.map(str::to_owned),
        changed_by: by.map(str::to_owned),
        created_at: txn.now_ms(),
        updated_at: txn.now_ms(),
        ..ModelRecord::default()
    })
}
