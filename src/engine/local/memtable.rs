//! Committed data that the store does not hold yet, and the bookkeeping of who may still look at it.
//!
//! Each key has a chain of versions. A version is replaced in place unless an open view still needs it, so a counter
//! that moves a thousand times takes one entry. Two tables exist: the active one takes writes; a frozen one is being
//! moved to the store by the applier and no longer changes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::batch::PerTree;
use super::sync::{AtomicU64, AtomicUsize, Condvar, Mutex, Ordering, RwLock, Stopwatch};
use crate::engine::{Direction, KeyRange, Tree, Value, Write};

/// Memory of an entry beside its key and value: map node share, chain, reference counts.
const ENTRY_OVERHEAD: usize = 96;

/// How long the applier waits for views that it would invalidate.
const VIEW_GRACE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone)]
struct Version {
    number: u64,
    value: Option<Value>,
}

#[derive(Debug)]
struct Chain {
    newest: Version,
    /// Newest first; only versions that an open view needs.
    older: Vec<Version>,
}

impl Chain {
    /// The newest version that a view at `number` sees.
    fn at(&self, number: u64) -> Option<&Version> {
        if self.newest.number <= number {
            return Some(&self.newest);
        }
        self.older.iter().find(|version| version.number <= number)
    }
}

/// One table.
#[derive(Debug)]
pub(super) struct Memtable {
    /// Grows by one from table to table.
    pub(super) id: u64,
    map: RwLock<PerTree<Chain>>,
    bytes: AtomicUsize,
    /// Journal bytes behind its content: bounds the replay of hot keys that take little memory.
    journal_bytes: AtomicU64,
}

/// A key and what a table says about it: a value, or that it was removed.
pub(super) type KnownKey = (Vec<u8>, Option<Value>);
/// Keys in the order of a scan.
pub(super) type Slice = VecDeque<KnownKey>;

/// What a table says about a key. The outer `None`: nothing; `Some(None)`: removed.
pub(super) type Known = Option<Option<Value>>;

impl Memtable {
    fn new(id: u64) -> Self {
        Memtable { id, map: RwLock::default(), bytes: AtomicUsize::new(0), journal_bytes: AtomicU64::new(0) }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn journal_bytes(&self) -> u64 {
        self.journal_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.read().is_empty()
    }

    pub(super) fn get(&self, tree: Tree, key: &[u8], version: u64) -> Known {
        self.map.read().get(tree, key)?.at(version).map(|version| version.value.clone())
    }

    /// Up to `limit` keys of `range` that a view at `version` knows something about, in scan order.
    pub(super) fn slice(
        &self,
        tree: Tree,
        range: &KeyRange,
        direction: Direction,
        version: u64,
        limit: usize,
    ) -> Vec<KnownKey> {
        let map = self.map.read();
        let entries = map
            .tree(tree)
            .range::<[u8], _>(range.bounds())
            .map(|(key, chain)| Some((key.to_vec(), chain.at(version)?.value.clone())));
        match direction {
            Direction::Ascending => entries.flatten().take(limit).collect(),
            Direction::Descending => entries.rev().flatten().take(limit).collect(),
        }
    }

    /// The final values in chunks of at most `writes_max` writes and about `bytes_max` bytes, by tree and key. The
    /// table is frozen, so nothing changes between two calls of `each`, and no lock is held during one.
    pub(super) fn chunks<E>(
        &self,
        writes_max: usize,
        bytes_max: usize,
        mut each: impl FnMut(Vec<Write>, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut resume: Option<(Tree, Box<[u8]>)> = None;
        loop {
            let (chunk, last) = self.chunk_behind(resume.as_ref(), writes_max, bytes_max);
            resume = chunk.last().map(|(tree, key, _)| (*tree, key.clone()));
            each(chunk, last)?;
            if last {
                return Ok(());
            }
        }
    }

    fn chunk_behind(
        &self,
        resume: Option<&(Tree, Box<[u8]>)>,
        writes_max: usize,
        bytes_max: usize,
    ) -> (Vec<Write>, bool) {
        let map = self.map.read();
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        for tree in Tree::ALL {
            let range = match resume {
                Some((done, _)) if tree < done => continue,
                Some((done, key)) if tree == done => KeyRange::all().behind(key, Direction::Ascending),
                _ => KeyRange::all(),
            };
            for (key, chain) in map.tree(*tree).range::<[u8], _>(range.bounds()) {
                if chunk.len() >= writes_max || (bytes >= bytes_max && !chunk.is_empty()) {
                    return (chunk, false);
                }
                bytes += key.len() + chain.newest.value.as_ref().map_or(0, |value| value.len());
                chunk.push((*tree, key.clone(), chain.newest.value.clone()));
            }
        }
        (chunk, true)
    }
}

/// The frozen table and what must be true before and after it is applied.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    pub(super) table: Arc<Memtable>,
    /// Every batch up to this one is wholly inside (or below): the applied sequence once it is in the store.
    pub(super) complete: u64,
    /// The newest batch with any write inside: must be durable before the store may hear of it.
    pub(super) newest: u64,
}

#[derive(Debug)]
struct Tables {
    active: Arc<Memtable>,
    frozen: Option<Frozen>,
    /// The newest version that plain reads see, and the sequence of its batch.
    visible: (u64, u64),
    /// Tables that the store has taken whole.
    moved: u64,
}

/// Both tables, the visible version and the open views.
#[derive(Debug)]
pub(super) struct Memtables {
    tables: RwLock<Tables>,
    views: Mutex<Views>,
    /// A view was closed.
    view_closed: Condvar,
}

/// Open views, counted by what the tables and the applier ask about.
#[derive(Debug, Default)]
struct Views {
    by_version: BTreeMap<u64, usize>,
    by_active_table: BTreeMap<u64, usize>,
}

fn count_down(counts: &mut BTreeMap<u64, usize>, key: u64) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// The tables as they stood at one version. While it lives, what it sees is kept.
#[derive(Debug)]
pub(super) struct MemView<'m> {
    owner: &'m Memtables,
    version: u64,
    pub(super) active: Arc<Memtable>,
    pub(super) frozen: Option<Arc<Memtable>>,
}

