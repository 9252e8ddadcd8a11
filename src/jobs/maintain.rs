//! Upkeep by time: promote what is due, take back leases that are past. In bounded transactions, inside claims and by
//! [`Jobs::maintain`]; nothing depends on a thread.

use std::collections::BTreeSet;
use std::ops::Bound;

use serde::Serialize;

use super::Jobs;
use super::apply::{apply, load};
use super::enqueue::parse_key;
use super::job::JobId;
use super::pair::Pair;
use super::schema::{DUE, LEASE, STATES};
use super::state::{Reason, State};
use super::token::Token;
use super::transition::Event;
use crate::config::Durability;
use crate::engine::{Direction, KeyRange};
use crate::error::{ErrorKind, Result};
use crate::keys::{KeyReader, KeyWriter};
use crate::record::{Transaction, View};

/// Most jobs that one upkeep transaction changes.
pub(crate) const STEP: usize = 64;
/// Most upkeep transactions of a kind that change something inside one claim.
const STEPS_MAX: usize = 16;

/// What [`Jobs::maintain`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Maintained {
    /// Jobs whose time had come, now available.
    pub promoted: u64,
    /// Leases that were past and were taken back, whatever became of their jobs.
    pub taken_back: u64,
    /// Finished jobs removed by their retention.
    pub pruned: u64,
}

/// The job with this id; `None` also for one that can't be read, which upkeep passes over and verify reports.
pub(crate) fn readable(txn: &mut Transaction<'_>, id: JobId) -> Result<Option<Pair>> {
    match load(txn, id) {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
        outcome => outcome,
    }
}

/// Every queue that has a job, finished ones included.
pub(crate) fn queues(view: &View<'_>) -> Result<BTreeSet<String>> {
    let groups = view.counts(&STATES, KeyWriter::new())?;
    groups.iter().map(|(group, _)| KeyReader::new(group).str()).collect()
}

/// Repeats a sweep that stops after [`STEPS_MAX`] steps until it finds nothing more to change. How much one changed does
/// not say whether it went all its steps: it passes over what has changed in another way, or can't be read.
fn to_the_end(mut sweep: impl FnMut() -> Result<u64>) -> Result<u64> {
    let mut changed = 0;
    loop {
        match sweep()? {
            0 => return Ok(changed),
            step => changed += step,
        }
    }
}

impl Jobs {
    /// Promotes all that is due in every queue, takes back every lease that is past, prunes by retention. In bounded
    /// transactions: interrupted, it has done some, and a repetition does the rest.
    ///
    /// # Errors
    /// Those of the store.
    pub fn maintain(&self) -> Result<Maintained> {
        self.fail_dropped()?;
        // What claims passed over because it could not be read may have been repaired.
        self.shared.lines.lock().forget_idle();
        self.adopt_unknown_leases()?;
        let mut done = Maintained { taken_back: to_the_end(|| self.take_back_past(None))?, ..Maintained::default() };
        for queue in self.shared.store.read(queues)? {
            done.promoted += to_the_end(|| self.promote_due(&queue))?;
        }
        done.pruned = self.prune(None, None)?;
        Ok(done)
    }

    /// Makes available what is due in `queue`, first due first. Stops after [`STEPS_MAX`] steps that changed something,
    /// and does not even look before the time at which the next job is due, where that is known.
    ///
    /// What can't be read is walked over, however much of it is due at one time: no step counts for it.
    pub(crate) fn promote_due(&self, queue: &str) -> Result<u64> {
        let now = self.shared.store.clock().now_ms();
        let begun = self.shared.lines.with(queue, |line, _| {
            let from = line.due.at();
            (from <= now).then(|| (from, line.due.begin()))
        });
        let Some((from, scan)) = begun else { return Ok(0) };
        // From the floor on: what was due before is gone, and not to be walked over again.
        let line = || KeyWriter::new().str(queue);
        let range =
            KeyRange { start: Bound::Included(line().u64(from).finish()), end: Bound::Included(line().finish()) };
        let (mut promoted, mut steps, mut is_synced) = (0, 0, true);
        let mut after: Option<Vec<u8>> = None;
        let next = loop {
            let page = self
                .shared
                .store
                .read(|view| view.index_range(&DUE, range.clone(), Direction::Ascending, after.as_deref(), STEP))?;
            let mut due = Vec::new();
            let mut next = None;
            for entry in &page.entries {
                let mut parts = KeyReader::new(&entry.parts);
                parts.str()?;
                let run_at = parts.u64()?;
                next = Some(run_at);
                if run_at > now {
                    break;
                }
                due.push(parse_key(&entry.primary)?);
            }
            // The floor rises to the first job that is not due yet, or stays with the last that was read.
            let is_all = page.resume.is_none() && due.len() == page.entries.len();
            let next = if is_all { None } else { next };
            if due.is_empty() {
                break next;
            }
            // One sync for all steps: the last one makes those before it durable, and visible, too.
            let ends = is_all || next.is_some_and(|next| next > now);
            let durability = if ends || steps + 1 == STEPS_MAX { self.durability } else { Durability::Buffered };
            let step = self.shared.store.transact(durability, |txn| {
                let mut step = 0;
                for id in &due {
                    let Some(pair) = readable(txn, *id)? else { continue };
                    // By the time that the scan went by: what it found due is due, wherever the clock has gone since,
                    // for the floor rises above it.
                    if pair.head.state.waits() && pair.head.run_at <= now {
                        apply(txn, &pair, &Event::Promote { now })?;
                        step += 1;
                    }
                }
                Ok(step)
            })?;
            promoted += step;
            steps += usize::from(step > 0);
            if step > 0 {
                is_synced = durability == self.durability;
            }
            if ends || steps == STEPS_MAX {
                break next;
            }
            after = page.resume;
        };
        if !is_synced {
            self.shared.store.engine().sync()?;
        }
        // Only now: a step that failed leaves the floor where its jobs are. One that can't be read is passed over,
        // here and, as the floor rises above it, until it is told anew.
        self.shared.lines.with(queue, |line, _| line.due.end(scan, next));
        Ok(promoted)
    }

