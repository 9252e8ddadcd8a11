//! Settings of an opening, and the opening itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::{Clock, Ids};
use crate::config::{Config, Durability};
use crate::engine::Engine;
use crate::engine::local::disk::Disk;
use crate::engine::local::opener::StoreOpener;
use crate::engine::local::rescue::Rescue;
use crate::engine::wrap::FollowEngine;
use crate::error::{Error, Result};

use super::policy::SnapshotPolicy;
use super::rebuild::FromSnapshots;
use super::{MlPersistence, RecoveryReport, Replica, compose, open};

/// Which store holds the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EngineKind {
    /// sled in a folder, behind the journal. The default.
    #[default]
    Sled,
    /// Ordered maps in memory. With a folder they are as durable as sled: behind the journal, with snapshots and a log
    /// of their own; the fastest while all data fits in memory, and it is all read at opening. Without a folder they
    /// live and die with the process: for tests and as the reference for other engines.
    Memory,
}

/// Settings for opening a store. Each has a safe default.
#[derive(Debug, Clone)]
pub struct Builder {
    engine: EngineKind,
    folder: Option<PathBuf>,
    durability: Durability,
    read_only: bool,
    memtable_bytes: Option<usize>,
    cache_bytes: Option<usize>,
    journal_retention_bytes: Option<u64>,
    journal_max_bytes: Option<u64>,
    sync_every_ms: Option<u64>,
    sync_every_bytes: Option<usize>,
    store_call_max_ms: Option<u64>,
    clock: Option<Arc<dyn Clock>>,
    ids: Option<Arc<Ids>>,
    snapshot_policy: Option<SnapshotPolicy>,
    ground: Option<Ground>,
}

/// What a folder lies on, where the caller brings it.
#[derive(Debug, Clone)]
struct Ground {
    disk: Arc<dyn Disk>,
    opener: Arc<dyn StoreOpener>,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = Some($name);
            self
        }
    )*};
}

impl Builder {
    pub(super) fn new(engine: EngineKind, folder: Option<PathBuf>) -> Self {
        Builder {
            engine,
            folder,
            durability: Durability::default(),
            read_only: false,
            memtable_bytes: None,
            cache_bytes: None,
            journal_retention_bytes: None,
            journal_max_bytes: None,
            sync_every_ms: None,
            sync_every_bytes: None,
            store_call_max_ms: None,
            clock: None,
            ids: None,
            snapshot_policy: None,
            ground: None,
        }
    }

    /// Which store holds the data. Default: [`EngineKind::Sled`].
    #[must_use]
    pub fn engine(mut self, engine: EngineKind) -> Self {
        self.engine = engine;
        self
    }

