//! Reading a snapshot file front to back, believing nothing of it.
//!
//! Each chunk is checked (lengths, BLAKE3, order, counts) before its records are shown, but only the manifest and the
//! trailer, behind all of them, prove that the file is whole: what a visitor did must be taken back when the walk fails.
//! One chunk is in memory, at most 256 KiB of it as it is stored and as much unpacked, whatever the file says.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::layout::{
    CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, CHUNK_MAGIC, ChunkHeader, EPOCH_BYTES, Fields, HEADER_BYTES, Header,
    MANIFEST_HEAD_BYTES, MANIFEST_MAGIC, Manifest, Record, Section, SnapshotKind, TRAILER_BYTES, TotalsTable, Trailer,
    is_same, list_entry,
};
use super::trail::Trail;
use super::write::ChunkAt;
use crate::engine::{Cursor, Tree};
use crate::error::{Error, Result};

const BLOCK_BYTES: usize = 64 << 10;

/// Bytes that can be read at any place: a file, or a slice.
pub trait Source {
    /// How many there are.
    ///
    /// # Errors
    /// `Unavailable`.
    fn bytes(&self) -> Result<u64>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `Corrupt` when the source ends before that; `Unavailable`.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

impl Source for File {
    fn bytes(&self) -> Result<u64> {
        Ok(self.metadata().map_err(|error| Error::io("length of snapshot", error))?.len())
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        FileExt::read_exact_at(self, buffer, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => cut_short(offset),
            _ => Error::io("read snapshot", error),
        })
    }
}

impl Source for [u8] {
    fn bytes(&self) -> Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).map_err(|_| cut_short(offset))?;
        let end = start.checked_add(buffer.len()).ok_or_else(|| cut_short(offset))?;
        buffer.copy_from_slice(self.get(start..end).ok_or_else(|| cut_short(offset))?);
        Ok(())
    }
}

fn cut_short(offset: u64) -> Error {
    Error::corrupt(format!("snapshot: it ends too early, what should stand at byte {offset} is missing"))
}

/// What a walk found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Walked {
    pub(super) header: Header,
    pub(super) manifest: Manifest,
    pub(super) bytes: u64,
    pub(super) raw_bytes: u64,
    /// Filled when asked for.
    pub(super) index: Vec<ChunkAt>,
}

/// The header alone.
///
/// # Errors
/// `Corrupt`, `Unsupported`, `Unavailable`.
pub(super) fn header(source: &(impl Source + ?Sized)) -> Result<Header> {
    let mut bytes = [0; HEADER_BYTES];
    source.read_exact_at(0, &mut bytes)?;
    Header::decode(&bytes)
}

/// Header and end of a file that is whole as far as its length tells. Nothing else is checked.
///
/// # Errors
/// As [`header`].
pub(super) fn outline(source: &(impl Source + ?Sized)) -> Result<(Header, Cursor)> {
    let header = header(source)?;
    let bytes = source.bytes()?;
    let mut trailer = [0; TRAILER_BYTES];
    source.read_exact_at(bytes.saturating_sub(TRAILER_BYTES as u64), &mut trailer)?;
    let trailer = Trailer::decode(&trailer).filter(|trailer| trailer.total_bytes == bytes);
    let trailer = trailer.ok_or_else(|| Error::corrupt("snapshot: the trailer is damaged or not written yet"))?;
    let mut head = [0; MANIFEST_HEAD_BYTES];
    source.read_exact_at(trailer.manifest_at, &mut head)?;
    let (manifest, ..) =
        Manifest::decode_head(&head).ok_or_else(|| Error::corrupt("snapshot: the manifest is damaged"))?;
    Ok((header, manifest.end))
}

/// Reads and unpacks single chunks, keeping its buffers.
pub(super) struct ChunkReader {
    decompressor: zstd::bulk::Decompressor<'static>,
    stored: Vec<u8>,
    raw: Vec<u8>,
}

impl ChunkReader {
    pub(super) fn new() -> Result<Self> {
        let decompressor =
            zstd::bulk::Decompressor::new().map_err(|error| Error::io("start unpacking a snapshot", error))?;
        Ok(ChunkReader { decompressor, stored: Vec::new(), raw: Vec::new() })
    }

