//! The head of one queue's line, in memory.
//!
//! ```text
//!   line (ready index)   a b c d e f g h i j k l m n …                     every available job, first in line first
//!                        └ ready ┘ ^
//!                                  horizon: everything up to here is in `ready` or `taken`; what lies behind is unknown
//!   taken                two of them: candidates of claims that are on their way
//! ```
//!
//! It promises that, as far as what it was told goes, no job up to the horizon is missing. So a claim that takes from
//! the front takes the first in line, and one that finds the window empty reads on *at the horizon*: never again over
//! what was claimed, cancelled or pruned in front of it. A job told in front of the horizon goes in at its place; one
//! told behind it is left for a later scan, so a backlog of any length costs the same memory.
//!
//! A scan runs without a lock. What is told while it runs is laid over what it read; beyond [`TOLD_MAX`] such notes the
//! scan counts only as far as they reach.
//!
//! It is only manners: a claim's transaction decides by the state it finds, and says what became of each candidate.

use std::collections::BTreeMap;

use super::job::JobId;

/// Notes kept while a scan runs.
const TOLD_MAX: usize = 1_024;
/// Entries that a node of a map holds: at most, and at least where there is more than one.
const LEAF_MAX: usize = 11;
const LEAF_MIN: usize = 5;
/// A node of places and ids, its links and what the allocator adds.
const LEAF_BYTES: usize = LEAF_MAX * (size_of::<Place>() + size_of::<JobId>()) + 48;

/// A job's place in its queue's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub priority: u8,
    pub run_at: u64,
    pub sequence: u64,
}

/// How far a line is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Horizon {
    /// Not at all.
    Start,
    /// Up to this place, it included.
    At(Place),
    /// To its end: what is told is all there is.
    End,
}

impl Horizon {
    fn covers(self, place: Place) -> bool {
        Horizon::At(place) <= self
    }
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Claimed, or not there any more: it is not to be offered again.
    Gone,
    /// Not looked at, or not to be had right now.
    Back,
}

/// One queue's window.
#[derive(Debug)]
pub(crate) struct Window {
    ready: BTreeMap<Place, JobId>,
    taken: BTreeMap<Place, Taken>,
    horizon: Horizon,
    scan: Option<Scan>,
}

#[derive(Debug)]
struct Taken {
    job: JobId,
    ticket: u64,
    /// Told as ready after it was taken: whatever its taker found, it is offered again.
    again: bool,
}

/// What was told behind `from` since a scan began there.
#[derive(Debug)]
struct Scan {
    from: Horizon,
    told: BTreeMap<Place, Option<JobId>>,
    /// Up to here `told` is complete.
    reach: Horizon,
}

impl Scan {
    fn note(&mut self, place: Place, job: Option<JobId>) {
        if self.from.covers(place) || !self.reach.covers(place) {
            return;
        }
        self.told.insert(place, job);
        if self.told.len() > TOLD_MAX {
            self.told.pop_last();
            self.reach = self.told.last_key_value().map_or(self.from, |(place, _)| Horizon::At(*place));
        }
    }
}

impl Default for Window {
    fn default() -> Self {
        Window { ready: BTreeMap::new(), taken: BTreeMap::new(), horizon: Horizon::Start, scan: None }
    }
}

impl Window {
    /// A job became ready at this place. At most `cap` jobs stay in the window.
    pub fn put(&mut self, place: Place, job: JobId, cap: usize) {
        if let Some(taken) = self.taken.get_mut(&place) {
            taken.again = true;
            return;
        }
        if let Some(scan) = &mut self.scan {
            scan.note(place, Some(job));
        }
        if self.horizon.covers(place) {
            self.ready.insert(place, job);
            self.cut(cap);
        }
    }

    /// The job at this place is not ready any more.
    pub fn remove(&mut self, place: Place) {
        if let Some(scan) = &mut self.scan {
            scan.note(place, None);
        }
        self.ready.remove(&place);
        self.taken.remove(&place);
        self.free_if_empty();
    }

    /// Takes up to `limit` jobs from the front, in order, to be settled under `ticket`.
    pub fn take(&mut self, limit: usize, ticket: u64) -> Vec<(Place, JobId)> {
        let mut taken = Vec::with_capacity(limit.min(self.ready.len()));
        while taken.len() < limit
            && let Some((place, job)) = self.ready.pop_first()
        {
            self.taken.insert(place, Taken { job, ticket, again: false });
            taken.push((place, job));
        }
        self.free_if_empty();
        taken
    }

