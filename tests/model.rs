//! The whole surface against a plain model in memory: values, host collections, registry, jobs, snapshots and replicas,
//! mixed transactions, reopenings, power cuts and both clocks, as steps like any other.
//!
//! ```text
//!   op      what can be done, as values that proptest draws and cuts down
//!   state   what should be there: kv · items · registry · queue (the queue's own model)     plain maps
//!   mixed   several of them in one transaction: all or nothing
//!   world   the store and the state side by side; reopening and power cuts
//!   copies  snapshot files, stores made from them, a replica
//! ```
//!
//! After each run, and at each reopening and power cut within it, everything that can be read is compared with the
//! state, `verify` is clean, and the digest is what it was before the reopening. A power cut may take back buffered
//! commits: what is there must then be the state after some number of them, and nothing that was acknowledged as
//! durable may be missing.
//!
//! `PROPTEST_CASES` asks for more cases. A failing one is printed in its shortest form, with the seed that replays the run.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure, in a helper too")]

#[path = "model/blame.rs"]
mod blame;
#[path = "model/copies.rs"]
mod copies;
mod ground;
#[path = "model/items.rs"]
mod items;
#[path = "model/kv.rs"]
mod kv;
#[path = "model/mixed.rs"]
mod mixed;
#[path = "model/op.rs"]
mod op;
#[path = "model/queue.rs"]
mod queue;
#[path = "model/registry.rs"]
mod registry;
#[path = "model/rig.rs"]
mod rig;
#[path = "model/runs.rs"]
mod runs;
#[path = "model/shown.rs"]
mod shown;
#[path = "model/state.rs"]
mod state;
#[path = "model/verbs.rs"]
mod verbs;
#[path = "model/world.rs"]
mod world;
