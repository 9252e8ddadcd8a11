//! A snapshot file: every entry of every tree, and the mark, at one point in time.
//!
//! Frames of about [`PIECE_BYTES`] hold the entries, tree by tree in key order; the last frame ends with the mark, where
//! there is one, and the end item with the number of entries. Behind it the file ends. It has its name only when it is
//! whole and durable, so anything less is damage, not a torn tail: `Corrupt`.

use std::path::Path;

use super::State;
use super::frame::{FileHeader, FrameFile, Frames, Kind};
use super::item::{Item, Items, Payload};
use crate::engine::local::disk::Disk;
use crate::engine::{Tree, Value};
use crate::error::{Error, Result};

/// Where one frame of entries ends and the next begins.
const PIECE_BYTES: usize = 256 << 10;

/// What a snapshot file holds, and what names it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) state: State,
    pub(super) salt: u64,
    /// Bytes of the file.
    pub(super) bytes: u64,
}

/// Writes `state` to a new file at `path` and syncs it; answers its length. Its entry in the folder is the caller's.
///
/// # Errors
/// `Full`, `Unavailable`.
pub(super) fn write(disk: &dyn Disk, path: &Path, generation: u64, salt: u64, state: &State) -> Result<u64> {
    let mut file = FrameFile::create(disk, path, FileHeader { kind: Kind::Snapshot, generation, salt })?;
    let mut payload = Payload::new();
    let mut entries = 0;
    for tree in Tree::ALL {
        for (key, value) in state.tree(*tree) {
            payload.put(*tree, key, value);
            entries += 1;
            if payload.len() >= PIECE_BYTES {
                file.append(&mut payload)?;
            }
        }
    }
    if let Some(mark) = &state.mark {
        payload.mark(mark);
    }
    payload.end(entries);
    file.append(&mut payload)?;
    file.sync()?;
    Ok(file.bytes())
}

/// Reads the snapshot of `generation` at `path`.
///
/// # Errors
/// `Corrupt`; `Unsupported` for a newer format; `Unavailable`.
pub(super) fn load(disk: &dyn Disk, path: &Path, generation: u64) -> Result<Loaded> {
    let damaged = |what: &str| Error::corrupt(format!("{}: {what}", path.display()));
    let mut frames = Frames::open(disk, path, Kind::Snapshot, generation, false)?;
    let mut state = State::default();
    let (mut entries, mut end) = (0u64, None);
    while let Some(payload) = frames.next()? {
        let mut items = Items(payload);
        while let Some(item) = items.next()? {
            match item {
                _ if end.is_some() => return Err(damaged("goes on behind its end")),
                Item::Put(tree, key, value) => {
                    entries += u64::from(state.set(tree, key, Some(Value::from(value))).is_none());
                }
                Item::Mark(mark) => state.mark = Some(Value::from(mark)),
                Item::End(expected) => end = Some(expected),
                Item::Remove(..) => return Err(damaged("holds a removal")),
            }
        }
    }
    match end {
        None => Err(damaged("frames are damaged or missing")),
        Some(_) if !frames.is_at_end() => Err(damaged("goes on behind its end")),
        Some(expected) if expected != entries => Err(damaged(&format!("holds {entries} entries, and says {expected}"))),
        Some(_) => Ok(Loaded { state, salt: frames.salt(), bytes: frames.bytes() }),
    }
}
