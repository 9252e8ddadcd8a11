//! The memory store with a folder: ordered maps in memory, a snapshot of them, and a log of what came after it.
//!
//! ```text
//! folder/snapshot-<generation>      every entry and the mark at one moment     (16 hex digits; bytes in `frame.rs`,
//!        log-<generation>           one frame for each sync since then          `item.rs` and `snapshot.rs`)
//!        snapshot-<generation>.new  a snapshot that is being written
//!
//! apply ─> maps, and a payload in memory ── sync ─> one frame in the log: one write, one fdatasync
//!                                                    └─ log longer than 4 MiB and than the live entries: next generation
//! next generation   snapshot.new, log with its header: written, synced ─> folder synced ─> snapshot renamed ─>
//!                   folder synced ─> an empty first frame in the log, synced ─> older generation removed
//! ```
//!
//! Promises, beside those of [`KvStore`]:
//! - What a crash leaves is the state after some batch, none before the last successful sync: a frame holds all batches
//!   since the frame before it, under one checksum, and the mark travels in it like an entry.
//! - Recovery never trusts the page cache. A frame is written only when the one before it is durable, so only the last
//!   can be in doubt, and opening writes that one again. The first frame of a log is written only when snapshot and log
//!   are durable under their names; where there is none, opening begins a new generation from what it could read.
//! - A damaged snapshot, a log without its snapshot or the other way round, and an invalid frame with a whole one behind
//!   it are `Corrupt`. Stated limit: damage to the very last frame looks like a torn tail. Then the mark is older, and
//!   whoever keeps a journal notices.
//! - The disk holds at most about three times the live entries, plus 4 MiB; memory holds all of them.
//!
//! Refuses: batches past the engine's limits for keys and values, or past 64 MiB (`Invalid`), and every apply and sync
//! after a failed write or sync (`Closed`). Only a snapshot that finds no room is given up without harm, and tried again
//! when the log has grown by another 4 MiB. With less than 64 MiB free a log of 256 KiB is long enough for one.
//!
//! The limits of the simple form: a snapshot is written inside one sync, so that takes as long as writing all live
//! entries, which must stay below the engine's `store_call_max_ms`; and opening reads all of them. There is no lock: the engine holds that of the folder above.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::frame::{FILE_HEADER, FileHeader, FrameFile, Frames, Kind};
use super::item::{self, Item, Items, Payload};
use super::snapshot::{self, Loaded};
use super::{MemoryStore, State};
use crate::clock::Ids;
use crate::engine::local::disk::Disk;
use crate::engine::{Direction, KeyRange, KvStore, Tree, Value, WriteBatch};
use crate::error::{Error, ErrorKind, Result};

/// Shortest log that a snapshot is written for.
const LOG_BYTES_MIN: u64 = 4 << 20;
/// With less room on the disk than this many times that, a log is given a snapshot as many times earlier.
const SMALL_DISK: u64 = 16;
/// Room that a snapshot needs besides its entries: headers, the mark, a log's header.
const SNAPSHOT_SPARE_BYTES: u64 = 8 << 10;
/// Applied bytes that wait in memory for a sync. Past it apply syncs by itself.
const PENDING_BYTES_MAX: u64 = 1 << 20;

/// Ordered trees in memory that survive in a folder.
pub struct FolderStore {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    maps: MemoryStore,
    writer: Mutex<Writer>,
    /// Apart from the writer, which is busy for as long as a snapshot takes.
    disk_bytes: AtomicU64,
    log_bytes_min: u64,
    salts: Ids,
}

struct Writer {
    /// The newest generation that was begun, finished or not: names are never used twice.
    generation: u64,
    /// The newest one that was finished: its snapshot and log are the store.
    live_generation: u64,
    log: FrameFile,
    snapshot_bytes: u64,
    /// Batches since the last frame.
    pending: Payload,
    /// Bytes that the entries would take as items.
    live_bytes: u64,
    /// The log's length below which no snapshot is tried again for want of room.
    retry_at: u64,
    fault: Option<Error>,
}

