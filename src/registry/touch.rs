//! Notes that a version was used.
//!
//! Use is no change: neither the revision nor `updated_at` moves, and what is lost of it in a power cut is a moment of
//! use, so a touch is buffered: it returns at once and is synced with whatever is committed within the next
//! `sync_every_ms`, one sync for all of them: that is the batch, made by the engine, bounded in time and bytes, and seen
//! by every reader at once. Nothing is gathered up here, where a reader or an eviction would have to look, too; who has
//! many at hand makes one commit of them with [`Registry::touch_all`].

use super::txn::RegistryTxn;
use super::{Registry, row};
use crate::config::Durability;
use crate::error::Result;

impl Registry {
    /// Notes that a version was used now. Buffered, whatever the durability of this handle.
    ///
    /// # Errors
    /// As [`RegistryTxn::touch`].
    pub fn touch(&self, model: &str, number: u32) -> Result<()> {
        self.touch_all(&[(model, number)])
    }

    /// Notes that several versions were used now, in one commit; one that is missing fails all of it. Buffered.
    ///
    /// # Errors
    /// As [`RegistryTxn::touch`].
    pub fn touch_all(&self, versions: &[(&str, u32)]) -> Result<()> {
        self.with_durability(Durability::Buffered)
            .write(|registry| versions.iter().try_for_each(|(model, number)| registry.touch(model, *number)))
    }
}

impl RegistryTxn<'_, '_> {
    /// Notes that a version was used at the time of this transaction. Where the clock was set back, the later of the
    /// two uses stays.
    ///
    /// # Errors
    /// `NotFound` for a missing model or version.
    pub fn touch(&mut self, model: &str, number: u32) -> Result<()> {
        let holder = self.model_record(model)?;
        let old = self.version_record(&holder, number)?;
        let used_at = Some(self.txn.now_ms()).max(old.last_used_at);
        if used_at != old.last_used_at {
            let mut new = old.clone();
            new.last_used_at = used_at;
            row::restate(self.txn, &holder, &old, new)?;
        }
        Ok(())
    }
}
