//! The narrow waist: ordered trees, named-key transactions, and nothing about jobs, models or time.
//!
//! ```text
//!   record layer ──> Engine  (this file)           one per back end, object-safe
//!                      └── local/  journal ─> memtable ─> KvStore       one Engine over any KvStore
//!                                                            ├── sled.rs
//!                                                            └── memory/
//! ```
//!
//! Each promise in the docs of [`Engine`], [`Txn`] and [`KvStore`] is a function in [`conformance`], run for every
//! engine and store, plain and through every wrapper of [`wrap`].

mod chain;
pub mod conformance;
mod counter;
mod cursor;
pub mod local;
pub mod memory;
mod observe;
mod position;
#[cfg(feature = "sled")]
pub mod sled;
mod tree;
pub mod wrap;

use std::fmt;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::config::Durability;
use crate::error::{Error, Result};

pub use chain::{CHAIN_HASH_BYTES, ChainHash};
pub use counter::{counter_value, read_counter};
pub use cursor::{Cursor, Epoch};
pub use observe::{Observer, Observers, Told};
pub use position::{EpochStart, ORIGIN_KEY, POSITION_EPOCHS_MAX, Position};
pub use tree::Tree;

/// A stored value: shared, immutable, cheap to clone.
pub type Value = Arc<[u8]>;

/// Longest key, in bytes. The shortest is 1.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest stored value, in bytes. The record layer cuts larger ones into pieces.
pub const VALUE_BYTES_MAX: usize = 16 << 10;
/// Most keys that [`Reader::get_many`] answers at once.
pub const GET_MANY_MAX: usize = 1024;
/// Most entries in one page of a scan.
pub const SCAN_LIMIT_MAX: usize = 10_000;

/// Reads of one engine, or of one point in time of it.
pub trait Reader {
    /// The value at `key`, or `None`.
    ///
    /// # Errors
    /// `Invalid` for a key outside 1..=1024 bytes; `Closed`; `Corrupt`.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>>;

    /// The values at up to [`GET_MANY_MAX`] keys, in the order asked, all from one point in time.
    ///
    /// # Errors
    /// `Invalid` for more keys, or one outside 1..=1024 bytes; `Closed`; `Corrupt`.
    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>>;

    /// One page of at most `limit` (1..=[`SCAN_LIMIT_MAX`]) entries of `range`, in key order or against it, from one
    /// point in time. A page may be short; only [`Page::resume`] says whether the range has been read to its end.
    ///
    /// # Errors
    /// `Invalid` for a limit out of bounds; `Closed`; `Corrupt`.
    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page>;
}

