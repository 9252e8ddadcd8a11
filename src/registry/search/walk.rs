//! One range of an index, entry by entry, in bounded reads.
//!
//! ```text
//! Up          entries as they stand
//! Down        entries against their order
//! TimesDown   the latest time first, and keys of one time smallest first:
//!
//!   index   10a 10b 20a 20b 20c 30a       a batch from the end   30a 20c 20b | 20a …   the last time may go on:
//!   walk    30a 20a 20b 20c 10a 10b       30a is taken, 20 is read again from its beginning, 10 follows
//! ```

use std::collections::VecDeque;
use std::ops::Bound;

use super::order::Order;
use super::plan::Strategy;
use super::subject::{Lead, Searched};
use crate::engine::{Direction, KeyRange};
use crate::error::Result;
use crate::keys::{KeyReader, KeyWriter};
use crate::record::{Index, IndexEntry, View};

/// Most entries read at once.
pub(super) const BATCH: usize = 256;

/// A walk through one range of an index.
pub(super) struct Walk<R: 'static> {
    index: &'static Index<R>,
    way: Way,
    /// What is left to read.
    rest: Option<KeyRange>,
    /// Entries of one time that are read next, smallest key first.
    inside: Option<KeyRange>,
    read: VecDeque<IndexEntry>,
    /// How much to read next: small at first, since most pages are.
    batch: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
    TimesDown,
}

impl<R: Searched> Walk<R> {
    /// All entries of `range`, in the order of the index.
    pub(super) fn all(index: &'static Index<R>, range: KeyRange) -> Self {
        Walk { index, way: Way::Up, rest: Some(range), inside: None, read: VecDeque::new(), batch: BATCH }
    }

    /// The entries of a strategy that is in index order, in `order` and behind the place `after`; `rows` are wanted.
    pub(super) fn in_order(strategy: &Strategy<R>, order: &Order, after: Option<&[u8]>, rows: usize) -> Result<Self> {
        let (range, descends) = (strategy.ranges.first().cloned(), order.descends());
        let way = match (strategy.lead, descends) {
            (_, false) => Way::Up,
            (Lead::Time, true) => Way::TimesDown,
            (_, true) => Way::Down,
        };
        let batch = rows.saturating_add(1).min(BATCH);
        let mut walk = Walk { rest: range, way, batch, ..Walk::all(strategy.index, KeyRange::all()) };
        if let (Some(rest), Some(after)) = (&mut walk.rest, after) {
            if strategy.lead == Lead::Time {
                let (time, key) = order.time_at(after)?;
                let entry = Bound::Excluded(KeyWriter::new().u64(time).raw(key).finish());
                let time = KeyWriter::new().u64(time).finish();
                if descends {
                    rest.end = Bound::Excluded(time.clone());
                    walk.inside = Some(KeyRange { start: entry, end: Bound::Included(time) });
                } else {
                    rest.start = entry;
                }
            } else {
                let prefix = strategy.prefix.as_deref().unwrap_or_default();
                let entry = Bound::Excluded([prefix, &order.key_at(after)].concat());
                *(if descends { &mut rest.end } else { &mut rest.start }) = entry;
            }
        }
        Ok(walk)
    }

    /// The next entry, or `None` at the end.
    pub(super) fn next(&mut self, view: &View<'_>) -> Result<Option<IndexEntry>> {
        loop {
            if let Some(entry) = self.read.pop_front() {
                return Ok(Some(entry));
            }
            if let Some(range) = self.inside.take() {
                self.inside = self.read_on(view, range, Direction::Ascending)?;
            } else if let Some(range) = self.rest.take() {
                self.rest = match self.way {
                    Way::Up => self.read_on(view, range, Direction::Ascending)?,
                    Way::Down => self.read_on(view, range, Direction::Descending)?,
                    Way::TimesDown => self.read_times(view, range)?,
                };
            } else {
                return Ok(None);
            }
            self.batch = BATCH;
        }
    }

    /// Reads a batch of `range`; answers what is left of it.
    fn read_on(&mut self, view: &View<'_>, range: KeyRange, direction: Direction) -> Result<Option<KeyRange>> {
        let page = view.index_range(self.index, range.clone(), direction, None, self.batch)?;
        let left = match (page.resume, page.entries.last()) {
            (Some(_), Some(last)) => Some(range.behind(&last.parts, direction)),
            _ => None,
        };
        self.read.extend(page.entries);
        Ok(left)
    }

    /// Reads the latest times of `range`, each as a whole or, if it is too long for that, not at all yet.
    fn read_times(&mut self, view: &View<'_>, mut range: KeyRange) -> Result<Option<KeyRange>> {
        // Two at least, or a time would never be seen to end.
        let page = view.index_range(self.index, range.clone(), Direction::Descending, None, self.batch.max(2))?;
        let mut times: Vec<(u64, Vec<IndexEntry>)> = Vec::new();
        for entry in page.entries {
            let time = KeyReader::new(&entry.parts).u64()?;
            match times.last_mut() {
                Some((same, entries)) if *same == time => entries.push(entry),
                _ => times.push((time, vec![entry])),
            }
        }
        if page.resume.is_none() {
            self.take(times);
            return Ok(None);
        }
        // The last time may go on in what was not read.
        let Some((last, entries)) = times.pop() else { return Ok(None) };
        let last = KeyWriter::new().u64(last).finish();
        if times.is_empty() {
            drop(entries);
            self.inside = Some(KeyRange { start: Bound::Included(last.clone()), end: Bound::Included(last.clone()) });
            range.end = Bound::Excluded(last);
        } else {
            self.take(times);
            range.end = Bound::Included(last);
        }
        Ok(Some(range))
    }

    fn take(&mut self, times: Vec<(u64, Vec<IndexEntry>)>) {
        for (_, entries) in times {
            self.read.extend(entries.into_iter().rev());
        }
    }
}
