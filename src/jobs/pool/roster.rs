//! Who is at work: the workers that have not ended, the attempts they are on, and which of these a handler has in hand.
//!
//! ```text
//!   at work ──begin──> in a handler ──hand_back──> ending its claim ──end──> at work … ──> ended
//!                └─ the pool stops: no handler ─────────^
//! ```
//!
//! Once the pool stops, workers enter no handler any more. So those that are at work and in no handler end by
//! themselves, within a commit; only a handler can keep its worker for longer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::signal::Signal;
use crate::clock::Stopwatch;
use crate::jobs::Token;

#[derive(Debug, Default)]
pub(super) struct Roster {
    state: Mutex<State>,
    /// A worker has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    at_work: BTreeSet<usize>,
    /// By the worker: each has one at most.
    attempts: BTreeMap<usize, Attempt>,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    token: Token,
    in_handler: bool,
}

impl State {
    fn in_handlers(&self) -> usize {
        self.attempts.values().filter(|attempt| attempt.in_handler).count()
    }
}

/// A worker's place on the roster, until it is dropped.
#[derive(Debug)]
pub(super) struct Post<'r> {
    roster: &'r Roster,
    worker: usize,
}

impl Roster {
    /// Puts a worker on the roster.
    pub fn enlist(&self, worker: usize) {
        self.state.lock().at_work.insert(worker);
    }

    /// The place of a worker that was enlisted; dropping it, in a panic too, ends it.
    pub fn post(&self, worker: usize) -> Post<'_> {
        Post { roster: self, worker }
    }

    /// Raises the signal; from here on nobody enters a handler.
    pub fn stop(&self, stopping: &Signal) {
        let _nobody_begins = self.state.lock();
        stopping.raise();
    }

    /// The tokens of all attempts that have not ended.
    pub fn tokens(&self) -> Vec<Token> {
        self.state.lock().attempts.values().map(|attempt| attempt.token).collect()
    }

    /// How many attempts have not ended.
    pub fn running(&self) -> usize {
        self.state.lock().attempts.len()
    }

    /// How many attempts a handler has in hand.
    pub fn in_handlers(&self) -> usize {
        self.state.lock().in_handlers()
    }

    pub fn has_ended(&self, worker: usize) -> bool {
        !self.state.lock().at_work.contains(&worker)
    }

    /// Waits until every worker has ended, but for `those_in_handlers` if they are let go; at most this long.
    pub fn wait_for_ends(&self, but_those_in_handlers: bool, at_most: Duration) {
        let waited = Stopwatch::start();
        let mut state = self.state.lock();
        loop {
            let excused = if but_those_in_handlers { state.in_handlers() } else { 0 };
            let left = at_most.saturating_sub(waited.elapsed());
            if state.at_work.len() <= excused || left.is_zero() {
                return;
            }
            self.ended.wait_for(&mut state, left);
        }
    }
}

impl Post<'_> {
    /// Begins an attempt; answers whether a handler is to work on it: not when the pool stops.
    pub fn begin(&self, token: Token, stopping: &Signal) -> bool {
        let mut state = self.roster.state.lock();
        let in_handler = !stopping.is_raised();
        state.attempts.insert(self.worker, Attempt { token, in_handler });
        in_handler
    }

    /// Its handler is done; the claim is to be ended.
    pub fn hand_back(&self) {
        let mut state = self.roster.state.lock();
        if let Some(attempt) = state.attempts.get_mut(&self.worker) {
            attempt.in_handler = false;
        }
    }

    /// The attempt is over.
    pub fn end(&self) {
        self.roster.state.lock().attempts.remove(&self.worker);
    }
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        let mut state = self.roster.state.lock();
        state.attempts.remove(&self.worker);
        state.at_work.remove(&self.worker);
        self.roster.ended.notify_all();
    }
}