    /// When commits return that do not say it themselves. Default: [`Durability::PowerLoss`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Opens an existing folder for reading: nothing is created or written, no epoch is counted and no lease taken
    /// back. The folder is locked all the same. Writes answer `Unsupported`.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    settings! {
        /// See [`Config::memtable_bytes`]. Default 32 MiB.
        memtable_bytes: usize;
        /// See [`Config::cache_bytes`]. Default 64 MiB.
        cache_bytes: usize;
        /// See [`Config::journal_retention_bytes`]. Default 256 MiB.
        journal_retention_bytes: u64;
        /// See [`Config::journal_max_bytes`]. Default 1 GiB.
        journal_max_bytes: u64;
        /// See [`Config::sync_every_ms`]. Default 50 ms.
        sync_every_ms: u64;
        /// See [`Config::sync_every_bytes`]. Default 1 MiB.
        sync_every_bytes: usize;
        /// See [`Config::store_call_max_ms`]. Default 60 s.
        store_call_max_ms: u64;
        /// Where time comes from. Default: the operating system.
        clock: Arc<dyn Clock>;
    }

    /// Where identifiers and jitter come from. Default: the operating system's randomness. Made for one opening: a
    /// second store opened with the same ones would give out the same identifiers.
    #[must_use]
    pub fn ids(mut self, ids: Ids) -> Self {
        self.ids = Some(Arc::new(ids));
        self
    }

    /// Has the store make snapshots of itself in the background, so that it can be rebuilt should its files be damaged.
    /// Default: none. A replica makes none before it is promoted: it can follow its source again.
    #[must_use]
    pub fn snapshot_policy(mut self, policy: SnapshotPolicy) -> Self {
        self.snapshot_policy = Some(policy);
        self
    }

    /// Opens the folder on this disk, with the stores that this opener brings, whatever [`engine`](Self::engine) says: for
    /// tests that pull the plug on a whole store, or make its disk or its store fail. Snapshot files stay on the disk of
    /// the operating system.
    ///
    /// ```
    /// # fn main() -> ml_persistence::Result<()> {
    /// use std::sync::Arc;
    /// use ml_persistence::MlPersistence;
    /// use ml_persistence::engine::local::sim::SimDisk;
    /// use ml_persistence::engine::memory::MemoryOpener;
    ///
    /// let open = |disk: &SimDisk| {
    ///     let disk = Arc::new(disk.clone());
    ///     MlPersistence::builder("/data").on(disk.clone(), Arc::new(MemoryOpener::in_folder(disk))).open()
    /// };
    /// let disk = SimDisk::recording();
    /// open(&disk)?.namespace("cache")?.put("k", "v")?;
    /// let after_a_power_cut = open(&disk.crash(1))?;
    /// assert_eq!(after_a_power_cut.namespace("cache")?.get_as::<String>("k")?.as_deref(), Some("v"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on(mut self, disk: Arc<dyn Disk>, opener: Arc<dyn StoreOpener>) -> Self {
        self.ground = Some(Ground { disk, opener });
        self
    }

    /// Opens the store: locks the folder, recovers, and composes.
    ///
    /// A store whose files are damaged so that it can't be opened is moved aside and rebuilt, where the journal reaches back
    /// to the start or to a snapshot of a [`SnapshotPolicy`]; [`RecoveryReport`](crate::RecoveryReport) tells. Else it is
    /// `Corrupt`, the message says what is missing, and nothing was changed: see [`rebuild`](Self::rebuild).
    ///
    /// # Errors
    /// `Invalid` naming a setting that could not work; `NotFound` when there is nothing to open for reading;
    /// `Unavailable` when another opener has the folder; `Unsupported`
    /// for a newer format, or an engine that this build does not have; `Corrupt`; `Full`.
    pub fn open(self) -> Result<MlPersistence> {
        let kept = self.snapshot_policy.is_some();
        self.open_with(&FromSnapshots { kept, ..FromSnapshots::OWN })
    }

    /// Opens the folder with its store rebuilt, whether that can be opened or not: from a full snapshot of this store at
    /// `snapshot`, or without one from the newest of its own, and from the journal behind it. What was acknowledged is all
    /// there, or it is `Corrupt` and nothing was changed. The store of before is kept aside:
    /// [`RecoveryReport::damaged_store`](crate::RecoveryReport).
    ///
    /// # Errors
    /// `Corrupt` when snapshot and journal together do not cover everything, saying what is missing, or the snapshot is
    /// damaged or of another store; `NotFound` for a folder without a store; else as [`open`](Self::open).
    ///
    /// ```
    /// # fn main() -> ml_persistence::Result<()> {
    /// # let scratch = tempfile::tempdir().unwrap();
    /// # let (folder, backup) = (scratch.path().join("db"), scratch.path().join("nightly.mlsnap"));
    /// use ml_persistence::MlPersistence;
    /// let db = MlPersistence::open(&folder)?;
    /// db.namespace("cache")?.put("k", "v")?;
    /// db.export_snapshot(&backup, None)?;
    /// db.close()?;
    ///
    /// let db = MlPersistence::builder(&folder).rebuild(Some(&backup))?;
    /// assert!(db.recovery().rebuilt && db.recovery().damaged_store.is_some());
    /// assert_eq!(db.namespace("cache")?.get_as::<String>("k")?.as_deref(), Some("v"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn rebuild(self, snapshot: Option<&Path>) -> Result<MlPersistence> {
        let folder = self.folder.as_deref().filter(|_| !self.read_only);
        let folder = folder.ok_or_else(|| Error::invalid("folder: a store is rebuilt in one, opened for writing"))?;
        if !folder.join("CURRENT").exists() {
            return Err(Error::not_found(format!("{}: there is no store in this folder", folder.display())));
        }
        if let Some(snapshot) = snapshot {
            // A slip of the pen is no damage.
            MlPersistence::inspect_snapshot(snapshot)?;
        }
        let (kept, given) = (self.snapshot_policy.is_some(), snapshot.map(Path::to_path_buf));
        self.open_with(&FromSnapshots { wanted: true, given, kept })
    }

    fn open_with(self, rescue: &dyn Rescue) -> Result<MlPersistence> {
        let config = self.config()?;
        config.check()?;
        let policy = self.snapshot_policy.filter(|_| !self.read_only);
        if let Some(policy) = &policy {
            // Snapshots are files of the operating system, and lie in the folder.
            policy.check(self.folder.as_deref().filter(|_| self.ground.is_none()), &config)?;
        }
        let started_ms = config.clock.monotonic_ms();
        let (engine, mut report) = self.open_engine(&config, rescue)?;
        report.epoch = engine.epoch().number;
        compose(engine, &config, self.durability, report, started_ms, self.read_only, policy)
    }

    /// Opens the folder as a [`Replica`], creating it if need be: it takes snapshots of another store and no writes of its
    /// own. Leases of the source's jobs are left as they are.
    ///
    /// # Errors
    /// `Invalid` without a folder, or for a read-only one; else as [`open`](Self::open).
    pub fn open_replica(self) -> Result<Replica> {
        if self.folder.is_none() || self.read_only {
            return Err(Error::invalid("folder: a replica keeps what it follows in one, opened for writing"));
        }
        let config = self.config()?;
        config.check()?;
        let started_ms = config.clock.monotonic_ms();
        let (engine, mut report) = self.open_engine(&config, &FromSnapshots::OWN)?;
        report.epoch = engine.epoch().number;
        let engine = Arc::new(FollowEngine::new(engine));
        let db = compose(engine, &config, self.durability, report, started_ms, true, None)?;
        Ok(Replica::new(db, self))
    }

    fn open_engine(&self, config: &Config, rescue: &dyn Rescue) -> Result<(Arc<dyn Engine>, RecoveryReport)> {
        match (&self.ground, self.folder.as_deref()) {
            (Some(Ground { disk, opener }), Some(folder)) => {
                open::local(Arc::clone(disk), folder, Arc::clone(opener), config, self.read_only, rescue)
            }
            (Some(_), None) => Err(Error::invalid("folder: a disk is given, and no folder on it")),
            (None, folder) => open::engine(self.engine, folder, config, self.read_only, rescue),
        }
    }

    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    fn config(&self) -> Result<Config> {
        let mut config = Config::new()?;
        macro_rules! apply {
            ($($name:ident)*) => {$(
                if let Some(setting) = &self.$name {
                    config.$name = setting.clone();
                }
            )*};
        }
        apply!(memtable_bytes cache_bytes journal_retention_bytes journal_max_bytes sync_every_ms sync_every_bytes);
        apply!(store_call_max_ms clock ids);
        Ok(config)
    }
}
