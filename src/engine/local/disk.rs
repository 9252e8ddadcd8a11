//! The seam to the file system: all I/O of the journal, `CURRENT`, the lock and snapshots goes through [`Disk`].
//!
//! There are two: [`RealDisk`] here, and [`SimDisk`](super::sim::SimDisk), which keeps what was written and what was
//! synced apart, so that tests can pull the plug at any call.
//!
//! Promises that callers build on, each a function in the conformance suite:
//! - `write_at` + `sync_data` of the file = those bytes survive power loss, provided its folder entry does.
//! - `create`, `rename`, `remove` and `create_dir` survive power loss after `sync_dir` of the folder that holds the
//!   entry, not before.
//! - `rename` replaces the target in one step: after a crash there is the old file or the new one.
//!
//! It refuses to guess: a failed `sync_data` is the caller's to handle, and nothing here tries it again.

use std::fmt;
use std::path::Path;

use crate::error::Result;

/// A file system, as far as a local engine needs one.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a folder that only its owner can enter; no error when it exists.
    ///
    /// # Errors
    /// `Full`, `Unavailable`.
    fn create_dir(&self, path: &Path) -> Result<()>;

    /// Creates an empty file that only its owner can read. The file must not exist.
    ///
    /// # Errors
    /// `AlreadyExists`, `Full`, `Unavailable`.
    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>>;

    /// Opens a file, for reading and, where `write` says so, for writing.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    fn open(&self, path: &Path, write: bool) -> Result<Box<dyn DiskFile>>;

    /// Names of the entries of a folder, sorted. An absent folder is `NotFound`.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    fn list(&self, folder: &Path) -> Result<Vec<String>>;

    /// Renames within one file system, replacing a file at `to`.
    ///
    /// # Errors
    /// `NotFound`, `Full`, `Unavailable`.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a file; an absent one is no error.
    ///
    /// # Errors
    /// `Unavailable`.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Removes a folder with all that is in it; an absent one is no error.
    ///
    /// # Errors
    /// `Unavailable`.
    fn remove_dir_all(&self, path: &Path) -> Result<()>;

    /// Makes the entries of a folder survive power loss.
    ///
    /// # Errors
    /// `Full`, `Unavailable`.
    fn sync_dir(&self, folder: &Path) -> Result<()>;

    /// Takes the exclusive lock of a folder by its file `LOCK`, which is created if need be and never removed. The lock
    /// is held until the guard is dropped, and by the operating system no longer than the process lives.
    ///
    /// # Errors
    /// `Unavailable` naming the folder when another opener, in this process or another, holds it.
    fn lock(&self, folder: &Path) -> Result<Box<dyn LockGuard>>;

    /// Whether `sync_dir` does anything on this file system.
    fn syncs_folders(&self) -> bool;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// `Unavailable`.
    fn len(&self) -> Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// `Unavailable`.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset`; answers how many bytes there were before the file's end.
    ///
    /// # Errors
    /// `Unavailable`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize>;

    /// Writes all of `bytes` at `offset`, growing the file if need be.
    ///
    /// # Errors
    /// `Full`, `Unavailable`; some of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Everything written before survives power loss when it returns. After an error nothing is known; never call it
    /// again for the same bytes.
    ///
    /// # Errors
    /// `Full`, `Unavailable`.
    fn sync_data(&self) -> Result<()>;
}

/// Holds a folder's lock until dropped.
pub trait LockGuard: Send + Sync + fmt::Debug {}
