//! Identifiers inside a transaction: drawn before its body, the same each time the body runs.

use crate::clock::mix;

/// Derives any number of identifiers from one that was drawn beforehand.
#[derive(Debug, Clone)]
pub(super) struct FreshIds {
    base: u128,
    given: u64,
}

impl FreshIds {
    pub(super) fn new(base: u128) -> Self {
        FreshIds { base, given: 0 }
    }

    /// The next identifier; never 0. The first is the base itself, which [`Ids`](crate::Ids) never gives out twice;
    /// the others are 128-bit mixes of base and count.
    pub(super) fn next_id(&mut self) -> u128 {
        let count = self.given;
        self.given += 1;
        if count == 0 {
            return self.base;
        }
        let (high, low) = ((self.base >> 64) as u64, self.base as u64);
        let first = mix(mix(high).wrapping_add(count)) ^ low;
        let second = mix(mix(low ^ 0x6672_6573_685f_6964).wrapping_add(mix(count))) ^ high.rotate_left(32);
        (u128::from(first) << 64 | u128::from(second)).max(1)
    }
}
