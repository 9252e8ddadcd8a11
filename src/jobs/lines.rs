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
//! from the start of their queues. That is below 16 MiB also where every queue has the longest name; [`Memory`] says how
//! much it is, and the package's `tests/queue_memory.rs` holds its account against the allocator's.

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
const LINES_MAX: usize = 8_192;
/// What a line takes beside its name and its jobs: itself, the maps' share, what the allocator adds.
const LINE_BYTES: usize = size_of::<Line>() + 256;

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
    /// Boxed: a map keeps up to twice the room that it needs.
    lines: HashMap<Arc<str>, Box<Line>>,
    pub sleepers: Sleepers,
    /// Most jobs in a window, with as many lines as there are.
    pub cap: usize,
    /// With how many lines those that nobody is using are forgotten.
    forget_at: usize,
    tickets: u64,
}

impl Default for State {
    fn default() -> Self {
        State {
            lines: HashMap::new(),
            sleepers: Sleepers::default(),
            cap: WINDOW_MAX,
            forget_at: LINES_MAX,
            tickets: 0,
        }
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
            self.lines.insert(queue.into(), Box::new(Line::new(number)));
        }
        self.lines.get_mut(queue).expect("it is there, or was just put there")
    }

    /// The line of a queue, if it is known.
    pub fn known(&mut self, queue: &str) -> Option<&mut Line> {
        self.lines.get_mut(queue).map(|line| &mut **line)
    }

    /// A number for a set of candidates, or for a line. Never given out twice.
    pub fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Forgets lines that nobody is using: they are read again from their start.
    pub fn forget_idle(&mut self) {
        self.lines.retain(|_, line| !line.is_idle());
        self.lines.shrink_to_fit();
    }

    /// Forgets idle lines when there are too many, and makes windows smaller as lines grow in number.
    fn make_room(&mut self) {
        if self.lines.len() >= self.forget_at {
            self.forget_idle();
            // Where many are in use the next look waits until as many have come: a line costs the same on average.
            self.forget_at = LINES_MAX.max(2 * self.lines.len());
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
            // The name twice: where pruning goes on is a key that begins with it.
            memory.bytes += 2 * queue.len() + LINE_BYTES + line.window.bytes();
        }
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
        // Whoever has read of a pause in the old state, and did not tell yet, is told apart by it.
        let number = state.ticket();
        for line in state.lines.values_mut() {
            line.number = number;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_that_was_read_in_a_state_that_is_gone_does_not_count_in_the_one_that_took_its_place() {
        let lines = Lines::default();
        let number = lines.lock().line("q").number;
        // Read in the old state, where the queue is paused, and told only once the new one is in place.
        lines.replaced();
        let mut state = lines.lock();
        state.line("q").learn_paused(number, true);
        assert_eq!(state.line("q").paused, None);
    }
}
