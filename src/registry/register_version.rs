//! Registers a version: the number, the record, the pointer and the artifact, in one transaction.
//!
//! The number is the model's high-water mark plus one. The mark is part of the model's record and only ever grows, so
//! no number is given out twice while the model lives: not after its version is deleted, not by two threads at once
//! (both write the model, so one of them sees the other's mark), and not after a crash (mark and version are one
//! commit).

use std::borrow::Borrow;

use super::create_model::blank;
use super::pointers::{self, Pointer};
use super::record::{ModelRecord, VersionRecord};
use super::row;
use super::txn::{RegistryTxn, no_such_model};
use super::version::{NewVersion, Version};
use super::{artifact, name};
use crate::error::{Error, ErrorKind, Result};
use crate::keys;

impl RegistryTxn<'_, '_> {
    /// Registers a version under the model's next number.
    ///
    /// # Errors
    /// `NotFound` for a missing model that is not to be created, and for a parent version that was never given out;
    /// `AlreadyExists` when its external id or label is taken; `Full` when all 4,294,967,295 numbers are used up;
    /// `Invalid` past a limit.
    pub fn register_version(&mut self, model: &str, new: impl Borrow<NewVersion>) -> Result<Version> {
        let new = new.borrow();
        name::check_model(model)?;
        new.check()?;
        let now_ms = self.txn.now_ms();
        let by = new.by.as_deref();
        let old = self.txn.get::<ModelRecord>(&keys::model(model))?;
        let mut holder = match &old {
            Some(old) => old.clone(),
            None if new.create_model => blank(self.txn, model, by)?,
            None => return Err(no_such_model(model)),
        };
        if let Some(parent) = new.parent_version.filter(|parent| *parent == 0 || *parent > holder.last_version) {
            return Err(Error::not_found(format!("parent_version {parent}: model {model:?} never had such a version")));
        }
        let number = holder.last_version.checked_add(1).ok_or_else(|| {
            Error::new(ErrorKind::Full, format!("model {model:?}: every version number has been given out"))
        })?;
        holder.last_version = number;
        holder.versions += 1;
        holder.updated_at = now_ms;
        holder.changed_by = new.by.clone();
        let version = record_of(new, &holder, number, now_ms);
        version.check_weight()?;
        // From here on nothing is refused: what can be, the taken label included, is looked at before it writes.
        let version = row::insert(self.txn, version, new.artifact.as_ref())?;
        if new.make_active {
            pointers::point(self.txn, &mut holder, &Pointer::Active, Some(number), by)?;
        }
        let holder = match &old {
            Some(old) => self.txn.update(old, holder)?,
            None => self.txn.insert(holder)?,
        };
        Ok(Version::of(version, &holder))
    }
}

fn record_of(new: &NewVersion, model: &ModelRecord, number: u32, now_ms: u64) -> VersionRecord {
    VersionRecord {
        model: model.name.clone(),
        number,
        incarnation: model.incarnation,
        copy_of: None,
        archived: false,
        stage: new.stage.clone(),
        source: new.source.clone(),
        run_id: new.run_id.clone(),
        description: new.description.clone(),
        tags: new.tags.clone(),
        properties: new.properties.clone(),
        metrics: new.metrics.clone(),
        hyperparams: new.hyperparams.clone(),
        parent_version: new.parent_version,
        training_data_hash: new.training_data_hash.clone(),
        artifact: new.artifact.as_ref().map(artifact::ArtifactContent::describe),
        external_id: new.external_id.clone(),
        label: new.label.clone(),
        created_by: new.by.clone(),
        changed_by: new.by.clone(),
        created_at: now_ms,
        updated_at: now_ms,
        last_used_at: None,
        revision: 1,
    }
}
