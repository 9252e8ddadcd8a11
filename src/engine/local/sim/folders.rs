//! The folders of the simulated disk: the names that programs see, and the names that a power cut leaves.
//!
//! ```text
//! live      what open and list see
//! durable   what a power cut leaves for certain                     \  kept only while recording
//! unsynced  creations, renames and removals, in order, until the    /
//!           folder of the (new) name is synced
//! ```
//!
//! An operation is durable or not as a whole, so a rename leaves the old name or the new one. One that builds on an
//! earlier operation on the same name is never durable without it. A rename from one folder to another becomes durable
//! with a sync of the folder it leads to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::dice::Dice;
use super::file::SimFile;

/// A folder, whatever its name is at the moment.
pub(super) type FolderId = u64;

/// The folder that all paths start from, absolute or not. It always exists.
const ROOT: FolderId = 0;

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    File(Arc<SimFile>),
    Folder(FolderId),
}

/// A name in a folder.
pub(super) type Slot = (FolderId, String);

type Entries = BTreeMap<String, Entry>;

#[derive(Debug, Default)]
struct Folder {
    live: Entries,
    durable: Entries,
}

/// Names that change together. The last one is in the folder whose sync makes the operation durable.
#[derive(Debug)]
struct Operation(Vec<(Slot, Option<Entry>)>);

impl Operation {
    fn folder(&self) -> Option<FolderId> {
        self.0.last().map(|((folder, _), _)| *folder)
    }
}

#[derive(Debug)]
pub(super) struct Folders {
    record: bool,
    folders: BTreeMap<FolderId, Folder>,
    next_id: FolderId,
    unsynced: Vec<Operation>,
}

impl Folders {
    pub(super) fn new(record: bool) -> Self {
        let folders = BTreeMap::from([(ROOT, Folder::default())]);
        Folders { record, folders, next_id: ROOT + 1, unsynced: Vec::new() }
    }

    pub(super) fn folder(&self, path: &Path) -> Option<FolderId> {
        let mut folder = ROOT;
        for name in names(path)? {
            match self.at(&(folder, name)) {
                Some(Entry::Folder(inner)) => folder = *inner,
                _ => return None,
            }
        }
        Some(folder)
    }

    /// The name that `path` ends in, in its folder; `None` where that folder is missing.
    pub(super) fn slot(&self, path: &Path) -> Option<Slot> {
        let name = names(path)?.pop()?;
        Some((self.folder(path.parent()?)?, name))
    }

    pub(super) fn at(&self, (folder, name): &Slot) -> Option<&Entry> {
        self.folders.get(folder)?.live.get(name)
    }

