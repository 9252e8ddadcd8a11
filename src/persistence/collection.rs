//! Opens a collection, and builds in the background what is new to it.

use std::thread;

use crate::config::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::record::RecordStore;
use crate::record::collection::{Collection, Record};

/// The collection of `T`. A thread of its own, one however often it is
/// opened meanwhile, works off what is to be built; it ends with that, and with the store.
pub(super) fn open<T: Record>(records: &RecordStore, durability: Durability) -> Result<Collection<T>> {
    let collection = records.open_collection::<T>(durability)?;
    let progress = collection.progress()?;
    let seat = if progress.ready && !progress.removing { None } else { records.take_builder_seat::<T>() };
    if let Some(mut seat) = seat {
        let building = collection.clone();
        let builder = thread::Builder::new().name(format!("build-{}", T::COLLECTION));
        // What stops it stops whoever calls `build` or asks the index, too: there it is answered.
        let started = builder.spawn(move || {
            loop {
                let outcome = building.build();
                match seat.leave() {
                    Some(again) => seat = again,
                    None => return outcome,
                }
            }
        });
        started.map_err(|source| Error::with_source(ErrorKind::Unavailable, "thread for building", source))?;
    }
    Ok(collection)
}
