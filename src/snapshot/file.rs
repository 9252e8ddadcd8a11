//! The files of snapshots: the one place of this room that opens any.
//!
//! A snapshot is written under another name, synced, renamed and synced with its folder: who finds a file under the name
//! that was asked for finds a whole one. Names come from the caller, never from a file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

fn failed(doing: &str, path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::with_source(ErrorKind::NotFound, format!("{doing} {}: {error}", path.display()), error)
        }
        _ => Error::io(format_args!("{doing} {}", path.display()), error),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn with_ending(path: &Path, ending: &str) -> Result<PathBuf> {
    let mut name = path
        .file_name()
        .ok_or_else(|| Error::invalid(format!("path: {} names no file", path.display())))?
        .to_os_string();
    name.push(ending);
    Ok(path.with_file_name(name))
}

/// Opens an existing snapshot.
///
/// # Errors
/// `NotFound`, `Unavailable`.
pub(super) fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|error| failed("open snapshot", path, error))?;
    if file.metadata().map_err(|error| failed("open snapshot", path, error))?.is_dir() {
        return Err(Error::invalid(format!("path: {} is a folder", path.display())));
    }
    Ok(file)
}

/// The files of a folder with this ending, by name.
///
/// # Errors
/// `NotFound`, `Unavailable`.
pub(super) fn list(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let read = |error| failed("list", folder, error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|extension| extension == ending) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Makes a folder that only its owner can enter; no error when it exists.
///
/// # Errors
/// `Full`, `Unavailable`.
pub(super) fn create_folder(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(failed("create", path, error)),
        Err(_) => Ok(()),
        Ok(()) => sync_folder_of(path),
    }
}

/// Gives a file another name in its folder, durably, in the place of what stood there.
///
/// # Errors
/// `Full`, `Unavailable`.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(|error| failed("rename", from, error))?;
    sync_folder_of(to)
}

/// Removes a file; an absent one is no error.
///
/// # Errors
/// `Unavailable`.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}

fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // A file system that can't sync folders has nothing to promise.
        Err(error) if !matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported) => {
            Err(failed("sync folder", folder, error))
        }
        _ => Ok(()),
    }
}

/// A file without a name, beside `path`.
pub(super) fn nameless(path: &Path) -> Result<File> {
    let name = with_ending(path, ".run")?;
    let file = create(&name)?;
    remove(&name)?;
    Ok(file)
}

/// Makes an empty file that only its owner can read, in the place of one that was cut off.
fn create(path: &Path) -> Result<File> {
    remove(path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path).map_err(|error| failed("create", path, error))
}

/// A snapshot that does not stand under its name yet; dropped before [`Unfinished::finish`], it leaves nothing.
pub(super) struct Unfinished {
    path: PathBuf,
    temporary: PathBuf,
    pub(super) file: File,
    finished: bool,
}

impl Unfinished {
    pub(super) fn begin(path: &Path) -> Result<Self> {
        let temporary = with_ending(path, ".new")?;
        let file = create(&temporary)?;
        Ok(Unfinished { path: path.to_path_buf(), temporary, file, finished: false })
    }

    /// Puts the file under its name, durably, in the place of what stood there.
    ///
    /// # Errors
    /// `Full`, `Unavailable`.
    pub(super) fn finish(mut self) -> Result<()> {
        self.file.sync_all().map_err(|error| failed("sync", &self.temporary, error))?;
        std::fs::rename(&self.temporary, &self.path).map_err(|error| failed("rename", &self.temporary, error))?;
        self.finished = true;
        sync_folder_of(&self.path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // The next export to this name removes it, if this can't.
            std::fs::remove_file(&self.temporary).unwrap_or_default();
        }
    }
}
