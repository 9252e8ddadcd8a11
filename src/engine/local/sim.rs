//! A disk in memory: the one of the ephemeral engine, and the one that tests pull the plug on.
//!
//! [`SimDisk::new`] is a plain disk: a vector of bytes a file, nothing kept twice. [`SimDisk::recording`] keeps apart
//! what was written and what was synced, for files and for folder entries, so that [`SimDisk::crash`] can answer the
//! disk as any power cut at this moment might leave it.
//!
//! ```text
//!                 write_at              sync_data
//!   program ───> live bytes ─ unsynced ───────────> durable bytes        file.rs
//!   program ───> live names ─ unsynced ───────────> durable names        folders.rs
//!            create, rename, remove     sync_dir
//!                                  crash(seed): durable, and whatever of the unsynced the seed lets land
//! ```
//!
//! It models a device whose 512-byte sectors do not tear, and an operating system that, like Linux, forgets after a
//! failed sync what it had not written. It does not model bytes that rot: tests do that with [`SimDisk::damage`].
//! There is one tree of paths: `/store` and `store` are the same folder.

mod dice;
mod fault;
mod file;
mod folders;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use self::dice::Dice;
use self::fault::Faults;
use self::file::{SECTOR_BYTES, SimFile};
use self::folders::{Entry, FolderId, Folders, Slot};
use super::disk::{Disk, DiskFile, LOCK_FILE, LockGuard, held};
use crate::error::{Error, ErrorKind, Result};

pub use fault::{Call, Counts, Fault};

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    machine: Arc<Machine>,
}

struct Machine {
    state: Mutex<State>,
    used_bytes: Arc<AtomicU64>,
    /// Apart from the state, so that reads need not wait for it.
    off: AtomicBool,
    reads_fail: AtomicBool,
}

struct State {
    record: bool,
    folders: Folders,
    locks: BTreeSet<FolderId>,
    capacity_bytes: Option<u64>,
    counts: Counts,
    faults: Faults,
    /// Mutating calls until the machine is off; the one that makes it 0 is the first to fail.
    calls_left: Option<u64>,
    ignore_sync: bool,
    dice: Dice,
}

/// What a call is to do.
enum Verdict {
    Go,
    /// The power goes during this very call: it may have had its effect, but nobody hears of it.
    Cut,
    Fail(Fault),
}

impl Default for SimDisk {
    fn default() -> Self {
        SimDisk::new()
    }
}

impl SimDisk {
    /// A plain, empty disk. A crash leaves all of it.
    #[must_use]
    pub fn new() -> Self {
        SimDisk::with(false)
    }

    /// An empty disk that keeps apart what a power cut leaves.
    #[must_use]
    pub fn recording() -> Self {
        SimDisk::with(true)
    }

    fn with(record: bool) -> Self {
        let state = State {
            record,
            folders: Folders::new(record),
            locks: BTreeSet::new(),
            capacity_bytes: None,
            counts: Counts::default(),
            faults: Faults::default(),
            calls_left: None,
            ignore_sync: false,
            dice: Dice::new(0),
        };
        SimDisk::of(state, Arc::default())
    }

    fn of(state: State, used_bytes: Arc<AtomicU64>) -> Self {
        let (off, reads_fail) = (AtomicBool::new(false), AtomicBool::new(false));
        SimDisk { machine: Arc::new(Machine { state: Mutex::new(state), used_bytes, off, reads_fail }) }
    }

    /// The same disk, where files together take at most `bytes`.
    #[must_use]
    pub fn with_capacity(self, bytes: u64) -> Self {
        self.set_capacity(Some(bytes));
        self
    }

