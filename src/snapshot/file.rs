//! The files of snapshots: the one place of this room that opens any.
//!
//! A snapshot is written under another name, synced, renamed and synced with its folder: who finds a file under the name
//! that was asked for finds a whole one. Names come from the caller, never from a file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
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

/// A file without a name, beside `path`.
pub(super) fn nameless(path: &Path) -> Result<File> {
    let name = with_ending(path, ".run")?;
    let file = create(&name)?;
    std::fs::remove_file(&name).map_err(|error| failed("remove", &name, error))?;
    Ok(file)
}

/// Makes an empty file that only its owner can read, in the place of one that was cut off.
fn create(path: &Path) -> Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("remove", path, error)),
        _ => {}
    }
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
        let folder = folder_of(&self.path);
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            // A file system that can't sync folders has nothing to promise.
            Err(error)
                if !matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported) =>
            {
                Err(failed("sync folder", folder, error))
            }
            _ => Ok(()),
        }
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
