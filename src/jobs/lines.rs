//! What is known in memory about all queues, kept in step with the store by what the engine tells at each commit.
//!
//! ```text
//!   engine ──published──> note ──> line of its queue: window · paused · floors ──> ring who waits for it   (bell)
//!   claim  ──take, scan, settle──>      (pick)
//!   upkeep ──floors──>                  (maintain, prune)
//! ```
//!
//! Only queues that somebody asked for have a line; others are told in vain. One mutex covers everything, is held for
//! map operations only, and never while the engine is called: the engine calls in here with locks of its own held.
//!
//! Bounds: at most [`WINDOW_MAX`] jobs a window, fewer when there are many queues ([`JOBS_MAX`] in all windows, give or
//! take a factor of two), and [`LINES_MAX`] lines, beyond which those that nobody is using are forgotten and read again
//! from the start of their queues. That is below 16 MiB; [`Memory`] says how much it is.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::bell::Sleepers;
use super::job::JobId;
use super::line::Line;
use super::note::{self, Note};
use super::sync::{Condvar, Mutex, MutexGuard};
use super::window::Place;
use crate::engine::{Cursor, Observer, Told, Tree};

/// Most jobs in one window.
const WINDOW_MAX: usize = 1_024;
/// Fewest jobs that a window may hold, however many queues there are.
const WINDOW_MIN: usize = 2;
/// Jobs that all windows together are meant to hold.
const JOBS_MAX: usize = 32_768;
/// Most queues that are known at once, beside those in use.
const LINES_MAX: usize = 16_384;
/// What a job in a window takes: place and id, the map's share.
const JOB_BYTES: usize = 48 * 2;
/// What a line takes beside its name and its jobs: itself, the map's share.
const LINE_BYTES: usize = size_of::<Line>() + 64;

/// All queues that somebody asked for.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    state: Mutex<State>,
    /// A scan has ended.
    scanned: Condvar,
}

/// Everything under the mutex.
#[derive(Debug)]
pub(crate) struct State {
    lines: HashMap<Arc<str>, Line>,
    pub sleepers: Sleepers,
    /// Most jobs in a window, with as many lines as there are.
    pub cap: usize,
    tickets: u64,
}

impl Default for State {
    fn default() -> Self {
        State { lines: HashMap::new(), sleepers: Sleepers::default(), cap: WINDOW_MAX, tickets: 0 }
    }
}

/// What the queue keeps in memory. See [`Jobs::memory`](super::Jobs::memory).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Memory {
    /// Queues that are known.
    pub queues: usize,
    /// Jobs in the windows in front of them.
    pub window_jobs: usize,
    /// Jobs reserved for claims that are on their way.
    pub reserved_jobs: usize,
    /// Workers and tasks that wait for a job.
    pub sleepers: usize,
    /// About how many bytes all of this takes.
    pub bytes: usize,
}

impl State {
    /// The line of a queue, new if it was unknown.
    pub fn line(&mut self, queue: &str) -> &mut Line {
        if !self.lines.contains_key(queue) {
            self.make_room();
            let number = self.ticket();
            self.lines.insert(queue.into(), Line::new(number));
        }
        self.lines.get_mut(queue).expect("it is there, or was just put there")
    }

    /// The line of a queue, if it is known.
    pub fn known(&mut self, queue: &str) -> Option<&mut Line> {
        self.lines.get_mut(queue)
    }

    /// A number for a set of candidates, or for a line. Never given out twice.
    pub fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Forgets lines that nobody is using: they are read again from their start.
    pub fn forget_idle(&mut self) {
        self.lines.retain(|_, line| !line.is_idle());
    }

    /// Forgets idle lines when there are too many, and makes windows smaller as lines grow in number.
    fn make_room(&mut self) {
        if self.lines.len() >= LINES_MAX {
            self.forget_idle();
        }
        let count = self.lines.len() + 1;
        // Only now and then, so that a line costs the same however many there are.
        if count.is_power_of_two() {
            self.cap = (JOBS_MAX / count).clamp(WINDOW_MIN, WINDOW_MAX);
            let cap = self.cap;
            self.lines.values_mut().for_each(|line| line.window.cut(cap));
        }
    }

    /// Takes a note in; answers whether somebody may have waited for it.
    fn hear(&mut self, queue: &str, note: Note, present: bool) -> bool {
        let Some(line) = self.lines.get_mut(queue) else { return false };
        match note {
            Note::Ready(place, job) if present => line.window.put(place, job, self.cap),
            Note::Ready(place, _) => line.window.remove(place),
            Note::DueAt(run_at) if present => line.due.tell(run_at),
            Note::PrunableAt(at) if present => line.prunable.tell(at),
            Note::DueAt(_) | Note::PrunableAt(_) => {}
            Note::Paused => line.paused = Some(present),
        }
        !line.waiting.is_empty()
    }

    fn memory(&self) -> Memory {
        let mut memory = Memory { queues: self.lines.len(), sleepers: self.sleepers.count(), ..Memory::default() };
        for (queue, line) in &self.lines {
            memory.window_jobs += line.window.ready();
            memory.reserved_jobs += line.window.taken();
            memory.bytes += queue.len();
        }
        memory.bytes += (memory.window_jobs + memory.reserved_jobs) * JOB_BYTES + memory.queues * LINE_BYTES;
        memory
    }
}

impl Lines {
    /// Everything known, to be looked at and changed. Never call the engine meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Calls `change` with the line of `queue`, then rings whoever may find something there now.
    pub fn with<T>(&self, queue: &str, change: impl FnOnce(&mut Line, usize) -> T) -> T {
        let mut state = self.lock();
        let cap = state.cap;
        let answer = change(state.line(queue), cap);
        state.ring(queue);
        answer
    }

    /// Waits until a scan, of whichever queue, has ended.
    pub fn wait_for_scan(&self, state: &mut MutexGuard<'_, State>) {
        self.scanned.wait(state);
    }

    /// Takes in what a scan of `queue` read, and lets those go on who waited for it.
    pub fn end_scan(&self, queue: &str, page: Option<(Vec<(Place, JobId)>, bool)>) {
        self.with(queue, |line, _| line.window.end_scan(page));
        self.scanned.notify_all();
    }

    pub fn memory(&self) -> Memory {
        self.lock().memory()
    }
}

impl Observer for Lines {
    fn watches(&self) -> Vec<(Tree, Vec<u8>)> {
        note::watches()
    }

    fn published(&self, _cursor: Cursor, told: &[Told<'_>]) {
        let mut state = self.lock();
        let mut changed = Vec::new();
        for told in told {
            // A key that the schema did not write is met by the scan that comes upon it, which can say so.
            let Ok((queue, note)) = Note::read(told) else { continue };
            if state.hear(&queue, note, told.present) && state.sleepers.count() > 0 {
                changed.push(queue);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        // Only now, so that whoever is rung finds the whole commit.
        changed.iter().for_each(|queue| state.ring(queue));
    }

    fn replaced(&self) {
        let mut state = self.lock();
        for line in state.lines.values_mut() {
            line.window.forget();
            line.paused = None;
            line.due.tell(0);
            line.prunable.tell(0);
            line.rung_at = None;
        }
        let queues: Vec<Arc<str>> = state.lines.keys().cloned().collect();
        queues.iter().for_each(|queue| state.ring(queue));
    }
}
