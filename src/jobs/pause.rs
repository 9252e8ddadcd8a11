//! Pause and resume of one queue. A paused queue adds nothing to a claim; executing jobs and enqueues go on. Durable.

use super::Jobs;
use super::new_job::check_name;
use super::schema::paused_key;
use crate::error::Result;
use crate::record::catalog;

impl Jobs {
    /// Stops handing out jobs of `queue`: once this has returned no claim gets one, also none that had begun before.
    /// Pausing a paused queue, or one without a job, is fine.
    ///
    /// # Errors
    /// `Invalid` for a queue outside 1..=256 bytes.
    pub fn pause(&self, queue: &str) -> Result<()> {
        check_name("queue", queue)?;
        let key = paused_key(queue);
        self.shared.store.transact(self.durability, |txn| txn.put_part(catalog::QUEUE_PAUSED, &key, &true))?;
        // Published, so every claim from here on knows of it. Those that did not are waited for: nothing is claimed any
        // more when this returns.
        self.shared.door.wait();
        Ok(())
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
