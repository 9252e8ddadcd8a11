//! Stored parts of records: read whole, written whole, cut into pieces where they are too large for one entry.
//!
//! ```text
//! up to 16 KiB   tree/key: envelope
//! above          tree/key: head {value id, length, pieces, checksum}
//!                blob/(value id, 0): first 16 KiB of the envelope   blob/(value id, 1): …
//! ```
//!
//! Pieces are written once, under a fresh value id, in the transaction that writes the head, and go in the one that
//! overwrites or deletes it. So within one point in time a missing piece is damage.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, Head, Part};
use crate::engine::{Reader, Tree, Txn, VALUE_BYTES_MAX, Value};
use crate::error::{Error, Result};
use crate::keys;

use super::fresh::FreshIds;

/// Pieces fetched at once: 1 MiB.
pub(super) const PIECES_AT_ONCE: u32 = 64;

/// Reads stored parts, inside a transaction or from one point in time.
pub struct PartReader<'a>(Source<'a>);

enum Source<'a> {
    Txn(&'a mut dyn Txn),
    View(&'a dyn Reader),
}

impl<'a> PartReader<'a> {
    pub(super) fn in_transaction(txn: &'a mut dyn Txn) -> Self {
        PartReader(Source::Txn(txn))
    }

    pub(super) fn in_view(reader: &'a dyn Reader) -> Self {
        PartReader(Source::View(reader))
    }

    /// The value of `part` at `key`, or `None`.
    ///
    /// # Errors
    /// `Corrupt` for damage, a missing piece included; `Unsupported` for a newer format.
    pub fn get<T: DeserializeOwned>(&mut self, part: Part, key: &[u8]) -> Result<Option<T>> {
        match self.stored(part.tree, key)? {
            None => Ok(None),
            Some(stored) => self.open(part, key, &stored).map(Some),
        }
    }

    /// The value of `part` whose stored bytes at `key` are at hand, from a scan of the same point in time.
    ///
    /// # Errors
    /// As [`PartReader::get`].
    pub fn open<T: DeserializeOwned>(&mut self, part: Part, key: &[u8], stored: &[u8]) -> Result<T> {
        match codec::read_head(part.tree, key, stored)? {
            None => codec::decode(part, key, stored),
            Some(head) => codec::decode(part, key, &self.assemble(part.tree, key, &head)?),
        }
    }

    /// What `read` makes of the whole envelope at `key`, for values whose type depends on their schema version.
    pub(super) fn get_with<T>(
        &mut self,
        part: Part,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(stored) = self.stored(part.tree, key)? else { return Ok(None) };
        match codec::read_head(part.tree, key, &stored)? {
            None => read(&stored).map(Some),
            Some(head) => read(&self.assemble(part.tree, key, &head)?).map(Some),
        }
    }

    /// Whether the stored bytes are a whole value of `part`, pieces included, without reading the payload.
    pub(super) fn check(&mut self, part: Part, key: &[u8], stored: &[u8]) -> Result<()> {
        match codec::read_head(part.tree, key, stored)? {
            None => codec::check(part, key, stored),
            Some(head) => codec::check(part, key, &self.assemble(part.tree, key, &head)?),
        }
    }

    /// The envelope behind stored bytes: themselves, or the pieces that they are the head of. Bytes that are no
    /// envelope stand for themselves.
    pub(super) fn whole<'s>(&mut self, tree: Tree, key: &[u8], stored: &'s [u8]) -> Result<Cow<'s, [u8]>> {
        match codec::read_head(tree, key, stored) {
            Ok(Some(head)) => self.assemble(tree, key, &head).map(Cow::Owned),
            _ => Ok(Cow::Borrowed(stored)),
        }
    }

    /// What stands at this place, unopened.
    pub(super) fn stored(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        match &mut self.0 {
            Source::Txn(txn) => txn.get(tree, key),
            Source::View(reader) => reader.get(tree, key),
        }
    }

    fn fetch_pieces(&mut self, value_id: u128, range: std::ops::Range<u32>) -> Result<Vec<Option<Value>>> {
        let piece_keys: Vec<Vec<u8>> = range.map(|piece| keys::blob(value_id, piece)).collect();
        match &mut self.0 {
            Source::Txn(txn) => piece_keys.iter().map(|key| txn.get(Tree::Blob, key)).collect(),
            Source::View(reader) => {
                let named: Vec<(Tree, &[u8])> = piece_keys.iter().map(|key| (Tree::Blob, key.as_slice())).collect();
                reader.get_many(&named)
            }
        }
    }

    /// The whole envelope. It grows piece by piece: the head's length is compared, never trusted.
    fn assemble(&mut self, tree: Tree, key: &[u8], head: &Head) -> Result<Vec<u8>> {
        let damaged = |what: String| {
            Error::corrupt(format!("{} `{}`: value {:032x}: {what}", tree.name(), key.escape_ascii(), head.value_id))
        };
        let mut envelope = Vec::new();
        let mut next = 0;
        while next < head.pieces {
            let end = next.saturating_add(PIECES_AT_ONCE).min(head.pieces);
            for (piece, stored) in (next..end).zip(self.fetch_pieces(head.value_id, next..end)?) {
                let stored = stored.ok_or_else(|| damaged(format!("piece {piece} of {} is missing", head.pieces)))?;
                envelope.extend_from_slice(&stored);
            }
            next = end;
        }
        if envelope.len() as u64 != head.bytes || codec::head_checksum(&envelope) != head.checksum {
            return Err(damaged("its pieces are not what was written".to_owned()));
        }
        Ok(envelope)
    }
}

