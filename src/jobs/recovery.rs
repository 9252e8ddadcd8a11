//! The startup sweep, its counterpart at a clean close, and the one of a restored state. All of them apply the events of
//! live code.
//!
//! Only one process owns the store, so at open every lease of another epoch is dead, exactly, with no grace period. The
//! sweep reads the lease index, which holds executing jobs only, so its cost follows their number and not the size of
//! the store. A job is changed in one transaction and then has no lease: interrupted anywhere and repeated, the sweep
//! ends in the same state.

use serde::Serialize;

use super::Jobs;
use super::apply::apply;
use super::enqueue::parse_key;
use super::maintain::{STEP, readable};
use super::schema::LEASE;
use super::state::State;
use super::transition::Event;
use crate::config::Durability;
use crate::engine::{Direction, Epoch};
use crate::error::Result;
use crate::keys::KeyWriter;
use crate::record::RecordStore;

/// What became of the jobs that were executing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SweepReport {
    /// Available again.
    pub requeued: u64,
    /// Crashed once too often.
    pub discarded: u64,
    /// Their cancel had been asked for.
    pub cancelled: u64,
    /// Could not be read and were left as they are; verify names them.
    pub unreadable: u64,
}

/// Ends every claim of an opening other than `epoch`: the process that held it is gone.
///
/// # Errors
/// Those of the store. What was swept before stays swept.
pub fn sweep(store: &RecordStore, epoch: Epoch) -> Result<SweepReport> {
    end_leases(store, |held| held != epoch, |now| Event::Crash { now })
}

/// As [`sweep`], for a state that came from another store: its workers may be at work on these jobs over there, so no
/// crash is counted and no attempt. A sweep of such a state that is interrupted has written to it, so what it had not
/// come to counts as crashed at the next opening.
///
/// # Errors
/// Those of the store. What was swept before stays swept.
pub fn sweep_restored(store: &RecordStore, epoch: Epoch) -> Result<SweepReport> {
    end_leases(store, |held| held != epoch, |now| Event::Release { now })
}

impl Jobs {
    /// Releases every lease of this opening, for a clean close: no crash is counted and no attempt. Tokens are over,
    /// and nothing is claimed any more: what is let go here would only be held again when the store closes.
    ///
    /// # Errors
    /// Those of the store.
    pub fn release_all_on_close(&self) -> Result<SweepReport> {
        // Waits for the claims that are being committed: their leases are among those to be let go.
        self.shared.door.close();
        // Whoever waits for a job learns that there is none to come.
        self.shared.lines.lock().call_all();
        self.fail_dropped()?;
        let epoch = self.shared.epoch();
        end_leases(&self.shared.store, |held| held == epoch, |now| Event::Release { now })
    }
}

fn end_leases(store: &RecordStore, ends: impl Fn(Epoch) -> bool, event: impl Fn(u64) -> Event) -> Result<SweepReport> {
    let mut report = SweepReport::default();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store
            .read(|view| view.index_page(&LEASE, KeyWriter::new(), Direction::Ascending, after.as_deref(), STEP))?;
        let held = page.entries.iter().map(|entry| parse_key(&entry.primary)).collect::<Result<Vec<_>>>()?;
        if !held.is_empty() {
            // Buffered: one sync at the end makes all of them durable. A crash before it only means a repetition.
            let step = store.transact(Durability::Buffered, |txn| {
                let mut step = SweepReport::default();
                for id in &held {
                    let Some(pair) = readable(txn, *id)? else {
                        step.unreadable += 1;
                        continue;
                    };
                    if pair.head.lease.as_ref().is_none_or(|lease| !ends(lease.epoch)) {
                        continue;
                    }
                    let now = txn.now_ms();
                    match apply(txn, &pair, &event(now))?.head.state {
                        State::Discarded => step.discarded += 1,
                        State::Cancelled => step.cancelled += 1,
                        _ => step.requeued += 1,
                    }
                }
                Ok(step)
            })?;
            report.requeued += step.requeued;
            report.discarded += step.discarded;
            report.cancelled += step.cancelled;
            report.unreadable += step.unreadable;
        }
        match page.resume {
            Some(resume) => after = Some(resume),
            None => break,
        }
    }
    if report.requeued + report.discarded + report.cancelled > 0 {
        store.engine().sync()?;
    }
    Ok(report)
}
