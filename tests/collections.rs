//! Collections, seen as a host sees them.
//!
//! ```text
//!   model    random schemas, records and operations against a sorted vector       model.rs, item.rs, dice.rs
//!   change   schemas that change over data, step by step and under writers        change.rs
//!   refuse   what is refused, and that nothing of it happens                      refuse.rs
//! ```
//!
//! `MLP_COLLECTIONS_SEED` runs the one case of that seed, `MLP_COLLECTIONS_CASES` sets how many there are.

#[path = "collections/change.rs"]
mod change;
#[path = "collections/dice.rs"]
mod dice;
#[path = "collections/item.rs"]
mod item;
#[path = "collections/model.rs"]
mod model;
#[path = "collections/refuse.rs"]
mod refuse;
