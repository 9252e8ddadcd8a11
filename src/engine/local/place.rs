//! A folder's engine as the rest of the process holds it: the same handle before and after its state is replaced.
//!
//! ```text
//! callers ──> Place ──> LocalEngine of generation 1
//!               └─ replace: fill generation 2 beside it · CURRENT says 2 · close 1 · open 2 ──> LocalEngine of 2
//! ```
//!
//! Calls take a reference to the live engine and hold no lock while they work. One that meets a closing engine because its
//! state is being replaced waits for the new one and runs again there. It refuses a second replacement while one is under
//! way (`Unavailable`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::current::Current;
use super::disk::Disk;
use super::generation::{self, NextGeneration};
use super::opener::StoreOpener;
use super::rescue::{NoRescue, Rescue};
use super::sync::{Mutex, RwLock, Stopwatch};
use super::{LocalEngine, OpenReport};
use crate::config::Config;
use crate::engine::{
    Capabilities, Changes, Committed, Cursor, Direction, Engine, EngineStats, Epoch, FeedHold, Fresh, KeyRange,
    Observer, Page, Position, Reader, Tree, Txn, TxnOptions, Value,
};
use crate::error::{Error, ErrorKind, Result};

/// See the [module](self).
pub struct Place {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    opener: Arc<dyn StoreOpener>,
    config: Config,
    live: RwLock<Arc<LocalEngine>>,
    /// Shared by commits that are under way: none is acknowledged by a state that has been replaced.
    committing: RwLock<()>,
    replacing: Mutex<()>,
    observers: Mutex<Vec<Weak<dyn Observer>>>,
}

/// A generation that only `CURRENT` is missing to.
struct Filled {
    current: Current,
    root: PathBuf,
}

impl Place {
    /// Opens `folder` as [`LocalEngine::open`] does, and clears away what replaced or unfinished generations left.
    ///
    /// # Errors
    /// As [`LocalEngine::open`].
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        opener: Arc<dyn StoreOpener>,
        config: &Config,
    ) -> Result<(Self, OpenReport)> {
        Self::open_with(disk, folder, opener, config, &NoRescue)
    }

    /// The same, with somebody who knows where a state comes from when the store can't be opened.
    ///
    /// # Errors
    /// As [`LocalEngine::open`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        folder: &Path,
        opener: Arc<dyn StoreOpener>,
        config: &Config,
        rescue: &dyn Rescue,
    ) -> Result<(Self, OpenReport)> {
        let (engine, report) = LocalEngine::open_with(Arc::clone(&disk), folder, &*opener, config, rescue)?;
        generation::remove_stale(&*disk, folder)?;
        let place = Place {
            disk,
            folder: folder.to_path_buf(),
            opener,
            config: config.clone(),
            live: RwLock::new(Arc::new(engine)),
            committing: RwLock::default(),
            replacing: Mutex::default(),
            observers: Mutex::default(),
        };
        Ok((place, report))
    }

    fn live(&self) -> Arc<LocalEngine> {
        Arc::clone(&self.live.read())
    }

    /// Calls the live engine, and its successor if it was closed to make way for one.
    fn on<T>(&self, mut call: impl FnMut(&LocalEngine) -> Result<T>) -> Result<T> {
        loop {
            let engine = self.live();
            match call(&engine) {
                Err(error) if error.kind() == ErrorKind::Closed && !Arc::ptr_eq(&engine, &self.live()) => {}
                outcome => return outcome,
            }
        }
    }

    /// Whether the state has no entries but the engine's own.
    fn is_empty(engine: &LocalEngine) -> Result<bool> {
        for tree in Tree::ALL {
            let mut range = KeyRange::all();
            if *tree == Tree::Meta {
                range.start = std::ops::Bound::Included(vec![1]);
            }
            if !engine.scan(*tree, &range, Direction::Ascending, 1)?.entries.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn check_empty(engine: &LocalEngine, only_if_empty: bool) -> Result<()> {
        if only_if_empty && !Self::is_empty(engine)? {
            return Err(Error::conflict(
                "replace: the store has data; ask for it to be replaced, or take an empty one",
            ));
        }
        Ok(())
    }

    fn fill(&self, engine: &LocalEngine, fill: &mut dyn FnMut(&mut dyn Fresh) -> Result<Position>) -> Result<Filled> {
        let mut next = NextGeneration::begin(Arc::clone(&self.disk), &self.folder, &*self.opener, &self.config)?;
        let root = next.root();
        let filled = fill(&mut next).and_then(|position| {
            // Above every epoch that a token or a cursor of either store may name.
            let number = engine.epoch().number.max(position.cursor.epoch.number);
            let epoch = Epoch { number, id: self.config.ids.next_u64() };
            next.finish(&position, epoch, &self.config)
        });
        filled.map(|current| Filled { current, root: root.clone() }).map_err(|error| self.clear_away(&root, error))
    }

    /// What a failed switch left: the old state, or nobody knows. Then nothing may be acknowledged by the old one.
    fn settle_failed_switch(&self, old: &LocalEngine, filled: &Filled, error: Error) -> Error {
        match Current::read(&*self.disk, &self.folder) {
            Ok(Some(now)) if now != filled.current => self.clear_away(&filled.root, error),
            Ok(_) | Err(_) => {
                let closed = old.close().err().map(|close| format!("; and {close}")).unwrap_or_default();
                let message =
                    format!("which state is in place is not known before the folder is reopened: {error}{closed}");
                Error::with_source(error.kind(), message, error)
            }
        }
    }

    /// Removes an unfinished generation; what matters is the first error.
    fn clear_away(&self, root: &Path, error: Error) -> Error {
        match self.disk.remove_dir_all(root) {
            Ok(()) => error,
            Err(removal) => Error::with_source(error.kind(), format!("{error}; and {removal}"), removal),
        }
    }
}

impl Reader for Place {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.on(|engine| engine.get(tree, key))
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        self.on(|engine| engine.get_many(keys))
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        self.on(|engine| engine.scan(tree, range, direction, limit))
    }
}

