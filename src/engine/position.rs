//! Where a state stands in the history of its lineage: a cursor, the openings that led to it, and what that history
//! comes to.
//!
//! A store whose state was taken over from another keeps the position of that state, until it writes something of its
//! own; the entry lies in `meta` under [`ORIGIN_KEY`]:
//!
//! ```text
//! 0   4  version, 1 (little-endian, as all here)
//! 4  40  cursor: lineage 16, epoch number 8, epoch id 8, sequence 8
//! 44 32  chain hash at the cursor, zeros where it is not known
//! 76  2  number of openings, oldest first
//! 78 24  for each: epoch number 8, epoch id 8, last sequence before it 8
//!     4  CRC32C over key and all before
//! ```

use super::{ChainHash, Cursor, Epoch, Value};
use crate::error::{Error, Result};

/// The key in `meta` of the position that a store has taken over. Only the engine writes it.
pub const ORIGIN_KEY: &[u8] = b"\0origin";
/// Most openings in a [`Position`]: the newest ones.
pub const POSITION_EPOCHS_MAX: usize = 128;

const VERSION: u32 = 1;

/// One opening in the history of a lineage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// Which opening.
    pub epoch: Epoch,
    /// The last sequence before it.
    pub after_sequence: u64,
}

/// A cursor with the openings that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Where the state stands.
    pub cursor: Cursor,
    /// The chain hash there, where it is known: the journal may no longer reach back to an old cursor.
    pub chain: Option<ChainHash>,
    /// The newest openings up to the cursor's own, at most [`POSITION_EPOCHS_MAX`], oldest first.
    pub epochs: Vec<EpochStart>,
}

impl Position {
    /// Whether the history that leads here went through `earlier`. An opening that is too old to be listed counts as
    /// unknown: `false`.
    #[must_use]
    pub fn came_through(&self, earlier: &Cursor) -> bool {
        if earlier.lineage != self.cursor.lineage || earlier.sequence > self.cursor.sequence {
            return false;
        }
        let place = self.epochs.iter().position(|start| start.epoch == earlier.epoch);
        let Some(place) = place else { return false };
        let begun = self.epochs.get(place).is_some_and(|start| start.after_sequence <= earlier.sequence);
        begun && self.epochs.get(place + 1).is_none_or(|next| earlier.sequence <= next.after_sequence)
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Value {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.cursor.lineage.to_le_bytes());
        for field in [self.cursor.epoch.number, self.cursor.epoch.id, self.cursor.sequence] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&ChainHash::option_to_bytes(self.chain));
        let skipped = self.epochs.len().saturating_sub(POSITION_EPOCHS_MAX);
        bytes.extend_from_slice(&((self.epochs.len() - skipped) as u16).to_le_bytes());
        for start in self.epochs.iter().skip(skipped) {
            for field in [start.epoch.number, start.epoch.id, start.after_sequence] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c_append(crc32c::crc32c(ORIGIN_KEY), &bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.into()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// `Corrupt` for anything that [`Position::encode`] did not write.
    pub fn decode(value: &[u8]) -> Result<Self> {
        let position = (|| {
            let (version, rest) = value.split_first_chunk::<4>()?;
            let (lineage, rest) = rest.split_first_chunk::<16>()?;
            let (numbers, _) = rest.split_last_chunk::<4>()?;
            let number = |at: usize| Some(u64::from_le_bytes(*numbers.get(at..)?.first_chunk::<8>()?));
            let cursor = Cursor {
                lineage: u128::from_le_bytes(*lineage),
                epoch: Epoch { number: number(0)?, id: number(8)? },
                sequence: number(16)?,
            };
            let chain = ChainHash::from_bytes(*numbers.get(24..)?.first_chunk()?);
            let count = u16::from_le_bytes(*numbers.get(56..)?.first_chunk::<2>()?);
            let start = |at: usize| {
                let epoch = Epoch { number: number(at)?, id: number(at + 8)? };
                Some(EpochStart { epoch, after_sequence: number(at + 16)? })
            };
            let epochs = (0..usize::from(count)).map(|place| start(58 + place * 24)).collect::<Option<Vec<_>>>()?;
            let position = Position { cursor, chain, epochs };
            (*version == VERSION.to_le_bytes() && *position.encode() == *value).then_some(position)
        })();
        position.ok_or_else(|| Error::corrupt("meta: the note of where this state comes from is damaged"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(sequence: u64, starts: &[(u64, u64)]) -> Position {
        let epochs = starts
            .iter()
            .map(|(number, after)| EpochStart {
                epoch: Epoch { number: *number, id: number * 7 },
                after_sequence: *after,
            })
            .collect::<Vec<_>>();
        let epoch = epochs.last().unwrap().epoch;
        let chain = Some(ChainHash::START.after(sequence, b""));
        Position { cursor: Cursor { lineage: 9 << 70, epoch, sequence }, chain, epochs }
    }

    #[test]
    fn a_position_reads_back_and_no_flipped_bit_passes() {
        let position = position(40, &[(1, 0), (2, 10), (5, 31)]);
        let bytes = position.encode();
        assert_eq!(Position::decode(&bytes).unwrap(), position);
        let unknown = Position { chain: None, ..position };
        assert_eq!(Position::decode(&unknown.encode()).unwrap(), unknown);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Position::decode(&damaged).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Position::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_history_came_through_its_own_past_and_through_no_branch_of_it() {
        let here = position(40, &[(1, 0), (2, 10), (5, 31)]);
        let at = |number: u64, sequence| Cursor { epoch: Epoch { number, id: number * 7 }, sequence, ..here.cursor };
        for (number, sequence, expected) in [
            (1, 10, true),
            // The first opening ended at 10: a commit 11 of it lies on another branch.
            (1, 11, false),
            (2, 11, true),
            (2, 31, true),
            (2, 32, false),
            (5, 40, true),
            (5, 41, false),
            (5, 12, false),
            (3, 20, false),
        ] {
            assert_eq!(here.came_through(&at(number, sequence)), expected, "epoch {number}, sequence {sequence}");
        }
        assert!(!here.came_through(&Cursor { epoch: Epoch { number: 2, id: 1 }, ..at(2, 20) }), "another opening");
        assert!(!here.came_through(&Cursor { lineage: 1, ..at(2, 20) }), "another lineage");
    }

    #[test]
    fn of_a_long_history_the_newest_openings_are_kept() {
        let starts: Vec<(u64, u64)> = (1..=200).map(|number| (number, number)).collect();
        let kept = Position::decode(&position(300, &starts).encode()).unwrap();
        assert_eq!(kept.epochs.len(), POSITION_EPOCHS_MAX);
        assert_eq!(kept.epochs.last().unwrap().epoch.number, 200);
    }
}
