//! Reads: each answer is one point in time, and no read changes state.
//!
//! A list walks index entries, not jobs: without a filter the order index; with one, the entries of every matching
//! (queue, state) group, merged by sequence. The groups come from the counters, so an empty one costs nothing. `kind`
//! stands in the entries. A page looks at no more than [`EXAMINED_MAX`] entries and ends once its jobs carry
//! [`PAGE_BYTES`]; then it is short, and `next` says where to go on.
//!
//! The honest limit: the jobs of one state in more than [`GROUPS_MAX`] queues are not merged, which would have to look
//! into each queue for every page. They are picked out of all jobs in order, whose claims are read for that: a page
//! looks at no more than [`READ_MAX`] of them, so where the state is rare it may be short, or even empty, with a `next`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::Bound;

use super::apply::Past;
use super::enqueue::parse_key;
use super::new_job::{check_limit, check_name};
use super::pair::{Head, Pair};
use super::schema::{ORDER, STATE, STATES, attempts_key, state_group};
use super::state::State;
use super::{Attempts, Counts, Job, JobId, Jobs};
use crate::engine::{Direction, KeyRange, Tree};
use crate::error::{Error, Result};
use crate::keys::{self, KeyReader, KeyWriter};
use crate::record::{Index, PAGE_BYTES, View, catalog};

/// Most index entries that one page of a list looks at.
const EXAMINED_MAX: usize = 50_000;
/// Most (queue, state) groups that a list merges.
const GROUPS_MAX: usize = 1_024;
/// Most counters that a page looks through for them.
const COUNTERS_MAX: usize = 8 * GROUPS_MAX;
/// Most jobs that one page reads to pick out those in a state.
const READ_MAX: usize = 10_000;
/// Index entries read at once for one group.
const GROUP_PAGE: usize = 100;

/// Which jobs to list; the default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobFilter {
    /// Of this queue.
    pub queue: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// Of this kind.
    pub kind: Option<String>,
}

impl JobFilter {
    /// All jobs.
    #[must_use]
    pub fn new() -> Self {
        JobFilter::default()
    }

    /// Only those of this queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Only those in this state.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// Only those of this kind.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Binds a page's `next` to its filter.
    fn checksum(&self) -> u32 {
        let optional = |key: KeyWriter, text: &Option<String>| match text {
            Some(text) => key.u8(1).str(text),
            None => key.u8(0),
        };
        let key = optional(optional(KeyWriter::new(), &self.queue), &self.kind);
        crc32c::crc32c(&key.u8(self.state.map_or(0, State::number)).finish())
    }
}

/// One page of a list, oldest enqueue first.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// What to give as `after` for the next page; `None` behind the last.
    pub next: Option<String>,
}

impl Jobs {
    /// The job with this id.
    ///
    /// # Errors
    /// `Corrupt` for damage.
    pub fn get(&self, id: JobId) -> Result<Option<Job>> {
        let key = keys::job(id.0);
        self.store_to_read().read(|view| Ok(view.get::<Pair>(&key)?.map(|pair| pair.job())))
    }

    /// One page of at most `limit` (1..=1,000) jobs, oldest enqueue first, behind an earlier page's `next`. A page ends
    /// early once its jobs carry 32 MiB, or when few of those that it looked at are asked for; only one without a `next`
    /// is the last.
    ///
    /// # Errors
    /// `Invalid` for a limit or a name out of bounds, or an `after` of another filter.
    pub fn list(&self, filter: &JobFilter, after: Option<&str>, limit: usize) -> Result<JobPage> {
        check_limit("limit", limit)?;
        filter.queue.as_deref().map_or(Ok(()), |queue| check_name("queue", queue))?;
        filter.kind.as_deref().map_or(Ok(()), |kind| check_name("kind", kind))?;
        let after = after.map(|after| parse_next(filter, after)).transpose()?.unwrap_or(0);
        self.store_to_read().read(|view| list(view, filter, after, limit))
    }

    /// Jobs by state for `queue`, or for every queue that has any; states without a job count 0.
    ///
    /// # Errors
    /// `Invalid` for a name out of bounds; `Corrupt` for damage.
    pub fn counts(&self, queue: Option<&str>) -> Result<BTreeMap<String, Counts>> {
        queue.map_or(Ok(()), |queue| check_name("queue", queue))?;
        self.store_to_read().read(|view| {
            let mut counts = BTreeMap::new();
            if let Some(queue) = queue {
                counts.insert(queue.to_owned(), Counts::default());
            }
            for (queue, state, count) in groups(view, queue)? {
                counts.entry(queue).or_insert_with(Counts::default).set(state, count);
            }
            Ok(counts)
        })
    }

