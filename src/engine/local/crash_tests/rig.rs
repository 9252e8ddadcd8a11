//! One life of a process over a simulated machine, with an eye on every call that changes anything.
//!
//! ```text
//!   engine ──> WatchedDisk ─┐                       ┌─> the call itself
//!   engine ──> SimStore    ─┴─ step: one at a time ─┤
//!                                                   └─> Moment: the machine as it stands behind the call ──> Watch
//! ```
//!
//! A [`Moment`] holds what was written and what was synced, so that any power cut behind the call, or during the next
//! one, can be played from it, as well as the plain end of the process. It is taken while every other changing call is
//! held up; what was promised is read before, so a promise is never newer than the machine it is compared with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::ledger::Ledger;
use super::store::{SimOpener, SimStore};
use crate::config::Config;
use crate::engine::local::disk::{Disk, DiskFile, LockGuard};
use crate::engine::local::sim::SimDisk;
use crate::engine::local::{LocalEngine, OpenReport};
use crate::error::Result;

pub(super) const FOLDER: &str = "/data";

/// What a twin leaves out. The engine under test leaves out nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Twin {
    /// `sync_data` for the frames of commits.
    pub(super) journal_unsynced: bool,
    /// `sync_data` for the frames that recovery writes again: it trusts the page cache that it read them from.
    pub(super) rewrite_unsynced: bool,
    /// `sync_dir`.
    pub(super) folders_unsynced: bool,
    /// `KvStore::sync`.
    pub(super) store_unsynced: bool,
}

/// The machine behind one call.
pub(super) struct Moment {
    pub(super) disk: SimDisk,
    pub(super) store: SimStore,
    pub(super) ledger: Ledger,
}

/// How a life ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Kill,
    PowerCut(u64),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Kill => f.write_str("kill"),
            End::PowerCut(seed) => write!(f, "power cut {seed}"),
        }
    }
}

impl Moment {
    /// The machine as the next life finds it.
    pub(super) fn after(&self, end: End) -> Moment {
        let (disk, store) = match end {
            End::Kill => (self.disk.kill(), self.store.kill()),
            End::PowerCut(seed) => (self.disk.crash(seed), self.store.crash(seed)),
        };
        Moment { disk, store, ledger: self.ledger.fork() }
    }
}

/// Is shown the moments behind the calls that it wants.
pub(super) trait Watch: Send + Sync {
    fn wants(&self, step: u64, call: &str) -> bool;
    fn see(&self, step: u64, call: &str, moment: &Moment);
}

/// One life.
pub(super) struct Rig {
    pub(super) disk: SimDisk,
    pub(super) store: SimStore,
    pub(super) ledger: Ledger,
    pub(super) twin: Twin,
    pub(super) config: Config,
    one_at_a_time: Mutex<()>,
    steps: AtomicU64,
    watch: Option<Arc<dyn Watch>>,
}

impl fmt::Debug for Rig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rig").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl Rig {
    pub(super) fn new(from: Moment, config: Config, twin: Twin, watch: Option<Arc<dyn Watch>>) -> Arc<Self> {
        Arc::new(Rig {
            disk: from.disk,
            store: from.store,
            ledger: from.ledger,
            twin,
            config,
            one_at_a_time: Mutex::new(()),
            steps: AtomicU64::new(0),
            watch,
        })
    }

    /// A machine that was never used.
    pub(super) fn blank() -> Moment {
        Moment { disk: SimDisk::recording(), store: SimStore::default(), ledger: Ledger::default() }
    }

    pub(super) fn open(self: &Arc<Self>) -> Result<(LocalEngine, OpenReport)> {
        let disk: Arc<dyn Disk> = Arc::new(WatchedDisk(Arc::clone(self)));
        let opener = SimOpener { rig: Arc::clone(self), disk: Arc::clone(&disk) };
        LocalEngine::open(disk, Path::new(FOLDER), &opener, &self.config)
    }

    /// The machine as it stands now.
    pub(super) fn moment(&self) -> Moment {
        let held_up = self.one_at_a_time.lock();
        let moment = self.stand();
        drop(held_up);
        moment
    }

    fn stand(&self) -> Moment {
        let promised = self.ledger.durable();
        let (disk, store) = (self.disk.kill(), self.store.kill());
        // The operations are read last: whatever the disk holds has been booked by then.
        let ledger = self.ledger.fork();
        ledger.promised_only(promised);
        Moment { disk, store, ledger }
    }

    /// Runs a call that changes the machine, then shows the machine to the watch.
    pub(super) fn step<T>(&self, call: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let held_up = self.one_at_a_time.lock();
        let outcome = act();
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let seen = self.watch.as_ref().filter(|watch| watch.wants(step, call)).map(|watch| (watch, self.stand()));
        drop(held_up);
        if let Some((watch, moment)) = seen {
            watch.see(step, call, &moment);
        }
        outcome
    }
}

