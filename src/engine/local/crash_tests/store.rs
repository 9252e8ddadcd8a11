//! A store with two halves: what is applied is visible at once, and survives a power cut only after `sync`.
//!
//! A cut lets each unsynced batch land whole or not at all, as [`KvStore::apply`] promises. Where the store lives is
//! told by one file of its folder on the simulated disk: without that entry there is no store, as with a real one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::rig::Rig;
use crate::clock::mix;
use crate::engine::local::disk::Disk;
use crate::engine::local::opener::StoreOpener;
use crate::engine::{Direction, KeyRange, KvStore, Tree, Value, WriteBatch};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Default)]
struct Content {
    entries: BTreeMap<(Tree, Box<[u8]>), Value>,
    mark: Option<Value>,
}

impl Content {
    fn apply(&mut self, batch: &WriteBatch) {
        for (tree, key, value) in &batch.writes {
            match value {
                Some(value) => self.entries.insert((*tree, key.clone()), value.clone()),
                None => self.entries.remove(&(*tree, key.clone())),
            };
        }
        if let Some(mark) = &batch.mark {
            self.mark = Some(mark.clone());
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Halves {
    live: Content,
    durable: Content,
    unsynced: Vec<WriteBatch>,
}

/// What outlives the process. Clones are the same store; see [`SimStore::kill`] for a copy.
#[derive(Debug, Clone, Default)]
pub(super) struct SimStore(Arc<Mutex<Halves>>);

impl SimStore {
    /// The store as the end of the process leaves it.
    pub(super) fn kill(&self) -> Self {
        SimStore(Arc::new(Mutex::new(self.0.lock().clone())))
    }

    /// The store as a power cut leaves it: of what was not synced none, all, the first few, or any.
    pub(super) fn crash(&self, seed: u64) -> Self {
        let mut durable = self.0.lock().durable.clone();
        let roll = |place: usize| mix(mix(seed ^ 0x5704e).wrapping_add(place as u64));
        let unsynced = self.0.lock().unsynced.clone();
        let prefix = roll(1) as usize % (unsynced.len() + 1);
        for (place, batch) in unsynced.iter().enumerate() {
            let lands = match roll(0) % 4 {
                0 => false,
                1 => true,
                2 => place < prefix,
                _ => roll(2 + place).is_multiple_of(2),
            };
            if lands {
                durable.apply(batch);
            }
        }
        let halves = Halves { live: durable.clone(), durable, unsynced: Vec::new() };
        SimStore(Arc::new(Mutex::new(halves)))
    }
}

/// An open [`SimStore`].
#[derive(Debug)]
struct Opened {
    rig: Arc<Rig>,
}

impl Opened {
    fn halves(&self) -> Result<parking_lot::MutexGuard<'_, Halves>> {
        if self.rig.disk.is_off() {
            return Err(Error::unavailable("the machine is off"));
        }
        Ok(self.rig.store.0.lock())
    }
}

impl KvStore for Opened {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.halves()?.live.entries.get(&(tree, key.into())).cloned())
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Vec<(Vec<u8>, Value)>> {
        let halves = self.halves()?;
        // These stores hold a few dozen entries: a look at each is as quick as anything cleverer.
        let inside = halves.live.entries.iter().filter(|((of, key), _)| *of == tree && range.contains(key));
        let found = inside.map(|((_, key), value)| (key.to_vec(), value.clone()));
        Ok(match direction {
            Direction::Ascending => found.take(limit).collect(),
            Direction::Descending => found.rev().take(limit).collect(),
        })
    }

    fn apply(&self, batch: &WriteBatch) -> Result<()> {
        self.rig.step("store.apply", || {
            let mut halves = self.halves()?;
            halves.live.apply(batch);
            halves.unsynced.push(batch.clone());
            Ok(())
        })
    }

    fn sync(&self) -> Result<()> {
        self.rig.step("store.sync", || {
            let mut halves = self.halves()?;
            if !self.rig.twin.store_unsynced {
                halves.durable = halves.live.clone();
                halves.unsynced.clear();
            }
            Ok(())
        })
    }

    fn mark(&self) -> Result<Option<Value>> {
        Ok(self.halves()?.live.mark.clone())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}

/// Opens the store of a rig.
#[derive(Debug)]
pub(super) struct SimOpener {
    pub(super) rig: Arc<Rig>,
    pub(super) disk: Arc<dyn Disk>,
}

impl StoreOpener for SimOpener {
    fn engine(&self) -> &'static str {
        "sim"
    }

    fn is_persistent(&self) -> bool {
        true
    }

    fn open(&self, folder: &Path, _cache_bytes: usize) -> Result<Arc<dyn KvStore>> {
        let data: PathBuf = folder.join("data");
        if !self.disk.list(folder)?.iter().any(|name| name == "data") {
            *self.rig.store.0.lock() = Halves::default();
            self.disk.create(&data)?;
            self.disk.sync_dir(folder)?;
        }
        Ok(Arc::new(Opened { rig: Arc::clone(&self.rig) }))
    }
}
