//! The bytes of a snapshot file: header, chunk header, records, manifest, trailer, each encoded and decoded here alone.
//! The tables stand in the [module doc](super).
//!
//! Decoding believes nothing: lengths are compared with limits before anything is allocated, and whatever is wrong is
//! `Corrupt` (or `Unsupported`, for a newer version or a flag that this build does not know).

use super::trail::{TRAIL_BYTES_MAX, Trail};
use crate::engine::{Cursor, Epoch, EpochStart, KEY_BYTES_MAX, POSITION_EPOCHS_MAX, Tree, VALUE_BYTES_MAX};
use crate::error::{Error, Result};

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 256;
/// Bytes before the stored content of a chunk.
pub(super) const CHUNK_HEADER_BYTES: usize = 56;
/// Bytes of the trailer.
pub(super) const TRAILER_BYTES: usize = 64;
/// Bytes of a record before its key.
pub(super) const RECORD_HEADER_BYTES: usize = 8;
/// A chunk is closed once its raw content has this many bytes.
pub(super) const CHUNK_BYTES: usize = 128 << 10;
/// Most bytes of raw content in a chunk: one that was about to be closed, and the largest record.
pub(super) const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Most epochs in a manifest: a cursor that is older than the oldest of them can't be told from a stranger's.
pub(super) const EPOCHS_MAX: usize = POSITION_EPOCHS_MAX;
/// Bytes of a manifest before its epochs.
pub(super) const MANIFEST_HEAD_BYTES: usize = 4 + 4 + 40 + 32 + 32 + 8 + 2 * Tree::COUNT * 24 + 2;
/// Bytes of an epoch in a manifest.
pub(super) const EPOCH_BYTES: usize = 24;

const _: () = assert!(CHUNK_BYTES + RECORD_HEADER_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX <= CHUNK_BYTES_MAX);

pub(super) const FORMAT_VERSION: u32 = 1;
const HEADER_MAGIC: &[u8; 8] = b"MLPSNAP1";
pub(super) const CHUNK_MAGIC: [u8; 4] = *b"MLCK";
pub(super) const MANIFEST_MAGIC: [u8; 4] = *b"MLMF";
const TRAILER_MAGIC: &[u8; 8] = b"MLSNAPT1";
/// Version of what the entries mean; the codec of each value says more.
const SCHEMA_VERSION: u16 = 1;
const ZSTD: u8 = 1;
/// Flags of the lower half say something that a reader must understand.
const CRITICAL_FLAGS: u32 = 0xffff;

/// What a snapshot file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SnapshotKind {
    /// The whole state at its cursor.
    Full,
    /// What changed between two cursors.
    Delta,
}

/// The first 256 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// From which state to which, for a delta. That of a full snapshot is not known before its scan has ended, so it
    /// stands in the manifest alone.
    pub(super) between: Option<(Cursor, Cursor)>,
}

impl Header {
    pub(super) fn kind(&self) -> SnapshotKind {
        if self.between.is_some() { SnapshotKind::Delta } else { SnapshotKind::Full }
    }
}

/// Which part of the file a chunk belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    /// Entries as a scan met them.
    Base,
    /// What was written while the scan was under way: the last word on its keys.
    Overlay,
}

impl Section {
    pub(super) fn place(self) -> usize {
        match self {
            Section::Base => 0,
            Section::Overlay => 1,
        }
    }
}

/// What stands before the content of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkHeader {
    pub(super) section: Section,
    pub(super) compressed: bool,
    pub(super) raw_bytes: u32,
    pub(super) stored_bytes: u32,
    pub(super) records: u32,
    /// BLAKE3 of the raw content.
    pub(super) hash: [u8; 32],
}

/// One entry, or a key that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) tree: Tree,
    pub(super) key: &'a [u8],
    pub(super) value: Option<&'a [u8]>,
}

/// What one section holds of one tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) records: u64,
    pub(super) tombstones: u64,
    /// Keys and values.
    pub(super) bytes: u64,
}

impl Totals {
    pub(super) fn count(&mut self, record: &Record<'_>) {
        match record.value {
            Some(_) => self.records += 1,
            None => self.tombstones += 1,
        }
        self.bytes += (record.key.len() + record.value.map_or(0, <[u8]>::len)) as u64;
    }
}

/// Totals of both sections, by tree number.
pub(super) type TotalsTable = [[Totals; Tree::COUNT]; 2];

/// What stands behind the chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The state that the file leads to.
    pub(super) end: Cursor,
    /// The digest of the state that a full snapshot holds; zeros in a delta.
    pub(super) digest: [u8; 32],
    pub(super) totals: TotalsTable,
    /// Openings of the lineage up to the end cursor, oldest first.
    pub(super) epochs: Vec<EpochStart>,
    /// What the history comes to, here and on the way.
    pub(super) trail: Trail,
    pub(super) chunks: u64,
    /// BLAKE3 over the chunk list.
    pub(super) list_hash: [u8; 32],
}

/// The last 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) manifest_at: u64,
    pub(super) total_bytes: u64,
    /// BLAKE3 of everything before the trailer.
    pub(super) hash: [u8; 32],
}