    /// The chunk at `at`, its content compared with its hash: the header, the content as stored and unpacked.
    pub(super) fn read(
        &mut self,
        source: &(impl Source + ?Sized),
        at: u64,
        number: u64,
    ) -> Result<(ChunkHeader, &[u8], &[u8])> {
        let mut head = [0; CHUNK_HEADER_BYTES];
        source.read_exact_at(at, &mut head)?;
        let header = ChunkHeader::decode(&head).ok_or_else(|| damaged(number, "its header is damaged"))?;
        // Both lengths are at most 256 KiB: decoding saw to that.
        self.stored.resize(header.stored_bytes as usize, 0);
        source.read_exact_at(at + CHUNK_HEADER_BYTES as u64, &mut self.stored)?;
        self.raw.clear();
        if header.compressed {
            self.raw.reserve(CHUNK_BYTES_MAX);
            self.decompressor
                .decompress_to_buffer(&self.stored, &mut self.raw)
                .map_err(|error| damaged(number, &format!("it can't be unpacked: {error}")))?;
        } else {
            self.raw.extend_from_slice(&self.stored);
        }
        if self.raw.len() != header.raw_bytes as usize || !is_same(blake3::hash(&self.raw).as_bytes(), &header.hash) {
            return Err(damaged(number, "its content is not what was written"));
        }
        Ok((header, &self.stored, &self.raw))
    }
}

/// Calls `visit` with each record of an unpacked chunk.
pub(super) fn records<'a>(raw: &'a [u8], number: u64, mut visit: impl FnMut(Record<'a>) -> Result<()>) -> Result<u32> {
    let mut fields = Fields(raw);
    let mut count = 0;
    while !fields.0.is_empty() {
        let record = Record::take(&mut fields).ok_or_else(|| damaged(number, "a record in it makes no sense"))?;
        visit(record)?;
        count += 1;
    }
    Ok(count)
}

