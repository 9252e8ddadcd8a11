//! What a history comes to: one hash that two copies of it share, and two branches of it do not.
//!
//! ```text
//! START ──batch 1──> hash 1 ──batch 2──> hash 2 ── … ──> hash n       hash n = BLAKE3(key: hash n-1; n, batch n)
//! ```
//!
//! Hashed is what was committed and in which order: sequence, and by tree and key the final values and removals of the
//! batch, as they are spelled in a journal frame. Which store holds it plays no part, nor does the time of the commit. A
//! state that was taken over from elsewhere keeps the hash that it had there beside its cursor, so a delta can be told
//! from one of another branch by comparing 32 bytes.
//!
//! It is no proof against somebody who forges files; it finds what copies, restores and mistakes lead to.

use std::fmt;

/// Bytes of a [`ChainHash`].
pub const CHAIN_HASH_BYTES: usize = 32;

/// The hash of a history up to a batch: BLAKE3, keyed by the hash before, over the batch's sequence and its final
/// values. Never all zeros, which stands for an unknown one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash([u8; CHAIN_HASH_BYTES]);

impl ChainHash {
    /// That of a history without a batch.
    pub const START: ChainHash = ChainHash(*b"ml-persistence: before any batch");

    /// That of the history which has this batch, its payload as a journal frame spells it, behind the one up to here.
    #[must_use]
    pub fn after(&self, sequence: u64, payload: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&sequence.to_le_bytes()).update(payload);
        ChainHash(*hasher.finalize().as_bytes())
    }

    /// The bytes, as they are stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; CHAIN_HASH_BYTES] {
        self.0
    }

    /// The stored bytes of a hash that may be unknown: zeros then.
    #[must_use]
    pub fn option_to_bytes(hash: Option<Self>) -> [u8; CHAIN_HASH_BYTES] {
        hash.map_or([0; CHAIN_HASH_BYTES], |hash| hash.0)
    }

    /// The hash in stored bytes; `None` for zeros.
    #[must_use]
    pub fn from_bytes(bytes: [u8; CHAIN_HASH_BYTES]) -> Option<Self> {
        (bytes != [0; CHAIN_HASH_BYTES]).then_some(ChainHash(bytes))
    }

    /// Its first eight bytes, for where a whole hash takes too much room.
    #[must_use]
    pub fn mark(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainHash({:016x})", self.mark())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_where_and_behind_what_all_change_the_hash() {
        let one = ChainHash::START.after(1, b"one");
        let two = one.after(2, b"two");
        assert_eq!(two, ChainHash::START.after(1, b"one").after(2, b"two"));
        let others = [
            ChainHash::START,
            one,
            one.after(3, b"two"),
            one.after(2, b"twp"),
            ChainHash::START.after(1, b"two").after(2, b"one"),
            ChainHash::START.after(2, b"two"),
        ];
        assert!(others.iter().all(|other| *other != two && other.mark() != two.mark()));
        // These bytes are on disks and in files.
        assert_eq!(two.to_string(), "4abdb2d47e476e664985c8bf5be9301d5dbe06678d65cc530bac4c944fd62f18");
    }

    #[test]
    fn stored_bytes_read_back_and_zeros_are_no_hash() {
        let hash = ChainHash::START.after(1, b"one");
        assert_eq!(ChainHash::from_bytes(ChainHash::option_to_bytes(Some(hash))), Some(hash));
        assert_eq!(ChainHash::from_bytes(ChainHash::option_to_bytes(None)), None);
    }
}
