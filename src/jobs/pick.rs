//! Candidates of one claim: taken from the windows of its queues, in order, and given back when it is over.
//!
//! What is taken is nobody else's until then, so concurrent claimers of this process take different heads of the line.
//! An empty window is read on at its horizon, by one claimer at a time; the others wait for that page.

use std::collections::BTreeSet;

use super::Jobs;
use super::claim::ClaimRequest;
use super::enqueue::parse_key;
use super::job::JobId;
use super::lines::Lines;
use super::note::read_place;
use super::schema::{READY, paused_key};
use super::window::{Fate, Horizon, Place};
use crate::engine::{Direction, KeyRange};
use crate::error::Result;
use crate::keys::{KeyReader, KeyWriter};
use crate::record::{RecordStore, catalog};
use std::ops::Bound;

/// Jobs that one scan reads at least, so that not every claim scans.
const SCAN_MIN: usize = 256;

/// A job that looked ready.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub job: JobId,
    pub place: Place,
    /// Its queue, by its place in the request.
    pub queue: usize,
}

/// The candidates of one claim. Those that were not settled go back when it is dropped.
pub(crate) struct Picked<'j> {
    lines: &'j Lines,
    request: &'j ClaimRequest,
    ticket: u64,
    pub candidates: Vec<Candidate>,
    settled: BTreeSet<JobId>,
}

impl Picked<'_> {
    /// These are claimed, or were not there any more: they are not offered again. Before anybody learns of the claim,
    /// so that what is told of it afterwards is newer than this.
    pub fn gone(&mut self, jobs: impl IntoIterator<Item = JobId>) {
        self.settled.extend(jobs);
        self.settle(Fate::Gone);
    }

    fn settle(&mut self, fate: Fate) {
        let mut state = self.lines.lock();
        let cap = state.cap;
        let settled = &self.settled;
        for candidate in
            self.candidates.extract_if(.., |candidate| fate == Fate::Back || settled.contains(&candidate.job))
        {
            let Some(queue) = self.request.queues().get(candidate.queue) else { continue };
            if let Some(line) = state.known(queue) {
                line.window.settle(candidate.place, self.ticket, fate, cap);
            }
        }
        for queue in self.request.queues() {
            state.ring(queue);
        }
    }
}

impl Drop for Picked<'_> {
    fn drop(&mut self) {
        if !self.candidates.is_empty() {
            self.settle(Fate::Back);
        }
    }
}

impl Jobs {
    /// Ready jobs that nobody else of this process is about to claim, first in line first, queue by queue.
    pub(crate) fn pick<'j>(&'j self, request: &'j ClaimRequest) -> Result<Picked<'j>> {
        let lines: &Lines = &self.shared.lines;
        let ticket = lines.lock().ticket();
        let mut picked = Picked { lines, request, ticket, candidates: Vec::new(), settled: BTreeSet::new() };
        let mut tried = BTreeSet::new();
        for (number, queue) in request.queues().iter().enumerate().filter(|(_, queue)| tried.insert(queue.as_str())) {
            let wanted = request.wanted().saturating_sub(picked.candidates.len());
            let before = picked.candidates.len();
            let outcome = self.take(queue, wanted, ticket, &mut |(place, job)| {
                picked.candidates.push(Candidate { job, place, queue: number });
            });
            // What came in front of the others while this waited for a scan belongs in front of them.
            if let Some(new) = picked.candidates.get_mut(before..) {
                new.sort_by_key(|candidate| candidate.place);
            }
            outcome?;
        }
        Ok(picked)
    }

    /// Takes up to `wanted` jobs from one queue.
    fn take(&self, queue: &str, wanted: usize, ticket: u64, each: &mut dyn FnMut((Place, JobId))) -> Result<()> {
        let lines = &self.shared.lines;
        let mut left = wanted;
        let mut state = lines.lock();
        while left > 0 {
            let cap = state.cap;
            let line = state.line(queue);
            match line.paused {
                Some(true) => break,
                Some(false) => {}
                None => {
                    let number = line.number;
                    drop(state);
                    let paused = is_paused(&self.shared.store, queue)?;
                    state = lines.lock();
                    state.line(queue).learn_paused(number, paused);
                    continue;
                }
            }
            let taken = line.window.take(left, ticket);
            left -= taken.len();
            taken.into_iter().for_each(&mut *each);
            if left == 0 || !line.window.wants_scan() {
                // A scan may have read more than a window is to hold.
                line.window.cut(cap);
                break;
            }
            if line.window.is_scanned() {
                lines.wait_for_scan(&mut state);
                continue;
            }
            let from = line.window.begin_scan();
            drop(state);
            let scan = Scanning { lines, queue, page: None };
            scan.run(&self.shared.store, from, left.max(SCAN_MIN.min(cap)))?;
            state = lines.lock();
        }
        Ok(())
    }
}

/// A scan on its way: ends also when it fails or panics, so that nobody waits for it for ever.
struct Scanning<'j> {
    lines: &'j Lines,
    queue: &'j str,
    page: Option<(Vec<(Place, JobId)>, bool)>,
}

impl Scanning<'_> {
    fn run(mut self, store: &RecordStore, from: Horizon, limit: usize) -> Result<()> {
        let line = || KeyWriter::new().str(self.queue);
        let start = match from {
            Horizon::At(place) => {
                Bound::Excluded(line().u8(place.priority).u64(place.run_at).u64(place.sequence).finish())
            }
            Horizon::Start | Horizon::End => Bound::Included(line().finish()),
        };
        let range = KeyRange { start, end: Bound::Included(line().finish()) };
        let page = store.read(|view| view.index_range(&READY, range.clone(), Direction::Ascending, None, limit))?;
        let read = page.entries.iter().map(|entry| {
            let mut parts = KeyReader::new(&entry.parts);
            parts.str()?;
            Ok((read_place(&mut parts)?, parse_key(&entry.primary)?))
        });
        let jobs = read.collect::<Result<Vec<_>>>()?;
        self.page = Some((jobs, page.resume.is_none()));
        Ok(())
    }
}

impl Drop for Scanning<'_> {
    fn drop(&mut self) {
        self.lines.end_scan(self.queue, self.page.take());
    }
}

fn is_paused(store: &RecordStore, queue: &str) -> Result<bool> {
    let key = paused_key(queue);
    store.read(|view| Ok(view.get_part::<bool>(catalog::QUEUE_PAUSED, &key)?.unwrap_or_default()))
}