    /// The attempts of a job, newest first.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` for damage.
    pub fn attempts(&self, id: JobId) -> Result<Attempts> {
        self.store_to_read().read(|view| {
            let pair = view
                .get::<Pair>(&keys::job(id.0))?
                .ok_or_else(|| Error::not_found(format!("job {id}: there is no such job")))?;
            let past: Past = view.get_part(catalog::JOB_ATTEMPTS, &attempts_key(id.0))?.unwrap_or_default();
            let newest = pair.newest_attempt().into_iter().chain(past.kept.into_iter().rev()).collect();
            Ok(Attempts { newest, older: past.dropped })
        })
    }
}

/// The (queue, state) groups that have jobs, and how many.
fn groups(view: &View<'_>, queue: Option<&str>) -> Result<Vec<(String, State, u64)>> {
    let prefix = queue.map_or_else(KeyWriter::new, |queue| KeyWriter::new().str(queue));
    let mut groups = Vec::new();
    for (group, count) in view.counts(&STATES, prefix)? {
        let mut parts = KeyReader::new(&group);
        let (queue, state) = (parts.str()?, State::from_number(parts.u8()?)?);
        let count = u64::try_from(count)
            .map_err(|_| Error::corrupt(format!("counter jobs.states {queue:?} {state}: {count} jobs")))?;
        groups.push((queue, state, count));
    }
    Ok(groups)
}

/// The queues that have jobs in `state`; `None` when there are too many to merge, or to look through.
fn queues_in(view: &View<'_>, state: State) -> Result<Option<Vec<String>>> {
    let mut rest = KeyRange::prefix(&keys::counter(STATES.number, &[]));
    let (mut queues, mut looked_at) = (Vec::new(), 0);
    loop {
        let page = view.reader().scan(Tree::Counter, &rest, Direction::Ascending, GROUPS_MAX)?;
        for (key, _) in &page.entries {
            let mut parts = KeyReader::new(keys::split_counter(key)?);
            let queue = parts.str()?;
            if State::from_number(parts.u8()?)? == state {
                queues.push(queue);
            }
        }
        looked_at += page.entries.len();
        match page.resume {
            _ if queues.len() > GROUPS_MAX => return Ok(None),
            None => return Ok(Some(queues)),
            Some(_) if looked_at >= COUNTERS_MAX => return Ok(None),
            Some(resume) => rest = rest.behind(&resume, Direction::Ascending),
        }
    }
}

fn list(view: &View<'_>, filter: &JobFilter, after: u64, limit: usize) -> Result<JobPage> {
    let in_order = || vec![Line::new(&ORDER, KeyWriter::new(), after)];
    let group = |queue: &str, state: State| Line::new(&STATE, state_group(queue, state), after);
    // In which state the jobs of these lines have to be, where that is not what the lines are about.
    let mut wanted = None;
    let lines = match (&filter.queue, filter.state) {
        (None, None) => in_order(),
        (Some(queue), state) => {
            let states = groups(view, Some(queue))?.into_iter().map(|(_, other, _)| other);
            states.filter(|other| state.is_none_or(|state| state == *other)).map(|state| group(queue, state)).collect()
        }
        (None, Some(state)) => match queues_in(view, state)? {
            Some(queues) => queues.iter().map(|queue| group(queue, state)).collect(),
            None => {
                wanted = Some(state);
                in_order()
            }
        },
    };
    let mut merged = Merged::new(view, lines, limit)?;
    let mut page = JobPage::default();
    let (mut last, mut bytes) = (after, 0);
    for _ in 0..if wanted.is_some() { READ_MAX } else { EXAMINED_MAX } {
        let Some(entry) = merged.next(view)? else { return Ok(page) };
        if page.jobs.len() == limit || bytes >= PAGE_BYTES {
            page.next = Some(next_text(filter, last));
            return Ok(page);
        }
        last = entry.sequence;
        if filter.kind.as_ref().is_some_and(|kind| *kind != entry.kind) {
            continue;
        }
        if let Some(state) = wanted {
            let (may_be, read) = may_be_in(view, entry.id, state)?;
            bytes += read;
            if !may_be {
                continue;
            }
        }
        let pair = view
            .get::<Pair>(&keys::job(entry.id.0))?
            .ok_or_else(|| Error::corrupt(format!("job {}: in an index, but there is no such job", entry.id)))?;
        bytes += pair.carried_bytes();
        if wanted.is_none_or(|state| state == pair.head.state) {
            page.jobs.push(pair.job());
        }
    }
    page.next = Some(next_text(filter, last));
    Ok(page)
}