/// Takes fixed fields off the front of bytes that may be too short.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn slice(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn cursor(&mut self) -> Option<Cursor> {
        Some(Cursor {
            lineage: self.take().map(u128::from_le_bytes)?,
            epoch: Epoch { number: self.u64()?, id: self.u64()? },
            sequence: self.u64()?,
        })
    }

    pub(super) fn epoch(&mut self) -> Option<EpochStart> {
        Some(EpochStart { epoch: Epoch { number: self.u64()?, id: self.u64()? }, after_sequence: self.u64()? })
    }
}

fn put_cursor(bytes: &mut Vec<u8>, cursor: &Cursor) {
    bytes.extend_from_slice(&cursor.lineage.to_le_bytes());
    for field in [cursor.epoch.number, cursor.epoch.id, cursor.sequence] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
}

fn put_crc(bytes: &mut Vec<u8>) {
    let crc = crc32c::crc32c(bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
}

/// The bytes before the CRC32C that ends `bytes`, if it is right.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    is_same(&crc32c::crc32c(body).to_le_bytes(), crc).then_some(body)
}

/// Whether a checksum is right. To a fuzzer all are: it would never get past them.
pub(super) fn is_same(found: &[u8], expected: &[u8]) -> bool {
    found == expected || cfg!(fuzzing)
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(HEADER_MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.push(match self.kind() {
            SnapshotKind::Full => 1,
            SnapshotKind::Delta => 2,
        });
        bytes.push(ZSTD);
        bytes.extend_from_slice(&SCHEMA_VERSION.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        if let Some((base, end)) = &self.between {
            put_cursor(&mut bytes, base);
            put_cursor(&mut bytes, end);
        }
        bytes.resize(HEADER_BYTES - 4, 0);
        put_crc(&mut bytes);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self> {
        let damaged = || Error::corrupt("snapshot: the header is damaged");
        let mut fields = Fields(bytes);
        if fields.take::<8>().ok_or_else(damaged)? != *HEADER_MAGIC {
            return Err(Error::corrupt("snapshot: not a snapshot file, its first bytes are not MLPSNAP1"));
        }
        // The one place where a newer version keeps its word: the header's length and its checksum.
        let body = checked(bytes).ok_or_else(damaged)?;
        let header = (|| {
            let _written_by = fields.u32()?;
            let read_by = fields.u32()?;
            let (kind, compression, schema, flags) = (fields.byte()?, fields.byte()?, fields.u16()?, fields.u32()?);
            Some((read_by, kind, compression, schema, flags, fields.cursor()?, fields.cursor()?))
        })();
        let (read_by, kind, compression, schema, flags, base, end) = header.ok_or_else(damaged)?;
        if read_by > FORMAT_VERSION {
            return Err(Error::unsupported(format!(
                "snapshot: format {read_by}; this version reads up to {FORMAT_VERSION}"
            )));
        }
        if schema > SCHEMA_VERSION || compression != ZSTD || flags & CRITICAL_FLAGS != 0 {
            return Err(Error::unsupported(format!(
                "snapshot: schema {schema}, compression {compression}, flags {flags:#x}: one of them is newer than this \
                 version"
            )));
        }
        // Magic, versions and flags take 24 bytes, the cursors of a delta 80. What is left is zero.
        let used = match kind {
            1 => 24,
            2 => 104,
            _ => return Err(damaged()),
        };
        if body.get(used..).is_none_or(|rest| rest.iter().any(|byte| *byte != 0)) {
            return Err(damaged());
        }
        let between = (kind == 2).then_some((base, end));
        if between.is_some_and(|(base, end)| base.lineage != end.lineage || base.sequence > end.sequence) {
            return Err(Error::corrupt("snapshot: its base does not lead to its end"));
        }
        Ok(Header { between })
    }
}

impl ChunkHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CHUNK_HEADER_BYTES);
        bytes.extend_from_slice(&CHUNK_MAGIC);
        bytes.push(match self.section {
            Section::Base => 1,
            Section::Overlay => 2,
        });
        bytes.extend_from_slice(&[u8::from(self.compressed), 0, 0]);
        for field in [self.raw_bytes, self.stored_bytes, self.records] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.hash);
        put_crc(&mut bytes);
        bytes
    }

    /// `None` for anything that no writer of this version makes.
    pub(super) fn decode(bytes: &[u8; CHUNK_HEADER_BYTES]) -> Option<Self> {
        let mut fields = Fields(checked(bytes)?);
        if fields.take()? != CHUNK_MAGIC {
            return None;
        }
        let section = match fields.byte()? {
            1 => Section::Base,
            2 => Section::Overlay,
            _ => return None,
        };
        let compressed = match fields.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        if fields.u16()? != 0 {
            return None;
        }
        let (raw_bytes, stored_bytes, records) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let header = ChunkHeader { section, compressed, raw_bytes, stored_bytes, records, hash: fields.take()? };
        let fits = (1..=CHUNK_BYTES_MAX as u32).contains(&raw_bytes) && records > 0;
        let shorter = if compressed { stored_bytes < raw_bytes } else { stored_bytes == raw_bytes };
        (fits && shorter).then_some(header)
    }
}