impl Memtables {
    pub(super) fn new() -> Self {
        Memtables {
            tables: RwLock::new(Tables { active: Arc::new(Memtable::new(1)), frozen: None, visible: (0, 0), moved: 0 }),
            views: Mutex::default(),
            view_closed: Condvar::new(),
        }
    }

    /// The newest value at `key`, whatever is visible to plain reads: for bodies and for reads of what is published,
    /// which is the same set, since nothing is published before it is visible.
    pub(super) fn newest(&self, tree: Tree, key: &[u8]) -> Known {
        let tables = self.tables.read();
        tables
            .active
            .get(tree, key, u64::MAX)
            .or_else(|| tables.frozen.as_ref().and_then(|frozen| frozen.table.get(tree, key, u64::MAX)))
    }

    /// Opens a view at the visible version.
    pub(super) fn view(&self) -> MemView<'_> {
        // The view is registered while publishing is kept out, so no version that it needs can go in between.
        let tables = self.tables.read();
        let (version, _) = tables.visible;
        {
            let mut views = self.views.lock();
            *views.by_version.entry(version).or_default() += 1;
            *views.by_active_table.entry(tables.active.id).or_default() += 1;
        }
        MemView {
            owner: self,
            version,
            active: Arc::clone(&tables.active),
            frozen: tables.frozen.as_ref().map(|frozen| Arc::clone(&frozen.table)),
        }
    }

    /// Makes writes of versions up to `visible.0` visible, all at once.
    pub(super) fn publish<'w>(
        &self,
        writes: impl Iterator<Item = (Tree, &'w [u8], &'w Option<Value>, u64)>,
        visible: (u64, u64),
        journal_bytes: u64,
    ) {
        let mut tables = self.tables.write();
        let views = self.views.lock();
        let needed = |from: u64, below: u64| views.by_version.range(from..below).next().is_some();
        let mut map = tables.active.map.write();
        let mut bytes = tables.active.bytes() as isize;
        for (tree, key, value, number) in writes {
            let size = |value: &Option<Value>| value.as_ref().map_or(0, |value| value.len()) as isize;
            let version = Version { number, value: value.clone() };
            match map.get_mut(tree, key) {
                Some(chain) => {
                    let old = std::mem::replace(&mut chain.newest, version);
                    bytes += size(value);
                    let mut below = number;
                    let mut kept = Vec::new();
                    for version in std::iter::once(old).chain(chain.older.drain(..)) {
                        if needed(version.number, below) {
                            below = version.number;
                            kept.push(version);
                        } else {
                            bytes -= size(&version.value);
                        }
                    }
                    chain.older = kept;
                }
                None => {
                    bytes += (key.len() + ENTRY_OVERHEAD) as isize + size(value);
                    map.insert(tree, key, Chain { newest: version, older: Vec::new() });
                }
            }
        }
        drop(map);
        tables.active.bytes.store(bytes.max(0) as usize, Ordering::Relaxed);
        tables.active.journal_bytes.fetch_add(journal_bytes, Ordering::Relaxed);
        tables.visible = tables.visible.max(visible);
    }

    /// Freezes the active table, unless there is a frozen one or nothing to freeze.
    pub(super) fn freeze(&self, complete: u64, newest: u64) -> bool {
        let mut tables = self.tables.write();
        if tables.frozen.is_some() || tables.active.is_empty() {
            return false;
        }
        let next = Arc::new(Memtable::new(tables.active.id + 1));
        let table = std::mem::replace(&mut tables.active, next);
        tables.frozen = Some(Frozen { table, complete, newest });
        true
    }

    /// Gives views that were opened while `table` was active a while to end, before the store is changed under them.
    /// One that stays longer has to start over; without this a busy applier could make every view do so.
    pub(super) fn wait_for_views(&self, table: u64) {
        let waiting = Stopwatch::start();
        let mut views = self.views.lock();
        while views.by_active_table.range(..=table).next().is_some() {
            let Some(left) = VIEW_GRACE.checked_sub(waiting.elapsed()) else { return };
            self.view_closed.wait_for(&mut views, left);
        }
    }

    pub(super) fn frozen(&self) -> Option<Frozen> {
        self.tables.read().frozen.clone()
    }

    /// The store holds all of the frozen table: reads find it there from now on.
    pub(super) fn drop_frozen(&self) {
        let mut tables = self.tables.write();
        tables.frozen = None;
        tables.moved += 1;
    }

    /// How many tables have been dropped: as long as it stays the same, none of them has left memory.
    pub(super) fn moved(&self) -> u64 {
        self.tables.read().moved
    }

    pub(super) fn active(&self) -> Arc<Memtable> {
        Arc::clone(&self.tables.read().active)
    }

    pub(super) fn visible(&self) -> (u64, u64) {
        self.tables.read().visible
    }

    /// Bytes in the table that the store takes next.
    pub(super) fn next_bytes(&self) -> usize {
        let tables = self.tables.read();
        tables.frozen.as_ref().map_or(&tables.active, |frozen| &frozen.table).bytes()
    }

    /// Bytes in both tables.
    pub(super) fn bytes(&self) -> usize {
        let tables = self.tables.read();
        tables.active.bytes() + tables.frozen.as_ref().map_or(0, |frozen| frozen.table.bytes())
    }
}

