//! Leases that were dropped unfinished, on their way to be failed.
//!
//! ```text
//!   drop(lease) ──> note: token, reason, time ──> the next call of the queue ──> one buffered commit: Fail
//!        never waits, never panics                (or a claimer that waits: a note wakes it)
//! ```
//!
//! A lease may be dropped anywhere: while unwinding, under a caller's lock, inside a transaction's body. So a drop
//! neither writes nor waits; it leaves a note. Every call of [`Jobs`] settles the notes before it does its own work, so
//! whoever drops a lease and then looks sees the attempt failed.
//!
//! Notes are read, applied and then struck out, never taken first: two callers may apply the same one, and the token
//! lets only the first succeed. So no lock is held over a commit. The honest limit: notes live in memory. A process that
//! dies between a drop and the next call leaves a lease behind, which the next opening counts as a crash.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::act::Finish;
use super::maintain::STEP;
use super::new_job::cut_error;
use super::state::Reason;
use super::sync::Mutex;
use super::{Jobs, Token};
use crate::config::Durability;
use crate::error::{ErrorKind, Result};
use crate::record::RecordStore;

/// The notes, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    notes: Mutex<Vec<Note>>,
    /// How many there are, for the many calls that find none.
    count: AtomicUsize,
}

#[derive(Debug, Clone)]
struct Note {
    token: Token,
    reason: Reason,
    error: Option<String>,
    /// When that was: the attempt ended then, and its backoff counts from there.
    dropped_at: u64,
}

impl Dropped {
    fn leave(&self, note: Note) {
        let mut notes = self.notes.lock();
        notes.push(note);
        self.count.store(notes.len(), Ordering::SeqCst);
    }

    fn oldest(&self) -> Vec<Note> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        self.notes.lock().iter().take(STEP).cloned().collect()
    }

    fn strike(&self, settled: &[Note]) {
        let mut notes = self.notes.lock();
        notes.retain(|note| !settled.iter().any(|other| other.token == note.token));
        self.count.store(notes.len(), Ordering::SeqCst);
    }
}

impl Jobs {
    /// Notes that the lease behind `token` was dropped.
    pub(crate) fn note_dropped(&self, token: Token, reason: Reason, error: Option<&str>) {
        let dropped_at = self.shared.store.clock().now_ms();
        self.shared.dropped.leave(Note { token, reason, error: error.map(cut_error), dropped_at });
        self.shared.lines.lock().look_now();
    }

    /// Fails the attempt of every lease that was dropped before this call. What fails stays noted.
    pub(crate) fn fail_dropped(&self) -> Result<()> {
        loop {
            let notes = self.shared.dropped.oldest();
            if notes.is_empty() {
                return Ok(());
            }
            let ended = self.shared.store.transact(Durability::Buffered, |txn| {
                let mut ended = Vec::with_capacity(notes.len());
                for note in &notes {
                    let (reason, error) = (note.reason, note.error.clone());
                    let finish = Finish::Fail { reason, error, retry_in_ms: None };
                    match finish.apply_at(txn, &note.token, note.dropped_at) {
                        Ok(_) => ended.push(note.token),
                        // Over in another way; or unreadable, which verify reports and upkeep passes over.
                        Err(error) if matches!(error.kind(), ErrorKind::LeaseLost | ErrorKind::Corrupt) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(ended)
            })?;
            self.shared.dropped.strike(&notes);
            for token in &ended {
                self.finished(token);
            }
        }
    }

    /// The store, once what was dropped before is failed.
    pub(crate) fn settled(&self) -> Result<&RecordStore> {
        self.fail_dropped()?;
        Ok(&self.shared.store)
    }

    /// The store for a read. Should settling fail, the notes stay for the next write to meet and report; a read goes on.
    pub(crate) fn store_to_read(&self) -> &RecordStore {
        drop(self.fail_dropped());
        &self.shared.store
    }
}
