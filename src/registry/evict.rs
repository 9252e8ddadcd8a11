//! Finds versions that nobody uses, and deletes one unless somebody has used it since.
//!
//! ```text
//!   least_recently_used     by last use, oldest first; one never used counts from when it was registered
//!   evict_if_idle_since     looks at the last use and deletes, in one transaction: a touch comes before it, and keeps
//!                           the version, or after it, and finds it gone
//! ```

use super::record::{ModelRecord, VERSION_USES, VersionRecord};
use super::txn::RegistryTxn;
use super::{Change, PAGE_SIZE_MAX, Registry, Version};
use crate::engine::Direction;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyWriter};
use crate::record::{PAGE_BYTES, View};

impl Registry {
    /// The `limit` versions, of all models, that were used least recently, the longest unused first; archived ones and
    /// active ones too. Fewer when they weigh more than [`PAGE_BYTES`] together, but one at least if there is one. Rows
    /// that can't be read are left out: listings and verify name them.
    ///
    /// # Errors
    /// `Invalid` for a limit outside 1..=1000; what the engine answers.
    pub fn least_recently_used(&self, limit: usize) -> Result<Vec<Version>> {
        if limit == 0 || limit > PAGE_SIZE_MAX {
            return Err(Error::invalid(format!("limit: 1..={PAGE_SIZE_MAX}, got {limit}")));
        }
        self.store.read(|view| least_recently_used(view, limit))
    }

    /// Deletes a version, as [`delete_version`](Self::delete_version) does, if it was not used after `idle_since_ms`
    /// (since the Unix epoch); answers whether it did. One never used counts from when it was registered.
    ///
    /// # Errors
    /// As [`RegistryTxn::evict_if_idle_since`].
    pub fn evict_if_idle_since(&self, model: &str, number: u32, idle_since_ms: u64) -> Result<bool> {
        self.write(|registry| registry.evict_if_idle_since(model, number, idle_since_ms))
    }
}

impl RegistryTxn<'_, '_> {
    /// Deletes a version with its pointers if it was not used after `idle_since_ms`; answers whether it did.
    ///
    /// # Errors
    /// `NotFound` for a missing model or version.
    pub fn evict_if_idle_since(&mut self, model: &str, number: u32, idle_since_ms: u64) -> Result<bool> {
        let holder = self.model_record(model)?;
        if self.version_record(&holder, number)?.last_use() > idle_since_ms {
            return Ok(false);
        }
        self.delete_version(model, number, &Change::new())?;
        Ok(true)
    }
}

fn least_recently_used(view: &View<'_>, limit: usize) -> Result<Vec<Version>> {
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let wanted = limit - found.len();
        let page = view.index_page(&VERSION_USES, KeyWriter::new(), Direction::Ascending, after.as_deref(), wanted)?;
        for entry in &page.entries {
            match version(view, &entry.primary) {
                Ok(Some((weight, version))) => {
                    found.push(version);
                    bytes += weight;
                    if bytes >= PAGE_BYTES {
                        return Ok(found);
                    }
                }
                Ok(None) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {}
                Err(error) => return Err(error),
            }
        }
        after = page.resume;
        if found.len() >= limit || after.is_none() {
            return Ok(found);
        }
    }
}

/// The version at this key and about its bytes; `None` for a leftover.
fn version(view: &View<'_>, key: &[u8]) -> Result<Option<(usize, Version)>> {
    let Some(record) = view.get::<VersionRecord>(key)? else { return Ok(None) };
    let holder = view.get::<ModelRecord>(&keys::model(&record.model))?.filter(|holder| record.is_of(holder));
    Ok(holder.map(|holder| (record.weight(), Version::of(record, &holder))))
}