/// A transactional store of ordered trees. Object-safe: everything above holds an `Arc<dyn Engine>`.
///
/// Its own [`Reader`] methods are plain reads: they see a `PowerLoss` commit only once it is durable and a `Buffered`
/// one once it returned, always as a prefix of commit order.
pub trait Engine: Reader + Send + Sync + fmt::Debug {
    /// Runs `body` and commits what it wrote: all of it or nothing.
    ///
    /// - Serializable over the keys that the body named, absent ones included. Phantoms are not covered: what must be
    ///   unique is a key.
    /// - An error from the body, and a panic in it, take back its own writes and nobody else's.
    /// - The body may run more than once. It does no I/O, reads no clock, takes no lock and does not call the engine.
    /// - Any outcome, an error or a read-only body included, is answered only when everything that it read is
    ///   durable; [`Durability::Buffered`] waives that.
    ///
    /// # Errors
    /// The body's own; `Invalid` past a limit or for an engine call inside the body; `Full`; `Closed`;
    /// `CommitUnknown` when the write or sync that held this very commit failed.
    fn transact(&self, options: &TxnOptions, body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Committed>;

    /// Runs `body` on reads that all come from one point in time. The body may run more than once.
    ///
    /// # Errors
    /// The body's own; `Closed`; `Corrupt`.
    fn read_view(&self, body: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()>;

    /// Makes every commit that has returned durable; answers the cursor up to which everything survives power loss.
    ///
    /// # Errors
    /// `Closed`; `CommitUnknown` when the sync failed.
    fn sync(&self) -> Result<Cursor>;

    /// Moves everything that is durable now into the store, so that the next open has nothing to replay.
    ///
    /// # Errors
    /// `Full` when the disk has no room for what the store would write; `Closed`, also when the store failed meanwhile.
    fn checkpoint(&self) -> Result<()>;

    /// What was committed after `after`, oldest first: whole batches, until there are at least `limit`
    /// (1..=[`SCAN_LIMIT_MAX`]) changes or no more. Nothing is skipped, and nothing is served that a power cut could
    /// take back; a key written several times in one batch is served once, with its final value.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another store or of commits that this one does not have; `NeedsFull` when the feed no
    /// longer reaches back to `after`; `Unsupported` where there is no feed; `Closed`; `Corrupt`.
    fn changes(&self, after: &Cursor, limit: usize) -> Result<Changes>;

    /// Waits until [`changes`](Self::changes) has something behind `after`, at most for `at_most` of real time; answers
    /// whether it has. A hint: whoever is told nothing asks the feed all the same, and misses nothing by that.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another store or of commits that this one does not have, also when that comes about
    /// meanwhile; `Unsupported` where there is no feed; `Closed`, also for those who wait when the engine closes.
    fn watch(&self, after: &Cursor, at_most: Duration) -> Result<bool> {
        Err(Error::unsupported(format!(
            "this engine keeps no feed that could be watched for {at_most:?} from {after:?}"
        )))
    }

    /// From now on tells `observer` of every commit that writes a key which it watches.
    ///
    /// - Every such commit is told once, in commit order; commits that become visible together are told together, each
    ///   key with its final state.
    /// - It is told once plain reads see the commit, and before the commit's caller is answered (a `Buffered` commit
    ///   that waits behind a durable one is told when it becomes visible, which may be later).
    /// - Every commit that plain reads do not see when this is called is told; of the older ones none is, or only the
    ///   newest, when it is just being published.
    ///
    /// The observer is held weakly: dropping it is all that ends it.
    fn observe(&self, observer: Weak<dyn Observer>);

    /// Keeps the feed, from a point that plain reads see on, until the hold is dropped.
    ///
    /// # Errors
    /// `Unsupported` where there is no feed; `Closed`.
    fn hold_changes(&self) -> Result<Box<dyn FeedHold>> {
        Err(Error::unsupported("this engine keeps no feed of changes"))
    }

    /// A cursor of this store with the openings that led to it, and the chain hash there as long as the feed reaches back
    /// to it: two stores with the same hash have the same history up to there, commit by commit.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another store; `Unsupported` where there is no feed; `Closed`; `Corrupt`.
    fn position(&self, at: &Cursor) -> Result<Position> {
        Err(Error::unsupported(format!("this engine keeps no history that {at:?} could stand in")))
    }

    /// Has `fill` write a whole new state beside the live one, then puts it in the place of that in one durable step.
    /// `fill` answers the position of the state, which the store takes over until it writes something of its own. What
    /// was committed to the old state is gone then, also if it was committed while `fill` was at work; commits and reads
    /// that are under way meanwhile go on with the new state. With `only_if_empty` nothing is ever lost so.
    ///
    /// A crash at any point leaves the old state or the new one.
    ///
    /// # Errors
    /// What `fill` answers; `Conflict` when the store is to be empty and is not; `Full`; `Unsupported` where a state
    /// can't be replaced. The old state stays, unless the message says that the new one is in place.
    fn replace(&self, only_if_empty: bool, fill: &mut dyn FnMut(&mut dyn Fresh) -> Result<Position>) -> Result<()> {
        // A default for engines that can't: what they were asked is in the message.
        let _unused = (only_if_empty, fill);
        Err(Error::unsupported("this engine can't replace its state while it is open"))
    }

    /// A folder beside the live state for what belongs to that state and goes when it is replaced, such as snapshots of it.
    /// Nothing says that it exists. `None` where the state lies in no folder.
    fn annex(&self) -> Option<PathBuf> {
        None
    }

    /// Keeps the feed behind `sequence`, a commit of this store's own lineage, until this is called again, beyond what
    /// retention asks. A journal that would pass its cap breaks that promise:
    /// [`EngineStats::journal_first_sequence`] tells.
    ///
    /// # Errors
    /// `Unsupported` where there is no feed; `Closed`.
    fn keep_changes(&self, sequence: u64) -> Result<()> {
        Err(Error::unsupported(format!("this engine keeps no feed of changes, from {sequence} on or otherwise")))
    }

    /// The cursor of the newest commit that plain reads see; of a state that was taken over, the cursor that it had
    /// there, until this store writes something of its own.
    fn cursor(&self) -> Cursor;

    /// This opening: grows by one at each open for writing, and its random id tells copies of a folder apart.
    fn epoch(&self) -> Epoch;

    /// Limits and abilities.
    fn capabilities(&self) -> Capabilities;

    /// Plain numbers about what it has done and holds.
    fn stats(&self) -> EngineStats;

    /// Syncs what was committed and stops. Later calls answer `Closed`; a second close is `Ok`.
    ///
    /// # Errors
    /// What the last sync answered; the engine is closed all the same.
    fn close(&self) -> Result<()>;
}

/// Keeps the change feed in place for a reader that takes its time. A journal that would pass its cap breaks the hold;
/// then the feed answers `NeedsFull`.
pub trait FeedHold: Send {
    /// Everything up to here was visible to plain reads when the hold began, and the feed goes on behind it.
    fn start(&self) -> Cursor;

    /// Makes every commit that has returned, and so everything that a plain read has seen, durable; answers the cursor of
    /// the last one. The feed goes up to it. Unlike [`Engine::sync`] it always counts in this store's own lineage.
    ///
    /// # Errors
    /// `Closed`; `CommitUnknown` when the sync failed.
    fn sync(&self) -> Result<Cursor>;
}

/// A new state on its way: see [`Engine::replace`].
pub trait Fresh {
    /// Sets or removes one entry. Later calls win over earlier ones. Keys of the engine's own are refused.
    ///
    /// # Errors
    /// `Invalid` for a key or value outside the limits; `Full`; `Unavailable`; `Corrupt`.
    fn write(&mut self, tree: Tree, key: &[u8], value: Option<&[u8]>) -> Result<()>;

    /// Reads what was written so far.
    ///
    /// # Errors
    /// Those of `read`, and of the writes that had to be finished first.
    fn read(&mut self, read: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()>;
}

/// What a transaction body can do: reads and writes of named keys. No scans: the pattern is *scan outside, verify
/// inside*.
pub trait Txn {
    /// The value at `key` as this transaction sees it: its own writes first.
    ///
    /// # Errors
    /// `Invalid` for a key outside its limits, or one that this body gave to [`Txn::add`]; `Corrupt`.
    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Value>>;

    /// Sets `key` to `value` (at most [`VALUE_BYTES_MAX`] bytes).
    ///
    /// # Errors
    /// `Invalid` for a key or value outside its limits, or past the transaction's.
    fn put(&mut self, tree: Tree, key: &[u8], value: Value) -> Result<()>;

    /// Removes `key`; removing an absent one is no error.
    ///
    /// # Errors
    /// `Invalid` for a key outside its limits, or past the transaction's.
    fn delete(&mut self, tree: Tree, key: &[u8]) -> Result<()>;

    /// Adds `delta` to the counter at `key`. A missing counter is 0, and one that becomes 0 is removed. The counter
    /// can't be read again in the same body. Its stored form is [`counter_value`].
    ///
    /// # Errors
    /// `Invalid` on overflow of `i64`, for a key outside its limits, or past the transaction's; `Corrupt` when the
    /// key holds something else.
    fn add(&mut self, tree: Tree, key: &[u8], delta: i64) -> Result<()>;
}

/// What a local engine brings: ordered trees with atomic batches. Nothing about time, domain or retries.
///
/// The local engine calls [`apply`](KvStore::apply) and [`sync`](KvStore::sync) from one thread; reads come from many.
pub trait KvStore: Send + Sync + fmt::Debug {
    /// The value at `key`, or `None`.
    ///
    /// # Errors
    /// `Corrupt` or `Unavailable`, from the store.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>>;

    /// At most `limit` entries of `range`, in key order or against it. Shorter only at the range's end.
    ///
    /// # Errors
    /// `Corrupt` or `Unavailable`, from the store.
    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Vec<(Vec<u8>, Value)>>;

    /// Applies the whole batch, its mark included, or nothing of it: also across a crash. Visible when it returns.
    ///
    /// # Errors
    /// Any: the caller treats the store as unusable afterwards.
    fn apply(&self, batch: &WriteBatch) -> Result<()>;

    /// Everything applied before survives power loss when it returns. Never tried again after a failure.
    ///
    /// # Errors
    /// Any: the caller treats the store as unusable afterwards.
    fn sync(&self) -> Result<()>;

    /// The mark of the newest batch that carried one: an opaque note of at most 1 KiB, kept beside the trees.
    ///
    /// # Errors
    /// `Corrupt` or `Unavailable`, from the store.
    fn mark(&self) -> Result<Option<Value>>;

    /// Bytes that the store takes on disk, 0 where there is none.
    fn disk_bytes(&self) -> u64;
}

/// One write: tree, key, and the new value or `None` for a removal.
pub type Write = (Tree, Box<[u8]>, Option<Value>);

/// Writes that are applied as one.
#[derive(Debug, Clone, Default)]
pub struct WriteBatch {
    /// In no particular order. No key occurs twice.
    pub writes: Vec<Write>,
    /// Replaces the store's mark in the same step.
    pub mark: Option<Value>,
}

/// Which end a scan starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Smallest key first.
    #[default]
    Ascending,
    /// Largest key first.
    Descending,
}

/// A range of keys of one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// Where the range starts, whatever the direction.
    pub start: Bound<Vec<u8>>,
    /// Where it ends.
    pub end: Bound<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        KeyRange { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        KeyRange { start: Bound::Included(prefix.to_vec()), end: prefix_end(prefix) }
    }

    /// What is left of this range behind `key`, which a scan in `direction` has just read.
    #[must_use]
    pub fn behind(&self, key: &[u8], direction: Direction) -> Self {
        let mut rest = self.clone();
        match direction {
            Direction::Ascending => rest.start = Bound::Excluded(key.to_vec()),
            Direction::Descending => rest.end = Bound::Excluded(key.to_vec()),
        }
        rest
    }

    /// Whether `key` lies inside.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        let after_start = match &self.start {
            Bound::Included(start) => key >= start.as_slice(),
            Bound::Excluded(start) => key > start.as_slice(),
            Bound::Unbounded => true,
        };
        let before_end = match &self.end {
            Bound::Included(end) => key <= end.as_slice(),
            Bound::Excluded(end) => key < end.as_slice(),
            Bound::Unbounded => true,
        };
        after_start && before_end
    }

    /// Whether no key can lie inside. `BTreeMap::range` panics on some of these, so stores ask first.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Unbounded, _) => false,
            (_, Bound::Unbounded) => false,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
                start >= end
            }
        }
    }

    /// The bounds as borrowed slices, for `range` calls of ordered maps.
    #[must_use]
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.start.as_ref().map(Vec::as_slice), self.end.as_ref().map(Vec::as_slice))
    }
}

