//! Prune: finished jobs go when their retention has passed, or at once when a caller says how old is too old.
//!
//! Claims prune as well, so that nothing depends on anybody calling [`Jobs::prune`]: a *round* walks the finished jobs
//! of one queue, retention by retention, a bounded step a claim, and remembers when the next one may be pruned. Until
//! then claims do not look. Rounds begin at most once a second, so that a queue in which some job is always just old
//! enough does not pay for each one apart; while there is more than a step can remove, every claim goes on with it.

use std::ops::Bound;

use super::Jobs;
use super::enqueue::parse_key;
use super::job::JobId;
use super::maintain::{STEP, queues, readable};
use super::new_job::check_name;
use super::schema::FINISHED;
use crate::config::Durability;
use crate::engine::{Direction, KeyRange};
use crate::error::Result;
use crate::keys::{KeyReader, KeyWriter};

/// Most jobs that one claim prunes: more than it can finish, so that pruning keeps up.
const ROUND_STEP: usize = 16;
/// Most scans for that.
const ROUND_SCANS: usize = 4;
/// Least time between the beginnings of two rounds.
const ROUND_EVERY_MS: u64 = 1_000;

/// A walk over the finished jobs of a queue, in steps.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Some claim is in the middle of a step.
    running: bool,
    /// The floor's scan that this round is; `None` between rounds.
    scan: Option<u64>,
    at: Position,
    /// When the first of the jobs that were passed over may be pruned.
    soonest: Option<u64>,
    /// By the monotonic clock.
    next_begins: u64,
}

#[derive(Debug, Clone, Default)]
enum Position {
    #[default]
    Start,
    BehindEntry(Vec<u8>),
    BehindRetention(u64),
}

impl Round {
    pub fn is_running(&self) -> bool {
        self.running
    }
}

/// What a step has done.
#[derive(Debug, Default)]
struct Step {
    pruned: u64,
    at: Position,
    soonest: Option<u64>,
    at_end: bool,
}

impl Jobs {
    /// The next step of the queue's round, if there is anything for it to do.
    pub(crate) fn prune_some(&self, queue: &str) -> Result<u64> {
        let clock = self.shared.store.clock();
        let (now, now_monotonic) = (clock.now_ms(), clock.monotonic_ms());
        let begun = self.shared.lines.with(queue, |line, _| {
            let round = &mut line.round;
            if round.running
                || (round.scan.is_none() && (now < line.prunable.at() || now_monotonic < round.next_begins))
            {
                return None;
            }
            if round.scan.is_none() {
                *round = Round { scan: Some(line.prunable.begin()), ..Round::default() };
                round.next_begins = now_monotonic.saturating_add(ROUND_EVERY_MS);
            }
            round.running = true;
            Some(round.at.clone())
        });
        let Some(at) = begun else { return Ok(0) };
        let step = self.prune_step(queue, at, now);
        self.shared.lines.with(queue, |line, _| {
            let round = &mut line.round;
            round.running = false;
            let Ok(step) = &step else { return };
            round.at = step.at.clone();
            round.soonest = [round.soonest, step.soonest].into_iter().flatten().min();
            if let (true, Some(scan)) = (step.at_end, round.scan) {
                round.scan = None;
                line.prunable.end(scan, round.soonest);
            }
        });
        step.map(|step| step.pruned)
    }

