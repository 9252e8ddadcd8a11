//! The note that the store keeps in the same step as the data: which journal it belongs to, and up to where it holds it.
//!
//! ```text
//! 0   4  version, 1 (little-endian, as all here)
//! 4  16  store uuid
//! 20  8  generation
//! 28  8  applied sequence: every frame up to it is in the store
//! 36  4  CRC32C of bytes 0..36
//! ```

use super::segment::Identity;
use crate::engine::Value;
use crate::error::{Error, Result};

const VERSION: u32 = 1;
const BYTES: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) identity: Identity,
    pub(super) applied: u64,
}

impl Mark {
    pub(super) fn encode(&self) -> Value {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.identity.uuid.to_le_bytes());
        bytes.extend_from_slice(&self.identity.generation.to_le_bytes());
        bytes.extend_from_slice(&self.applied.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let parsed = (|| {
            let (version, rest) = bytes.split_first_chunk::<4>()?;
            let (uuid, rest) = rest.split_first_chunk::<16>()?;
            let (generation, rest) = rest.split_first_chunk::<8>()?;
            let (applied, rest) = rest.split_first_chunk::<8>()?;
            let crc: [u8; 4] = rest.try_into().ok()?;
            let sound =
                *version == VERSION.to_le_bytes() && crc == crc32c::crc32c(bytes.get(..BYTES - 4)?).to_le_bytes();
            sound.then_some(Mark {
                identity: Identity { uuid: u128::from_le_bytes(*uuid), generation: u64::from_le_bytes(*generation) },
                applied: u64::from_le_bytes(*applied),
            })
        })();
        parsed.ok_or_else(|| Error::corrupt("store: the mark that says what it holds is damaged"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_no_flipped_bit_passes() {
        let mark = Mark { identity: Identity { uuid: 7 << 99, generation: 2 }, applied: 11 };
        let bytes = mark.encode();
        assert_eq!(Mark::decode(&bytes).unwrap(), mark);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Mark::decode(&damaged).is_err(), "bit {bit}");
        }
    }
}
