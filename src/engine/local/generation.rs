//! A new generation beside the live one: filled, made durable, then put in its place by one rename of `CURRENT`.
//!
//! ```text
//! gen-00000001/ live       gen-00000002/store     entries in batches; then note, epoch and mark; synced
//!                          gen-00000002/journal   one segment that begins behind the state's sequence
//!                          CURRENT                says 2: the one step that counts
//! gen-00000001/ removed at the next opening
//! ```
//!
//! Whatever is cut off before the rename is a folder that the next opening removes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::current::Current;
use super::disk::Disk;
use super::epoch::EpochEntry;
use super::filling::Filling;
use super::journal::{Journal, Start};
use super::mark::Mark;
use super::opener::StoreOpener;
use super::segment::{Identity, Link};
use crate::clock::Ids;
use crate::config::Config;
use crate::engine::{ChainHash, Epoch, Fresh, ORIGIN_KEY, Position, Reader, Tree};
use crate::error::{Error, Result};

/// A generation that is being filled.
pub(super) struct NextGeneration {
    disk: Arc<dyn Disk>,
    current: Current,
    root: PathBuf,
    filling: Filling,
}

impl NextGeneration {
    /// Makes the folders of the generation behind the live one, and its empty store.
    pub(super) fn begin(disk: Arc<dyn Disk>, folder: &Path, opener: &dyn StoreOpener, config: &Config) -> Result<Self> {
        let live = Current::read(&*disk, folder)?
            .ok_or_else(|| Error::corrupt(format!("{}: CURRENT is gone", folder.display())))?;
        let identity = Identity { generation: live.identity.generation + 1, ..live.identity };
        let current = Current { identity, ..live };
        let root = current.generation_folder(folder);
        // One that was cut off earlier.
        disk.remove_dir_all(&root)?;
        for path in [&root, &root.join("journal"), &root.join("store")] {
            disk.create_dir(path)?;
        }
        disk.sync_dir(&root)?;
        disk.sync_dir(folder)?;
        let store = opener.open(&root.join("store"), config.cache_bytes)?;
        Ok(NextGeneration { disk, current, root, filling: Filling::new(store) })
    }

    /// Its folder.
    pub(super) fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// Writes what an opening needs, closes the store and makes everything durable: note, history, mark, journal.
    /// Answers the `CURRENT` that leads to it.
    pub(super) fn finish(self, position: &Position, epoch: Epoch, config: &Config) -> Result<Current> {
        let applied = position.cursor.sequence;
        let entry = EpochEntry { epoch, after_sequence: applied, lineage: config.ids.next_u128() };
        let own = [(ORIGIN_KEY.to_vec(), position.encode()), (entry.key(), entry.value())];
        self.filling.finish(own, Mark { identity: self.current.identity, applied })?;
        let start = Start {
            identity: self.current.identity,
            id: 1,
            base: (applied, Link::first(position.chain.unwrap_or(ChainHash::START))),
            frames: &[],
            closed: Vec::new(),
            checkpoint: applied,
        };
        let journal = Journal::begin(Arc::clone(&self.disk), &self.root.join("journal"), &Ids::random()?, start)?;
        drop(journal);
        for folder in [self.root.join("store"), self.root.clone()] {
            self.disk.sync_dir(&folder)?;
        }
        Ok(self.current)
    }
}

impl Fresh for NextGeneration {
    fn write(&mut self, tree: Tree, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.filling.write(tree, key, value)
    }

    fn read(&mut self, read: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        self.filling.read(read)
    }
}

/// Removes the generations that are not live: what a replaced state left, and what was cut off.
pub(super) fn remove_stale(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let Some(current) = Current::read(disk, folder)? else { return Ok(()) };
    let live = current.generation_folder(folder);
    for name in disk.list(folder)? {
        let number = name.strip_prefix("gen-").filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let path = folder.join(&name);
        if number.is_some_and(|number| number.len() >= 8) && path != live {
            disk.remove_dir_all(&path)?;
        }
    }
    Ok(())
}
