//! A snapshot file as a point in time that can be read: base and overlay merged, the overlay wins.
//!
//! Reads go by the index of chunks, which costs about a hundred bytes for each 128 KiB; two chunks of each section are
//! kept. The file is believed no further than a chunk's own hash, so whoever opens a view has walked the file before, or
//! has written it.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use super::layout::{Record, Section};
use super::read::{ChunkReader, Source, records};
use super::write::ChunkAt;
use crate::engine::{Direction, GET_MANY_MAX, KeyRange, Page, Reader, Tree, Value, check_key, check_limit};
use crate::error::{Error, Result};

/// Unpacked chunks that are kept: enough for a scan of both sections and for pieces that are looked up meanwhile.
const CHUNKS_KEPT: usize = 6;

/// The merged content of one file.
pub(super) struct FileView<'s, S: ?Sized> {
    source: &'s S,
    base: Vec<ChunkAt>,
    overlay: Vec<ChunkAt>,
    kept: Mutex<Kept>,
}

struct Kept {
    reader: ChunkReader,
    /// By offset, the one used last in front.
    chunks: VecDeque<(u64, Arc<[Entry]>)>,
}

#[derive(Debug)]
struct Entry {
    tree: Tree,
    key: Box<[u8]>,
    value: Option<Value>,
}

impl Entry {
    fn place(&self) -> (Tree, &[u8]) {
        (self.tree, &self.key)
    }
}

impl<'s, S: Source + ?Sized> FileView<'s, S> {
    pub(super) fn new(source: &'s S, index: &[ChunkAt]) -> Result<Self> {
        let (base, overlay) = index.iter().cloned().partition(|chunk| chunk.section == Section::Base);
        let kept = Mutex::new(Kept { reader: ChunkReader::new()?, chunks: VecDeque::new() });
        Ok(FileView { source, base, overlay, kept })
    }

    fn load(&self, chunk: &ChunkAt) -> Result<Arc<[Entry]>> {
        let mut kept = self.kept.lock();
        let Kept { reader, chunks } = &mut *kept;
        let known = chunks.iter().position(|(at, _)| *at == chunk.at);
        if let Some((at, entries)) = known.and_then(|place| chunks.remove(place)) {
            chunks.push_front((at, Arc::clone(&entries)));
            return Ok(entries);
        }
        let (_, _, raw) = reader.read(self.source, chunk.at, 0)?;
        let mut entries = Vec::new();
        records(raw, 0, |record| {
            let Record { tree, key, value } = record;
            entries.push(Entry { tree, key: key.into(), value: value.map(Value::from) });
            Ok(())
        })?;
        let entries: Arc<[Entry]> = entries.into();
        chunks.push_front((chunk.at, Arc::clone(&entries)));
        chunks.truncate(CHUNKS_KEPT);
        Ok(entries)
    }

    /// What a section says of a key: nothing, a removal, or a value.
    fn lookup(&self, section: &[ChunkAt], tree: Tree, key: &[u8]) -> Result<Option<Option<Value>>> {
        let Some(chunk) = chunk_of(section, tree, key).and_then(|place| section.get(place)) else { return Ok(None) };
        let entries = self.load(chunk)?;
        let found = entries.binary_search_by(|entry| entry.place().cmp(&(tree, key)));
        Ok(found.ok().and_then(|place| entries.get(place)).map(|entry| entry.value.clone()))
    }

    fn value(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        match self.lookup(&self.overlay, tree, key)? {
            Some(last_word) => Ok(last_word),
            None => Ok(self.lookup(&self.base, tree, key)?.flatten()),
        }
    }
}

/// The place of the one chunk that can hold a key: the last that does not begin behind it.
fn chunk_of(section: &[ChunkAt], tree: Tree, key: &[u8]) -> Option<usize> {
    section.partition_point(|chunk| (chunk.tree, &*chunk.key) <= (tree, key)).checked_sub(1)
}

/// Walks one section from a place on.
struct Walker<'v, 's, S: ?Sized> {
    view: &'v FileView<'s, S>,
    section: &'v [ChunkAt],
    chunk: usize,
    entries: Option<Arc<[Entry]>>,
    place: usize,
}

impl<'v, 's, S: Source + ?Sized> Walker<'v, 's, S> {
    fn new(view: &'v FileView<'s, S>, section: &'v [ChunkAt], tree: Tree, start: &Bound<Vec<u8>>) -> Result<Self> {
        let key: &[u8] = match start {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded => &[],
        };
        let chunk = chunk_of(section, tree, key).unwrap_or(0);
        let mut walker = Walker { view, section, chunk, entries: None, place: 0 };
        walker.load()?;
        if let Some(entries) = &walker.entries {
            let includes = !matches!(start, Bound::Excluded(_));
            walker.place = entries.partition_point(|entry| {
                if includes { entry.place() < (tree, key) } else { entry.place() <= (tree, key) }
            });
        }
        Ok(walker)
    }

    fn load(&mut self) -> Result<()> {
        self.entries = self.section.get(self.chunk).map(|chunk| self.view.load(chunk)).transpose()?;
        self.place = 0;
        Ok(())
    }

    /// The entry that it stands before.
    fn peek(&mut self) -> Result<Option<&Entry>> {
        while self.entries.as_ref().is_some_and(|entries| self.place >= entries.len()) {
            self.chunk += 1;
            self.load()?;
        }
        Ok(self.entries.as_ref().and_then(|entries| entries.get(self.place)))
    }
}

impl<S: Source + ?Sized> Reader for FileView<'_, S> {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        check_key(key)?;
        self.value(tree, key)
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        if keys.len() > GET_MANY_MAX {
            return Err(Error::invalid(format!("keys: at most {GET_MANY_MAX}, got {}", keys.len())));
        }
        keys.iter().map(|(tree, key)| self.get(*tree, key)).collect()
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        check_limit(limit)?;
        if direction == Direction::Descending {
            return Err(Error::unsupported("snapshot: a file is read in key order only"));
        }
        let mut page = Page::default();
        let mut base = Walker::new(self, &self.base, tree, &range.start)?;
        let mut overlay = Walker::new(self, &self.overlay, tree, &range.start)?;
        let inside = |entry: &&Entry| entry.tree == tree && range.contains(&entry.key);
        loop {
            let (below, above) = (base.peek()?.filter(inside), overlay.peek()?.filter(inside));
            let order = match (below, above) {
                (None, None) => return Ok(page),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(below), Some(above)) => below.key.cmp(&above.key),
            };
            if page.entries.len() == limit {
                page.resume = page.entries.last().map(|(key, _)| key.clone());
                return Ok(page);
            }
            let entry = if order == std::cmp::Ordering::Less { below } else { above };
            if let Some(Entry { key, value: Some(value), .. }) = entry {
                page.entries.push((key.to_vec(), value.clone()));
            }
            base.place += usize::from(order != std::cmp::Ordering::Greater);
            overlay.place += usize::from(order != std::cmp::Ordering::Less);
        }
    }
}
