//! Wrappers that keep every promise of what they wrap, and watch it or make it fail on demand.
//!
//! ```text
//!            counts         fails on demand
//! Engine     CountEngine    FaultEngine
//! KvStore    CountStore     FaultStore
//! Disk       CountDisk      SimDisk, in local/sim.rs
//! ```
//!
//! [`FollowEngine`] keeps a replica from writing. The others are for tests, benchmarks and curious hosts. Each passes the conformance suite as long as nothing is planned to
//! fail.

mod count;
mod fault;
mod follow;

pub use count::{CountDisk, CountEngine, CountStore, DiskCounts, EngineCounts, FileCounts, StoreCounts};
pub use fault::{EngineCall, FaultEngine, FaultStore, Mishap, StoreCall, Times};
pub use follow::FollowEngine;
