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
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// The file of a folder that its lock hangs on.
pub const LOCK_FILE: &str = "LOCK";

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

    /// Bytes that can still be written in the file system of `folder`; `None` where nobody knows.
    ///
    /// # Errors
    /// `Unavailable`.
    fn free_bytes(&self, folder: &Path) -> Result<Option<u64>>;

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

/// The operating system's file system.
///
/// Folders are created 0700 and files 0600. `sync_data` is `fdatasync` (a full flush on macOS), `sync_dir` an `fsync`
/// of the opened folder. A file system that cannot sync folders at all is not an error: `sync_dir` then does nothing
/// and [`Disk::syncs_folders`] says so from there on.
#[derive(Debug, Default)]
pub struct RealDisk {
    /// Set by the first `sync_dir` that the file system did not understand.
    folders_unsynced: AtomicBool,
}

impl RealDisk {
    /// The operating system's file system.
    #[must_use]
    pub fn new() -> Self {
        RealDisk::default()
    }
}

/// What the operating system answered to `doing` at `path`, where absence and presence are kinds of their own.
fn failed(doing: &str, path: &Path, source: io::Error) -> Error {
    let doing = format!("{doing} {}", path.display());
    match source.kind() {
        io::ErrorKind::NotFound => Error::with_source(ErrorKind::NotFound, format!("{doing}: {source}"), source),
        io::ErrorKind::AlreadyExists => {
            Error::with_source(ErrorKind::AlreadyExists, format!("{doing}: {source}"), source)
        }
        _ => Error::io(doing, source),
    }
}

/// As `failed`, for calls that have no kind of their own for absence and presence.
fn refused(doing: &str, path: &Path, source: io::Error) -> Error {
    Error::io(format_args!("{doing} {}", path.display()), source)
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => Err(refused("create folder", path, error)),
        }
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        match file {
            Ok(file) => Ok(Box::new(RealFile { file, path: path.to_path_buf() })),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(failed("create", path, error)),
            Err(error) => Err(refused("create", path, error)),
        }
    }

    fn open(&self, path: &Path, write: bool) -> Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(write).open(path).map_err(|e| failed("open", path, e))?;
        Ok(Box::new(RealFile { file, path: path.to_path_buf() }))
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(|e| failed("list", folder, e))? {
            let entry = entry.map_err(|e| failed("list", folder, e))?;
            // A name that is not UTF-8 is none of ours; the lossy form can't be taken for one either.
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|e| failed("rename", from, e))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused("remove", path, error)),
            _ => Ok(()),
        }
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused("remove folder", path, error)),
            _ => Ok(()),
        }
    }

    fn sync_dir(&self, folder: &Path) -> Result<()> {
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
                self.folders_unsynced.store(true, Ordering::Relaxed);
                Ok(())
            }
            other => other.map_err(|e| refused("sync folder", folder, e)),
        }
    }

    fn lock(&self, folder: &Path) -> Result<Box<dyn LockGuard>> {
        let path = folder.join(LOCK_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| refused("open lock", &path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock(file))),
            Err(TryLockError::WouldBlock) => Err(held(folder)),
            Err(TryLockError::Error(error)) => Err(refused("lock", &path, error)),
        }
    }

    fn free_bytes(&self, folder: &Path) -> Result<Option<u64>> {
        let status = rustix::fs::statvfs(folder)
            .map_err(|error| Error::io(format_args!("free space of {}", folder.display()), error.into()))?;
        Ok(Some(status.f_bavail.saturating_mul(status.f_frsize)))
    }

    fn syncs_folders(&self) -> bool {
        !self.folders_unsynced.load(Ordering::Relaxed)
    }
}

/// The answer to whoever comes second.
pub(super) fn held(folder: &Path) -> Error {
    Error::unavailable(format!("folder {}: locked by another opener; close that one first", folder.display()))
}

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

impl DiskFile for RealFile {
    fn len(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|e| refused("length of", &self.path, e))?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(refused("read", &self.path, error)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|e| refused("write", &self.path, e))
    }

    fn sync_data(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| refused("sync", &self.path, e))
    }
}

/// Closing the file frees the lock: it belongs to the open file, not to the process, so a second opener in the same
/// process is refused as well.
#[derive(Debug)]
struct RealLock(#[expect(dead_code, reason = "held for its drop")] File);

impl LockGuard for RealLock {}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_it_creates_is_for_its_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let (disk, folder) = (RealDisk::new(), temp.path().join("store"));
        disk.create_dir(&folder).unwrap();
        disk.create(&folder.join("file")).unwrap();
        let lock = disk.lock(&folder).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("file")), 0o600);
        assert_eq!(mode(&folder.join(LOCK_FILE)), 0o600);
        drop(lock);
    }

    #[test]
    fn a_second_opener_in_the_same_process_is_told_which_folder_is_locked() {
        let temp = tempfile::tempdir().unwrap();
        let lock = RealDisk::new().lock(temp.path()).unwrap();
        let error = RealDisk::new().lock(temp.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(&temp.path().display().to_string()), "{error}");
        drop(lock);
        RealDisk::new().lock(temp.path()).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_not_taken_for_one() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("taken");
        RealDisk::new().create(&path).unwrap();
        assert_eq!(RealDisk::new().create_dir(&path).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