impl FolderStore {
    /// Opens the store in `folder`, which exists and is empty, or is what an earlier store left.
    ///
    /// # Errors
    /// `Corrupt` naming the file; `Unsupported` for a newer format; `Full` and `Unavailable` as the disk answered.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self> {
        FolderStore::open_with(disk, folder, LOG_BYTES_MIN)
    }

    pub(super) fn open_with(disk: Arc<dyn Disk>, folder: &Path, log_bytes_min: u64) -> Result<Self> {
        let files = Files::find(&*disk, folder)?;
        let salts = Ids::random()?;
        let mut generation = files.generation_max;
        let mut state = State::default();
        let mut found = None;
        if let Some(live) = files.live {
            let path = |kind: Kind| folder.join(kind.file_name(live));
            let Loaded { state: loaded, salt, bytes } = snapshot::load(&*disk, &path(Kind::Snapshot), live)?;
            state = loaded;
            found = replay(&*disk, &path(Kind::Log), live, salt, &mut state)?.map(|log| (live, bytes, log));
        }
        let live_bytes = state.entry_bytes();
        let (live_generation, snapshot_bytes, log) = match found {
            Some(found) => found,
            None => {
                generation += 1;
                let next = Next::prepare(&*disk, folder, generation, salts.next_u64(), &state)?;
                let (snapshot_bytes, log) = next.finish(&*disk, folder)?;
                (generation, snapshot_bytes, log)
            }
        };
        for name in &files.names {
            let lives =
                [Kind::Snapshot, Kind::Log].iter().any(|kind| kind.generation_of(name) == Some(live_generation));
            if !lives {
                disk.remove(&folder.join(name))?;
            }
        }
        let disk_bytes = AtomicU64::new(snapshot_bytes + log.bytes());
        let writer = Writer {
            generation,
            live_generation,
            log,
            snapshot_bytes,
            pending: Payload::new(),
            live_bytes,
            retry_at: 0,
            fault: None,
        };
        Ok(FolderStore {
            disk,
            folder: folder.to_path_buf(),
            maps: MemoryStore { state: RwLock::new(state) },
            writer: Mutex::new(writer),
            disk_bytes,
            log_bytes_min,
            salts,
        })
    }

    /// Makes what is pending durable, then writes a snapshot when one is due. Any failure is the last.
    fn flush(&self, writer: &mut Writer) -> Result<()> {
        if let Some(fault) = &writer.fault {
            return Err(Error::closed(format!("memory store: writes nothing more after an earlier failure: {fault}")));
        }
        let flushed = writer.append_pending().and_then(|()| self.turn_over_if_due(writer));
        writer.fault = flushed.clone().err();
        self.disk_bytes.store(writer.snapshot_bytes + writer.log.bytes(), Ordering::Relaxed);
        flushed
    }

    /// Whether it is time for a snapshot, and there seems to be room for it.
    fn is_due(&self, writer: &mut Writer) -> bool {
        let log_bytes = writer.log.bytes();
        let least = |bytes: u64| writer.live_bytes.max(bytes).max(writer.retry_at);
        if log_bytes <= least(self.log_bytes_min / SMALL_DISK) {
            return false;
        }
        // Where nobody knows the room, there is enough; who finds too little hears it from the disk.
        let free_bytes = self.disk.free_bytes(&self.folder).ok().flatten().unwrap_or(u64::MAX);
        let is_small = free_bytes < SMALL_DISK * self.log_bytes_min;
        let due = log_bytes > least(if is_small { 0 } else { self.log_bytes_min });
        let snapshot_bytes = writer.live_bytes + writer.live_bytes / 64 + SNAPSHOT_SPARE_BYTES;
        if due && free_bytes < snapshot_bytes {
            writer.retry_at = log_bytes + self.log_bytes_min / SMALL_DISK;
            return false;
        }
        due
    }

    fn turn_over_if_due(&self, writer: &mut Writer) -> Result<()> {
        if !self.is_due(writer) {
            return Ok(());
        }
        writer.generation += 1;
        let (disk, generation) = (&*self.disk, writer.generation);
        // Readers go on beside the snapshot; the only writer is in here.
        let prepared = Next::prepare(disk, &self.folder, generation, self.salts.next_u64(), &self.maps.state.read());
        let next = match prepared {
            Err(error) if error.kind() == ErrorKind::Full => {
                writer.retry_at = writer.log.bytes() + self.log_bytes_min;
                return Next::forget(disk, &self.folder, generation);
            }
            prepared => prepared?,
        };
        (writer.snapshot_bytes, writer.log) = next.finish(disk, &self.folder)?;
        writer.retry_at = 0;
        let old = std::mem::replace(&mut writer.live_generation, generation);
        for kind in [Kind::Snapshot, Kind::Log] {
            disk.remove(&self.folder.join(kind.file_name(old)))?;
        }
        disk.sync_dir(&self.folder)
    }
}

impl Writer {
    fn append_pending(&mut self) -> Result<()> {
        if self.pending.len() == 0 {
            return Ok(());
        }
        self.log.append(&mut self.pending)?;
        self.log.sync()
    }
}

/// The files of a store's folder.
struct Files {
    /// All of ours.
    names: Vec<String>,
    /// The generation of the newest snapshot.
    live: Option<u64>,
    generation_max: u64,
}

impl Files {
    fn find(disk: &dyn Disk, folder: &Path) -> Result<Self> {
        let mut files = Files { names: Vec::new(), live: None, generation_max: 0 };
        let mut logs = Vec::new();
        for name in disk.list(folder)? {
            let snapshot = Kind::Snapshot.generation_of(&name);
            let log = Kind::Log.generation_of(&name);
            let unfinished = name.strip_suffix(".new").and_then(|name| Kind::Snapshot.generation_of(name));
            let Some(generation) = snapshot.or(log).or(unfinished) else { continue };
            files.generation_max = files.generation_max.max(generation);
            files.live = files.live.max(snapshot);
            logs.extend(log);
            files.names.push(name);
        }
        // A log has a frame only when its snapshot is durable.
        for log in logs.into_iter().filter(|log| Some(*log) > files.live) {
            let path = folder.join(Kind::Log.file_name(log));
            if disk.open(&path, false)?.len()? > FILE_HEADER as u64 {
                return Err(Error::corrupt(format!("{}: the snapshot that it continues is missing", path.display())));
            }
        }
        Ok(files)
    }
}