    /// Ends the claims of this process whose lease, or whose timeout, is past by the monotonic clock; not the one behind
    /// `spared`. Stops after [`STEPS_MAX`] steps. The store is not asked when none is past.
    pub(crate) fn take_back_past(&self, spared: Option<&Token>) -> Result<u64> {
        let mut taken_back = 0;
        for _ in 0..STEPS_MAX {
            let now_monotonic = self.shared.store.clock().monotonic_ms();
            let past = self.shared.deadlines.past(now_monotonic, STEP, spared);
            if past.is_empty() {
                break;
            }
            let seen = self.shared.store.transact(self.durability, |txn| {
                let mut seen = Vec::with_capacity(past.len());
                for past in &past {
                    let found = readable(txn, past.job)?;
                    let held = found.filter(|pair| {
                        let token = pair.token();
                        token.is_some_and(|token| token.which() == past.claim && token.epoch == self.shared.epoch())
                    });
                    let Some(pair) = held else {
                        seen.push((*past, None));
                        continue;
                    };
                    if pair.head.lease.as_ref().is_some_and(|lease| lease.renewals != past.renewals) {
                        seen.push((*past, Some(pair)));
                        continue;
                    }
                    let now = txn.now_ms();
                    let event = if past.timed_out {
                        let random = txn.fresh_id() as u64;
                        Event::Fail { now, reason: Reason::TimedOut, error: None, retry_in_ms: None, random }
                    } else {
                        Event::Expire { now }
                    };
                    seen.push((*past, Some(apply(txn, &pair, &event)?)));
                }
                Ok(seen)
            })?;
            for (past, after) in seen {
                match after {
                    // A heartbeat came between: its note may still be on its way, or lost with its thread.
                    Some(pair) if pair.head.state == State::Executing => {
                        self.shared.deadlines.note(&pair, now_monotonic);
                    }
                    after => {
                        taken_back += u64::from(after.is_some());
                        self.shared.deadlines.forget(past.job, past.claim);
                    }
                }
            }
        }
        Ok(taken_back)
    }

    /// Gives leases of this opening that memory does not know (their claimer died between commit and note) a full
    /// lease from now, after which they are taken back like any other.
    fn adopt_unknown_leases(&self) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let now = self.shared.store.clock().monotonic_ms();
            let opening = self.shared.epoch();
            let (unknown, resume) = self.shared.store.read(|view| {
                let page = view.index_page(&LEASE, KeyWriter::new(), Direction::Ascending, after.as_deref(), STEP)?;
                let mut unknown = Vec::new();
                for entry in &page.entries {
                    if self.shared.deadlines.contains(parse_key(&entry.primary)?) {
                        continue;
                    }
                    match view.get::<Pair>(&entry.primary) {
                        Ok(pair) => unknown.extend(pair),
                        // It stays until the next opening sets it aside; verify reports it.
                        Err(error) if error.kind() == ErrorKind::Corrupt => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok((unknown, page.resume))
            })?;
            let of_opening = |pair: &Pair| pair.head.lease.as_ref().is_some_and(|lease| lease.epoch == opening);
            for pair in unknown.into_iter().filter(of_opening) {
                self.shared.deadlines.note(&pair, now);
            }
            match resume {
                Some(resume) => after = Some(resume),
                None => return Ok(()),
            }
        }
    }
}
