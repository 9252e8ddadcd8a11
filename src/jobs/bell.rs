//! Wakes those who wait for work: one for each job that there is, the one who waits longest first.
//!
//! ```text
//!            claim finds nothing ─> waiting ──rung──> looks again ─> has a job: leaves    ─┐  what it leaves over
//!                                     ^                            └> nothing: waits again ┴─> rings the next
//!                                     └──────────────────────────────────────┘
//! ```
//!
//! The rule that holds after every change: *while a line offers more jobs than sleepers were rung for it and have not
//! looked to the end, one more is rung.* So no wake-up is lost (whoever was rung and takes something else, gives up or
//! fails, passes the ring on as it stops looking), and N jobs wake at most N sleepers. To wait is to say that one has
//! looked to the end: a job that became ready in between rings at once.
//!
//! Time: of the threads that wait, the one that came first keeps time for all. It sleeps until the first job that
//! somebody waits for is due, or the first lease runs out, and rings whoever that concerns; when it leaves, the next
//! takes over. Nobody else has a timer, but for [`BACKSTOP_MS`], after which everybody looks on their own. The wall
//! clock is compared, never slept on for longer than that: if it jumps, that is how late it is noticed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::Jobs;
use super::lines::{Lines, State};
use super::new_job::check_name;
use super::sync::{Condvar, Stopwatch};
use crate::clock::Clock;
use crate::error::Result;

#[cfg(all(test, shuttle))]
mod models;

/// Longest time that a sleeper goes without looking: a safety net for what no commit and no clock here tells of.
pub(crate) const BACKSTOP_MS: u64 = 1_000;

/// All who wait, by the order in which they came.
#[derive(Debug)]
pub(crate) struct Sleepers {
    slots: BTreeMap<u64, Slot>,
    last: u64,
    /// When the first lease of this process runs out, by the monotonic clock; `u64::MAX`: there is none.
    first_lease: u64,
    /// The value of `first_lease` for which somebody went to look, so that the others need not.
    lease_looked_at: u64,
    /// Somebody has to look, whatever the time: a lease was dropped.
    look_now: bool,
}

impl Default for Sleepers {
    fn default() -> Self {
        Sleepers { slots: BTreeMap::new(), last: 0, first_lease: u64::MAX, lease_looked_at: u64::MAX, look_now: false }
    }
}

#[derive(Debug)]
struct Slot {
    queues: Arc<[Arc<str>]>,
    wake: Wake,
    /// In the lines of its queues.
    waiting: bool,
    /// The queue that it was rung for, until it has looked to the end.
    rung: Option<Arc<str>>,
    /// Called to look, whatever there is.
    called: bool,
    /// When it will look by itself: by the wall clock, by the monotonic one. 0: it does not sleep yet.
    until: (u64, u64),
}

#[derive(Debug)]
enum Wake {
    Thread(Arc<Condvar>),
    Task(Waker),
}

impl Slot {
    fn wake(&self) {
        match &self.wake {
            Wake::Thread(thread) => {
                thread.notify_one();
            }
            Wake::Task(waker) => waker.wake_by_ref(),
        }
    }
}

impl Sleepers {
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// When the first lease runs out that nobody looks after yet; `u64::MAX`: none does.
    fn next_lease(&self) -> u64 {
        if self.first_lease == self.lease_looked_at { u64::MAX } else { self.first_lease }
    }

    /// The thread that keeps time.
    fn keeper(&self) -> Option<(u64, &Slot)> {
        let mut threads = self.slots.iter().filter(|(_, slot)| slot.waiting && matches!(slot.wake, Wake::Thread(_)));
        threads.next().map(|(id, slot)| (*id, slot))
    }
}

impl State {
    /// Rings as many as `queue` has jobs for.
    pub fn ring(&mut self, queue: &str) {
        while let Some(line) = self.known(queue) {
            if line.waiting.is_empty() || line.offers() <= line.rung || !self.ring_one(queue) {
                break;
            }
        }
        self.check_watch(queue);
    }

    /// Rings who waits longest for `queue`.
    fn ring_one(&mut self, queue: &str) -> bool {
        let Some(line) = self.known(queue) else { return false };
        let Some(id) = line.waiting.pop_first() else { return false };
        line.rung += 1;
        let Some(slot) = self.sleepers.slots.get_mut(&id) else { return false };
        slot.rung = Some(queue.into());
        slot.wake();
        self.stop_waiting(id);
        true
    }