    pub(super) fn names(&self, folder: FolderId) -> Vec<String> {
        self.folders.get(&folder).map(|folder| folder.live.keys().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn add(&mut self, slot: Slot, entry: Entry) {
        self.perform(Operation(vec![(slot, Some(entry))]));
    }

    pub(super) fn add_folder(&mut self, slot: Slot) {
        let id = self.next_id;
        self.next_id += 1;
        self.folders.insert(id, Folder::default());
        self.add(slot, Entry::Folder(id));
    }

    pub(super) fn rename(&mut self, from: Slot, to: Slot, entry: Entry) {
        self.perform(Operation(vec![(from, None), (to, Some(entry))]));
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.perform(Operation(vec![(slot, None)]));
    }

    /// Removes a folder from its leaves up, each entry an operation of its own: a cut may leave any of them.
    pub(super) fn remove_all(&mut self, slot: Slot) {
        if let Some(Entry::Folder(folder)) = self.at(&slot).cloned() {
            for name in self.names(folder) {
                self.remove_all((folder, name));
            }
            if !self.record {
                self.folders.remove(&folder);
            }
        }
        self.remove(slot);
    }

    fn perform(&mut self, operation: Operation) {
        for (slot, entry) in &operation.0 {
            self.set(slot, entry.as_ref(), |folder| &mut folder.live);
        }
        if self.record {
            self.unsynced.push(operation);
        }
    }

    fn set(&mut self, (folder, name): &Slot, entry: Option<&Entry>, half: fn(&mut Folder) -> &mut Entries) {
        let Some(folder) = self.folders.get_mut(folder) else { return };
        match entry {
            Some(entry) => half(folder).insert(name.clone(), entry.clone()),
            None => half(folder).remove(name),
        };
    }

    /// The entries of `folder` become durable.
    pub(super) fn sync(&mut self, folder: FolderId) {
        let landed = self.unsynced.iter().map(|operation| operation.folder() == Some(folder)).collect();
        self.land(landed, |_| true);
    }

    /// A sync of `folder` fails: some of its operations land, and no later sync makes the rest durable.
    pub(super) fn fail_sync(&mut self, folder: FolderId, dice: &mut Dice) {
        let chosen = choose(self.unsynced.len(), dice);
        let landed = self.unsynced.iter().zip(chosen).map(|(op, chosen)| chosen && op.folder() == Some(folder));
        self.land(landed.collect(), |operation| operation.folder() != Some(folder));
    }

    /// The power is cut: the names that programs see are those that the device holds.
    pub(super) fn cut_power(&mut self, dice: &mut Dice) {
        if !self.record {
            return;
        }
        let landed = choose(self.unsynced.len(), dice);
        self.land(landed, |_| false);
        for folder in self.folders.values_mut() {
            folder.live.clone_from(&folder.durable);
        }
        let reached = self.reached();
        self.folders.retain(|id, _| reached.contains(id));
    }

    /// Makes the `landed` operations durable, with those that they build on; of the rest `keep` says which may still
    /// become so.
    fn land(&mut self, mut landed: Vec<bool>, keep: impl Fn(&Operation) -> bool) {
        let mut needed: BTreeSet<&Slot> = BTreeSet::new();
        for (operation, landed) in self.unsynced.iter().zip(&mut landed).rev() {
            *landed |= operation.0.iter().any(|(slot, _)| needed.contains(slot));
            if *landed {
                needed.extend(operation.0.iter().map(|(slot, _)| slot));
            }
        }
        for (operation, landed) in std::mem::take(&mut self.unsynced).into_iter().zip(landed) {
            if landed {
                for (slot, entry) in &operation.0 {
                    self.set(slot, entry.as_ref(), |folder| &mut folder.durable);
                }
            } else if keep(&operation) {
                self.unsynced.push(operation);
            }
        }
    }

    fn reached(&self) -> BTreeSet<FolderId> {
        let (mut reached, mut ahead) = (BTreeSet::new(), vec![ROOT]);
        while let Some(id) = ahead.pop() {
            if reached.insert(id) {
                let entries = self.folders.get(&id).into_iter().flat_map(|folder| folder.live.values());
                ahead.extend(entries.filter_map(|entry| match entry {
                    Entry::Folder(inner) => Some(*inner),
                    Entry::File(_) => None,
                }));
            }
        }
        reached
    }

    /// The files that programs see, in a fixed order.
    pub(super) fn files(&self) -> impl Iterator<Item = &Arc<SimFile>> {
        self.folders.values().flat_map(|folder| folder.live.values()).filter_map(|entry| match entry {
            Entry::File(file) => Some(file),
            Entry::Folder(_) => None,
        })
    }

    /// The same folders and files, halves and all, on a disk of their own.
    pub(super) fn copy(&self, used_bytes: &Arc<AtomicU64>) -> Self {
        let mut copies: HashMap<*const SimFile, Arc<SimFile>> = HashMap::new();
        let mut copy = |entry: &Entry| match entry {
            Entry::Folder(id) => Entry::Folder(*id),
            Entry::File(file) => {
                Entry::File(Arc::clone(copies.entry(Arc::as_ptr(file)).or_insert_with(|| file.copy(used_bytes))))
            }
        };
        let mut entries = |half: &Entries| half.iter().map(|(name, entry)| (name.clone(), copy(entry))).collect();
        let folders = self
            .folders
            .iter()
            .map(|(id, folder)| (*id, Folder { live: entries(&folder.live), durable: entries(&folder.durable) }))
            .collect();
        let unsynced = self
            .unsynced
            .iter()
            .map(|Operation(changes)| {
                Operation(changes.iter().map(|(slot, entry)| (slot.clone(), entry.as_ref().map(&mut copy))).collect())
            })
            .collect();
        Folders { record: self.record, folders, next_id: self.next_id, unsynced }
    }
}

/// Which of `count` operations in a row land: none, all, the first few, or any.
fn choose(count: usize, dice: &mut Dice) -> Vec<bool> {
    let (mode, prefix) = (dice.below(4), dice.below(count + 1));
    (0..count)
        .map(|place| match mode {
            0 => false,
            1 => true,
            2 => place < prefix,
            _ => dice.below(2) == 0,
        })
        .collect()
}

/// The names on the way to `path`; `None` for a path that goes up.
fn names(path: &Path) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(names)
}
