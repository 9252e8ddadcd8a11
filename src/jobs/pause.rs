//! Pause and resume of one queue. A paused queue adds nothing to a claim; executing jobs and enqueues go on. Durable.

use super::Jobs;
use super::new_job::check_name;
use super::schema::paused_key;
use crate::error::Result;
use crate::record::catalog;

impl Jobs {
    /// Stops handing out jobs of `queue`: no claim that begins after this returned gets one. Pausing a paused queue, or one without a job, is fine.
    ///
    /// # Errors
    /// `Invalid` for a queue outside 1..=256 bytes.
    pub fn pause(&self, queue: &str) -> Result<()> {
        check_name("queue", queue)?;
        let key = paused_key(queue);
        self.shared.store.transact(self.durability, |txn| txn.put_part(catalog::QUEUE_PAUSED, &key, &true))
    }

    /// Hands out jobs of `queue` again.
    ///
    /// # Errors
    /// `Invalid` for a queue outside 1..=256 bytes.
    pub fn resume(&self, queue: &str) -> Result<()> {
        check_name("queue", queue)?;
        let key = paused_key(queue);
        self.shared.store.transact(self.durability, |txn| txn.delete_part(catalog::QUEUE_PAUSED, &key))
    }

    /// Whether `queue` is paused.
    ///
    /// # Errors
    /// Those of the store.
    pub fn is_paused(&self, queue: &str) -> Result<bool> {
        let key = paused_key(queue);
        self.shared.store.read(|view| Ok(view.get_part::<bool>(catalog::QUEUE_PAUSED, &key)?.unwrap_or_default()))
    }
}
