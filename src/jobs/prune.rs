//! Prune: finished jobs go when their retention has passed, or at once when a caller says how old is too old.

use std::ops::Bound;

use super::Jobs;
use super::enqueue::parse_key;
use super::maintain::{STEP, queues, readable};
use super::new_job::check_name;
use super::schema::FINISHED;
use crate::engine::{Direction, KeyRange};
use crate::error::Result;
use crate::keys::{KeyReader, KeyWriter};

impl Jobs {
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
