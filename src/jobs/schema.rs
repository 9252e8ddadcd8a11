//! Where a job's pair lies, and which index entries and counters follow from it. All pure.
//!
//! ```text
//! index     parts                               a job is in it while
//! ready     queue, priority, run_at, sequence   available
//! due       queue, run_at, sequence             scheduled, retryable
//! lease     queue, sequence, kind               executing
//! state     queue, state, sequence, kind        it exists, and is not executing
//! order     sequence, kind                      it exists
//! finished  queue, retention_ms, finished_at    completed, discarded, cancelled
//! unique    queue, unique_key                   it has a key, and is none of those
//!
//! counter   group          sum
//! states    queue, state   jobs
//! ```
//!
//! An executing job stands in `lease` and nowhere in `state`: of the two every job is in exactly one, once. A list reads
//! `lease` as if it were that part of `state`, and a sweep reads nothing else. One entry for both saves each claim, and
//! each end of one, a write.
//!
//! `sequence` is unique, so the `kind` behind it changes no order: it lets a list choose by kind without reading jobs.
//! `finished` leads with the retention, of which there are few, so a prune seeks from one to the next.

use super::pair::{Body, Head, Pair};
use super::state::State;
use super::window::Place;
use crate::engine::KEY_BYTES_MAX;
use crate::error::{Error, Result};
use crate::keys::{self, KeyWriter};
use crate::record::catalog::{self, jobs as numbers};
use crate::record::{Counter, Entity, Entries, Index, PartReader, PartWriter, Schema, Sums};

const PAUSED: &str = "queue.paused";

/// Jobs that can be claimed, first in line first.
pub(crate) const READY: Index<Pair> =
    Index { number: numbers::READY, name: "jobs.ready", unique: false, entries: ready };
/// Jobs that wait for their time, first due first.
pub(crate) const DUE: Index<Pair> = Index { number: numbers::DUE, name: "jobs.due", unique: false, entries: due };
/// Executing jobs by queue, oldest enqueue first.
pub(crate) const LEASE: Index<Pair> =
    Index { number: numbers::LEASE, name: "jobs.lease", unique: false, entries: lease };
/// Jobs by queue and state, oldest enqueue first; executing ones are in [`LEASE`].
pub(crate) const STATE: Index<Pair> =
    Index { number: numbers::STATE, name: "jobs.state", unique: false, entries: state };
/// All jobs, oldest enqueue first.
pub(crate) const ORDER: Index<Pair> =
    Index { number: numbers::ORDER, name: "jobs.order", unique: false, entries: order };
/// Finished jobs by queue and retention, first finished first.
pub(crate) const FINISHED: Index<Pair> =
    Index { number: numbers::FINISHED, name: "jobs.finished", unique: false, entries: finished };
/// Who holds a unique key.
pub(crate) const UNIQUE: Index<Pair> =
    Index { number: numbers::UNIQUE, name: "jobs.unique", unique: true, entries: unique };
/// Jobs by queue and state.
pub(crate) const STATES: Counter<Pair> = Counter { number: numbers::STATES, name: "jobs.states", sums: states };

/// Everything about jobs that can be checked and rebuilt from the jobs themselves.
pub(crate) static SCHEMA: Schema<Pair> = Schema {
    name: "jobs",
    primary: catalog::JOB,
    owns: keys::is_job,
    indexes: &[READY, DUE, LEASE, STATE, ORDER, FINISHED, UNIQUE],
    counters: &[STATES],
};

fn ready(pair: &Pair, entries: &mut Entries) {
    if pair.head.state == State::Available {
        let Place { priority, run_at, sequence } = pair.place();
        entries.push(KeyWriter::new().str(&pair.body.queue).u8(priority).u64(run_at).u64(sequence));
    }
}

impl Pair {
    /// Its place in its queue's line, while it is available.
    pub(crate) fn place(&self) -> Place {
        Place { priority: self.body.priority, run_at: self.head.run_at, sequence: self.body.sequence }
    }
}

fn due(pair: &Pair, entries: &mut Entries) {
    if pair.head.state.waits() {
        entries.push(KeyWriter::new().str(&pair.body.queue).u64(pair.head.run_at).u64(pair.body.sequence));
    }
}

fn lease(pair: &Pair, entries: &mut Entries) {
    if pair.head.state == State::Executing {
        // Neither when it expires nor who holds it: a heartbeat then writes the head alone.
        entries.push(KeyWriter::new().str(&pair.body.queue).u64(pair.body.sequence).str(&pair.body.kind));
    }
}

fn state(pair: &Pair, entries: &mut Entries) {
    if pair.head.state != State::Executing {
        let group = state_group(&pair.body.queue, pair.head.state);
        entries.push(group.u64(pair.body.sequence).str(&pair.body.kind));
    }
}

fn order(pair: &Pair, entries: &mut Entries) {
    entries.push(KeyWriter::new().u64(pair.body.sequence).str(&pair.body.kind));
}

fn finished(pair: &Pair, entries: &mut Entries) {
    if let Some(finished_at) = pair.head.finished_at {
        entries.push(KeyWriter::new().str(&pair.body.queue).u64(pair.body.retention_ms).u64(finished_at));
    }
}

