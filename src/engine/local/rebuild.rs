//! A store that can't be opened, rebuilt: a state from outside, or none where the journal reaches back to the start, with
//! the journal's frames behind it.
//!
//! ```text
//! gen-00000001/journal          is not touched
//!              store            damaged ──────────── 2. renamed to store.damaged-1, kept
//!              store.rebuilt    1. filled, marked, synced ─ 3. renamed to store
//! ```
//!
//! The mark says at which commit the new store stands, so that the opening goes on as after any crash: frames behind the
//! mark are replayed. Frames that are known to be durable are in the new store already, so these are few. Generation, lineage, openings and cursors stay what they were.
//!
//! Cut off anywhere, the next opening ends in the same state. Before step 2 the damaged store is still in place, and all
//! begins again. Between the two renames there is a `store.rebuilt` and no `store`: then the first is whole, since it was
//! synced before, and only the last step is missing.

use std::path::{Path, PathBuf};

use super::batch;
use super::disk::Disk;
use super::epoch::EpochEntry;
use super::filling::Filling;
use super::mark::Mark;
use super::open::{Extent, Folders, free_name, open_guarded};
use super::opener::StoreOpener;
use super::rescue::{Gap, Rescue};
use super::segment::Identity;
use crate::config::Config;
use crate::engine::{Position, Value};
use crate::error::{Error, ErrorKind, Result};

/// The folder of a generation that snapshots of it lie in.
pub(super) const ANNEX: &str = "snapshots";
const REBUILT: &str = "store.rebuilt";
const DAMAGED: &str = "store.damaged";

/// A key of the engine's own in `meta`, and its value.
type Entry = (Vec<u8>, Value);

/// What a rebuild needs to know of the folder.
pub(super) struct Rebuild<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) folders: &'a Folders,
    pub(super) opener: &'a dyn StoreOpener,
    pub(super) config: &'a Config,
    pub(super) identity: Identity,
    pub(super) extent: &'a Extent,
    pub(super) rescue: &'a dyn Rescue,
}

/// Takes the last step of a rebuild that was cut off before it.
///
/// # Errors
/// `Unavailable`, `Full`.
pub(super) fn finish_cut_off(disk: &dyn Disk, folders: &Folders) -> Result<()> {
    let rebuilt = folders.root.join(REBUILT);
    if exists(disk, &rebuilt)? && !exists(disk, &folders.store)? {
        disk.rename(&rebuilt, &folders.store)?;
        disk.sync_dir(&folders.root)?;
    }
    Ok(())
}

/// Moves the damaged store aside; answers where it lies.
///
/// # Errors
/// `Unavailable`, `Full`.
fn move_aside(disk: &dyn Disk, folders: &Folders) -> Result<PathBuf> {
    let aside = free_name(disk, &folders.root, DAMAGED)?;
    disk.rename(&folders.store, &aside)?;
    // Before anything takes its name: a power cut must not leave the new one under both.
    disk.sync_dir(&folders.root)?;
    Ok(aside)
}

