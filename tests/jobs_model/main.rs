//! The queue against a model of its page: exhaustively within a few steps, and at random over many.
//!
//! After each step store and model must agree on every job and on every token, and the store with itself: each job in
//! exactly one state index, counters equal to a recount, a lease exactly while executing, one holder per unique key,
//! attempts and crashes within their bounds.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure, in a helper too")]

mod draw;
mod model;
mod op;
mod random;
#[path = "../rig/mod.rs"]
mod rig;
mod sabotage;
mod walk;
mod world;
