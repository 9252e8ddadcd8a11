//! Whether the next in line has crashed before.

use crate::engine::Direction;
use crate::error::{ErrorKind, Result};
use crate::jobs::Jobs;
use crate::jobs::pair::Pair;
use crate::jobs::schema::READY;
use crate::keys::KeyWriter;

impl Jobs {
    /// Whether the first available job of `queue` has crashed its process, or lost its lease, before.
    pub(super) fn suspect_is_next(&self, queue: &str) -> Result<bool> {
        if self.is_paused(queue)? {
            return Ok(false);
        }
        self.store_to_read().read(|view| {
            let page = view.index_page(&READY, KeyWriter::new().str(queue), Direction::Ascending, None, 1)?;
            let Some(first) = page.entries.first() else { return Ok(false) };
            match view.get::<Pair>(&first.primary) {
                Ok(pair) => Ok(pair.is_some_and(|pair| pair.head.crash_count > 0)),
                // Nobody can claim it; verify reports it.
                Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
                Err(error) => Err(error),
            }
        })
    }
}
