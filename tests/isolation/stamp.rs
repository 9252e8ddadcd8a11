//! What the runs store: each key twice, as a stamp that is always there and a body that a removal takes away.
//!
//! ```text
//! k0.0  stamp   magic, key, part, flags, version, writer                       in Tree::Kv, side by side, so that
//! k0.1  body    the same, then filler of any length; absent when removed       a page of a scan shows both
//! sum   Tree::Counter: the sum of all versions, kept with `add`
//! ```
//!
//! Both parts are written by the same bodies, so they are one key that can be seen torn.

use ml_persistence::engine::{Tree, Value};

/// Four bytes that stand nowhere else in a journal: the filler and the rest of a stamp are small numbers.
pub const MAGIC: [u8; 4] = [0xf5, 0xee, 0x9d, 0xb7];
pub const STAMP_BYTES: usize = 24;

pub const SUM: (Tree, &[u8]) = (Tree::Counter, b"sum");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Stamp = 0,
    Body = 1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub key: usize,
    pub version: u64,
    pub writer: u64,
    pub removed: bool,
    pub draft: bool,
    /// Its commit asked for `PowerLoss`.
    pub durable: bool,
}

pub fn key_bytes(key: usize, part: Part) -> Vec<u8> {
    format!("k{key}.{}", part as u8).into_bytes()
}

impl Stamp {
    pub fn encode(&self, part: Part, filler: usize) -> Value {
        let mut bytes = Vec::with_capacity(STAMP_BYTES + filler);
        bytes.extend_from_slice(&MAGIC);
        let flags = u8::from(self.removed) | u8::from(self.draft) << 1 | u8::from(self.durable) << 2;
        bytes.extend_from_slice(&[self.key as u8, part as u8, flags, 0]);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.writer.to_le_bytes());
        bytes.resize(STAMP_BYTES + filler, 1);
        Value::from(bytes)
    }

    /// The stamp that these bytes begin with, if they do.
    pub fn decode(bytes: &[u8]) -> Option<Stamp> {
        let bytes = bytes.first_chunk::<STAMP_BYTES>().filter(|bytes| bytes.starts_with(&MAGIC))?;
        let number = |at: usize| (0..8).fold(0, |number, i| number | u64::from(bytes[at + i]) << (8 * i));
        let flag = |bit: u8| bytes[6] & (1 << bit) != 0;
        let (removed, draft, durable) = (flag(0), flag(1), flag(2));
        Some(Stamp { key: bytes[4].into(), version: number(8), writer: number(16), removed, draft, durable })
    }
}
