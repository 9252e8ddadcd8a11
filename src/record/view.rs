//! Reads of records, index pages and counters, all at one point in time.

use std::ops::Bound;

use serde::de::DeserializeOwned;

use crate::codec::Part;
use crate::engine::{Direction, KeyRange, Reader, SCAN_LIMIT_MAX, Tree, check_limit, read_counter};
use crate::error::{Error, Result};
use crate::keys::{self, KeyWriter};

use super::kind::{Fixed, Kind};
use super::schema::{Counter, Entity, Index, IndexPlace};
use super::txn::unique_entry;
use super::upkeep;
use super::value::PartReader;

/// Entries read at once where a caller asks for all of them.
pub(super) const PAGE: usize = 1_000;
/// Bytes of values after which a page ends early, so that a thousand large values are not held at once: 32 MiB. A page
/// holds at least one value, however large.
pub const PAGE_BYTES: usize = 32 << 20;

/// One point in time of the store.
#[derive(Clone, Copy)]
pub struct View<'v> {
    reader: &'v dyn Reader,
}

/// One page of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexPage {
    /// Entries, in the order asked for.
    pub entries: Vec<IndexEntry>,
    /// The entry to go on behind; `None` when the range has been read to its end.
    pub resume: Option<Vec<u8>>,
}

/// One entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The whole entry: what `after` takes.
    pub entry: Vec<u8>,
    /// The indexed parts alone; take them apart with [`KeyReader`](crate::keys::KeyReader).
    pub parts: Vec<u8>,
    /// The record's primary key.
    pub primary: Vec<u8>,
}

impl<'v> View<'v> {
    /// Reads through `reader`: one point in time if that is one.
    #[must_use]
    pub fn new(reader: &'v dyn Reader) -> Self {
        View { reader }
    }

