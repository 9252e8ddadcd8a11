//! When the leases of this process run out, by the monotonic clock.
//!
//! The stored deadline is wall time and for show. A wall clock that jumps expires nothing, because only this table
//! says which leases are past. It is a hint: a take-back names claim and heartbeats as seen here, and the transaction
//! checks both, so neither a finished job nor one with a newer heartbeat is ever taken back.
//!
//! Whoever sleeps until something becomes ready hears from here when the first lease runs out.
//!
//! ```text
//!   arrive ──> claim committed ──────────────> note ──> held: due, cancel_requested
//!                        └─ ask_to_stop: kept, as long as somebody is arriving who came before it ─┘
//! ```

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::job::JobId;
use super::lines::Lines;
use super::pair::Pair;
use super::sync::Mutex;
use super::token::{Token, Which};

/// The leases granted by this process.
#[derive(Debug)]
pub(crate) struct Deadlines {
    table: Mutex<Table>,
    lines: Arc<Lines>,
}

#[derive(Debug, Default)]
struct Table {
    by_job: HashMap<JobId, Watch>,
    by_time: BTreeSet<(u64, JobId)>,
    /// Claimers that may have committed claims which are not noted yet, in the order in which they came.
    arriving: BTreeSet<u64>,
    arrivals: u64,
    early: Vec<EarlyStop>,
}

/// A stop that was asked of a claim before it was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EarlyStop {
    job: JobId,
    claim: Which,
    /// Nobody who came after this one has that claim.
    arrived_until: u64,
}

impl Table {
    /// When the first lease runs out; `u64::MAX`: there is none.
    fn first(&self) -> u64 {
        self.by_time.first().map_or(u64::MAX, |(due, _)| *due)
    }
}

#[derive(Debug, Clone, Copy)]
struct Watch {
    claim: Which,
    renewals: u64,
    due: u64,
    /// When the attempt has run for its timeout.
    timeout: Option<u64>,
    cancel_requested: bool,
}

/// A lease whose time is past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Past {
    pub job: JobId,
    pub claim: Which,
    pub renewals: u64,
    /// The attempt's timeout is what ended it.
    pub timed_out: bool,
}

/// A claim that is not known to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// When its lease runs out.
    pub due: u64,
    pub cancel_requested: bool,
}

impl Deadlines {
    /// No lease yet; `lines` are to hear when the first one runs out.
    pub fn new(lines: Arc<Lines>) -> Self {
        Deadlines { table: Mutex::default(), lines }
    }