    fn prune_step(&self, queue: &str, at: Position, now: u64) -> Result<Step> {
        let mut step = Step { at, ..Step::default() };
        for _ in 0..ROUND_SCANS {
            let line = || KeyWriter::new().str(queue);
            let (start, after) = match &step.at {
                Position::Start => (Bound::Included(line().finish()), None),
                Position::BehindEntry(entry) => (Bound::Included(line().finish()), Some(entry.as_slice())),
                Position::BehindRetention(retention_ms) => (Bound::Excluded(line().u64(*retention_ms).finish()), None),
            };
            let range = KeyRange { start, end: Bound::Included(line().finish()) };
            let page = self
                .shared
                .store
                .read(|view| view.index_range(&FINISHED, range.clone(), Direction::Ascending, after, ROUND_STEP))?;
            let mut old: Vec<JobId> = Vec::new();
            let mut next = None;
            for entry in &page.entries {
                let mut parts = KeyReader::new(&entry.parts);
                parts.str()?;
                let retention_ms = parts.u64()?;
                let prunable_at = retention_ms.saturating_add(parts.u64()?);
                if prunable_at > now {
                    // In order of their finish, so the rest of this retention is younger.
                    step.soonest = Some(step.soonest.map_or(prunable_at, |soonest| soonest.min(prunable_at)));
                    next = Some(Position::BehindRetention(retention_ms));
                    break;
                }
                old.push(parse_key(&entry.primary)?);
                next = Some(Position::BehindEntry(entry.entry.clone()));
            }
            let Some(next) = next else {
                step.at_end = true;
                break;
            };
            step.at = next;
            if !old.is_empty() {
                step.pruned += self.shared.store.transact(Durability::Buffered, |txn| {
                    let mut removed = 0;
                    for id in &old {
                        let Some(pair) = readable(txn, *id)? else { continue };
                        let prunable_at = pair.head.finished_at.map(|at| at.saturating_add(pair.body.retention_ms));
                        if prunable_at.is_some_and(|at| at <= now) {
                            txn.delete(&pair)?;
                            removed += 1;
                        }
                    }
                    Ok(removed)
                })?;
                break;
            }
        }
        Ok(step)
    }

    /// Removes finished jobs of `queue` (`None`: of every queue) that finished at least `older_than_ms` ago (`None`:
    /// as long ago as each one's own retention); answers how many. In bounded transactions: interrupted, it has
    /// removed some and a repetition removes the rest.
    ///
    /// # Errors
    /// `Invalid` for a name out of bounds; those of the store.
    pub fn prune(&self, queue: Option<&str>, older_than_ms: Option<u64>) -> Result<u64> {
        queue.map_or(Ok(()), |queue| check_name("queue", queue))?;
        let queues = match queue {
            Some(queue) => [queue.to_owned()].into(),
            None => self.shared.store.read(queues)?,
        };
        let now = self.shared.store.clock().now_ms();
        let mut pruned = 0;
        for queue in &queues {
            let mut from = Some(0);
            while let Some(retention_ms) = from.map(|from| self.next_retention(queue, from)).transpose()?.flatten() {
                if let Some(until) = now.checked_sub(older_than_ms.unwrap_or(retention_ms)) {
                    pruned += self.prune_finished(queue, retention_ms, until)?;
                }
                from = retention_ms.checked_add(1);
            }
        }
        Ok(pruned)
    }

    /// The least retention, from `from` on, that a finished job of `queue` has.
    fn next_retention(&self, queue: &str, from: u64) -> Result<Option<u64>> {
        let line = || KeyWriter::new().str(queue);
        let range =
            KeyRange { start: Bound::Included(line().u64(from).finish()), end: Bound::Included(line().finish()) };
        let page =
            self.shared.store.read(|view| view.index_range(&FINISHED, range.clone(), Direction::Ascending, None, 1))?;
        let Some(entry) = page.entries.first() else { return Ok(None) };
        let mut parts = KeyReader::new(&entry.parts);
        parts.str()?;
        parts.u64().map(Some)
    }

    /// Removes the jobs of one retention that finished up to `until`.
    fn prune_finished(&self, queue: &str, retention_ms: u64, until: u64) -> Result<u64> {
        let kept = || KeyWriter::new().str(queue).u64(retention_ms);
        let range =
            KeyRange { start: Bound::Included(kept().finish()), end: Bound::Included(kept().u64(until).finish()) };
        let mut pruned = 0;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.shared.store.read(|view| {
                view.index_range(&FINISHED, range.clone(), Direction::Ascending, after.as_deref(), STEP)
            })?;
            let old = page.entries.iter().map(|entry| parse_key(&entry.primary)).collect::<Result<Vec<_>>>()?;
            pruned += self.shared.store.transact(self.durability, |txn| {
                let mut removed = 0;
                for id in &old {
                    let Some(pair) = readable(txn, *id)? else { continue };
                    // It may have been retried, and finished anew, since the scan.
                    if pair.head.finished_at.is_some_and(|finished_at| finished_at <= until) {
                        txn.delete(&pair)?;
                        removed += 1;
                    }
                }
                Ok(removed)
            })?;
            match page.resume {
                Some(resume) => after = Some(resume),
                None => return Ok(pruned),
            }
        }
    }
}
