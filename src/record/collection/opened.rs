//! The collections that this process has opened: only those can be written, checked and repaired, since nobody else
//! knows what belongs into their indexes.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
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
pub(crate) struct OpenedCollections {
    collections: Arc<Mutex<Snapshot>>,
    seats: Seats,
}

/// Which types have a builder at work, and whether another one was asked for since it began.
type Seats = Arc<Mutex<HashMap<TypeId, bool>>>;

/// The seat of the one builder that a type has at a time. It is free again when this goes.
pub(crate) struct BuilderSeat {
    seats: Seats,
    of: TypeId,
    held: bool,
}

impl BuilderSeat {
    /// Gets up, unless another builder was asked for meanwhile: then the holder has to look again.
    pub(crate) fn leave(mut self) -> Option<Self> {
        let seats = Arc::clone(&self.seats);
        let mut seats = seats.lock();
        if seats.insert(self.of, false) == Some(true) {
            return Some(self);
        }
        seats.remove(&self.of);
        self.held = false;
        None
    }
}

impl Drop for BuilderSeat {
    fn drop(&mut self) {
        if self.held {
            self.seats.lock().remove(&self.of);
        }
    }
}

impl OpenedCollections {
    /// As they are now. A transaction takes this before its body runs, so that no body takes the lock.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Arc::clone(&self.collections.lock())
    }

    /// The seat of the builder of `T`, or `None` while it is taken: who holds it hears of the wish.
    pub(crate) fn take_seat<T: 'static>(&self) -> Option<BuilderSeat> {
        let of = TypeId::of::<T>();
        let mut seats = self.seats.lock();
        if let Some(again) = seats.get_mut(&of) {
            *again = true;
            return None;
        }
        seats.insert(of, false);
        Some(BuilderSeat { seats: Arc::clone(&self.seats), of, held: true })
    }

    /// Adds one, in place of an earlier one of the same name.
    pub(crate) fn put(&self, name: &'static str, collection: Arc<dyn Checked>) {
        Arc::make_mut(&mut *self.collections.lock()).insert(name, collection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_one_builder_at_a_time_which_looks_again_when_another_was_asked_for() {
        let opened = OpenedCollections::default();
        let seat = opened.take_seat::<u8>().unwrap();
        assert!(opened.take_seat::<u16>().is_some(), "another type");
        assert!(opened.clone().take_seat::<u8>().is_none());
        let seat = seat.leave().expect("asked for meanwhile");
        assert!(seat.leave().is_none());
        drop(opened.take_seat::<u8>().expect("free again"));
        assert!(opened.take_seat::<u8>().is_some(), "free though its holder never got up");
    }
}
