//! The stored form of a counter, which the engine itself reads and writes.
//!
//! ```text
//! 0   8  the sum, i64 little-endian; never 0 (a counter that becomes 0 is removed)
//! 8   4  CRC32C over tree number, key and the 8 bytes before, so a flipped bit and a moved value are both noticed
//! ```

use super::{Tree, Value};
use crate::error::{Error, Result};

/// The bytes of a counter at this place.
#[must_use]
pub fn counter_value(tree: Tree, key: &[u8], sum: i64) -> Value {
    let sum = sum.to_le_bytes();
    let mut bytes = [0u8; 12];
    let (head, tail) = bytes.split_at_mut(8);
    head.copy_from_slice(&sum);
    tail.copy_from_slice(&checksum(tree, key, &sum).to_le_bytes());
    Value::from(bytes.as_slice())
}

/// The sum stored at this place; 0 for an absent counter.
///
/// # Errors
/// `Corrupt` when the bytes were not written by [`counter_value`] for the same tree and key.
pub fn read_counter(tree: Tree, key: &[u8], value: Option<&[u8]>) -> Result<i64> {
    let Some(value) = value else { return Ok(0) };
    let damaged = || Error::corrupt(format!("counter {:02x?} in {}: not a counter, or damaged", key, tree.name()));
    let (sum, stored) = value.split_first_chunk::<8>().ok_or_else(damaged)?;
    if stored != checksum(tree, key, sum).to_le_bytes() {
        return Err(damaged());
    }
    Ok(i64::from_le_bytes(*sum))
}

fn checksum(tree: Tree, key: &[u8], sum: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&[tree.number()]);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, key), sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_reads_back_only_where_it_was_written() {
        let value = counter_value(Tree::Counter, b"k", -7);
        assert_eq!(read_counter(Tree::Counter, b"k", Some(&value)).unwrap(), -7);
        assert_eq!(read_counter(Tree::Counter, b"k", None).unwrap(), 0);
        assert!(read_counter(Tree::Counter, b"other", Some(&value)).is_err());
        for bit in 0..value.len() * 8 {
            let mut damaged = value.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read_counter(Tree::Counter, b"k", Some(&damaged)).is_err());
        }
    }
}
