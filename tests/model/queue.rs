//! The queue's own model, which stands beside a store of its own in the crate's test of the queue. Here the store is a
//! whole one: the rig brings it.

use super::rig;

#[path = "../jobs_model/draw.rs"]
pub mod draw;
#[allow(dead_code, reason = "shared with the test of the queue alone")]
#[path = "../jobs_model/model.rs"]
pub mod model;
#[allow(dead_code, reason = "shared with the test of the queue alone")]
#[path = "../jobs_model/op.rs"]
pub mod op;
#[allow(dead_code, reason = "shared with the test of the queue alone")]
#[path = "../jobs_model/world.rs"]
pub mod world;