    /// The same disk, where `seed` decides what failed calls leave behind.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.machine.state.lock().dice = Dice::new(seed);
        self
    }

    /// Files together take at most `bytes` from here on; `None` lifts the limit. Calls past it answer `Full`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.machine.state.lock().capacity_bytes = bytes;
    }

    /// Bytes that files take, removed ones that are still open included.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.machine.used_bytes.load(Ordering::Relaxed)
    }

    /// How often each kind of call was made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.machine.state.lock().counts
    }

    /// The `calls`-th matching call from now on (1 is the next one) meets `fault`.
    ///
    /// A failed write may leave some of its sectors; a failed sync makes some of what it was to sync durable and
    /// forgets the rest, so that no later sync of the same bytes helps. Other failed calls have no effect.
    pub fn fail_after(&self, calls: u64, fault: Fault) {
        if fault.names(Call::Read) {
            self.machine.reads_fail.store(true, Ordering::Relaxed);
        }
        self.machine.state.lock().faults.plan(calls, fault);
    }

    /// The power goes during the `calls`-th mutating call from now on (1 is the next one): that call and every later
    /// one fail, reads too. What the call was doing counts as unsynced.
    pub fn crash_at(&self, calls: u64) {
        self.machine.state.lock().calls_left = Some(calls.max(1));
    }

    /// The power goes now: every later call fails.
    pub fn power_off(&self) {
        self.machine.off.store(true, Ordering::SeqCst);
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.machine.off.load(Ordering::SeqCst)
    }

    /// The disk as a power cut at this moment might leave it: what was synced, and of the rest whatever `seed` lets
    /// land. Locks, faults and counts are gone. This disk stays as it is, so one moment can be crashed many times.
    #[must_use]
    pub fn crash(&self, seed: u64) -> SimDisk {
        let copy = self.kill();
        let mut dice = Dice::new(seed);
        {
            let mut state = copy.machine.state.lock();
            state.folders.cut_power(&mut dice);
            for file in state.folders.files() {
                file.cut_power(&mut dice);
            }
            state.dice = dice;
        }
        copy
    }

    /// The disk as the end of the process at this moment leaves it: everything written, and what was not synced is
    /// still not durable. Locks, faults and counts are gone.
    #[must_use]
    pub fn kill(&self) -> SimDisk {
        let state = self.machine.state.lock();
        let used_bytes = Arc::default();
        let copy = State {
            record: state.record,
            folders: state.folders.copy(&used_bytes),
            locks: BTreeSet::new(),
            capacity_bytes: state.capacity_bytes,
            counts: Counts::default(),
            faults: Faults::default(),
            calls_left: None,
            ignore_sync: state.ignore_sync,
            dice: state.dice.clone(),
        };
        SimDisk::of(copy, used_bytes)
    }

    /// Changes a file's bytes as a bad device would, durable ones included.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.machine.state.lock().file(path)?.damage(change);
        Ok(())
    }

    /// Sabotage: from here on `sync_data` answers success and does nothing. A test of durability must notice.
    pub fn ignore_sync(&self, ignore: bool) {
        self.machine.state.lock().ignore_sync = ignore;
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("used_bytes", &self.used_bytes()).field("off", &self.is_off()).finish()
    }
}

impl Machine {
    fn check_on(&self) -> Result<()> {
        if self.off.load(Ordering::SeqCst) {
            return Err(Error::io("simulated disk", io::Error::other("the machine is off")));
        }
        Ok(())
    }

    /// Numbers a mutating call and says how it goes.
    fn verdict(&self, state: &mut State, call: Call, path: &Path) -> Result<Verdict> {
        self.check_on()?;
        state.counts.add(call);
        if let Some(calls) = &mut state.calls_left {
            *calls -= 1;
            if *calls == 0 {
                state.calls_left = None;
                self.off.store(true, Ordering::SeqCst);
                return Ok(Verdict::Cut);
            }
        }
        Ok(state.faults.meet(call, path).map_or(Verdict::Go, Verdict::Fail))
    }

    /// For calls that have their effect or not: runs `effect` unless the call is to fail.
    fn mutate(&self, state: &mut State, call: Call, path: &Path, effect: impl FnOnce(&mut State)) -> Result<()> {
        match self.verdict(state, call, path)? {
            Verdict::Go => effect(state),
            Verdict::Cut => {
                effect(state);
                self.check_on()?;
            }
            Verdict::Fail(fault) => return Err(injected(&fault, path)),
        }
        Ok(())
    }

    fn is_full(&self, state: &State, more_bytes: u64) -> bool {
        let used_bytes = self.used_bytes.load(Ordering::Relaxed);
        state.capacity_bytes.is_some_and(|capacity| used_bytes.saturating_add(more_bytes) > capacity)
    }
}

