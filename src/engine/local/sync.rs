//! Locks, atomics, threads and pacing of the local engine, all from one door.
//!
//! Everything here is a plain re-export; the door is there to be walked through by the models in `shuttle_tests.rs`.
//! Built with `--cfg shuttle`, the unit tests get `modelled` instead: the same names and signatures over the
//! scheduler of shuttle, which then decides at each of these calls who runs next, and how time passes.
//!
//! No other file of `engine/local` names a lock or a thread type, except for what can't take part in a race: the disk
//! simulated in memory keeps locks of its own that are never held across a call of anything here, and statistics use
//! [`Tally`].

#[cfg(all(test, shuttle))]
pub(crate) mod modelled;

/// A number that nothing but statistics depends on. No model looks into the order of its changes.
pub(super) use std::sync::atomic::AtomicU64 as Tally;
pub(super) use std::sync::atomic::Ordering;

#[cfg(all(test, shuttle))]
pub(super) use modelled::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, RwLock, Stopwatch, channel, thread,
    thread_local,
};
#[cfg(not(all(test, shuttle)))]
pub(super) use {
    crate::clock::Stopwatch,
    crossbeam::channel,
    parking_lot::{Condvar, Mutex, MutexGuard, RwLock},
    std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize},
    std::{thread, thread_local},
};
