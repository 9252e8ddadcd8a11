//! What is known in memory about one queue: the head of its line, when time will change it, and who waits for it.
//!
//! All of it can be forgotten and read again; nothing here decides anything. See `lines` for who keeps it in step.

use std::collections::BTreeSet;

use super::floor::Floor;
use super::prune::Round;
use super::window::Window;

/// One queue.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Its number: a line that was forgotten and made anew has another.
    pub number: u64,
    pub window: Window,
    /// `None` until it was read or told.
    pub paused: Option<bool>,
    /// Before this no job of the queue is due.
    pub due: Floor,
    /// Before this no finished job of the queue may be pruned by its retention.
    pub prunable: Floor,
    /// Where pruning inside claims goes on.
    pub round: Round,
    /// Sleepers that nobody has rung, by their number: the one who came first is first.
    pub waiting: BTreeSet<u64>,
    /// Sleepers that were rung for this queue and have not looked to the end yet.
    pub rung: usize,
    /// The value of `due` at which a sleeper was rung last, so that one job that cannot be promoted rings only once.
    pub rung_at: Option<u64>,
}

impl Line {
    /// A line of which nothing is known yet.
    pub fn new(number: u64) -> Self {
        Line { number, due: Floor::new(number), prunable: Floor::new(number), ..Line::default() }
    }

    /// Notes whether the queue is paused, as somebody has read it who saw this line before as `number`. What was told
    /// meanwhile is newer; a line made since then was not there to be told, and has to be read for anew.
    pub fn learn_paused(&mut self, number: u64, paused: bool) {
        if self.number == number {
            self.paused.get_or_insert(paused);
        }
    }

    /// How many sleepers it could give a job to; at least one where the line may go on unseen.
    pub fn offers(&self) -> usize {
        if self.paused == Some(true) { 0 } else { self.window.hopes() }
    }

    /// Whether nobody is in the middle of something here.
    pub fn is_idle(&self) -> bool {
        self.window.is_idle() && self.waiting.is_empty() && self.rung == 0 && !self.round.is_running()
    }

    /// When a sleeper has to be rung because time has come for a job, if nobody is up already.
    pub fn alarm(&self) -> Option<u64> {
        let at = self.due.at();
        let wanted = !self.waiting.is_empty() && self.rung == 0 && self.paused != Some(true);
        (wanted && at != u64::MAX && self.rung_at != Some(at)).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_that_was_read_before_a_line_was_forgotten_does_not_count_in_its_successor() {
        let mut line = Line::new(1);
        line.learn_paused(1, true);
        assert_eq!(line.paused, Some(true));
        // Forgotten and made anew; the resume between was told to nobody.
        let mut successor = Line::new(2);
        successor.learn_paused(1, true);
        assert_eq!(successor.paused, None);
    }
}