    /// Takes a sleeper out of its lines; the next thread takes over the watch if it had it.
    fn stop_waiting(&mut self, id: u64) {
        let kept_watch = self.sleepers.keeper().is_some_and(|(keeper, _)| keeper == id);
        let Some(slot) = self.sleepers.slots.get_mut(&id) else { return };
        slot.waiting = false;
        let queues = Arc::clone(&slot.queues);
        for queue in queues.iter() {
            if let Some(line) = self.known(queue) {
                line.waiting.remove(&id);
            }
        }
        if kept_watch {
            let (due, lease) = (self.next_due(), self.sleepers.next_lease());
            if let Some((_, next)) = self.sleepers.keeper()
                && (due < next.until.0 || lease < next.until.1)
            {
                next.wake();
            }
        }
    }

    /// Notes that a sleeper has looked to the end: what it was rung for may be another's.
    fn has_looked(&mut self, id: u64) {
        let Some(queue) = self.sleepers.slots.get_mut(&id).and_then(|slot| slot.rung.take()) else { return };
        if let Some(line) = self.known(&queue) {
            line.rung = line.rung.saturating_sub(1);
        }
        self.ring(&queue);
    }

    /// Wakes the keeper of time when a job of `queue` is due before it would look.
    fn check_watch(&mut self, queue: &str) {
        let Some(due) = self.known(queue).and_then(|line| line.alarm()) else { return };
        if let Some((_, keeper)) = self.sleepers.keeper().filter(|(_, keeper)| due < keeper.until.0) {
            keeper.wake();
        }
    }

    /// The first lease runs out at this time (`u64::MAX`: there is none): the keeper of time may have to look earlier.
    pub fn set_first_lease(&mut self, at: u64) {
        self.sleepers.first_lease = at;
        if let Some((_, keeper)) = self.sleepers.keeper().filter(|(_, keeper)| at < keeper.until.1) {
            keeper.wake();
        }
    }

    /// Lets one sleeper look, or the next one that would sleep: a lease was dropped, and a look fails its attempt.
    pub fn look_now(&mut self) {
        self.sleepers.look_now = true;
        if let Some((_, keeper)) = self.sleepers.keeper() {
            keeper.wake();
        }
    }

    /// Lets everybody look: a pool stops, or wants to be alone. Who is about to sleep looks once more instead.
    pub fn call_all(&mut self) {
        for slot in self.sleepers.slots.values_mut().filter(|slot| matches!(slot.wake, Wake::Thread(_))) {
            slot.called = true;
            slot.wake();
        }
    }

    /// When the first job is due that somebody waits for and nobody is up for; `u64::MAX`: none is.
    fn next_due(&mut self) -> u64 {
        self.alarms().map(|(due, _)| due).min().unwrap_or(u64::MAX)
    }

    fn alarms(&mut self) -> impl Iterator<Item = (u64, Arc<str>)> {
        let waiting = self.sleepers.slots.values().filter(|slot| slot.waiting);
        let queues: Vec<Arc<str>> = waiting.flat_map(|slot| slot.queues.iter().cloned()).collect();
        queues.into_iter().filter_map(|queue| self.known(&queue)?.alarm().map(|at| (at, queue)))
    }

    /// Rings one sleeper for each queue that has a job due by now.
    fn ring_for_time(&mut self, now: u64) {
        let due: Vec<(u64, Arc<str>)> = self.alarms().filter(|(at, _)| *at <= now).collect();
        for (at, queue) in due {
            // Asked again: who waits for two such queues is rung for one of them.
            let Some(line) = self.known(&queue).filter(|line| line.alarm() == Some(at)) else { continue };
            line.rung_at = Some(at);
            self.ring_one(&queue);
        }
    }
}

/// Somebody who waits for jobs of some queues. Dropping it passes on what it was rung for.
#[derive(Debug)]
pub(crate) struct Sleeper {
    lines: Arc<Lines>,
    id: u64,
}

impl Sleeper {
    fn new(lines: &Arc<Lines>, queues: &[String], wake: Wake) -> Self {
        let mut queues: Vec<Arc<str>> = queues.iter().map(|queue| queue.as_str().into()).collect();
        queues.sort_unstable();
        queues.dedup();
        let mut state = lines.lock();
        state.sleepers.last += 1;
        let id = state.sleepers.last;
        let slot = Slot { queues: queues.into(), wake, waiting: false, rung: None, called: false, until: (0, 0) };
        state.sleepers.slots.insert(id, slot);
        drop(state);
        Sleeper { lines: Arc::clone(lines), id }
    }

    /// A thread that will [`wait`](Self::wait).
    pub fn thread(lines: &Arc<Lines>, queues: &[String]) -> Self {
        Sleeper::new(lines, queues, Wake::Thread(Arc::default()))
    }

    fn is_rung(&self) -> bool {
        self.lines.lock().sleepers.slots.get(&self.id).is_some_and(|slot| slot.rung.is_some())
    }