impl Engine for Place {
    fn transact(&self, options: &TxnOptions, body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Committed> {
        let _committing = self.committing.read();
        self.on(|engine| engine.transact(options, body))
    }

    fn read_view(&self, body: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        self.on(|engine| engine.read_view(body))
    }

    fn sync(&self) -> Result<Cursor> {
        self.on(Engine::sync)
    }

    fn checkpoint(&self) -> Result<()> {
        self.on(Engine::checkpoint)
    }

    fn changes(&self, after: &Cursor, limit: usize) -> Result<Changes> {
        self.on(|engine| engine.changes(after, limit))
    }

    fn watch(&self, after: &Cursor, at_most: Duration) -> Result<bool> {
        let waited = Stopwatch::start();
        self.on(|engine| engine.watch(after, at_most.saturating_sub(waited.elapsed())))
    }

    fn observe(&self, observer: Weak<dyn Observer>) {
        let mut observers = self.observers.lock();
        observers.retain(|known| known.strong_count() > 0);
        observers.push(Weak::clone(&observer));
        self.live().observe(observer);
    }

    fn hold_changes(&self) -> Result<Box<dyn FeedHold>> {
        self.on(Engine::hold_changes)
    }

    fn annex(&self) -> Option<PathBuf> {
        self.live().annex()
    }

    fn keep_changes(&self, sequence: u64) -> Result<()> {
        self.on(|engine| engine.keep_changes(sequence))
    }

    fn position(&self, at: &Cursor) -> Result<Position> {
        self.on(|engine| engine.position(at))
    }

    fn replace(&self, only_if_empty: bool, fill: &mut dyn FnMut(&mut dyn Fresh) -> Result<Position>) -> Result<()> {
        let Some(_alone) = self.replacing.try_lock() else {
            return Err(Error::unavailable(
                "replace: the state is being replaced already; try again when that is done",
            ));
        };
        let old = self.live();
        Self::check_empty(&old, only_if_empty)?;
        let filled = self.fill(&old, fill)?;
        // Commits under way end first; from here on new calls wait.
        let no_commits = self.committing.write();
        let mut live = self.live.write();
        let switched =
            Self::check_empty(&old, only_if_empty).and_then(|()| filled.current.write(&*self.disk, &self.folder));
        if let Err(error) = switched {
            return Err(self.settle_failed_switch(&old, &filled, error));
        }
        let in_place = |error: Error| {
            let message =
                format!("the new state is in place, but can't be used before the folder is reopened: {error}");
            Error::with_source(error.kind(), message, error)
        };
        old.close().map_err(in_place)?;
        let opened = LocalEngine::open(Arc::clone(&self.disk), &self.folder, &*self.opener, &self.config);
        let (engine, _) = opened.map_err(in_place)?;
        let observers = self.observers.lock().clone();
        observers.iter().for_each(|observer| engine.observe(Weak::clone(observer)));
        *live = Arc::new(engine);
        drop(live);
        drop(no_commits);
        // What is told of commits from now on and this may come in any order: who forgets all has lost nothing but time.
        observers.iter().filter_map(Weak::upgrade).for_each(|observer| observer.replaced());
        Ok(())
    }

    fn cursor(&self) -> Cursor {
        self.live().cursor()
    }

    fn epoch(&self) -> Epoch {
        self.live().epoch()
    }

    fn capabilities(&self) -> Capabilities {
        self.live().capabilities()
    }

    fn stats(&self) -> EngineStats {
        self.live().stats()
    }

    fn close(&self) -> Result<()> {
        self.live().close()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("folder", &self.folder).finish_non_exhaustive()
    }
}
