//! How a local engine gets its store: one [`StoreOpener`] for each kind, chosen by whoever opens the folder.
//!
//! A store is a cache of what journal and snapshots hold, so the engine may want it opened, thrown away and opened
//! again: hence an opener rather than a store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::engine::KvStore;
use crate::error::Result;

/// Opens the store of one generation folder.
pub trait StoreOpener: Send + Sync + fmt::Debug {
    /// The store's name as `CURRENT` spells it: `sled`, `memory`.
    fn engine(&self) -> &'static str;

    /// Whether what the store holds outlives the process.
    fn is_persistent(&self) -> bool;

    /// Opens the store in `folder`, which exists and is empty, or is what an earlier opening left. The store may use
    /// about `cache_bytes` of memory for its pages.
    ///
    /// # Errors
    /// `Corrupt` when the files are damaged, also where the store's own code panics on them; `Full` and `Unavailable`
    /// when the operating system refused, in which case the files are as good as before.
    fn open(&self, folder: &Path, cache_bytes: usize) -> Result<Arc<dyn KvStore>>;
}
