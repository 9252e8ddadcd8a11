//! The collections that this process has opened: only those can be written, checked and repaired, since nobody else
//! knows what belongs into their indexes.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Result;
use crate::record::View;
use crate::record::repair::Repairer;
use crate::record::scrub::Report;

/// An opened collection, whatever its record's type: what verify and repair ask of it.
pub(crate) trait Checked: Send + Sync {
    /// The collection's name.
    fn name(&self) -> &str;

    /// Checks every record, index entry and counter.
    ///
    /// # Errors
    /// What keeps the sweep from reading on; never a bad record.
    fn verify(&self, view: &View<'_>, report: &mut Report) -> Result<()>;

    /// Rebuilds its index entries and counters, and moves records that can't be read into quarantine.
    ///
    /// # Errors
    /// What keeps the sweep from reading on; never a bad record.
    fn repair(&self, run: &mut Repairer<'_>) -> Result<()>;

    /// The collection as what it is, for those who know its record's type.
    fn as_any(&self) -> &dyn Any;
}

/// Those that are open, by name, at one moment.
pub(crate) type Snapshot = Arc<BTreeMap<&'static str, Arc<dyn Checked>>>;

/// Those that are open, shared by the clones of a store.
#[derive(Clone, Default)]
pub(crate) struct OpenedCollections(Arc<Mutex<Snapshot>>);

impl OpenedCollections {
    /// As they are now. A transaction takes this before its body runs, so that no body takes the lock.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Arc::clone(&self.0.lock())
    }

    /// Adds one, in place of an earlier one of the same name.
    pub(crate) fn put(&self, name: &'static str, collection: Arc<dyn Checked>) {
        Arc::make_mut(&mut *self.0.lock()).insert(name, collection);
    }
}
