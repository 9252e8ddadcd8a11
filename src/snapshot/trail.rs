//! What a file tells of the history that it belongs to, beside the openings: hashes by which branches are told apart.
//!
//! ```text
//!          base ──o──o──o──o──o──o──o── end        hash whole at both ends of a delta, and at the end of a full snapshot
//!                 └─ marks, 8 bytes each ─┘        at every commit batch in between, or at every 2nd, 4th, … of a long way
//! ```
//!
//! Openings alone do not tell everything: what was lost with a disk and written anew within one opening, or two copies of
//! a machine that both go on, have the same openings and another past. A state says by its own hash which past it has; a
//! delta begins at it, or passes it at a mark, or does not fit.
//!
//! Marks take at most 256 bytes and an eighth of what changed. A state that stands where a long delta has no mark is refused:
//! one that begins there, or a full snapshot, leads on from it.

use super::layout::Fields;
use crate::engine::{CHAIN_HASH_BYTES, ChainHash, Cursor};

/// Bytes before the marks.
const HEAD_BYTES: usize = 2 * CHAIN_HASH_BYTES + 8;
const MARK_BYTES: usize = 8;
/// Most marks in a file.
const MARKS_MAX: usize = 4096;
/// Marks that any delta may have; and so many bytes of changes for each more.
const MARKS_FREE: usize = 32;
const BYTES_PER_MARK: u64 = 64;

/// Most bytes that a trail takes.
pub(super) const TRAIL_BYTES_MAX: usize = HEAD_BYTES + MARKS_MAX * MARK_BYTES;

/// The hashes in one file. All of it is empty in a file that was written without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trail {
    /// Of a delta: that of the state it starts from.
    pub(super) before: Option<ChainHash>,
    /// That of the state which the file leads to.
    pub(super) after: Option<ChainHash>,
    /// Marks stand at the multiples of it between base and end, both excluded: 0 when there is nothing between, else a
    /// power of two.
    stride: u32,
    marks: Vec<u64>,
}

/// What comparing a state's hash with a trail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// The same past.
    Same,
    /// Another one.
    Other,
    /// One side has no hashes at all.
    Untold,
    /// There is no mark just there.
    Unmarked,
}

impl Trail {
    /// That of a full snapshot.
    pub(super) fn full(after: Option<ChainHash>) -> Self {
        Trail { after, ..Trail::default() }
    }

    /// What it says of a state at `sequence`, somewhere from base to end, whose history comes to `hash`.
    pub(super) fn compare(&self, between: (&Cursor, &Cursor), sequence: u64, hash: Option<ChainHash>) -> Compared {
        let (Some(hash), Some(before), Some(after)) = (hash, self.before, self.after) else { return Compared::Untold };
        let (base, end) = (between.0.sequence, between.1.sequence);
        let same = if sequence == base {
            hash == before
        } else if sequence == end {
            hash == after
        } else {
            let stride = u64::from(self.stride);
            let on_stride = sequence.checked_rem(stride) == Some(0);
            let place = on_stride.then(|| (sequence / stride).checked_sub(base / stride + 1)).flatten();
            match place.and_then(|place| self.marks.get(usize::try_from(place).ok()?)) {
                Some(mark) => *mark == hash.mark(),
                None => return Compared::Unmarked,
            }
        };
        if same { Compared::Same } else { Compared::Other }
    }

    /// Whether it can stand in a file: a delta between these, or a full one.
    pub(super) fn fits(&self, between: Option<&(Cursor, Cursor)>) -> bool {
        let Some((base, end)) = between else {
            return self.before.is_none() && self.stride == 0 && self.marks.is_empty();
        };
        if self.stride == 0 {
            return self.marks.is_empty();
        }
        let stride = u64::from(self.stride);
        let expected = (end.sequence.saturating_sub(1) / stride).saturating_sub(base.sequence / stride);
        stride.is_power_of_two() && expected == self.marks.len() as u64
    }

    /// The bytes in a manifest: none when nothing is known.
    pub(super) fn encode(&self) -> Vec<u8> {
        if *self == Trail::default() {
            return Vec::new();
        }
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.marks.len() * MARK_BYTES);
        bytes.extend_from_slice(&ChainHash::option_to_bytes(self.before));
        bytes.extend_from_slice(&ChainHash::option_to_bytes(self.after));
        bytes.extend_from_slice(&self.stride.to_le_bytes());
        bytes.extend_from_slice(&(self.marks.len() as u32).to_le_bytes());
        self.marks.iter().for_each(|mark| bytes.extend_from_slice(&mark.to_le_bytes()));
        bytes
    }

    /// `None` for anything that no writer makes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Trail::default());
        }
        let mut fields = Fields(bytes);
        let (before, after) = (ChainHash::from_bytes(fields.take()?), ChainHash::from_bytes(fields.take()?));
        let (stride, count) = (u32::from_le_bytes(fields.take()?), u32::from_le_bytes(fields.take()?));
        let (marks, rest) = fields.0.as_chunks::<MARK_BYTES>();
        let marks: Vec<u64> = marks.iter().map(|mark| u64::from_le_bytes(*mark)).collect();
        let trail = Trail { before, after, stride, marks };
        let is_known = trail.before.is_some() || trail.after.is_some();
        (rest.is_empty() && is_known && trail.marks.len() as u64 == u64::from(count)).then_some(trail)
    }
}

