//! The snapshots that a store keeps of itself, in a folder of its own: one file for each, named by the commit it stands at.
//!
//! ```text
//! 00000000000004d2.mlsnap    commit 1234, as 16 hex digits: by name is by age
//! 00000000000009a4.mlsnap
//! ```
//!
//! A file under such a name is whole, since it got the name when it was; whether its bytes are still what was written, only
//! reading it tells. Other files of the folder are left alone.

use std::path::{Path, PathBuf};

use super::file;
use super::follow::FILE_ENDING;
use super::layout::SnapshotKind;
use super::read;
use crate::error::{ErrorKind, Result};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shelved {
    /// The commit that it stands at.
    pub sequence: u64,
    /// The file.
    pub path: PathBuf,
}

/// The file of the snapshot that stands at `sequence`.
#[must_use]
pub fn path_at(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("{sequence:016x}.{FILE_ENDING}"))
}

/// The name of the snapshot that is being made: at which commit it will stand is known when it is done.
#[must_use]
pub fn path_of_next(folder: &Path) -> PathBuf {
    folder.join("next")
}

/// Makes the folder, if need be, for its owner alone.
///
/// # Errors
/// `Full`, `Unavailable`.
pub fn prepare(folder: &Path) -> Result<()> {
    file::create_folder(folder)
}

/// Gives a finished snapshot its name.
///
/// # Errors
/// `Full`, `Unavailable`.
pub fn put(folder: &Path, sequence: u64) -> Result<()> {
    file::rename(&path_of_next(folder), &path_at(folder, sequence))
}

/// All of them, newest first; none where there is no such folder.
///
/// # Errors
/// `Unavailable`.
pub fn list(folder: &Path) -> Result<Vec<Shelved>> {
    let paths = match file::list(folder, FILE_ENDING) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        paths => paths?,
    };
    let shelved = |path: PathBuf| {
        let name = path.file_stem()?.to_str().filter(|name| name.len() == 16)?;
        let sequence = u64::from_str_radix(name, 16).ok()?;
        Some(Shelved { sequence, path })
    };
    let mut found: Vec<Shelved> = paths.into_iter().filter_map(shelved).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// The commit that the newest one stands at which looks whole from outside: a full snapshot that ends as its name says.
///
/// # Errors
/// `Unavailable`.
pub fn newest(folder: &Path) -> Result<Option<u64>> {
    for Shelved { sequence, path } in list(folder)? {
        let outlined = file::open(&path).and_then(|source| read::outline(&source));
        match outlined {
            Ok((header, end)) if header.kind() == SnapshotKind::Full && end.sequence == sequence => {
                return Ok(Some(sequence));
            }
            // Damaged, or removed just now: an older one may do.
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Full) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(None)
}

/// Removes all but the newest `keep`.
///
/// # Errors
/// `Unavailable`.
pub fn thin(folder: &Path, keep: usize) -> Result<()> {
    list(folder)?.iter().skip(keep).try_for_each(|old| file::remove(&old.path))
}