    /// Says that this sleeper has looked to the end and found nothing, and puts it into its lines.
    fn wait_in_line(&self, state: &mut State) {
        state.has_looked(self.id);
        let Some(slot) = state.sleepers.slots.get_mut(&self.id) else { return };
        slot.waiting = true;
        slot.until = (0, 0);
        let queues = Arc::clone(&slot.queues);
        for queue in queues.iter() {
            state.line(queue).waiting.insert(self.id);
        }
        #[cfg(all(test, shuttle))]
        if models::skips_last_look() {
            return;
        }
        queues.iter().for_each(|queue| state.ring(queue));
    }

    /// Sleeps until it is rung or has to look for another reason, at most this long.
    pub fn wait(&self, clock: &dyn Clock, at_most: Duration) {
        let slept = Stopwatch::start();
        let at_most = at_most.min(Duration::from_millis(BACKSTOP_MS));
        let mut state = self.lines.lock();
        self.wait_in_line(&mut state);
        loop {
            let (now, now_monotonic) = (clock.now_ms(), clock.monotonic_ms());
            let keeps_watch = state.sleepers.keeper().is_some_and(|(keeper, _)| keeper == self.id);
            if keeps_watch {
                state.ring_for_time(now);
            }
            let mut left = at_most.saturating_sub(slept.elapsed());
            let Some(slot) = state.sleepers.slots.get(&self.id) else { return };
            let Wake::Thread(thread) = &slot.wake else { return };
            let thread = Arc::clone(thread);
            if slot.rung.is_some() || slot.called || left.is_zero() {
                break;
            }
            if keeps_watch {
                if std::mem::take(&mut state.sleepers.look_now) {
                    break;
                }
                let lease_in = state.sleepers.next_lease().saturating_sub(now_monotonic);
                if lease_in == 0 {
                    state.sleepers.lease_looked_at = state.sleepers.first_lease;
                    break;
                }
                let due_in = state.next_due().saturating_sub(now);
                // Clamped to the backstop by `left`, however far the wall clock is from the job's time.
                left = left.min(Duration::from_millis(lease_in.min(due_in)));
            }
            let millis = left.as_millis() as u64;
            if let Some(slot) = state.sleepers.slots.get_mut(&self.id) {
                slot.until = (now.saturating_add(millis), now_monotonic.saturating_add(millis));
            }
            // Woken, timed out or for no reason: everything is asked again.
            thread.wait_for(&mut state, left);
        }
        if let Some(slot) = state.sleepers.slots.get_mut(&self.id) {
            slot.called = false;
        }
        state.stop_waiting(self.id);
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let mut state = self.lines.lock();
        state.stop_waiting(self.id);
        state.has_looked(self.id);
        let slot = state.sleepers.slots.remove(&self.id);
        drop(state);
        // Whatever hangs on a task's waker goes outside of the lock.
        drop(slot);
    }
}

/// A task that waits for a job of one queue. See [`Jobs::on_ready`].
#[derive(Debug)]
#[must_use = "dropping it ends the wait"]
pub struct Ready {
    sleeper: Sleeper,
    look_again_ms: u64,
}

impl Ready {
    /// Whether there was something to claim since it was made. Once rung, make a new one to wait again.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        self.sleeper.is_rung()
    }

    /// After how many milliseconds to claim also without having been rung: a job is due then, a lease runs out, or it
    /// is time to look for safety's sake. At most 1,000.
    #[must_use]
    pub fn look_again_ms(&self) -> u64 {
        self.look_again_ms
    }
}

impl Jobs {
    /// Calls `waker` once `queue` has a job for this waiter, at once if it has one now: for hosts that do not wait in
    /// [`claim_wait`](Jobs::claim_wait). One job wakes one waiter, so what is answered must live until the claim that
    /// follows the wake-up is over; dropping it lets the next waiter have the job.
    ///
    /// There is no thread behind this: let a timer of your own wake the task after [`Ready::look_again_ms`], too.
    /// `waker` is called while a commit is being answered, so it may schedule a task and must not run it.
    ///
    /// # Errors
    /// `Invalid` for a queue outside 1..=256 bytes.
    pub fn on_ready(&self, queue: &str, waker: &Waker) -> Result<Ready> {
        check_name("queue", queue)?;
        let lines = &self.shared.lines;
        let sleeper = Sleeper::new(lines, &[queue.to_owned()], Wake::Task(waker.clone()));
        let clock = self.shared.store.clock();
        let (now, now_monotonic) = (clock.now_ms(), clock.monotonic_ms());
        let mut state = lines.lock();
        sleeper.wait_in_line(&mut state);
        let due_in = state.line(queue).alarm().map_or(u64::MAX, |due| due.saturating_sub(now));
        let lease_in = state.sleepers.first_lease.saturating_sub(now_monotonic);
        drop(state);
        Ok(Ready { sleeper, look_again_ms: due_in.min(lease_in).min(BACKSTOP_MS) })
    }
}