fn unique(pair: &Pair, entries: &mut Entries) {
    if let (Some(key), false) = (&pair.body.unique_key, pair.head.state.is_terminal()) {
        entries.push(unique_parts(&pair.body.queue, key));
    }
}

fn states(pair: &Pair, sums: &mut Sums) {
    sums.add(state_group(&pair.body.queue, pair.head.state), 1);
}

/// Refuses names that are each within their limit but whose index entry would be too long for a key: a zero byte takes
/// two there, so only names made of hundreds of them are.
pub(crate) fn check_room(queue: &str, kind: &str, unique_key: Option<&str>) -> Result<()> {
    let parts = state_group(queue, State::Available).u64(0).str(kind);
    check_entry("kind", "queue and kind", keys::index_entry(numbers::STATE, &parts.finish(), Some(&keys::job(0)))?)?;
    unique_key.map_or(Ok(()), |unique_key| {
        let parts = unique_parts(queue, unique_key);
        check_entry("unique_key", "queue and unique_key", keys::index_entry(numbers::UNIQUE, &parts.finish(), None)?)
    })
}

fn check_entry(field: &str, names: &str, entry: Vec<u8>) -> Result<()> {
    if entry.len() > KEY_BYTES_MAX {
        return Err(Error::invalid(format!(
            "{field}: {names} hold too many zero bytes together, each of which takes the room of two"
        )));
    }
    Ok(())
}

/// The group of the state counter, and how entries of the state index begin.
pub(crate) fn state_group(queue: &str, state: State) -> KeyWriter {
    KeyWriter::new().str(queue).u8(state.number())
}

pub(crate) fn unique_parts(queue: &str, unique_key: &str) -> KeyWriter {
    KeyWriter::new().str(queue).str(unique_key)
}

/// The key of a queue's pause mark in `meta`.
pub(crate) fn paused_key(queue: &str) -> Vec<u8> {
    keys::meta(PAUSED, KeyWriter::new().str(queue))
}

/// What the keys of all pause marks begin with.
pub(crate) fn paused_prefix() -> Vec<u8> {
    keys::meta(PAUSED, KeyWriter::new())
}

/// The one key of the enqueue sequence in `meta`.
pub(crate) fn sequence_key() -> Vec<u8> {
    keys::meta("queue.sequence", KeyWriter::new())
}

/// The key of a job's older attempts.
pub(crate) fn attempts_key(id: u128) -> Vec<u8> {
    keys::history(catalog::JOB_ATTEMPTS.tag, KeyWriter::new().u128(id))
}

impl Entity for Pair {
    fn schema() -> &'static Schema<Self> {
        &SCHEMA
    }

    fn key(&self) -> Vec<u8> {
        keys::job(self.body.id)
    }

    fn revision(&self) -> u64 {
        self.head.revision
    }

    fn set_revision(&mut self, revision: u64) {
        self.head.revision = revision;
    }

    /// Only an executing job has a lease, and only a finished one has finished.
    fn contradiction(&self) -> Option<String> {
        let Head { state, lease, finished_at, .. } = &self.head;
        if (*state == State::Executing) != lease.is_some() {
            return Some(format!("it is {state}, and {} a lease", if lease.is_some() { "has" } else { "has no" }));
        }
        (state.is_terminal() != finished_at.is_some()).then(|| format!("it is {state}, finished at {finished_at:?}"))
    }

    fn load(key: &[u8], parts: &mut PartReader<'_>) -> Result<Option<Self>> {
        let Some(body) = parts.get::<Body>(catalog::JOB, key)? else { return Ok(None) };
        let head = parts.get::<Head>(catalog::CLAIM, &keys::claim(body.id))?;
        let head = head.unwrap_or_else(|| Head::first(&body));
        Ok(Some(Pair { body: body.into(), head }))
    }

    fn save(&self, old: Option<&Self>, parts: &mut PartWriter<'_>) -> Result<()> {
        let same_body = old.is_some_and(|old| std::sync::Arc::ptr_eq(&old.body, &self.body) || old.body == self.body);
        match old {
            // Whoever writes a record without an old one has looked: there is none.
            None => parts.put_first(catalog::JOB, &self.key(), &*self.body)?,
            Some(_) if !same_body => parts.put(catalog::JOB, &self.key(), &*self.body)?,
            Some(_) => {}
        }
        let head = &self.head;
        let stored = old.is_some_and(|old| old.head != Head::first(&old.body));
        if *head == Head::first(&self.body) {
            if stored {
                parts.delete(catalog::CLAIM, &keys::claim(self.body.id))?;
            }
        } else if old.is_some() && !stored {
            // The first claim, nearly always. An absent key costs a store as much as one that is there.
            parts.put_first(catalog::CLAIM, &keys::claim(self.body.id), head)?;
        } else if old.is_none_or(|old| old.head != *head) {
            parts.put(catalog::CLAIM, &keys::claim(self.body.id), head)?;
        }
        Ok(())
    }

    fn erase(&self, parts: &mut PartWriter<'_>) -> Result<()> {
        parts.delete(catalog::JOB, &self.key())?;
        parts.delete(catalog::CLAIM, &keys::claim(self.body.id))?;
        parts.delete(catalog::JOB_ATTEMPTS, &attempts_key(self.body.id))
    }
}
