//! Typed records with indexes and counters that can't be forgotten: all are written in one transaction, by one writer.
//!
//! ```text
//!   catalog   every persisted number             schema    Entity, Index, Counter: pure functions of a record
//!   kind      what the writer needs to know of a kind of record
//!   store     RecordStore: transact and read     txn       the only writer   ──> upkeep   the difference (old, new)
//!   view      reads at one point in time         value     parts, large ones in pieces
//!   scrub     finds what disagrees               repair    puts it right ──> quarantine   what can't be read
//!   digest    one number for the whole state
//!   stage     large values, ahead of their commit          fresh     identifiers inside a body
//! ```
//!
//! It promises that at every point in time each index entry and each counter is what the records say, and that a
//! unique place has one holder. It knows nothing about jobs or models, and it never scans inside a transaction.

pub mod catalog;
pub mod collection;
mod digest;
mod fresh;
mod kind;
pub mod quarantine;
pub(crate) mod repair;
mod schema;
pub mod scrub;
mod stage;
mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod txn;
mod upkeep;
mod value;
mod view;

pub use digest::{digest, digest_bytes};
pub use repair::{RepairProgress, RepairReport, Watch};
pub use schema::{Counter, Entity, Entries, Index, Schema, Sums};
pub use stage::{Staged, SweptStaged};
pub use store::RecordStore;
pub use txn::Transaction;
pub use value::{PartReader, PartWriter};
pub use view::{IndexEntry, IndexPage, PAGE_BYTES, View};
