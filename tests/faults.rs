//! Every public write, with every call below it going wrong in turn.
//!
//! ```text
//!   write    what can be written, as a list that surface.rs holds against the public functions of the crate
//!   scene    the images that a trial starts from, and everything that can be read of one that it ends in
//!   store    a store whose k-th call fails, over all the stores that an opening has
//!   strike   the trials: write × k-th call × how it fails, then the end of the process or of the power
//! ```
//!
//! Demanded afterwards, of the store opened again: what was acknowledged is there; of what was not, all or nothing (of
//! writes that are documented as several steps, whole steps, and doing them again does the rest); `verify` is clean; and
//! whatever was acknowledged behind the failure is there as well.
//!
//! What it does not cover: the writing of snapshot files, which go to the operating system's disk and not to the
//! simulated one.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure, in a helper too")]

mod ground;
#[path = "faults/scene.rs"]
mod scene;
#[path = "faults/store.rs"]
mod store;
#[path = "faults/strike.rs"]
mod strike;
#[path = "faults/surface.rs"]
mod surface;
#[path = "faults/write.rs"]
mod write;
