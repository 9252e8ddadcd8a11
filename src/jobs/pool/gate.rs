//! Who may run beside whom: the gate of a pool that isolates suspects.
//!
//! ```text
//!   beside   any number at once, while nobody runs alone or wants to
//!   alone    one, once everybody beside has left; while somebody wants it, nobody new enters beside
//! ```
//!
//! The second rule keeps a suspect from waiting for ever while ordinary jobs come and go. The honest limit: while it
//! waits for a long job to end, the rest of the pool stands idle.

use parking_lot::{Condvar, Mutex};

use super::signal::Signal;

#[derive(Debug, Default)]
pub(super) struct Gate {
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    beside: usize,
    alone: bool,
    /// How many wait to be alone.
    wanted: usize,
}

/// The right to claim and run; dropping it leaves.
#[derive(Debug)]
pub(super) struct Pass<'g> {
    gate: &'g Gate,
    alone: bool,
}

impl Gate {
    /// Enters with others; `None` once `stop` is raised.
    pub fn enter_beside(&self, stop: &Signal) -> Option<Pass<'_>> {
        let mut inside = self.inside.lock();
        while !stop.is_raised() {
            if !inside.alone && inside.wanted == 0 {
                inside.beside += 1;
                return Some(Pass { gate: self, alone: false });
            }
            self.changed.wait(&mut inside);
        }
        None
    }

    /// Enters alone; `None` once `stop` is raised. `wanted` is called when those inside ought to know.
    pub fn enter_alone(&self, stop: &Signal, wanted: impl FnOnce()) -> Option<Pass<'_>> {
        self.inside.lock().wanted += 1;
        wanted();
        let mut inside = self.inside.lock();
        let mut pass = None;
        while !stop.is_raised() {
            if !inside.alone && inside.beside == 0 {
                inside.alone = true;
                pass = Some(Pass { gate: self, alone: true });
                break;
            }
            self.changed.wait(&mut inside);
        }
        inside.wanted -= 1;
        self.changed.notify_all();
        pass
    }

    /// Whether somebody waits to be alone.
    pub fn is_wanted(&self) -> bool {
        self.inside.lock().wanted > 0
    }

    /// Lets everybody who waits look at the stop signal again.
    pub fn wake(&self) {
        // Under the lock: a waiter is either before its look at the signal, or already waits.
        let _inside = self.inside.lock();
        self.changed.notify_all();
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut inside = self.gate.inside.lock();
        if self.alone {
            inside.alone = false;
        } else {
            inside.beside -= 1;
        }
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_alone_was_waited_for_and_lets_nobody_in() {
        let (gate, stop) = (Gate::default(), Signal::default());
        let (told, hears) = crossbeam::channel::bounded(1);
        let (first, second) = (gate.enter_beside(&stop), gate.enter_beside(&stop));
        std::thread::scope(|scope| {
            let alone = scope.spawn(|| {
                let pass = gate.enter_alone(&stop, || told.send(()).expect("the test listens"));
                let inside = gate.inside.lock();
                ((inside.beside, inside.alone), drop(inside), drop(pass)).0
            });
            hears.recv().expect("it wants to be alone");
            assert!(gate.is_wanted());
            drop((first, second));
            assert_eq!(alone.join().expect("no panic"), (0, true));
        });
        assert!(!gate.is_wanted() && gate.enter_beside(&stop).is_some());
    }

    #[test]
    fn a_raised_signal_lets_everybody_who_waits_go() {
        let (gate, stop) = (Gate::default(), Signal::default());
        let held = gate.enter_beside(&stop);
        std::thread::scope(|scope| {
            let alone = scope.spawn(|| gate.enter_alone(&stop, || {}).is_none());
            stop.raise();
            gate.wake();
            assert!(alone.join().expect("no panic"));
        });
        assert!(gate.enter_beside(&stop).is_none() && !gate.is_wanted());
        drop(held);
    }
}
