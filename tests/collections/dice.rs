//! Choices that repeat from the same seed, and values that are likely to be got wrong.

use ml_persistence::Ids;

pub struct Dice(Ids);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(Ids::seeded(seed))
    }

    pub fn bits(&self) -> u128 {
        u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64())
    }

    pub fn below(&self, end: usize) -> usize {
        (self.0.next_u64() % end.max(1) as u64) as usize
    }

    pub fn once_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn coin(&self) -> bool {
        self.once_in(2)
    }

    pub fn pick<V: Clone>(&self, values: &[V]) -> V {
        values[self.below(values.len())].clone()
    }

    /// Few different ones, so that they meet; prefixes of each other, zero bytes, separators, what sorts last; long.
    pub fn text(&self) -> String {
        if self.once_in(60) {
            return self.pick(&["x", "\0", "é"]).repeat(10_000);
        }
        let few = ["", "a", "ab", "a\0", "a\0b", "a:b", "a@v1", "1", "10", "\0", "\0\0", "é", "\u{10ffff}", "b"];
        self.pick(&few).to_owned()
    }

    pub fn signed(&self) -> i128 {
        match self.below(5) {
            0 => self.bits() as i128,
            _ => self.pick(&[i128::MIN, -256, -1, 0, 1, 7, 255, 256, i128::MAX]),
        }
    }

    pub fn float(&self) -> f64 {
        let special = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN, f64::MAX, 1.5, -1.5];
        if self.once_in(4) { f64::from_bits(self.bits() as u64) } else { self.pick(&special) }
    }
}