/// Writes stored parts inside a transaction.
pub struct PartWriter<'a> {
    txn: &'a mut dyn Txn,
    ids: &'a mut FreshIds,
}

impl<'a> PartWriter<'a> {
    pub(super) fn new(txn: &'a mut dyn Txn, ids: &'a mut FreshIds) -> Self {
        PartWriter { txn, ids }
    }

    /// Sets the value of `part` at `key`. The pieces of the value that stood there go.
    ///
    /// # Errors
    /// `Invalid` for a value beyond 16 MiB, a key outside its limits, or a transaction beyond its own.
    pub fn put<T: Serialize>(&mut self, part: Part, key: &[u8], value: &T) -> Result<()> {
        let envelope = codec::encode(part, key, value)?;
        self.free_pieces(part.tree, key)?;
        self.put_envelope(part, key, envelope)
    }

    fn put_envelope(&mut self, part: Part, key: &[u8], envelope: Vec<u8>) -> Result<()> {
        if envelope.len() <= VALUE_BYTES_MAX {
            return self.txn.put(part.tree, key, Value::from(envelope));
        }
        let cut = Cut::new(self.ids.next_id(), envelope)?;
        for (piece_key, piece) in cut.pieces() {
            self.txn.put(Tree::Blob, &piece_key, piece)?;
        }
        self.put_head(part.tree, key, &cut.head)
    }

    /// As [`PartWriter::put`], where this very body has seen that nothing stands at `key`: nothing is read there again.
    ///
    /// # Errors
    /// As [`PartWriter::put`].
    pub fn put_first<T: Serialize>(&mut self, part: Part, key: &[u8], value: &T) -> Result<()> {
        let envelope = codec::encode(part, key, value)?;
        self.put_envelope(part, key, envelope)
    }

    /// Sets the value at `key` to one whose pieces are already in place.
    pub(super) fn put_cut(&mut self, tree: Tree, key: &[u8], head: &Head) -> Result<()> {
        self.free_pieces(tree, key)?;
        self.put_head(tree, key, head)
    }

    /// Removes the value at `key` and its pieces. Removing an absent one is no error.
    ///
    /// # Errors
    /// `Invalid` for a key outside its limits, or a transaction beyond its own.
    pub fn delete(&mut self, part: Part, key: &[u8]) -> Result<()> {
        self.free_pieces(part.tree, key)?;
        self.txn.delete(part.tree, key)
    }

    fn put_head(&mut self, tree: Tree, key: &[u8], head: &Head) -> Result<()> {
        self.txn.put(tree, key, Value::from(codec::encode_head(tree, key, head)?))
    }

    /// Deletes the pieces of the value that stands at `key`, if it has any. What stands there may be damaged: then its
    /// pieces can't be found, and it is overwritten or deleted all the same. Verify finds pieces that nobody holds.
    fn free_pieces(&mut self, tree: Tree, key: &[u8]) -> Result<()> {
        let Some(stored) = self.txn.get(tree, key)? else { return Ok(()) };
        let Ok(Some(head)) = codec::read_head(tree, key, &stored) else { return Ok(()) };
        (0..head.pieces).try_for_each(|piece| self.txn.delete(Tree::Blob, &keys::blob(head.value_id, piece)))
    }
}

/// An envelope that is too large for one entry, and the head that will stand for it.
pub(super) struct Cut {
    pub(super) head: Head,
    envelope: Vec<u8>,
}

impl Cut {
    pub(super) fn new(value_id: u128, envelope: Vec<u8>) -> Result<Self> {
        let pieces = u32::try_from(envelope.len().div_ceil(VALUE_BYTES_MAX))
            .map_err(|_| Error::internal("a value beyond its own limit"))?;
        let head = Head { value_id, bytes: envelope.len() as u64, pieces, checksum: codec::head_checksum(&envelope) };
        Ok(Cut { head, envelope })
    }

    /// The pieces with their keys, in order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Vec<u8>, Value)> {
        let pieces = self.envelope.chunks(VALUE_BYTES_MAX);
        (0..).zip(pieces).map(|(piece, bytes)| (keys::blob(self.head.value_id, piece), Value::from(bytes)))
    }
}