/// Whether a job may be in `state` by its claim alone, without its payload; and the bytes of what may be large there.
fn may_be_in(view: &View<'_>, id: JobId, state: State) -> Result<(bool, usize)> {
    match view.get_part::<Head>(catalog::CLAIM, &keys::claim(id.0))? {
        Some(head) => Ok((head.state == state, head.checkpoint.map_or(0, |checkpoint| checkpoint.as_str().len()))),
        // Nothing has happened to it since its enqueue.
        None => Ok((matches!(state, State::Available | State::Scheduled), 0)),
    }
}

/// The entries of one group of an index, in order of their sequence.
struct Line {
    index: &'static Index<Pair>,
    prefix: Vec<u8>,
    after: u64,
    read: VecDeque<Entry>,
    /// How many entries are read at once.
    page: usize,
    at_end: bool,
}

struct Entry {
    sequence: u64,
    kind: String,
    id: JobId,
}

impl Line {
    fn new(index: &'static Index<Pair>, prefix: KeyWriter, after: u64) -> Self {
        Line { index, prefix: prefix.finish(), after, read: VecDeque::new(), page: GROUP_PAGE, at_end: false }
    }

    /// The sequence of its first entry.
    fn head(&mut self, view: &View<'_>) -> Result<Option<u64>> {
        if self.read.is_empty() && !self.at_end {
            let start = KeyWriter::new().raw(&self.prefix).u64(self.after).finish();
            let range = KeyRange { start: Bound::Excluded(start), end: Bound::Included(self.prefix.clone()) };
            let page = view.index_range(self.index, range, Direction::Ascending, None, self.page)?;
            self.at_end = page.resume.is_none();
            for entry in page.entries {
                let behind = entry.parts.get(self.prefix.len()..).unwrap_or_default();
                let mut parts = KeyReader::new(behind);
                let (sequence, kind) = (parts.u64()?, parts.str()?);
                self.after = sequence;
                self.read.push_back(Entry { sequence, kind, id: parse_key(&entry.primary)? });
            }
        }
        Ok(self.read.front().map(|entry| entry.sequence))
    }
}

/// Several lines as one, oldest entry first.
struct Merged {
    lines: Vec<Line>,
    /// The lines that have entries left, by the sequence of their first.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Merged {
    /// Of which about `limit` entries will be taken.
    fn new(view: &View<'_>, mut lines: Vec<Line>, limit: usize) -> Result<Self> {
        let mut heads = BinaryHeap::with_capacity(lines.len());
        let share = (2 * limit / lines.len().max(1)).clamp(4, GROUP_PAGE);
        for (place, line) in lines.iter_mut().enumerate() {
            line.page = share;
            heads.extend(line.head(view)?.map(|sequence| Reverse((sequence, place))));
        }
        Ok(Merged { lines, heads })
    }

    fn next(&mut self, view: &View<'_>) -> Result<Option<Entry>> {
        let Some(Reverse((_, place))) = self.heads.pop() else { return Ok(None) };
        let Some(line) = self.lines.get_mut(place) else { return Ok(None) };
        let entry = line.read.pop_front();
        self.heads.extend(line.head(view)?.map(|sequence| Reverse((sequence, place))));
        Ok(entry)
    }
}

/// 24 hex digits: the sequence read last, and the checksum of the filter.
fn next_text(filter: &JobFilter, sequence: u64) -> String {
    format!("{sequence:016x}{:08x}", filter.checksum())
}

fn parse_next(filter: &JobFilter, text: &str) -> Result<u64> {
    let sequence = text.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    match sequence {
        Some(sequence) if next_text(filter, sequence) == text => Ok(sequence),
        _ => Err(Error::invalid("after: not the `next` of a page of this very list")),
    }
}