fn injected(fault: &Fault, path: &Path) -> Error {
    let error = match fault.full {
        true => io::Error::from(io::ErrorKind::StorageFull),
        false => io::Error::other("injected fault"),
    };
    Error::io(path.display(), error)
}

fn full(path: &Path) -> Error {
    Error::io(path.display(), io::Error::from(io::ErrorKind::StorageFull))
}

fn missing(path: &Path) -> Error {
    Error::not_found(format!("{}: there is no such file or folder", path.display()))
}

fn no_parent(path: &Path) -> Error {
    Error::unavailable(format!("{}: its folder does not exist", path.display()))
}

impl State {
    fn slot(&self, path: &Path) -> Result<Slot> {
        self.folders.slot(path).ok_or_else(|| no_parent(path))
    }

    fn file(&self, path: &Path) -> Result<Arc<SimFile>> {
        match self.folders.slot(path).and_then(|slot| self.folders.at(&slot).cloned()) {
            Some(Entry::File(file)) => Ok(file),
            Some(Entry::Folder(_)) => Err(Error::unavailable(format!("{}: a folder, not a file", path.display()))),
            None => Err(missing(path)),
        }
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &Path) -> Result<()> {
        self.machine.check_on()?;
        let mut state = self.machine.state.lock();
        if state.folders.folder(path).is_some() {
            return Ok(());
        }
        let slot = state.slot(path)?;
        if state.folders.at(&slot).is_some() {
            return Err(Error::unavailable(format!("{}: a file, not a folder", path.display())));
        }
        self.machine.mutate(&mut state, Call::CreateDir, path, |state| state.folders.add_folder(slot))
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        self.machine.check_on()?;
        let mut state = self.machine.state.lock();
        let slot = state.slot(path)?;
        if state.folders.at(&slot).is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("{}: exists", path.display())));
        }
        if state.capacity_bytes.is_some_and(|capacity| self.used_bytes() >= capacity) {
            return Err(full(path));
        }
        let file = SimFile::new(state.record, &self.machine.used_bytes);
        let entry = Entry::File(Arc::clone(&file));
        self.machine.mutate(&mut state, Call::Create, path, |state| state.folders.add(slot, entry))?;
        Ok(Box::new(Handle { machine: Arc::clone(&self.machine), file, path: path.to_path_buf(), write: true }))
    }

    fn open(&self, path: &Path, write: bool) -> Result<Box<dyn DiskFile>> {
        self.machine.check_on()?;
        let file = self.machine.state.lock().file(path)?;
        Ok(Box::new(Handle { machine: Arc::clone(&self.machine), file, path: path.to_path_buf(), write }))
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        self.machine.check_on()?;
        let state = self.machine.state.lock();
        Ok(state.folders.names(state.folders.folder(folder).ok_or_else(|| missing(folder))?))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.machine.check_on()?;
        let mut state = self.machine.state.lock();
        let source = state.folders.slot(from).ok_or_else(|| missing(from))?;
        let entry = state.folders.at(&source).cloned().ok_or_else(|| missing(from))?;
        let target = state.folders.slot(to).ok_or_else(|| missing(to))?;
        if source == target {
            return Ok(());
        }
        if let Some(Entry::Folder(_)) = state.folders.at(&target) {
            return Err(Error::unavailable(format!("rename {}: a folder is in the way", to.display())));
        }
        self.machine.mutate(&mut state, Call::Rename, from, |state| state.folders.rename(source, target, entry))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.machine.check_on()?;
        let mut state = self.machine.state.lock();
        let Some(slot) = state.folders.slot(path) else { return Ok(()) };
        match state.folders.at(&slot) {
            None => Ok(()),
            Some(Entry::Folder(_)) => Err(Error::unavailable(format!("remove {}: a folder", path.display()))),
            Some(Entry::File(_)) => {
                self.machine.mutate(&mut state, Call::Remove, path, |state| state.folders.remove(slot))
            }
        }
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.machine.check_on()?;
        let mut state = self.machine.state.lock();
        let Some(slot) = state.folders.slot(path) else { return Ok(()) };
        match state.folders.at(&slot) {
            None => Ok(()),
            Some(Entry::File(_)) => Err(Error::unavailable(format!("remove {}: not a folder", path.display()))),
            Some(Entry::Folder(_)) => {
                self.machine.mutate(&mut state, Call::Remove, path, |state| state.folders.remove_all(slot))
            }
        }
    }

    fn sync_dir(&self, folder: &Path) -> Result<()> {
        self.machine.check_on()?;
        let mut state = self.machine.state.lock();
        let id = state.folders.folder(folder).ok_or_else(|| no_parent(folder))?;
        let state = &mut *state;
        match self.machine.verdict(state, Call::SyncDir, folder)? {
            Verdict::Go => state.folders.sync(id),
            Verdict::Cut => self.machine.check_on()?,
            Verdict::Fail(fault) => {
                state.folders.fail_sync(id, &mut state.dice);
                return Err(injected(&fault, folder));
            }
        }
        Ok(())
    }

    fn lock(&self, folder: &Path) -> Result<Box<dyn LockGuard>> {
        let path = folder.join(LOCK_FILE);
        match self.create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut state = self.machine.state.lock();
        let id = state.folders.folder(folder).ok_or_else(|| no_parent(folder))?;
        match state.locks.insert(id) {
            true => Ok(Box::new(SimLock { machine: Arc::clone(&self.machine), folder: id })),
            false => Err(held(folder)),
        }
    }

    fn free_bytes(&self, _folder: &Path) -> Result<Option<u64>> {
        let capacity = self.machine.state.lock().capacity_bytes;
        Ok(capacity.map(|bytes| bytes.saturating_sub(self.used_bytes())))
    }

    fn syncs_folders(&self) -> bool {
        true
    }
}

