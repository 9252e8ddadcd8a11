//! Collections: what hosts keep, under indexes and counters that they declare.
//!
//! ```text
//!   record     Record, Row: what a host keeps            ordered     which values can be keys
//!   schema     fields, indexes, counters                 query       which records, in which order
//!   declared   a schema that makes sense                 plan        the one range that answers
//!   definition what the store remembers                  list        pages and their tokens
//!   layout     both together: a Kind of record           open build  from one definition to the next, online
//!   handle     Collection: what a host calls             txn         the same, inside a transaction
//! ```
//!
//! It promises what the record layer promises: at every point in time each entry and each counter is what the records
//! say, and a place in a unique index has one holder. The writer, the upkeep and the scrub are those of all other
//! records. A query that no index answers is refused, never a hidden scan.
//!
//! Limits: a name takes 1..=100 bytes, an encoded key 768, a record 16 MiB. An index entry (its values, encoded, and the
//! key) takes 1,018 bytes, a counter's group 1,020: a record that would need more is refused (`Invalid`, naming the
//! index), and nothing of it is written. Texts are not cut to fit, since what is cut has lost its order: index a
//! beginning of a text as a field of its own where it may be long.

mod build;
mod declared;
mod definition;
mod handle;
mod layout;
mod list;
mod open;
mod opened;
mod ordered;
mod plan;
mod query;
mod record;
mod schema;
#[cfg(test)]
mod tests;
mod txn;

pub use build::Progress;
pub use handle::Collection;
pub use list::{DamagedRecord, Page};
pub use ordered::{FromKey, Integer, Operand, Ordered, Rank, Timestamp};
pub use query::{LIST_LIMIT_MAX, Query};
pub use record::{OldRecord, Record, Row};
pub use schema::{Part, Schema, asc, desc};
pub use txn::CollectionTxn;

pub(crate) use opened::{BuilderSeat, Checked, OpenedCollections, Snapshot};
