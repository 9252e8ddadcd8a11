//! The store and the model side by side: every step is done to both, and both must agree.
//!
//! ```text
//!   step ──> store ──┐                        unsynced: the moments before each buffered commit that
//!   step ──> model ──┴─> the same answer?     a power cut may still take back, oldest first
//! ```

use ml_persistence::Durability;

use super::copies::Copies;
use super::items;
use super::kv;
use super::mixed::Mixed;
use super::op::Op;
use super::queue::op::Op as QueueOp;
use super::queue::world::World as QueueWorld;
use super::rig::assert_sound;
use super::state::{Agreement, Moment, State, agree, same};
use super::verbs;

/// Steps between two looks at everything.
const LOOK_EVERY: usize = 12;

pub struct World {
    pub queue: QueueWorld,
    pub state: State,
    unsynced: Vec<Moment>,
    copies: Copies,
    steps: usize,
}

impl World {
    pub fn new() -> Self {
        let (queue, state) = (QueueWorld::new(), State::default());
        World { queue, state, unsynced: Vec::new(), copies: Copies::new(), steps: 0 }
    }

    pub fn moment(&self) -> Moment {
        Moment { state: self.state.clone(), queue: self.queue.model.clone() }
    }

    /// Takes over another state; the clocks go on, and so does the count of what was handed out.
    fn become_of(&mut self, mut moment: Moment) {
        let now = &self.queue.model;
        (moment.queue.wall, moment.queue.monotonic) = (now.wall, now.monotonic);
        moment.queue.tokens.clone_from(&now.tokens);
        moment.queue.sequence = moment.queue.sequence.max(now.sequence);
        (self.state, self.queue.model) = (moment.state, moment.queue);
    }

    /// Runs the steps, and looks at everything now and then and at the end.
    pub fn run(&mut self, ops: &[Op]) -> Agreement {
        for op in ops {
            self.step(op).map_err(|fault| format!("step {}, {op:?}: {fault}", self.steps))?;
            self.steps += 1;
            if self.steps.is_multiple_of(LOOK_EVERY) {
                self.compare().map_err(|fault| format!("after step {}, {op:?}: {fault}", self.steps))?;
            }
        }
        self.compare().map_err(|fault| format!("at the end: {fault}"))?;
        // Ends with what everything comes to: a clean close, and an opening that changes nothing.
        self.step(&Op::Queue(QueueOp::Close)).map_err(|fault| format!("the last closing: {fault}"))
    }

    fn step(&mut self, op: &Op) -> Agreement {
        let before = self.moment();
        let buffered = match op {
            Op::Values(op, durability) => {
                kv::step(self.queue.rig.db(), &mut self.state.values, op, *durability)?;
                *durability == Durability::Buffered
            }
            Op::Items(op, durability) => {
                items::step(self.queue.rig.db(), &mut self.state.items, op, *durability)?;
                *durability == Durability::Buffered
            }
            Op::Registry(op) => {
                verbs::step(self.queue.rig.db(), &mut self.state.registry, before.queue.wall, op)?;
                matches!(op, verbs::Op::Touch { .. })
            }
            Op::Queue(QueueOp::Crash) => return self.end_of_life(None),
            Op::Queue(op) => {
                self.queue.step(op)?;
                if *op == QueueOp::Close {
                    self.unsynced.clear();
                    return self.compare();
                }
                let claims = matches!(
                    op,
                    QueueOp::Claim { .. } | QueueOp::ClaimAndDrop { .. } | QueueOp::CompleteAndClaim { .. }
                );
                self.queue.same_jobs(claims)?;
                if claims {
                    // What a claim prunes on its way is buffered; which of it a cut would bring back is nobody's concern.
                    self.queue.rig.db().sync().map_err(|error| error.to_string())?;
                    self.unsynced.clear();
                }
                false
            }
            Op::Mixed(mixed) => {
                self.mixed(mixed)?;
                mixed.durability == Durability::Buffered
            }
            Op::Copies(op) => {
                let restored = self.copies.step(self.queue.rig.db(), &before, op)?;
                if let Some(moment) = restored {
                    self.become_of(moment);
                    self.unsynced.clear();
                    return self.compare();
                }
                false
            }
            Op::Sync => {
                self.queue.rig.db().sync().map_err(|error| error.to_string())?;
                self.unsynced.clear();
                false
            }
            Op::Checkpoint => {
                self.queue.rig.db().checkpoint().map_err(|error| error.to_string())?;
                self.unsynced.clear();
                false
            }
            Op::Repair => {
                let repaired = self.queue.rig.db().repair().map_err(|error| error.to_string())?;
                agree("nothing to repair", &repaired.is_clean(), &true)?;
                false
            }
            Op::CutPower(seed) => return self.end_of_life(Some(*seed)),
        };
        if !self.moment().holds_the_same(&before) {
            match buffered {
                true => self.unsynced.push(before),
                // It was acknowledged as durable, and so was all that came before it.
                false => self.unsynced.clear(),
            }
        }
        Ok(())
    }

    fn mixed(&mut self, mixed: &Mixed) -> Agreement {
        let place = mixed.completes.and_then(|back| self.queue.tokens.len().checked_sub(back + 1));
        let token = place.map(|place| self.queue.tokens[place]);
        let got = mixed.run(self.queue.rig.db(), token.as_ref());
        let ids = got.as_ref().map_or(&[][..], Vec::as_slice);
        let mut moment = self.moment();
        let wanted = mixed.apply(&mut moment, place, ids);
        same("mixed", got.map(drop), &wanted.as_ref().map(|_| ()).map_err(|kind| *kind))?;
        if let Ok(entered) = wanted {
            self.queue.ids.extend(entered);
            (self.state, self.queue.model) = (moment.state, moment.queue);
        }
        Ok(())
    }

    /// The power goes, or only the process does; then the store is opened again, and must be what it was after some
    /// number of the buffered commits that came behind the last durable one.
    fn end_of_life(&mut self, power: Option<u64>) -> Agreement {
        match power {
            Some(seed) => self.queue.rig.cut_power(seed),
            None => drop(self.queue.rig.crash()),
        }
        let mut possible = std::mem::take(&mut self.unsynced);
        possible.push(self.moment());
        let mut first_fault = None;
        for moment in possible.into_iter().rev() {
            self.become_of(moment);
            match self.swept_and_the_same() {
                Ok(()) => return Ok(()),
                Err(fault) => drop(first_fault.get_or_insert(fault)),
            }
        }
        Err(format!("what a cut has left is no state that there was: {}", first_fault.unwrap_or_default()))
    }

    fn swept_and_the_same(&mut self) -> Agreement {
        let swept = self.queue.rig.swept;
        let wanted = self.queue.model.end_all(true);
        agree("swept", &[swept.requeued, swept.discarded, swept.cancelled], &wanted)?;
        self.compare()
    }

    /// Everything that can be read.
    pub fn compare(&mut self) -> Agreement {
        self.state.compare(self.queue.rig.db())?;
        self.queue.same_jobs(false)?;
        assert_sound(self.queue.rig.db());
        Ok(())
    }
}
