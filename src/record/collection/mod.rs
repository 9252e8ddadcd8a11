//! Collections: what hosts keep, under indexes and counters that they declare.

mod opened;

pub(crate) use opened::{Checked, OpenedCollections};