    /// The raw reads underneath.
    #[must_use]
    pub fn reader(&self) -> &'v dyn Reader {
        self.reader
    }

    /// The record at `key`, or `None`.
    ///
    /// # Errors
    /// `Corrupt` for damage; `Unsupported` for a newer format.
    pub fn get<R: Entity>(&self, key: &[u8]) -> Result<Option<R>> {
        self.get_of(&Fixed::<R>::new(), key)
    }

    /// The record of this kind at its primary key `key`, or `None`.
    pub(crate) fn get_of<K: Kind>(&self, kind: &K, key: &[u8]) -> Result<Option<K::Record>> {
        kind.load(key, &mut PartReader::in_view(self.reader))
    }

    /// A single value that no index knows, or `None`.
    ///
    /// # Errors
    /// `Corrupt` for damage; `Unsupported` for a newer format.
    pub fn get_part<T: DeserializeOwned>(&self, part: Part, key: &[u8]) -> Result<Option<T>> {
        PartReader::in_view(self.reader).get(part, key)
    }

    /// The value in stored bytes that a scan of this view answered for `key`, its pieces included.
    ///
    /// # Errors
    /// `Corrupt` for damage; `Unsupported` for a newer format.
    pub fn open_part<T: DeserializeOwned>(&self, part: Part, key: &[u8], stored: &[u8]) -> Result<T> {
        PartReader::in_view(self.reader).open(part, key, stored)
    }

    /// One page of at most `limit` entries whose parts begin with `prefix`, behind the entry `after`.
    ///
    /// # Errors
    /// `Invalid` for a limit outside 1..=10,000, or an `after` that does not lie in this range; `Corrupt`.
    pub fn index_page<R: Entity>(
        &self,
        index: &Index<R>,
        prefix: KeyWriter,
        direction: Direction,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<IndexPage> {
        let range = KeyRange::prefix(&keys::index_prefix(index.number, &prefix.finish()));
        self.page(index.place(), range, direction, after, limit)
    }

    /// One page of at most `limit` entries whose parts lie in `range`, behind the entry `after`.
    ///
    /// A bound names leading parts and stands for every entry that begins with them: an included bound takes them
    /// all in, an excluded one leaves them all out.
    ///
    /// # Errors
    /// As [`View::index_page`].
    pub fn index_range<R: Entity>(
        &self,
        index: &Index<R>,
        range: KeyRange,
        direction: Direction,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<IndexPage> {
        let range = parts_range(index.number, &range);
        self.page(index.place(), range, direction, after, limit)
    }

    pub(super) fn page(
        &self,
        index: IndexPlace,
        range: KeyRange,
        direction: Direction,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<IndexPage> {
        check_limit(limit)?;
        let mut page = IndexPage::default();
        let mut rest = range;
        if let Some(after) = after {
            if !rest.contains(after) {
                return Err(Error::invalid(format!("after: not an entry of this range of index {}", index.name)));
            }
            rest = rest.behind(after, direction);
        }
        loop {
            let scanned = self.reader.scan(Tree::Index, &rest, direction, limit - page.entries.len())?;
            for (entry, stored) in scanned.entries {
                page.entries.push(read_entry(index, entry, &stored)?);
            }
            match scanned.resume {
                None => return Ok(page),
                Some(resume) if page.entries.len() >= limit => {
                    page.resume = Some(resume);
                    return Ok(page);
                }
                Some(resume) => rest = rest.behind(&resume, direction),
            }
        }
    }

    /// The primary key of the record that holds this place in a unique index.
    ///
    /// # Errors
    /// `Corrupt` for damage; `Internal` when the index is not unique.
    pub fn find_unique<R: Entity>(&self, index: &Index<R>, parts: KeyWriter) -> Result<Option<Vec<u8>>> {
        let entry = unique_entry(index.place(), parts)?;
        self.reader.get(Tree::Index, &entry)?.map(|stored| upkeep::read_holder(&entry, &stored)).transpose()
    }

    /// One group of a counter: one key is read.
    ///
    /// # Errors
    /// `Corrupt` for damage.
    pub fn count<R: Entity>(&self, counter: &Counter<R>, group: KeyWriter) -> Result<i64> {
        self.sum(counter.number, group)
    }

    /// Every group of a counter that begins with `prefix`, and its sum, in order. Groups whose sum is 0 are left out.
    ///
    /// # Errors
    /// `Corrupt` for damage.
    pub fn counts<R: Entity>(&self, counter: &Counter<R>, prefix: KeyWriter) -> Result<Vec<(Vec<u8>, i64)>> {
        self.sums(counter.number, prefix)
    }

    /// As [`View::count`], by the counter's number.
    ///
    /// # Errors
    /// `Corrupt` for damage.
    pub fn sum(&self, counter: u32, group: KeyWriter) -> Result<i64> {
        let key = keys::counter(counter, &group.finish());
        read_counter(Tree::Counter, &key, self.reader.get(Tree::Counter, &key)?.as_deref())
    }

    /// As [`View::counts`], by the counter's number.
    ///
    /// # Errors
    /// `Corrupt` for damage.
    pub fn sums(&self, counter: u32, prefix: KeyWriter) -> Result<Vec<(Vec<u8>, i64)>> {
        let mut sums = Vec::new();
        for_each(
            self.reader,
            Tree::Counter,
            KeyRange::prefix(&keys::counter(counter, &prefix.finish())),
            |key, stored| {
                sums.push((keys::split_counter(key)?.to_vec(), read_counter(Tree::Counter, key, Some(stored))?));
                Ok(())
            },
        )?;
        Ok(sums)
    }
}

impl View<'_> {
    /// The first keys of a range, at most `limit` of them.
    pub(super) fn first_keys(&self, tree: Tree, range: KeyRange, limit: usize) -> Result<Vec<Vec<u8>>> {
        let (mut keys, mut rest) = (Vec::new(), range);
        loop {
            let page = self.reader.scan(tree, &rest, Direction::Ascending, limit - keys.len())?;
            keys.extend(page.entries.into_iter().map(|(key, _)| key));
            match page.resume {
                Some(resume) if keys.len() < limit => rest = rest.behind(&resume, Direction::Ascending),
                _ => return Ok(keys),
            }
        }
    }
}

/// The entries of an index whose parts lie in `range`. A bound stands for every entry that begins with it.
pub(super) fn parts_range(index: u32, range: &KeyRange) -> KeyRange {
    let at = |parts: &[u8]| keys::index_prefix(index, parts);
    let behind = |parts: &[u8]| KeyRange::prefix(&at(parts)).end;
    let start = match &range.start {
        Bound::Included(parts) => Bound::Included(at(parts)),
        Bound::Excluded(parts) => match behind(parts) {
            Bound::Excluded(first) | Bound::Included(first) => Bound::Included(first),
            // Only behind an index number of all ones, which is never given out: nothing can follow.
            Bound::Unbounded => Bound::Excluded(at(parts)),
        },
        Bound::Unbounded => Bound::Included(at(&[])),
    };
    let end = match &range.end {
        Bound::Included(parts) => behind(parts),
        Bound::Excluded(parts) => Bound::Excluded(at(parts)),
        Bound::Unbounded => behind(&[]),
    };
    KeyRange { start, end }
}

/// Calls `visit` with every entry of `range`, page by page, in order.
pub(super) fn for_each(
    reader: &dyn Reader,
    tree: Tree,
    range: KeyRange,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    const { assert!(PAGE <= SCAN_LIMIT_MAX) };
    let mut rest = range;
    loop {
        let page = reader.scan(tree, &rest, Direction::Ascending, PAGE)?;
        for (key, stored) in &page.entries {
            visit(key, stored)?;
        }
        match page.resume {
            Some(resume) => rest = rest.behind(&resume, Direction::Ascending),
            None => return Ok(()),
        }
    }
}

/// Takes an entry of this index apart.
pub(super) fn read_entry(index: IndexPlace, entry: Vec<u8>, stored: &[u8]) -> Result<IndexEntry> {
    let (parts, primary) = if index.unique {
        (keys::split_unique_entry(&entry)?.to_vec(), upkeep::read_holder(&entry, stored)?)
    } else {
        let (parts, primary) = keys::split_entry(&entry)?;
        (parts.to_vec(), primary.to_vec())
    };
    Ok(IndexEntry { entry, parts, primary })
}