/// The smallest bound behind every key that begins with `prefix`.
fn prefix_end(prefix: &[u8]) -> Bound<Vec<u8>> {
    match prefix.iter().rposition(|byte| *byte != 0xff) {
        Some(last) => {
            let mut end: Vec<u8> = prefix.iter().copied().take(last + 1).collect();
            if let Some(byte) = end.last_mut() {
                *byte += 1;
            }
            Bound::Excluded(end)
        }
        None => Bound::Unbounded,
    }
}

/// One page of a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values, in the order of the scan.
    pub entries: Vec<(Vec<u8>, Value)>,
    /// The key to go on behind (see [`KeyRange::behind`]); `None` when the range has been read to its end.
    pub resume: Option<Vec<u8>>,
}

/// One write of the change feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The batch that it belongs to.
    pub cursor: Cursor,
    /// When that was committed, in milliseconds since the Unix epoch, by the clock of the store.
    pub committed_ms: u64,
    /// Where it was written.
    pub tree: Tree,
    /// The key.
    pub key: Vec<u8>,
    /// The new value, or `None` for a removal.
    pub value: Option<Value>,
}

/// One page of the change feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Oldest first.
    pub changes: Vec<Change>,
    /// Where to go on: the last batch of the page, or the cursor that was asked for when there was nothing new.
    pub cursor: Cursor,
    /// The chain hash with each batch of the page, by its sequence, oldest first.
    pub chain: Vec<(u64, ChainHash)>,
}