/// Reads the log of a snapshot with this salt into `state`; `None` when it has no frame.
fn replay(disk: &dyn Disk, path: &Path, generation: u64, salt: u64, state: &mut State) -> Result<Option<FrameFile>> {
    let damaged = |what: &str| Error::corrupt(format!("{}: {what}", path.display()));
    let mut frames = match Frames::open(disk, path, Kind::Log, generation, true) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged("is missing beside its snapshot")),
        opened => opened?,
    };
    if frames.salt() != salt {
        return Err(damaged("does not belong to the snapshot beside it"));
    }
    while let Some(payload) = frames.next()? {
        let mut items = Items(payload);
        while let Some(item) = items.next()? {
            match item {
                Item::Put(tree, key, value) => drop(state.set(tree, key, Some(Value::from(value)))),
                Item::Remove(tree, key) => drop(state.set(tree, key, None)),
                Item::Mark(mark) => state.mark = Some(Value::from(mark)),
                Item::End(_) => return Err(damaged("holds what only a snapshot does")),
            }
        }
    }
    if let Some(later) = frames.stranded()? {
        let broken = frames.count() + 1;
        return Err(damaged(&format!("frame {broken} is damaged, but frame {later} behind it is whole")));
    }
    match frames.count() {
        0 => Ok(None),
        _ => frames.into_file().map(Some),
    }
}

/// A generation whose files are written and synced, but do not count yet.
struct Next {
    generation: u64,
    snapshot_bytes: u64,
    log: FrameFile,
}

impl Next {
    fn unfinished(folder: &Path, generation: u64) -> PathBuf {
        folder.join(format!("{}.new", Kind::Snapshot.file_name(generation)))
    }

    /// Writes both files. Whatever happens, the store is still the generation before.
    fn prepare(disk: &dyn Disk, folder: &Path, generation: u64, salt: u64, state: &State) -> Result<Self> {
        let path = Next::unfinished(folder, generation);
        let snapshot_bytes = snapshot::write(disk, &path, generation, salt, state)?;
        let header = FileHeader { kind: Kind::Log, generation, salt };
        let log = FrameFile::create(disk, &folder.join(Kind::Log.file_name(generation)), header)?;
        log.sync()?;
        // The log's name is durable before the snapshot's can be: a snapshot without a log is always damage.
        disk.sync_dir(folder)?;
        Ok(Next { generation, snapshot_bytes, log })
    }

    /// Makes this generation the store; answers its snapshot's length and its log.
    fn finish(self, disk: &dyn Disk, folder: &Path) -> Result<(u64, FrameFile)> {
        let Next { generation, snapshot_bytes, mut log } = self;
        disk.rename(&Next::unfinished(folder, generation), &folder.join(Kind::Snapshot.file_name(generation)))?;
        disk.sync_dir(folder)?;
        log.append(&mut Payload::new())?;
        log.sync()?;
        Ok((snapshot_bytes, log))
    }

    /// Removes what a `prepare` that found no room has left.
    fn forget(disk: &dyn Disk, folder: &Path, generation: u64) -> Result<()> {
        disk.remove(&Next::unfinished(folder, generation))?;
        disk.remove(&folder.join(Kind::Log.file_name(generation)))
    }
}

impl fmt::Debug for FolderStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderStore").field("folder", &self.folder).field("maps", &self.maps).finish_non_exhaustive()
    }
}

impl KvStore for FolderStore {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.maps.get(tree, key)
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Vec<(Vec<u8>, Value)>> {
        self.maps.scan(tree, range, direction, limit)
    }

    fn apply(&self, batch: &WriteBatch) -> Result<()> {
        item::check(batch)?;
        let mut writer = self.writer.lock();
        let pending_bytes = writer.pending.len() as u64 + item::batch_bytes(batch);
        if pending_bytes > PENDING_BYTES_MAX || writer.fault.is_some() {
            self.flush(&mut writer)?;
        }
        writer.pending.batch(batch);
        let mut state = self.maps.state.write();
        for (tree, key, value) in &batch.writes {
            let new_bytes = value.as_ref().map_or(0, |value| item::entry_bytes(key, value));
            let old_bytes = state.set(*tree, key, value.clone()).map_or(0, |old| item::entry_bytes(key, &old));
            writer.live_bytes = writer.live_bytes + new_bytes - old_bytes;
        }
        state.take_mark(batch);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.flush(&mut self.writer.lock())
    }

    fn mark(&self) -> Result<Option<Value>> {
        self.maps.mark()
    }

    fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }
}