/// The rig's disk as the engine sees it.
#[derive(Debug)]
struct WatchedDisk(Arc<Rig>);

impl WatchedDisk {
    fn step<T>(&self, call: &str, path: &Path, act: impl FnOnce(&SimDisk) -> Result<T>) -> Result<T> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.0.step(&format!("{call} {name}"), || act(&self.0.disk))
    }

    fn watched(&self, file: Box<dyn DiskFile>, path: &Path) -> Box<dyn DiskFile> {
        let rewrite = AtomicBool::new(path.extension().is_some_and(|extension| extension == "new"));
        let is_journal = path.parent().is_some_and(|folder| folder.ends_with("journal"));
        Box::new(WatchedFile { rig: Arc::clone(&self.0), file, path: path.to_path_buf(), is_journal, rewrite })
    }
}

impl Disk for WatchedDisk {
    fn create_dir(&self, path: &Path) -> Result<()> {
        self.step("create_dir", path, |disk| disk.create_dir(path))
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        self.step("create", path, |disk| disk.create(path)).map(|file| self.watched(file, path))
    }

    fn open(&self, path: &Path, write: bool) -> Result<Box<dyn DiskFile>> {
        self.0.disk.open(path, write).map(|file| self.watched(file, path))
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        self.0.disk.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.step("rename", to, |disk| disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.step("remove", path, |disk| disk.remove(path))
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.step("remove_dir_all", path, |disk| disk.remove_dir_all(path))
    }

    fn sync_dir(&self, folder: &Path) -> Result<()> {
        self.step("sync_dir", folder, |disk| if self.0.twin.folders_unsynced { Ok(()) } else { disk.sync_dir(folder) })
    }

    fn lock(&self, folder: &Path) -> Result<Box<dyn LockGuard>> {
        self.step("lock", folder, |disk| disk.lock(folder))
    }

    fn syncs_folders(&self) -> bool {
        true
    }

    fn free_bytes(&self, folder: &Path) -> Result<Option<u64>> {
        self.0.disk.free_bytes(folder)
    }
}

#[derive(Debug)]
struct WatchedFile {
    rig: Arc<Rig>,
    file: Box<dyn DiskFile>,
    path: PathBuf,
    is_journal: bool,
    /// The next sync is the one of a recovery that has written its frames again.
    rewrite: AtomicBool,
}

impl WatchedFile {
    fn step<T>(&self, call: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.rig.step(&format!("{call} {name}"), act)
    }
}

impl DiskFile for WatchedFile {
    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.step("write", || self.file.write_at(offset, bytes))
    }

    fn sync_data(&self) -> Result<()> {
        let rewrite = self.rewrite.swap(false, Ordering::Relaxed);
        let twin = self.rig.twin;
        let left_out = if rewrite { twin.rewrite_unsynced } else { twin.journal_unsynced };
        self.step("sync", || if left_out && self.is_journal { Ok(()) } else { self.file.sync_data() })
    }
}