/// How one transaction is run.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TxnOptions {
    /// When the commit returns.
    pub durability: Durability,
    /// Lets a networked engine find out whether an unanswered commit landed. A local engine needs none.
    pub id: Option<u128>,
    /// Keys that the body will name: a networked engine locks or fetches them ahead. Only a hint.
    pub keys_hint: Vec<(Tree, Vec<u8>)>,
    /// The commit brings a state that was taken over from another store to this position of it: no write of this store's
    /// own. Kept in the same step.
    pub adopt: Option<Position>,
}

impl TxnOptions {
    /// Options with this durability.
    #[must_use]
    pub fn durability(durability: Durability) -> Self {
        TxnOptions { durability, ..TxnOptions::default() }
    }
}

/// A commit that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// The position of the batch that holds it; of the newest batch that was read for a body without writes.
    pub cursor: Cursor,
}

impl Committed {
    /// A commit at `cursor`.
    #[must_use]
    pub fn at(cursor: Cursor) -> Self {
        Committed { cursor }
    }
}

/// Limits and abilities of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Its name: `sled`, `memory`.
    pub engine: &'static str,
    /// Most writes in one transaction.
    pub txn_writes_max: usize,
    /// Most bytes of keys and values written in one transaction.
    pub txn_bytes_max: usize,
    /// The strongest promise that a commit can get.
    pub durability_max: Durability,
    /// Whether [`Engine::changes`] is offered.
    pub feeds_changes: bool,
    /// Whether commits outlive the process at all.
    pub persistent: bool,
    /// Whether the file system could sync folders when this engine was opened.
    pub syncs_folders: bool,
}

