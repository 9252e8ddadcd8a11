//! The chance that decides what a power cut leaves: the same for the same seed.

use crate::clock::mix;

/// A stream of choices that a seed repeats.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    seed: u64,
    rolls: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice { seed: mix(seed), rolls: 0 }
    }

    /// A number below `end`; 0 when `end` is 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.rolls += 1;
        match end {
            0 => 0,
            // The bias of a remainder is of no weight at these sizes.
            end => (mix(self.seed.wrapping_add(self.rolls)) % end as u64) as usize,
        }
    }
}