    /// From here on, as long as the answer lives, a stop that is asked of a claim which is not noted yet is kept for it.
    /// So a claimer arrives before it commits, and leaves once all its claims are noted.
    pub fn arrive(&self) -> Arrival<'_> {
        let mut table = self.table.lock();
        table.arrivals += 1;
        let number = table.arrivals;
        table.arriving.insert(number);
        Arrival { deadlines: self, number }
    }

    /// Changes the table, and tells the sleepers when the first lease is another then.
    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table.lock();
        let before = table.first();
        let answer = change(&mut table);
        let first = table.first();
        if first != before {
            // Under the table's lock, so that the sleepers hear of the changes in their order.
            self.lines.lock().set_first_lease(first);
        }
        answer
    }

    /// Notes a lease as it was granted or renewed at `now` (monotonic). An older note never replaces a newer one.
    pub fn note(&self, pair: &Pair, now: u64) {
        let (Some(lease), Some(token)) = (&pair.head.lease, pair.token()) else { return };
        let (job, claim) = (token.job, token.which());
        self.change(|table| {
            let known = table.by_job.get(&job).copied();
            if known.is_some_and(|known| (known.claim, known.renewals) > (claim, lease.renewals)) {
                return;
            }
            let timeout = match known {
                Some(known) if known.claim == claim => known.timeout,
                _ => pair.body.timeout_ms.map(|timeout_ms| now.saturating_add(timeout_ms)),
            };
            let due = now.saturating_add(lease.lease_ms).min(timeout.unwrap_or(u64::MAX));
            if let Some(known) = known {
                table.by_time.remove(&(known.due, job));
            }
            table.by_time.insert((due, job));
            let asked = known.is_some_and(|known| known.claim == claim && known.cancel_requested);
            let asked_early = table.early.iter().any(|stop| (stop.job, stop.claim) == (job, claim));
            let cancel_requested = asked || asked_early || pair.head.cancel_requested;
            table.by_job.insert(job, Watch { claim, renewals: lease.renewals, due, timeout, cancel_requested });
        });
    }

    /// Forgets a claim, which is over. A newer claim of the same job stays.
    pub fn forget(&self, job: JobId, claim: Which) {
        self.change(|table| {
            let Some(known) = table.by_job.get(&job).copied().filter(|known| known.claim <= claim) else { return };
            table.by_time.remove(&(known.due, job));
            table.by_job.remove(&job);
        });
    }

    /// Up to `limit` leases that are past at `now`, the longest past first; never the one behind `spared`.
    pub fn past(&self, now: u64, limit: usize, spared: Option<&Token>) -> Vec<Past> {
        let table = self.table.lock();
        let due = table.by_time.iter().take_while(|(due, _)| *due <= now);
        let past = due.filter_map(|(_, job)| table.by_job.get(job).map(|watch| watch.at(*job, now)));
        let is_spared = |past: &Past| spared.is_some_and(|token| (token.job, token.which()) == (past.job, past.claim));
        past.filter(|past| !is_spared(past)).take(limit).collect()
    }

    /// The lease on `job`, when it is past at `now`.
    pub fn past_of(&self, job: JobId, now: u64) -> Option<Past> {
        let table = self.table.lock();
        table.by_job.get(&job).filter(|watch| watch.due <= now).map(|watch| watch.at(job, now))
    }

    /// Whether a claim of `job` is noted.
    pub fn contains(&self, job: JobId) -> bool {
        self.table.lock().by_job.contains_key(&job)
    }

    /// The claim behind `token`, while it is not known to be over.
    pub fn held(&self, token: &Token) -> Option<Held> {
        let table = self.table.lock();
        let watch = table.by_job.get(&token.job).filter(|watch| watch.claim == token.which())?;
        Some(Held { due: watch.due, cancel_requested: watch.cancel_requested })
    }

    /// Notes that whoever holds `token` was asked to stop.
    pub fn ask_to_stop(&self, token: &Token) {
        let (job, claim) = (token.job, token.which());
        let mut table = self.table.lock();
        let Table { by_job, arriving, arrivals, early, .. } = &mut *table;
        match by_job.get_mut(&job) {
            Some(watch) if watch.claim == claim => watch.cancel_requested = true,
            Some(watch) if watch.claim > claim => {}
            // Not noted yet, if it is not over already; without anybody on the way it is over.
            _ if arriving.is_empty() => {}
            _ => early.push(EarlyStop { job, claim, arrived_until: *arrivals }),
        }
    }
}

/// Somebody whose claims are on their way. Dropping it leaves.
#[derive(Debug)]
pub(crate) struct Arrival<'d> {
    deadlines: &'d Deadlines,
    number: u64,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let mut table = self.deadlines.table.lock();
        table.arriving.remove(&self.number);
        // Of the stops only those are kept whose claim may still come.
        let first = table.arriving.first().copied();
        table.early.retain(|stop| first.is_some_and(|first| first <= stop.arrived_until));
    }
}

impl Watch {
    fn at(&self, job: JobId, now: u64) -> Past {
        let timed_out = self.timeout.is_some_and(|timeout| timeout <= now);
        Past { job, claim: self.claim, renewals: self.renewals, timed_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_kept_for_a_claim_that_is_on_its_way_and_no_longer() {
        let deadlines = Deadlines::new(Arc::default());
        let kept = || deadlines.table.lock().early.len();
        let claim_of =
            |job| Token { job: JobId(job), sequence: 1, number: 1, epoch: crate::engine::Epoch { number: 1, id: 1 } };
        deadlines.ask_to_stop(&claim_of(1));
        assert_eq!(kept(), 0, "nobody is on the way");
        let first = deadlines.arrive();
        deadlines.ask_to_stop(&claim_of(1));
        let second = deadlines.arrive();
        assert_eq!(kept(), 1);
        drop(first);
        assert_eq!(kept(), 0, "whoever came later has other claims");
        deadlines.ask_to_stop(&claim_of(2));
        let third = deadlines.arrive();
        drop(third);
        assert_eq!(kept(), 1);
        drop(second);
        assert_eq!(kept(), 0);
    }
}
