//! What a snapshot file holds, in plain numbers.

use std::path::Path;

use super::file;
use super::layout::{Header, SnapshotKind, TotalsTable};
use super::progress::{Watch, WatchedSource};
use super::read;
use crate::engine::Cursor;
use crate::error::Result;

/// A snapshot file in plain numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// The whole state, or what changed.
    pub kind: SnapshotKind,
    /// The state that it leads to.
    pub cursor: Cursor,
    /// The state that a delta starts from.
    pub base: Option<Cursor>,
    /// The digest of the state that a full snapshot holds, in hex.
    pub digest: Option<String>,
    /// Entries, those that the overlay repeats counted twice.
    pub records: u64,
    /// Keys that were removed.
    pub removals: u64,
    /// Keys and values, unpacked.
    pub raw_bytes: u64,
    /// The file's length.
    pub bytes: u64,
}

impl SnapshotInfo {
    pub(super) fn new(
        header: &Header,
        cursor: Cursor,
        digest: Option<[u8; 32]>,
        totals: &TotalsTable,
        bytes: u64,
    ) -> Self {
        let sum = |field: fn(&super::layout::Totals) -> u64| totals.as_flattened().iter().map(field).sum();
        SnapshotInfo {
            kind: header.kind(),
            cursor,
            base: header.between.map(|(base, _)| base),
            digest: digest.map(|digest| blake3::Hash::from_bytes(digest).to_hex().to_string()),
            records: sum(|totals| totals.records),
            removals: sum(|totals| totals.tombstones),
            raw_bytes: sum(|totals| totals.bytes),
            bytes,
        }
    }
}

/// Reads a whole snapshot file, checks everything that can be checked without a store, and says what it holds.
///
/// # Errors
/// `NotFound`; `Corrupt` naming what is damaged; `Unsupported` for a newer format; `Unavailable`.
pub fn inspect(path: &Path, watch: &mut Watch<'_>) -> Result<SnapshotInfo> {
    let source = WatchedSource::new(file::open(path)?, watch)?;
    Ok(read::walk(&source, false, |_, _| Ok(()))?.info())
}

/// As [`inspect`], of a file that is in memory already: for fuzzing, and for files that come over a network.
///
/// # Errors
/// `Corrupt`, `Unsupported`.
pub fn inspect_bytes(bytes: &[u8]) -> Result<SnapshotInfo> {
    Ok(read::walk(bytes, false, |_, _| Ok(()))?.info())
}