impl Drop for MemView<'_> {
    fn drop(&mut self) {
        let mut views = self.owner.views.lock();
        count_down(&mut views.by_version, self.version);
        count_down(&mut views.by_active_table, self.active.id);
        self.owner.view_closed.notify_one();
    }
}

impl MemView<'_> {
    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Known {
        self.active
            .get(tree, key, self.version)
            .or_else(|| self.frozen.as_ref().and_then(|frozen| frozen.get(tree, key, self.version)))
    }

    /// Up to `limit` keys of `range` that the tables know something about, in scan order, and whether that was all.
    pub(super) fn slice(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> (Slice, bool) {
        let active = self.active.slice(tree, range, direction, self.version, limit);
        let frozen = match &self.frozen {
            Some(frozen) => frozen.slice(tree, range, direction, self.version, limit),
            None => Vec::new(),
        };
        let all = active.len() < limit && frozen.len() < limit;
        let mut merged = VecDeque::with_capacity(active.len() + frozen.len());
        let (mut active, mut frozen) = (active.into_iter().peekable(), frozen.into_iter().peekable());
        while merged.len() < limit {
            let order = match (active.peek(), frozen.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((a, _)), Some((f, _))) => in_direction(a, f, direction),
            };
            // On a tie the active table is the newer one.
            if order != std::cmp::Ordering::Less {
                let older = frozen.next();
                if order == std::cmp::Ordering::Greater {
                    merged.extend(older);
                }
            }
            if order != std::cmp::Ordering::Greater {
                merged.extend(active.next());
            }
        }
        let all = all && active.peek().is_none() && frozen.peek().is_none();
        (merged, all)
    }
}

/// Compares two keys as a scan in `direction` meets them.
pub(super) fn in_direction(a: &[u8], b: &[u8], direction: Direction) -> std::cmp::Ordering {
    match direction {
        Direction::Ascending => a.cmp(b),
        Direction::Descending => b.cmp(a),
    }
}