    /// Says what became of a job that was taken under `ticket`.
    pub fn settle(&mut self, place: Place, ticket: u64, fate: Fate, cap: usize) {
        // Told as removed meanwhile, and perhaps put and taken again by another claim: not this ticket's any more.
        if self.taken.get(&place).is_none_or(|taken| taken.ticket != ticket) {
            return;
        }
        let Some(taken) = self.taken.remove(&place) else { return };
        if fate == Fate::Back || taken.again {
            self.put(place, taken.job, cap);
        }
        self.free_if_empty();
    }

    /// An empty map keeps the memory of its last entries, and thousands of drained queues would add up.
    fn free_if_empty(&mut self) {
        if self.ready.is_empty() {
            self.ready = BTreeMap::new();
        }
        if self.taken.is_empty() {
            self.taken = BTreeMap::new();
        }
    }

    /// About how many bytes it takes beside itself; rather too many than too few.
    pub fn bytes(&self) -> usize {
        let of = |jobs: usize, leaf: usize| match jobs {
            0 => 0,
            1..=LEAF_MAX => leaf,
            _ => jobs * (leaf / LEAF_MIN + 24),
        };
        let told = self.scan.as_ref().map_or(0, |scan| of(scan.told.len(), LEAF_BYTES + LEAF_MAX * 16));
        of(self.ready.len(), LEAF_BYTES) + of(self.taken.len(), LEAF_BYTES + LEAF_MAX * 16) + told
    }

    /// Whether the window is empty and the line may go on behind it.
    pub fn wants_scan(&self) -> bool {
        self.ready.is_empty() && self.horizon != Horizon::End
    }

    pub fn is_scanned(&self) -> bool {
        self.scan.is_some()
    }

    /// Begins a scan; answers where.
    pub fn begin_scan(&mut self) -> Horizon {
        self.scan = Some(Scan { from: self.horizon, told: BTreeMap::new(), reach: Horizon::End });
        self.horizon
    }

    /// Takes in the page that a scan read: the first jobs behind where it began, and whether the line ends with them.
    /// `None`: the scan failed.
    pub fn end_scan(&mut self, page: Option<(Vec<(Place, JobId)>, bool)>) {
        let (Some(scan), Some((page, at_end))) = (self.scan.take(), page) else { return };
        // The window was cut meanwhile: between its new end and this page jobs would be missing.
        if self.horizon != scan.from {
            return;
        }
        let read = match page.last() {
            _ if at_end => Horizon::End,
            Some((place, _)) => Horizon::At(*place),
            None => scan.from,
        };
        let known = read.min(scan.reach);
        let told = scan.told.into_iter();
        let merged: BTreeMap<Place, Option<JobId>> =
            page.into_iter().map(|(place, job)| (place, Some(job))).chain(told).collect();
        for (place, job) in merged {
            // Where the window was cut a taken job may lie behind the horizon; its taker will settle it.
            if let (true, false, Some(job)) = (known.covers(place), self.taken.contains_key(&place), job) {
                self.ready.insert(place, job);
            }
        }
        self.horizon = known;
    }

    /// Keeps the first `cap` jobs.
    pub fn cut(&mut self, cap: usize) {
        if self.ready.len() <= cap {
            return;
        }
        while self.ready.len() > cap {
            self.ready.pop_last();
        }
        // With nothing kept the horizon may not lie behind what was cut.
        self.horizon = self.ready.last_key_value().map_or(Horizon::Start, |(place, _)| Horizon::At(*place));
    }

    /// Forgets what it knows of the line: that is another one now. A scan that is under way ends without effect, and so
    /// do the claims: what they took may stand for other jobs by now.
    pub fn forget(&mut self) {
        self.ready.clear();
        self.taken.clear();
        self.horizon = Horizon::Start;
        if let Some(scan) = &mut self.scan {
            scan.told.clear();
            scan.reach = Horizon::Start;
        }
    }

    /// Jobs that can be taken now.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    pub fn taken(&self) -> usize {
        self.taken.len()
    }

    #[cfg(test)]
    pub fn offered(&self) -> Vec<(Place, JobId)> {
        self.ready.iter().map(|(place, job)| (*place, *job)).collect()
    }

    #[cfg(test)]
    pub fn horizon(&self) -> Horizon {
        self.horizon
    }

    /// Jobs known or, where the line may go on, at least one.
    pub fn hopes(&self) -> usize {
        self.ready.len() + usize::from(self.horizon != Horizon::End)
    }

    /// Whether nothing would be lost but time if it were forgotten.
    pub fn is_idle(&self) -> bool {
        self.taken.is_empty() && self.scan.is_none()
    }
}
