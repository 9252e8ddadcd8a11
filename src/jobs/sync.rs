//! Locks and pacing of the queue, all from one door: plain re-exports, which the models in `bell/models.rs` replace by
//! those of the engine's models, where the schedule decides who runs next and how time passes.
//!
//! Not through here go the pool, whose threads no model has, and numbers that are no more than a hint.

#[cfg(all(test, shuttle))]
pub(super) use crate::engine::local::sync::modelled::{Condvar, Mutex, MutexGuard, RwLock, Stopwatch};
#[cfg(not(all(test, shuttle)))]
pub(super) use {
    crate::clock::Stopwatch,
    parking_lot::{Condvar, Mutex, MutexGuard, RwLock},
};
