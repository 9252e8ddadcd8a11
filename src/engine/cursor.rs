//! Positions in the history of a store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One opening of a store for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// 1 for the first opening, +1 each.
    pub number: u64,
    /// Random, so that two copies of one folder are never mistaken for one another.
    pub id: u64,
}

/// A position in the history of a store: opaque, ordered within one lineage.
///
/// Its text form is 80 hex digits: lineage (16 bytes), epoch number, epoch id, sequence (8 bytes each), big-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    pub(crate) lineage: u128,
    pub(crate) epoch: Epoch,
    pub(crate) sequence: u64,
}

impl Cursor {
    /// The ordered bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0u8; 40];
        let fields =
            [(self.lineage >> 64) as u64, self.lineage as u64, self.epoch.number, self.epoch.id, self.sequence];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    /// The cursor in the bytes that [`Cursor::to_bytes`] made.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 40]) -> Self {
        let mut fields = bytes.as_chunks::<8>().0.iter().map(|field| u64::from_be_bytes(*field));
        let mut next = || fields.next().unwrap_or_default();
        let lineage = u128::from(next()) << 64 | u128::from(next());
        Cursor { lineage, epoch: Epoch { number: next(), id: next() }, sequence: next() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor { lineage, epoch, sequence } = self;
        write!(f, "{lineage:032x}{:016x}{:016x}{sequence:016x}", epoch.number, epoch.id)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor(epoch {}, sequence {})", self.epoch.number, self.sequence)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("cursor: 80 lower-case hex digits, as an earlier call answered");
        if text.len() != 80 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let field = |from: usize| {
            text.get(from..from + 16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(wrong)
        };
        Ok(Cursor {
            lineage: u128::from(field(0)?) << 64 | u128::from(field(16)?),
            epoch: Epoch { number: field(32)?, id: field(48)? },
            sequence: field(64)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form_and_bytes_keep_its_order() {
        let cursor = |epoch, sequence| Cursor { lineage: 5 << 90, epoch: Epoch { number: epoch, id: 9 }, sequence };
        let (a, b) = (cursor(1, 300), cursor(2, 301));
        assert_eq!(a.to_string().parse::<Cursor>().unwrap(), a);
        assert_eq!(Cursor::from_bytes(&a.to_bytes()), a);
        assert!(a < b && a.to_bytes() < b.to_bytes());
        assert!("zz".parse::<Cursor>().is_err());
    }
}
