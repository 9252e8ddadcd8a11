//! What a host can set when it opens a store, with defaults that are safe.

use std::sync::Arc;

use crate::clock::{Clock, Ids, SystemClock};
use crate::error::{Error, Result};

/// When a commit returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// When it survives power loss. The default.
    #[default]
    PowerLoss,
    /// When it is visible; it becomes durable with the next sync, at most [`Config::sync_every_ms`] or
    /// [`Config::sync_every_bytes`] later. A crash of the machine or the process before that loses it.
    Buffered,
}

/// Least [`Config::memtable_bytes`].
pub const MEMTABLE_BYTES_MIN: usize = 1 << 20;

/// Settings of a local engine. Sizes in bytes, times in milliseconds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Memory for committed data that the store does not hold yet: both halves, active and frozen. Default 32 MiB,
    /// least 1 MiB.
    pub memtable_bytes: usize,
    /// Memory that the store may use for its own page cache. Default 64 MiB.
    pub cache_bytes: usize,
    /// Journal kept behind the checkpoint for readers of the change feed. Default 256 MiB, at most a quarter of the
    /// disk space that is free at open.
    pub journal_retention_bytes: u64,
    /// Hard cap on the journal's size on disk, pinned segments included. Default 1 GiB.
    pub journal_max_bytes: u64,
    /// Longest time a [`Durability::Buffered`] commit waits for its sync. Default 50 ms.
    pub sync_every_ms: u64,
    /// Most bytes of [`Durability::Buffered`] commits that wait for their sync. Default 1 MiB.
    pub sync_every_bytes: usize,
    /// How long one call of the store may take before the watchdog closes the engine. Default 60 s.
    pub store_call_max_ms: u64,
    /// Where time comes from. Default: the operating system.
    pub clock: Arc<dyn Clock>,
    /// Where identifiers come from. Default: the operating system's randomness.
    pub ids: Arc<Ids>,
}

impl Config {
    /// The defaults.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the operating system has no randomness to give.
    pub fn new() -> Result<Self> {
        Ok(Config {
            memtable_bytes: 32 << 20,
            cache_bytes: 64 << 20,
            journal_retention_bytes: 256 << 20,
            journal_max_bytes: 1 << 30,
            sync_every_ms: 50,
            sync_every_bytes: 1 << 20,
            store_call_max_ms: 60_000,
            clock: Arc::new(SystemClock::default()),
            ids: Arc::new(Ids::random()?),
        })
    }

    /// Refuses settings that could not work.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) naming the setting.
    pub fn check(&self) -> Result<()> {
        if self.memtable_bytes < MEMTABLE_BYTES_MIN {
            return Err(Error::invalid(format!("memtable_bytes: at least 1 MiB, got {}", self.memtable_bytes)));
        }
        if self.journal_max_bytes < 4 << 20 {
            return Err(Error::invalid(format!("journal_max_bytes: at least 4 MiB, got {}", self.journal_max_bytes)));
        }
        if self.sync_every_ms == 0 || self.sync_every_bytes == 0 || self.store_call_max_ms == 0 {
            return Err(Error::invalid("sync_every_ms, sync_every_bytes and store_call_max_ms: at least 1"));
        }
        Ok(())
    }
}
