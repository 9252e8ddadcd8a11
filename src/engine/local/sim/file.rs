//! A file of the simulated disk: what programs read, and what a power cut leaves.
//!
//! ```text
//! live      what read_at answers: every write, synced or not
//! durable   what a power cut leaves for certain          \  kept only while recording
//! unsynced  writes since the last sync_data, in order    /
//! ```
//!
//! At a power cut any of the unsynced writes may have landed, whole, torn or scattered, in units of 512-byte sectors.
//! Each sector ends up as it was at *some* moment: writes that share a sector land on it in order, since the page
//! cache hands whole sectors to the device. Across sectors there is no order at all.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::dice::Dice;

/// The unit that a power cut can't tear.
pub(super) const SECTOR_BYTES: usize = 512;

/// One file. Its bytes count as used until the last handle and the last entry are gone, as on a real disk.
pub(super) struct SimFile {
    content: RwLock<Content>,
    used_bytes: Arc<AtomicU64>,
}

#[derive(Default, Clone)]
struct Content {
    live: Vec<u8>,
    halves: Option<Halves>,
}

#[derive(Default, Clone)]
struct Halves {
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Clone)]
struct Write {
    offset: usize,
    bytes: Box<[u8]>,
}

impl Write {
    fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }

    fn sectors(&self) -> std::ops::Range<usize> {
        self.offset / SECTOR_BYTES..self.end().div_ceil(SECTOR_BYTES)
    }

    /// The part of this write that lies in `sector`.
    fn put_sector(&self, sector: usize, target: &mut Vec<u8>) {
        let from = self.offset.max(sector * SECTOR_BYTES);
        let to = self.end().min((sector + 1) * SECTOR_BYTES);
        if let Some(part) = self.bytes.get(from - self.offset..to - self.offset) {
            put(target, from, part);
        }
    }
}

fn put(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if target.len() == offset {
        target.extend_from_slice(bytes);
        return;
    }
    if target.len() < offset + bytes.len() {
        target.resize(offset + bytes.len(), 0);
    }
    if let Some(place) = target.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

impl SimFile {
    pub(super) fn new(record: bool, used_bytes: &Arc<AtomicU64>) -> Arc<Self> {
        let content = Content { live: Vec::new(), halves: record.then(Halves::default) };
        Arc::new(SimFile { content: RwLock::new(content), used_bytes: Arc::clone(used_bytes) })
    }

    /// The same file on the disk whose use `used_bytes` counts.
    pub(super) fn copy(&self, used_bytes: &Arc<AtomicU64>) -> Arc<Self> {
        let content = self.content.read().clone();
        used_bytes.fetch_add(content.live.len() as u64, Ordering::Relaxed);
        Arc::new(SimFile { content: RwLock::new(content), used_bytes: Arc::clone(used_bytes) })
    }

    pub(super) fn len(&self) -> usize {
        self.content.read().live.len()
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let content = self.content.read();
        let rest = usize::try_from(offset).ok().and_then(|offset| content.live.get(offset..)).unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..bytes), rest.get(..bytes)) {
            to.copy_from_slice(from);
        }
        bytes
    }

    pub(super) fn write_at(&self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut content = self.content.write();
        let before = content.live.len();
        put(&mut content.live, offset, bytes);
        self.used_bytes.fetch_add((content.live.len() - before) as u64, Ordering::Relaxed);
        if let Some(halves) = &mut content.halves {
            halves.unsynced.push(Write { offset, bytes: bytes.into() });
        }
    }

    /// Everything written so far becomes durable.
    pub(super) fn sync(&self) {
        if let Some(Halves { durable, unsynced }) = &mut self.content.write().halves {
            for write in unsynced.drain(..) {
                put(durable, write.offset, &write.bytes);
            }
        }
    }

    /// A sync fails: some of the writes land, and the rest counts as clean from here on, so no later sync writes it.
    pub(super) fn fail_sync(&self, dice: &mut Dice) {
        if let Some(Halves { durable, unsynced }) = &mut self.content.write().halves {
            land(durable, unsynced, dice);
            unsynced.clear();
        }
    }

    /// The power is cut: what programs read is what the device holds.
    pub(super) fn cut_power(&self, dice: &mut Dice) {
        let mut content = self.content.write();
        let Content { live, halves } = &mut *content;
        if let Some(Halves { durable, unsynced }) = halves {
            land(durable, unsynced, dice);
            unsynced.clear();
            self.used_bytes.fetch_sub(live.len() as u64, Ordering::Relaxed);
            live.clone_from(durable);
            self.used_bytes.fetch_add(live.len() as u64, Ordering::Relaxed);
        }
    }

    /// Changes the bytes behind everyone's back, as a bad device would: both halves.
    pub(super) fn damage(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut content = self.content.write();
        self.used_bytes.fetch_sub(content.live.len() as u64, Ordering::Relaxed);
        change(&mut content.live);
        self.used_bytes.fetch_add(content.live.len() as u64, Ordering::Relaxed);
        let live = content.live.clone();
        if let Some(halves) = &mut content.halves {
            *halves = Halves { durable: live, unsynced: Vec::new() };
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.used_bytes.fetch_sub(self.content.get_mut().live.len() as u64, Ordering::Relaxed);
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("bytes", &self.len()).finish()
    }
}

/// Lets some of `writes` reach `durable`.
fn land(durable: &mut Vec<u8>, writes: &[Write], dice: &mut Dice) {
    // All and nothing are the likeliest outcomes of a real cut, and would be rare if each write chose for itself.
    let together = match dice.below(4) {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    };
    // The newest write that landed on each sector; the older ones on the same sector landed with it.
    let mut landed: HashMap<usize, usize> = HashMap::new();
    for (place, write) in writes.iter().enumerate() {
        let sectors = write.sectors();
        let fate = match together {
            Some(true) => Fate::Kept,
            Some(false) => Fate::Dropped,
            None => Fate::choose(&sectors, dice),
        };
        for sector in sectors {
            if fate.lands(sector, dice) {
                landed.insert(sector, place);
            }
        }
    }
    for (place, write) in writes.iter().enumerate() {
        for sector in write.sectors() {
            if landed.get(&sector).is_some_and(|newest| place <= *newest) {
                write.put_sector(sector, durable);
            }
        }
    }
    // The length is the folder's business and may have landed without the bytes.
    if let Some(write) = writes.get(dice.below(writes.len() * 2)) {
        durable.resize(durable.len().max(write.end()), 0);
    }
}

/// What becomes of one unsynced write.
enum Fate {
    Dropped,
    Kept,
    /// Only the sectors before this one.
    Torn(usize),
    /// Each sector for itself.
    Scattered,
}

impl Fate {
    fn choose(sectors: &std::ops::Range<usize>, dice: &mut Dice) -> Self {
        match dice.below(4) {
            0 => Fate::Dropped,
            1 => Fate::Kept,
            2 => Fate::Torn(sectors.start + dice.below(sectors.len().max(1))),
            _ => Fate::Scattered,
        }
    }

    fn lands(&self, sector: usize, dice: &mut Dice) -> bool {
        match self {
            Fate::Dropped => false,
            Fate::Kept => true,
            Fate::Torn(end) => sector < *end,
            Fate::Scattered => dice.below(2) == 0,
        }
    }
}
