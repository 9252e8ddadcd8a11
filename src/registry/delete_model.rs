//! Deletes a model with all its versions: at once for every reader, whatever their number.
//!
//! ```text
//!   fence    the model's record goes, and with it its aliases, its counts and every version;
//!            a mark says that rows of this life are leftovers                                       one write
//!   sweep    the rows with their index entries, shares in artifacts and pointer moves               bounded steps
//! ```
//!
//! A model of the same name starts at version 1 again, also while the sweep is going on (`leftovers.rs`).

use super::leftovers::{self, Fate};
use super::sweep::MoveProgress;
use super::txn::RegistryTxn;
use super::{Change, Registry, name};
use crate::error::Result;

impl Registry {
    /// Deletes a model and all its versions; answers how many these were. Artifacts that no other version holds are
    /// freed.
    ///
    /// Readers see all of it or nothing. Takes time in proportion to the versions, but is over for everybody else with
    /// its first write: what an interruption leaves behind is swept away at the next opening.
    ///
    /// # Errors
    /// As [`RegistryTxn::delete_model`], and what a commit can answer.
    pub fn delete_model(&self, name: &str, change: &Change) -> Result<u32> {
        self.delete_model_with(name, change, |_| {})
    }

    /// [`delete_model`](Self::delete_model), telling how far the sweep is: after each step, from the caller's thread.
    ///
    /// # Errors
    /// As there.
    pub fn delete_model_with(
        &self,
        name: &str,
        change: &Change,
        mut progress: impl FnMut(MoveProgress),
    ) -> Result<u32> {
        let versions = self.write(|registry| registry.delete_model(name, change))?;
        self.sweep_after(name, &mut progress);
        Ok(versions)
    }
}

impl RegistryTxn<'_, '_> {
    /// Deletes a model and all its versions; answers how many these were. Their rows, and artifacts that nobody else
    /// holds, are swept away after the commit: with the next writes, or by [`Registry::sweep_leftovers`].
    ///
    /// # Errors
    /// `NotFound` for a missing model; `Conflict` when it is not at the revision that `change` expects.
    pub fn delete_model(&mut self, name: &str, change: &Change) -> Result<u32> {
        name::check_model_name(name)?;
        change.check()?;
        let old = self.model_record(name)?;
        change.check_revision(format_args!("model {name:?}"), old.revision)?;
        self.txn.delete(&old)?;
        if old.last_version > 0 {
            leftovers::note(self.txn, &old.life(), Some(Fate::Gone))?;
        }
        Ok(old.versions)
    }
}
