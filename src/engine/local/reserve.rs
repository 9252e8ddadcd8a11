//! What the disk has to keep free for the store, so that all that the journal accepts can be moved there.
//!
//! ```text
//! disk   [ store | journal | a new segment? | what the store needs for the memtable, grown by what the journal takes ]
//!                                             └─ store_needs
//! ```
//!
//! Journal and applier go by the same figure. Where the journal took more than the applier leaves it, the two would
//! stop each other on a disk with room for both: the applier waits for room that the journal has, and the journal can
//! give it up only once the applier has moved on.

/// What a store may write for each byte that it is given before it gives space back; seen with sled: about three.
const STORE_AMPLIFICATION: u64 = 4;
/// Free space that a store needs beyond that: two of sled's segments.
const STORE_SLACK_BYTES: u64 = 1 << 20;

/// Free bytes that a store needs to take a memtable of `bytes`. One that meets a full disk can't go on, while a
/// memtable can wait.
pub(super) fn store_needs(bytes: u64) -> u64 {
    STORE_AMPLIFICATION.saturating_mul(bytes).saturating_add(STORE_SLACK_BYTES)
}

/// The room for another segment of the journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct DiskRoom {
    /// Bytes that the disk can still take.
    pub(super) free: u64,
    /// Bytes that wait in memory for the store.
    pub(super) waiting: u64,
    /// Bytes that the journal has a place for already, and that will wait in memory too before the next segment.
    pub(super) coming: u64,
    /// Bytes in memory from which on commits are held back until the store has taken some.
    pub(super) waiting_max: u64,
}

impl DiskRoom {
    /// Whether a segment of `bytes` leaves the store what it needs, once files of `given_up` bytes are gone.
    pub(super) fn fits(&self, bytes: u64, given_up: u64) -> bool {
        let waiting = (self.waiting + self.coming + bytes).min(self.waiting_max.max(self.waiting));
        self.free.saturating_add(given_up) >= store_needs(waiting).saturating_add(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_fits_only_where_its_content_could_be_moved_to_the_store_as_well() {
        let room = DiskRoom { free: 0, waiting: 100, coming: 200, waiting_max: 1 << 20 };
        let least = 300 + store_needs(600);
        assert!(DiskRoom { free: least, ..room }.fits(300, 0));
        assert!(!DiskRoom { free: least - 1, ..room }.fits(300, 0));
        assert!(DiskRoom { free: least - 50, ..room }.fits(300, 50));
    }

    #[test]
    fn no_more_is_kept_free_than_the_largest_memtable_needs() {
        let room = DiskRoom { free: 300 + store_needs(400), waiting: 100, coming: 200, waiting_max: 400 };
        assert!(room.fits(300, 0));
        assert!(!DiskRoom { waiting: 401, ..room }.fits(300, 0));
    }
}