/// Walks the whole file. `visit` sees the records of each chunk in order once the chunk is checked.
///
/// # Errors
/// `Corrupt` naming the chunk; `Unsupported`; `Unavailable`; what `visit` answers.
pub(super) fn walk(
    source: &(impl Source + ?Sized),
    keep_index: bool,
    mut visit: impl FnMut(Section, Record<'_>) -> Result<()>,
) -> Result<Walked> {
    let bytes = source.bytes()?;
    let mut head = [0; HEADER_BYTES];
    source.read_exact_at(0, &mut head)?;
    let header = Header::decode(&head)?;
    let mut hash = blake3::Hasher::new();
    hash.update(&head);
    let mut walk = Walk {
        kind: header.kind(),
        section: Section::Base,
        last: None,
        totals: TotalsTable::default(),
        list_hash: blake3::Hasher::new(),
        index: Vec::new(),
    };
    let mut reader = ChunkReader::new()?;
    let (mut at, mut number, mut raw_bytes) = (HEADER_BYTES as u64, 0, 0);
    loop {
        let mut magic = [0; 4];
        source.read_exact_at(at, &mut magic)?;
        if magic == MANIFEST_MAGIC {
            break;
        }
        if magic != CHUNK_MAGIC {
            return Err(damaged(number, "its first bytes are damaged"));
        }
        let (chunk, stored, raw) = reader.read(source, at, number)?;
        walk.chunk(at, number, &chunk, raw, keep_index, &mut visit)?;
        hash.update(&chunk.encode());
        hash.update(stored);
        at += (CHUNK_HEADER_BYTES + stored.len()) as u64;
        raw_bytes += raw.len() as u64;
        number += 1;
    }
    let manifest = read_manifest(source, at, bytes, number, &walk, hash)?;
    if let Some((_, end)) = header.between
        && (manifest.digest != [0; 32] || manifest.end != end)
    {
        return Err(Error::corrupt("snapshot: header and manifest of the delta do not fit together"));
    }
    if !manifest.trail.fits(header.between.as_ref()) {
        return Err(Error::corrupt("snapshot: the history that it tells does not lead from its base to its end"));
    }
    let ends_there = manifest
        .epochs
        .last()
        .is_some_and(|start| start.epoch == manifest.end.epoch && start.after_sequence <= manifest.end.sequence);
    if !ends_there {
        return Err(Error::corrupt("snapshot: its epochs do not lead to its cursor"));
    }
    Ok(Walked { header, manifest, bytes, raw_bytes, index: walk.index })
}

struct Walk {
    kind: SnapshotKind,
    section: Section,
    last: Option<(Tree, Vec<u8>)>,
    totals: TotalsTable,
    list_hash: blake3::Hasher,
    index: Vec<ChunkAt>,
}

impl Walk {
    fn chunk(
        &mut self,
        at: u64,
        number: u64,
        header: &ChunkHeader,
        raw: &[u8],
        keep_index: bool,
        visit: &mut impl FnMut(Section, Record<'_>) -> Result<()>,
    ) -> Result<()> {
        if header.section < self.section {
            return Err(damaged(number, "it belongs to a section that is over"));
        }
        if header.section != self.section {
            self.section = header.section;
            self.last = None;
        }
        let removals_allowed = self.kind == SnapshotKind::Delta || self.section == Section::Overlay;
        // The whole chunk before any of it is shown.
        let mut before = self.last.as_ref().map(|(tree, key)| (*tree, key.as_slice()));
        let mut first = None;
        let mut totals = self.totals;
        let counted = records(raw, number, |record| {
            if before.is_some_and(|before| before >= record.place()) {
                return Err(damaged(number, "its keys are not in order"));
            }
            if record.value.is_none() && !removals_allowed {
                return Err(damaged(number, "a removal in the base of a full snapshot"));
            }
            before = Some(record.place());
            first.get_or_insert(record.place());
            if let Some(totals) =
                totals.get_mut(header.section.place()).and_then(|totals| totals.get_mut(record.tree.index()))
            {
                totals.count(&record);
            }
            Ok(())
        })?;
        let (Some(first), Some(last)) = (first, before) else { return Err(damaged(number, "it is empty")) };
        if counted != header.records {
            return Err(damaged(number, "it does not hold as many records as it says"));
        }
        self.list_hash.update(&list_entry(at, header, first, last));
        if keep_index {
            self.index.push(ChunkAt { at, section: header.section, tree: first.0, key: first.1.into() });
        }
        self.totals = totals;
        self.last = Some((last.0, last.1.to_vec()));
        records(raw, number, |record| visit(header.section, record)).map(drop)
    }
}

fn read_manifest(
    source: &(impl Source + ?Sized),
    manifest_at: u64,
    bytes: u64,
    chunks: u64,
    walk: &Walk,
    mut hash: blake3::Hasher,
) -> Result<Manifest> {
    let wrong = |what: &str| Error::corrupt(format!("snapshot: the manifest {what}"));
    let mut head = [0; MANIFEST_HEAD_BYTES];
    source.read_exact_at(manifest_at, &mut head)?;
    hash.update(&head);
    let (mut manifest, epochs, trail_bytes) = Manifest::decode_head(&head).ok_or_else(|| wrong("is damaged"))?;
    let mut at = manifest_at + MANIFEST_HEAD_BYTES as u64;
    for _ in 0..epochs {
        let mut epoch = [0; EPOCH_BYTES];
        source.read_exact_at(at, &mut epoch)?;
        hash.update(&epoch);
        at += EPOCH_BYTES as u64;
        let epoch = Fields(&epoch).epoch().ok_or_else(|| wrong("is damaged"))?;
        let ascends = manifest
            .epochs
            .last()
            .is_none_or(|last| last.epoch.number < epoch.epoch.number && last.after_sequence <= epoch.after_sequence);
        if !ascends {
            return Err(wrong("names epochs out of order"));
        }
        manifest.epochs.push(epoch);
    }
    let mut trail = vec![0; trail_bytes];
    source.read_exact_at(at, &mut trail)?;
    hash.update(&trail);
    at += trail_bytes as u64;
    manifest.trail = Trail::decode(&trail).ok_or_else(|| wrong("tells a history that makes no sense"))?;
    // The chunk list: as long as the rest of the file, and what the walk has seen.
    let trailer_at = bytes.checked_sub(TRAILER_BYTES as u64).filter(|end| *end >= at).ok_or_else(|| cut_short(at))?;
    let mut list_hash = blake3::Hasher::new();
    let mut block = vec![0; BLOCK_BYTES];
    while at < trailer_at {
        let part = (trailer_at - at).min(BLOCK_BYTES as u64) as usize;
        let block = block.get_mut(..part).unwrap_or_default();
        source.read_exact_at(at, block)?;
        hash.update(block);
        list_hash.update(block);
        at += part as u64;
    }
    let mut trailer = [0; TRAILER_BYTES];
    source.read_exact_at(at, &mut trailer)?;
    let trailer = Trailer::decode(&trailer)
        .ok_or_else(|| Error::corrupt("snapshot: the trailer is damaged, or there are bytes behind it"))?;
    if trailer.total_bytes != bytes
        || trailer.manifest_at != manifest_at
        || !is_same(hash.finalize().as_bytes(), &trailer.hash)
    {
        return Err(Error::corrupt("snapshot: the file is not the one that its trailer belongs to"));
    }
    let seen = *walk.list_hash.finalize().as_bytes();
    let listed = is_same(list_hash.finalize().as_bytes(), &seen) && is_same(&manifest.list_hash, &seen);
    if !listed || manifest.chunks != chunks {
        return Err(wrong("lists other chunks than the file holds"));
    }
    if manifest.totals != walk.totals {
        return Err(wrong("counts other records than the file holds"));
    }
    Ok(manifest)
}

fn damaged(number: u64, what: &str) -> Error {
    Error::corrupt(format!("snapshot: chunk {number}: {what}"))
}
