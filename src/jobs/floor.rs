//! A time before which nothing of a kind happens: when the next job is due, when the next may be pruned.
//!
//! It spares a claim the scan that would find nothing. What is told lowers it; a scan raises it to what it found, unless
//! something was told meanwhile. It is only ever too low, never too high: of scans that overlap, the one that began last
//! counts, since only that one has seen all that was told before it.

/// A lower bound on a wall-clock time in milliseconds; 0 until a scan has told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    at: u64,
    /// The least that was told since the newest scan began.
    told: u64,
    scans: u64,
}

impl Default for Floor {
    fn default() -> Self {
        Floor { at: 0, told: u64::MAX, scans: 0 }
    }
}

impl Floor {
    /// One whose scans have numbers that no floor with another `number` gives out: a scan may end after the floor in
    /// which it began was forgotten, and must not count in its successor.
    pub fn new(number: u64) -> Self {
        Floor { scans: number << 32, ..Floor::default() }
    }

    /// Nothing happens before this time.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Something is to happen at this time.
    pub fn tell(&mut self, at: u64) {
        self.at = self.at.min(at);
        self.told = self.told.min(at);
    }

    /// Begins a scan; answers its number.
    pub fn begin(&mut self) -> u64 {
        self.told = u64::MAX;
        self.scans += 1;
        self.scans
    }

    /// Ends a scan that found `next` as the earliest (`None`: nothing at all).
    pub fn end(&mut self, scan: u64, next: Option<u64>) {
        if scan == self.scans {
            self.at = next.unwrap_or(u64::MAX).min(self.told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_during_a_scan_is_never_lost_whichever_scan_ends_last() {
        for ends in [[0, 1], [1, 0]] {
            let mut floor = Floor::default();
            let first = floor.begin();
            // Told: the first scan may have missed it; the second, which begins now, sees it.
            floor.tell(50);
            let second = floor.begin();
            floor.tell(70);
            for end in ends {
                match end {
                    0 => floor.end(first, None),
                    _ => floor.end(second, Some(50)),
                }
            }
            assert_eq!(floor.at(), 50);
            floor.tell(40);
            assert_eq!(floor.at(), 40);
        }
    }

    #[test]
    fn a_scan_that_began_in_a_forgotten_floor_does_not_count_in_its_successor() {
        let (mut forgotten, mut successor) = (Floor::new(1), Floor::new(2));
        let late = forgotten.begin();
        // The job at 50 was told while there was no floor; only the scan of the new one has seen it.
        let seen = successor.begin();
        successor.end(seen, Some(50));
        successor.end(late, None);
        assert_eq!(successor.at(), 50);
    }

    #[test]
    fn a_scan_that_finds_nothing_leaves_what_was_told_meanwhile() {
        let mut floor = Floor::default();
        assert_eq!(floor.at(), 0);
        let scan = floor.begin();
        floor.tell(9);
        floor.end(scan, None);
        assert_eq!(floor.at(), 9);
        let scan = floor.begin();
        floor.end(scan, None);
        assert_eq!(floor.at(), u64::MAX);
    }
}