/// Collects the marks of a delta while its changes are read.
#[derive(Debug)]
pub(super) struct Steps {
    stride: u32,
    /// By sequence, ascending.
    marks: Vec<(u64, u64)>,
}

impl Steps {
    pub(super) fn new() -> Self {
        Steps { stride: 1, marks: Vec::new() }
    }

    /// The next batch of the feed.
    pub(super) fn see(&mut self, sequence: u64, hash: &ChainHash) {
        if sequence.is_multiple_of(u64::from(self.stride)) {
            self.marks.push((sequence, hash.mark()));
            self.thin(MARKS_MAX);
        }
    }

    fn thin(&mut self, marks_max: usize) {
        while self.marks.len() > marks_max {
            self.stride = self.stride.saturating_mul(2);
            let stride = u64::from(self.stride);
            self.marks.retain(|(sequence, _)| sequence.is_multiple_of(stride));
        }
    }

    /// The trail of a delta that tells of so many bytes of changes.
    pub(super) fn trail(
        mut self,
        before: Option<ChainHash>,
        (after, end): (Option<ChainHash>, &Cursor),
        changed_bytes: u64,
    ) -> Trail {
        self.marks.retain(|(sequence, _)| *sequence < end.sequence);
        self.thin((MARKS_FREE + (changed_bytes / BYTES_PER_MARK) as usize).min(MARKS_MAX));
        if before.is_none() || after.is_none() {
            self.marks.clear();
        }
        let stride = if self.marks.is_empty() { 0 } else { self.stride };
        Trail { before, after, stride, marks: self.marks.into_iter().map(|(_, mark)| mark).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Epoch;

    fn cursor(sequence: u64) -> Cursor {
        Cursor { lineage: 1, epoch: Epoch { number: 1, id: 2 }, sequence }
    }

    fn hash(sequence: u64) -> ChainHash {
        ChainHash::START.after(sequence, b"")
    }

    fn trail(base: u64, end: u64, changed_bytes: u64) -> Trail {
        let mut steps = Steps::new();
        (base + 1..=end).for_each(|sequence| steps.see(sequence, &hash(sequence)));
        steps.trail(Some(hash(base)), (Some(hash(end)), &cursor(end)), changed_bytes)
    }

    #[test]
    fn every_way_between_two_cursors_tells_a_past_from_another_wherever_it_has_a_mark() {
        for (base, end) in (0..40u64).flat_map(|base| (base..90).map(move |end| (base, end))) {
            let trail = trail(base, end, 0);
            let between = (&cursor(base), &cursor(end));
            assert!(trail.fits(Some(&(cursor(base), cursor(end)))), "{base}..{end}: {trail:?}");
            assert_eq!(Trail::decode(&trail.encode()), Some(trail.clone()));
            for at in base..=end {
                let (own, other) =
                    (trail.compare(between, at, Some(hash(at))), trail.compare(between, at, Some(hash(at + 1))));
                match own {
                    Compared::Unmarked => assert!(other == Compared::Unmarked && at != base && at != end),
                    own => assert_eq!((own, other), (Compared::Same, Compared::Other), "{at} in {base}..{end}"),
                }
                assert!(end - base > MARKS_FREE as u64 || own == Compared::Same);
                assert_eq!(trail.compare(between, at, None), Compared::Untold);
            }
        }
    }

    #[test]
    fn marks_stay_within_their_share_of_what_changed() {
        for (batches, changed_bytes) in [(100_000, 0), (100_000, 100_000), (1_000, 1 << 30), (100_000, 1 << 30)] {
            let trail = trail(7, 7 + batches, changed_bytes);
            let bytes = trail.encode().len();
            assert!(
                bytes as u64 <= (HEAD_BYTES + 256) as u64 + changed_bytes / 8 && bytes <= TRAIL_BYTES_MAX,
                "{bytes}"
            );
            assert!(trail.fits(Some(&(cursor(7), cursor(7 + batches)))));
        }
        assert_eq!(trail(7, 1_007, 1 << 30).stride, 1, "where there is room every batch has one");
    }

    #[test]
    fn bytes_that_no_writer_makes_are_no_trail() {
        let trail = trail(3, 20, 1_000);
        let bytes = trail.encode();
        for cut in 1..bytes.len() {
            assert_eq!(Trail::decode(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(Trail::decode(&[&bytes[..], &[0; 8]].concat()), None);
        assert_eq!(Trail::decode(&[0; HEAD_BYTES]), None, "a trail that knows nothing is not written");
        for (base, end) in [(3, 21), (2, 20), (3, 300)] {
            assert!(!trail.fits(Some(&(cursor(base), cursor(end)))));
        }
        assert!(!trail.fits(None) && Trail::full(Some(hash(1))).fits(None));
        assert!(!Trail { stride: 3, ..trail.clone() }.fits(Some(&(cursor(3), cursor(20)))));
    }
}
