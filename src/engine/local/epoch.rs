//! The history of a store's openings: one entry in `meta` for each, written through the journal like any commit.
//!
//! ```text
//! key    0x00 "epoch" + epoch number, u64 big-endian
//! value  0   8  epoch id, random (little-endian, as all here)
//!        8   8  last sequence before this epoch
//!        16 16  lineage
//!        32  4  CRC32C over key and bytes 0..32
//! ```

use super::core::Core;
use super::memtable::Memtables;
use crate::engine::{Direction, Epoch, KeyRange, KvStore, SCAN_LIMIT_MAX, Tree, Value};
use crate::error::{Error, Result};

const PREFIX: &[u8] = b"\0epoch";

/// One opening for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EpochEntry {
    pub(super) epoch: Epoch,
    pub(super) after_sequence: u64,
    pub(super) lineage: u128,
}

impl EpochEntry {
    pub(super) fn key(&self) -> Vec<u8> {
        [PREFIX, &self.epoch.number.to_be_bytes()].concat()
    }

    pub(super) fn value(&self) -> Value {
        let mut bytes = Vec::with_capacity(36);
        bytes.extend_from_slice(&self.epoch.id.to_le_bytes());
        bytes.extend_from_slice(&self.after_sequence.to_le_bytes());
        bytes.extend_from_slice(&self.lineage.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&self.key()), &bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.into()
    }

    /// The opening that a write tells of; `None` for any other write.
    pub(super) fn of_write(tree: Tree, key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>> {
        match value {
            Some(value) if tree == Tree::Meta && key.starts_with(PREFIX) => Self::decode(key, value).map(Some),
            _ => Ok(None),
        }
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        let entry = (|| {
            let number = u64::from_be_bytes(key.strip_prefix(PREFIX)?.try_into().ok()?);
            let (id, rest) = value.split_first_chunk::<8>()?;
            let (after, rest) = rest.split_first_chunk::<8>()?;
            let (lineage, _) = rest.split_first_chunk::<16>()?;
            let entry = EpochEntry {
                epoch: Epoch { number, id: u64::from_le_bytes(*id) },
                after_sequence: u64::from_le_bytes(*after),
                lineage: u128::from_le_bytes(*lineage),
            };
            (*entry.value() == *value).then_some(entry)
        })();
        entry.ok_or_else(|| Error::corrupt(format!("meta {key:02x?}: the history of openings is damaged")))
    }

    /// Every opening, oldest first.
    pub(super) fn all(core: &Core) -> Result<Vec<Self>> {
        let mut entries = Vec::new();
        let mut range = KeyRange::prefix(PREFIX);
        loop {
            let page = core.scan(Tree::Meta, &range, Direction::Ascending, SCAN_LIMIT_MAX)?;
            for (key, value) in &page.entries {
                entries.push(Self::decode(key, value)?);
            }
            match page.resume {
                Some(key) => range = range.behind(&key, Direction::Ascending),
                None => return Ok(entries),
            }
        }
    }

    /// The newest opening that the store or the memtables know of.
    pub(super) fn newest(store: &dyn KvStore, memtables: &Memtables) -> Result<Option<Self>> {
        let range = KeyRange::prefix(PREFIX);
        let stored = store.scan(Tree::Meta, &range, Direction::Descending, 1)?.into_iter().next();
        let (known, _) = memtables.view().slice(Tree::Meta, &range, Direction::Descending, 1);
        let known = known.into_iter().next().and_then(|(key, value)| value.map(|value| (key, value)));
        stored
            .into_iter()
            .chain(known)
            .max_by(|a, b| a.0.cmp(&b.0))
            .map(|(key, value)| Self::decode(&key, &value))
            .transpose()
    }
}