/// Plain numbers about an engine since it was opened, for any metrics crate.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct EngineStats {
    /// Transactions that wrote something and were acknowledged.
    pub commits: u64,
    /// Batches that these were sealed into.
    pub batches: u64,
    /// Commits in the largest batch.
    pub batch_commits_max: u64,
    /// Batches by their number of commits: place `i` counts those of `2^i` up to `2^(i+1)` excluded.
    pub batch_commits: Vec<u64>,
    /// `fdatasync` calls on the journal for batches. Preparing segments counts apart.
    pub journal_syncs: u64,
    /// Appends with their sync by duration in microseconds: place `i` counts those of `2^i` up to `2^(i+1)` excluded.
    pub journal_sync_us: Vec<u64>,
    /// Segments prepared or recycled, each with its own syncs.
    pub segments_prepared: u64,
    /// Bytes that the journal takes on disk.
    pub journal_bytes: u64,
    /// Sequence of the oldest commit that the journal still holds: 1 when it reaches back to the store's beginning.
    pub journal_first_sequence: u64,
    /// Of these, bytes that only a reader of the change feed keeps from being given up.
    pub journal_pinned_bytes: u64,
    /// Frames appended to the journal, in bytes.
    pub journal_appended_bytes: u64,
    /// Bytes in the active and frozen memtables.
    pub memtable_bytes: usize,
    /// Sequence of the newest durable batch.
    pub durable_sequence: u64,
    /// Sequence up to which the store holds everything.
    pub applied_sequence: u64,
    /// Durable batches that the store does not hold yet: how far the applier is behind.
    pub applier_lag: u64,
    /// Chunks that the applier wrote to the store, each with one store sync.
    pub store_syncs: u64,
    /// Writes that the applier sent to the store.
    pub store_writes: u64,
    /// Keys and values of these, in bytes. Over [`EngineStats::journal_appended_bytes`] it tells what the memtable saved.
    pub store_written_bytes: u64,
    /// Bytes that the store takes on disk.
    pub store_bytes: u64,
    /// Time that writers were held back to the applier's pace, in microseconds.
    pub stall_us: u64,
    /// Bodies that ran for more than 1 ms under the engine's mutex.
    pub slow_bodies: u64,
}

/// Refuses a key outside 1..=[`KEY_BYTES_MAX`] bytes.
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::invalid(format!("key: 1..={KEY_BYTES_MAX} bytes, got {}", key.len())));
    }
    Ok(())
}

/// Refuses a page size outside 1..=[`SCAN_LIMIT_MAX`].
pub(crate) fn check_limit(limit: usize) -> Result<()> {
    if limit == 0 || limit > SCAN_LIMIT_MAX {
        return Err(Error::invalid(format!("limit: 1..={SCAN_LIMIT_MAX} entries, got {limit}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_ends_behind_its_last_key_also_when_it_is_all_ones() {
        assert_eq!(KeyRange::prefix(b"a\xff").end, Bound::Excluded(b"b".to_vec()));
        assert_eq!(KeyRange::prefix(b"\xff\xff").end, Bound::Unbounded);
        assert!(KeyRange::prefix(b"a\xff").contains(b"a\xff\xff\xff"));
        assert!(!KeyRange::prefix(b"a\xff").contains(b"b"));
    }

    #[test]
    fn ranges_that_ordered_maps_would_panic_on_are_called_empty() {
        let range = |start, end| KeyRange { start, end };
        assert!(range(Bound::Excluded(vec![1]), Bound::Excluded(vec![1])).is_empty());
        assert!(range(Bound::Included(vec![2]), Bound::Included(vec![1])).is_empty());
        assert!(!range(Bound::Included(vec![1]), Bound::Included(vec![1])).is_empty());
    }
}