struct Handle {
    machine: Arc<Machine>,
    file: Arc<SimFile>,
    path: PathBuf,
    write: bool,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).field("bytes", &self.file.len()).finish()
    }
}

impl DiskFile for Handle {
    fn len(&self) -> Result<u64> {
        self.machine.check_on()?;
        Ok(self.file.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.machine.check_on()?;
        if self.machine.reads_fail.load(Ordering::Relaxed) {
            let met = self.machine.state.lock().faults.meet(Call::Read, &self.path);
            if let Some(fault) = met {
                return Err(injected(&fault, &self.path));
            }
        }
        Ok(self.file.read_at(offset, buffer))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let refused = |why: &str| Error::unavailable(format!("write {}: {why}", self.path.display()));
        if !self.write {
            return Err(refused("opened for reading"));
        }
        let place = usize::try_from(offset).map_err(|_| refused("offset past any file's end"))?;
        let end = place.checked_add(bytes.len()).ok_or_else(|| refused("end past any file's end"))?;
        let mut state = self.machine.state.lock();
        match self.machine.verdict(&mut state, Call::Write, &self.path)? {
            Verdict::Go => {
                if self.machine.is_full(&state, end.saturating_sub(self.file.len()) as u64) {
                    return Err(full(&self.path));
                }
                state.counts.written_bytes += bytes.len() as u64;
                self.file.write_at(place, bytes);
                Ok(())
            }
            Verdict::Cut => {
                self.file.write_at(place, bytes);
                self.machine.check_on()
            }
            Verdict::Fail(fault) => {
                let written = state.dice.below(bytes.len() / SECTOR_BYTES + 1) * SECTOR_BYTES;
                self.file.write_at(place, bytes.get(..written).unwrap_or_default());
                Err(injected(&fault, &self.path))
            }
        }
    }

    fn sync_data(&self) -> Result<()> {
        let mut state = self.machine.state.lock();
        let state = &mut *state;
        match self.machine.verdict(state, Call::Sync, &self.path)? {
            Verdict::Go if state.ignore_sync => {}
            Verdict::Go => self.file.sync(),
            Verdict::Cut => self.machine.check_on()?,
            Verdict::Fail(fault) => {
                self.file.fail_sync(&mut state.dice);
                return Err(injected(&fault, &self.path));
            }
        }
        Ok(())
    }
}

struct SimLock {
    machine: Arc<Machine>,
    folder: FolderId,
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLock").field("folder", &self.folder).finish()
    }
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.machine.state.lock().locks.remove(&self.folder);
    }
}