impl Rebuild<'_> {
    /// Puts a rebuilt store in the place of one that has `damage`; answers where the damaged one lies.
    ///
    /// # Errors
    /// `Corrupt` saying what is missing; `Full` and `Unavailable` of disk and store. The damaged store is still in place
    /// then, or the next opening finishes.
    pub(super) fn run(&self, damage: &Error) -> Result<PathBuf> {
        let Rebuild { disk, folders, opener, config, .. } = *self;
        let rebuilt = folders.root.join(REBUILT);
        // One that was cut off earlier.
        disk.remove_dir_all(&rebuilt)?;
        disk.create_dir(&rebuilt)?;
        disk.sync_dir(&folders.root)?;
        let filled = open_guarded(opener, &rebuilt, config).and_then(|store| self.fill(Filling::new(store)));
        if let Err(error) = filled {
            let error = match error.kind() {
                ErrorKind::Full | ErrorKind::Unavailable | ErrorKind::Internal => error,
                _ if self.needs_no_state() => error,
                _ => self.hopeless(damage, error),
            };
            // What matters is the first error; what can't be removed now is removed by the next try.
            return Err(match disk.remove_dir_all(&rebuilt) {
                Ok(()) => error,
                Err(removal) => Error::with_source(error.kind(), format!("{error}; and {removal}"), removal),
            });
        }
        disk.sync_dir(&rebuilt)?;
        let aside = move_aside(disk, folders)?;
        disk.rename(&rebuilt, &folders.store)?;
        disk.sync_dir(&folders.root)?;
        Ok(aside)
    }

    /// Whether the journal alone tells everything. A state that was taken over never began in a journal.
    fn needs_no_state(&self) -> bool {
        self.extent.reach == 0 && self.identity.generation == 1 && !self.rescue.has_source()
    }

    /// The store is closed when this returns.
    fn fill(&self, mut filling: Filling) -> Result<()> {
        let (applied, openings) = match self.needs_no_state() {
            true => (0, Vec::new()),
            false => self.fill_state(&mut filling)?,
        };
        let applied = self.catch_up(&mut filling, applied)?;
        filling.finish(openings, Mark { identity: self.identity, applied })
    }

    /// Fills in a state from outside; answers where it stands, and the openings that led there, as they are stored.
    fn fill_state(&self, filling: &mut Filling) -> Result<(u64, Vec<Entry>)> {
        let gap = Gap { annex: self.folders.root.join(ANNEX), least: self.extent.reach, most: self.extent.end };
        let position = self.rescue.fill(&gap, filling)?;
        let applied = position.cursor.sequence;
        if !(gap.least..=gap.most).contains(&applied) {
            return Err(Error::corrupt(format!(
                "it stands at commit {applied}, and the journal leads from {} to {}",
                gap.least, gap.most
            )));
        }
        self.check_history(&position)?;
        let lineage = position.cursor.lineage;
        let openings = position.epochs.iter().map(|start| {
            let entry = EpochEntry { epoch: start.epoch, after_sequence: start.after_sequence, lineage };
            (entry.key(), entry.value())
        });
        Ok((applied, openings.collect()))
    }

    /// Writes what the journal tells of commits behind `applied`, as far as these are known to be durable, so that replaying
    /// the rest takes no more memory than after a crash. Answers up to where.
    fn catch_up(&self, filling: &mut Filling, applied: u64) -> Result<u64> {
        let proven = self.extent.proven;
        if proven <= applied {
            return Ok(applied);
        }
        self.extent.survey.each_above(self.disk, applied, |frame| {
            if frame.header.sequence <= proven {
                filling.replay(frame.payload)?;
            }
            Ok(frame.header.sequence < proven)
        })?;
        Ok(proven)
    }

    /// Whether the openings that the journal still tells of are those of the state, and its hash there is the state's.
    fn check_history(&self, position: &Position) -> Result<()> {
        let foreign = |what: &str| Err(Error::corrupt(format!("it is {what}, as the openings in the journal tell")));
        let other_past = "it is a state of another store, or of another branch of this store's history, as the journal's \
                          hash there tells";
        let at = position.cursor.sequence;
        let differs = |hash| position.chain.is_some_and(|chain| chain != hash);
        if at == self.extent.reach && self.extent.survey.first_hash().is_some_and(differs) {
            return Err(Error::corrupt(other_past));
        }
        // Of openings tells any snapshot; the first ones had no hash.
        self.extent.survey.each_above(self.disk, self.extent.reach, |frame| {
            if frame.header.sequence == at && differs(frame.header.hash) {
                return Err(Error::corrupt(other_past));
            }
            let mut told = Ok(None);
            batch::decode(frame.payload, |tree, key, value| {
                if let Ok(None) = told {
                    told = EpochEntry::of_write(tree, key, value);
                }
            })?;
            let Some(entry) = told? else { return Ok(true) };
            if entry.lineage != position.cursor.lineage {
                return foreign("a state of another store");
            }
            let known = position.epochs.iter().find(|start| start.epoch.number == entry.epoch.number);
            let oldest = position.epochs.first().map_or(0, |start| start.epoch.number);
            let fits = match known {
                Some(known) => known.epoch == entry.epoch && known.after_sequence == entry.after_sequence,
                // Too old to be told, or begun behind the state.
                None => entry.epoch.number < oldest || entry.after_sequence >= at,
            };
            match fits {
                true => Ok(true),
                false => foreign("a state of another branch of this store's history"),
            }
        })?;
        // An imported state has the lineage of the store that it came from, and its commits are counted there.
        let first = self.identity.generation == 1 && position.cursor.lineage != self.identity.uuid;
        if first { foreign("a state of another store").map(drop) } else { Ok(()) }
    }

    fn hopeless(&self, damage: &Error, error: Error) -> Error {
        let oldest = self.extent.reach + 1;
        let message = format!(
            "{}: the store is damaged, and the journal does not reach back to the start (its oldest commit is {oldest}): \
             {error}; the damage: {damage}",
            self.folders.store.display(),
        );
        Error::with_source(ErrorKind::Corrupt, message, error)
    }
}

fn exists(disk: &dyn Disk, folder: &Path) -> Result<bool> {
    match disk.list(folder) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
