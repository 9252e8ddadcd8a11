//! Writing a snapshot file: records in, bytes out, front to back.
//!
//! It never seeks back and holds one chunk. It refuses records that are not in order: an exporter that scans badly must
//! not leave a file that no importer takes.

use std::io::Write;

use super::layout::{
    CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkHeader, Header, Manifest, Record, Section, TRAILER_BYTES, TotalsTable,
    Trailer, list_entry,
};
use super::trail::Trail;
use crate::engine::{Position, Tree};
use crate::error::{Error, Result};

/// Level of compression: at 1 it costs less than the disk that it saves.
const ZSTD_LEVEL: i32 = 1;

/// Where a chunk lies and with which record it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChunkAt {
    pub(super) at: u64,
    pub(super) section: Section,
    pub(super) tree: Tree,
    pub(super) key: Box<[u8]>,
}

/// Writes one file.
pub(super) struct Writer<W> {
    out: W,
    at: u64,
    hash: blake3::Hasher,
    list_hash: blake3::Hasher,
    list: Vec<u8>,
    section: Section,
    raw: Vec<u8>,
    records: u32,
    first: Option<(Tree, Vec<u8>)>,
    last: Option<(Tree, Vec<u8>)>,
    compressor: zstd::bulk::Compressor<'static>,
    stored: Vec<u8>,
    totals: TotalsTable,
    chunks: Vec<ChunkAt>,
}

/// What [`Writer::finish`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) totals: TotalsTable,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, header: &Header) -> Result<Self> {
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(failed)?;
        let mut writer = Writer {
            out,
            at: 0,
            hash: blake3::Hasher::new(),
            list_hash: blake3::Hasher::new(),
            list: Vec::new(),
            section: Section::Base,
            raw: Vec::with_capacity(CHUNK_BYTES * 2),
            records: 0,
            first: None,
            last: None,
            compressor,
            stored: Vec::new(),
            totals: TotalsTable::default(),
            chunks: Vec::new(),
        };
        writer.put(&header.encode())?;
        Ok(writer)
    }

    /// Adds a record behind all others of its section.
    ///
    /// # Errors
    /// `Internal` for one out of order; `Full` and `Unavailable` from the file.
    pub(super) fn record(&mut self, section: Section, record: &Record<'_>) -> Result<()> {
        if section != self.section {
            self.close_chunk()?;
            self.last = None;
        }
        let behind = self.last.as_ref().is_none_or(|(tree, key)| (*tree, key.as_slice()) < record.place());
        if section < self.section || !behind {
            return Err(Error::internal(format!(
                "snapshot: {} {:02x?} was written out of order",
                record.tree.name(),
                record.key
            )));
        }
        self.section = section;
        record.put(&mut self.raw);
        self.records += 1;
        if let Some(totals) =
            self.totals.get_mut(section.place()).and_then(|totals| totals.get_mut(record.tree.index()))
        {
            totals.count(record);
        }
        if self.first.is_none() {
            self.first = Some((record.tree, record.key.to_vec()));
        }
        match &mut self.last {
            Some((tree, key)) => {
                *tree = record.tree;
                key.clear();
                key.extend_from_slice(record.key);
            }
            None => self.last = Some((record.tree, record.key.to_vec())),
        }
        if self.raw.len() >= CHUNK_BYTES { self.close_chunk() } else { Ok(()) }
    }

    /// Writes the last chunk, and has all of them in the file.
    ///
    /// # Errors
    /// `Full`, `Unavailable`.
    pub(super) fn end_records(&mut self) -> Result<()> {
        self.close_chunk()?;
        self.out.flush().map_err(failed)
    }

    /// Where the chunks lie that were written so far.
    pub(super) fn chunks(&self) -> &[ChunkAt] {
        &self.chunks
    }

    /// Writes manifest and trailer.
    ///
    /// # Errors
    /// `Full`, `Unavailable`.
    pub(super) fn finish(mut self, digest: [u8; 32], position: &Position, trail: Trail) -> Result<(W, Written)> {
        self.end_records()?;
        let manifest_at = self.at;
        let manifest = Manifest {
            end: position.cursor,
            digest,
            totals: self.totals,
            epochs: position.epochs.clone(),
            trail,
            chunks: self.chunks.len() as u64,
            list_hash: *self.list_hash.finalize().as_bytes(),
        };
        self.put(&manifest.encode())?;
        let list = std::mem::take(&mut self.list);
        self.put(&list)?;
        let trailer = Trailer {
            manifest_at,
            total_bytes: self.at + TRAILER_BYTES as u64,
            hash: *self.hash.finalize().as_bytes(),
        };
        self.put(&trailer.encode())?;
        self.out.flush().map_err(failed)?;
        Ok((self.out, Written { bytes: self.at, totals: self.totals }))
    }

    fn close_chunk(&mut self) -> Result<()> {
        let (Some((tree, key)), Some((last_tree, last_key))) = (self.first.take(), &self.last) else {
            return Ok(());
        };
        let raw = std::mem::take(&mut self.raw);
        let mut stored = std::mem::take(&mut self.stored);
        stored.clear();
        stored.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let compressed = self.compressor.compress_to_buffer(&raw, &mut stored).map_err(failed)? < raw.len();
        let content = if compressed { &stored } else { &raw };
        let header = ChunkHeader {
            section: self.section,
            compressed,
            raw_bytes: raw.len() as u32,
            stored_bytes: content.len() as u32,
            records: self.records,
            hash: *blake3::hash(&raw).as_bytes(),
        };
        let entry = list_entry(self.at, &header, (tree, &key), (*last_tree, last_key));
        self.list_hash.update(&entry);
        self.list.extend_from_slice(&entry);
        self.chunks.push(ChunkAt { at: self.at, section: self.section, tree, key: key.into() });
        let head = header.encode();
        debug_assert_eq!(head.len(), CHUNK_HEADER_BYTES);
        self.put(&head)?;
        self.put(content)?;
        self.records = 0;
        self.raw = raw;
        self.raw.clear();
        self.stored = stored;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(failed)?;
        self.hash.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("write snapshot", error)
}