impl<'a> Record<'a> {
    pub(super) fn put(&self, raw: &mut Vec<u8>) {
        let value = self.value.unwrap_or_default();
        raw.extend_from_slice(&[self.tree.number(), u8::from(self.value.is_some())]);
        raw.extend_from_slice(&(self.key.len() as u16).to_le_bytes());
        raw.extend_from_slice(&(value.len() as u32).to_le_bytes());
        raw.extend_from_slice(self.key);
        raw.extend_from_slice(value);
    }

    /// The record at the front of `fields`; `None` for anything that no writer makes.
    pub(super) fn take(fields: &mut Fields<'a>) -> Option<Self> {
        let tree = Tree::from_number(fields.byte()?).ok()?;
        let state = fields.byte()?;
        let (key_bytes, value_bytes) = (usize::from(fields.u16()?), fields.u32()? as usize);
        if !(1..=KEY_BYTES_MAX).contains(&key_bytes) || value_bytes > VALUE_BYTES_MAX {
            return None;
        }
        let (key, value) = (fields.slice(key_bytes)?, fields.slice(value_bytes)?);
        let value = match state {
            0 if value.is_empty() => None,
            1 => Some(value),
            _ => return None,
        };
        // What an engine keeps of its own is no part of a state.
        (!is_engines_own(tree, key)).then_some(Record { tree, key, value })
    }

    /// Where it stands in a section.
    pub(super) fn place(&self) -> (Tree, &'a [u8]) {
        (self.tree, self.key)
    }
}

/// Whether an entry belongs to the engine and not to the state.
pub(super) fn is_engines_own(tree: Tree, key: &[u8]) -> bool {
    tree == Tree::Meta && key.first() == Some(&0)
}

/// One line of the chunk list.
pub(super) fn list_entry(at: u64, header: &ChunkHeader, first: (Tree, &[u8]), last: (Tree, &[u8])) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    bytes.extend_from_slice(&at.to_le_bytes());
    bytes.extend_from_slice(&header.encode());
    for (tree, key) in [first, last] {
        bytes.push(tree.number());
        bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        bytes.extend_from_slice(key);
    }
    bytes
}

impl Manifest {
    /// Everything but the chunk list, which follows.
    pub(super) fn encode(&self) -> Vec<u8> {
        let trail = self.trail.encode();
        let mut bytes = Vec::with_capacity(MANIFEST_HEAD_BYTES + self.epochs.len() * EPOCH_BYTES + trail.len());
        bytes.extend_from_slice(&MANIFEST_MAGIC);
        bytes.extend_from_slice(&(trail.len() as u32).to_le_bytes());
        put_cursor(&mut bytes, &self.end);
        bytes.extend_from_slice(&self.digest);
        bytes.extend_from_slice(&self.list_hash);
        bytes.extend_from_slice(&self.chunks.to_le_bytes());
        for totals in self.totals.as_flattened() {
            for field in [totals.records, totals.tombstones, totals.bytes] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        bytes.extend_from_slice(&(self.epochs.len() as u16).to_le_bytes());
        for start in &self.epochs {
            for field in [start.epoch.number, start.epoch.id, start.after_sequence] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        bytes.extend_from_slice(&trail);
        bytes
    }

    /// The fields before the epochs, how many epochs there are, and how many bytes of trail behind them.
    pub(super) fn decode_head(bytes: &[u8; MANIFEST_HEAD_BYTES]) -> Option<(Self, usize, usize)> {
        let mut fields = Fields(bytes);
        if fields.take()? != MANIFEST_MAGIC {
            return None;
        }
        let trail_bytes = fields.u32()? as usize;
        let end = fields.cursor()?;
        let (digest, list_hash, chunks) = (fields.take()?, fields.take()?, fields.u64()?);
        let mut totals = TotalsTable::default();
        for totals in totals.as_flattened_mut() {
            *totals = Totals { records: fields.u64()?, tombstones: fields.u64()?, bytes: fields.u64()? };
        }
        let epochs = usize::from(fields.u16()?);
        let trail = Trail::default();
        let manifest = Manifest { end, digest, totals, epochs: Vec::new(), trail, chunks, list_hash };
        let fits = (1..=EPOCHS_MAX).contains(&epochs) && trail_bytes <= TRAIL_BYTES_MAX;
        fits.then_some((manifest, epochs, trail_bytes))
    }
}

impl Trailer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TRAILER_BYTES);
        bytes.extend_from_slice(TRAILER_MAGIC);
        bytes.extend_from_slice(&self.manifest_at.to_le_bytes());
        bytes.extend_from_slice(&self.total_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(&[0; 4]);
        put_crc(&mut bytes);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; TRAILER_BYTES]) -> Option<Self> {
        let mut fields = Fields(checked(bytes)?);
        if fields.take::<8>()? != *TRAILER_MAGIC {
            return None;
        }
        let trailer = Trailer { manifest_at: fields.u64()?, total_bytes: fields.u64()?, hash: fields.take()? };
        (fields.u32()? == 0).then_some(trailer)
    }
}
