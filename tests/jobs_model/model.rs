//! The queue's rules once more, written from its page and not from its code: a table of rows, one clock, no store.

use std::collections::{BTreeMap, BTreeSet};

use ml_persistence::jobs::{Reason, State};
use ml_persistence::{ErrorKind, JobId};

use super::op::{New, QUEUES};

/// What a step answers: what it handed out, or how it was refused.
pub type Answer<T> = Result<T, ErrorKind>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    pub queue: usize,
    pub priority: u8,
    pub unique: Option<String>,
    pub sequence: u64,
    pub max_attempts: u32,
    pub max_crashes: u32,
    pub lease_ms: u64,
    pub timeout_ms: Option<u64>,
    pub retention_ms: u64,
    pub backoff_ms: u64,
    pub state: State,
    pub reason: Option<Reason>,
    pub run_at: u64,
    pub attempt: u32,
    pub crash_count: u32,
    pub claims: u64,
    pub cancel_requested: bool,
    pub finished_at: Option<u64>,
    pub held: Option<Held>,
}

/// The lease on a row. Times are monotonic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// Which of all tokens is the good one.
    pub token: usize,
    pub lease_ms: u64,
    pub due: u64,
    pub timeout: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub rows: BTreeMap<JobId, Row>,
    /// Whose job each token was for, in the order in which they were handed out.
    pub tokens: Vec<JobId>,
    pub wall: u64,
    pub monotonic: u64,
    pub paused: BTreeSet<usize>,
    pub sequence: u64,
    mark: u64,
}

impl Model {
    pub fn at(wall: u64) -> Self {
        Model { wall, ..Model::default() }
    }

    /// Forgets all but the time and the line's numbers.
    pub fn clear(&mut self) {
        (self.rows, self.tokens, self.paused) = Default::default();
    }

    /// Answers the job that was there; `None`: a new one is due, to be entered with the id that the store gave it.
    pub fn existing(&self, new: &New) -> Answer<Option<JobId>> {
        if let Some((id, row)) = new.own_id().and_then(|id| self.rows.get_key_value(&id)) {
            return if row.queue == new.queue { Ok(Some(*id)) } else { Err(ErrorKind::Conflict) };
        }
        Ok(new.unique_key().and_then(|key| self.holder(new.queue, &key)))
    }

    fn holder(&self, queue: usize, key: &str) -> Option<JobId> {
        let holds = |row: &Row| row.queue == queue && row.unique.as_deref() == Some(key) && !row.state.is_terminal();
        self.rows.iter().find(|(_, row)| holds(row)).map(|(id, _)| *id)
    }

    pub fn enter(&mut self, new: &New, id: JobId) {
        self.sequence += 1;
        let run_at = match new.delay_ms {
            Some(delay_ms) => self.wall + delay_ms,
            None => {
                self.mark = self.mark.max(self.wall);
                self.mark
            }
        };
        let later = new.delay_ms.is_some() && run_at > self.wall;
        let row = Row {
            queue: new.queue,
            priority: new.priority,
            unique: new.unique_key(),
            sequence: self.sequence,
            max_attempts: new.max_attempts,
            max_crashes: new.max_crashes,
            lease_ms: new.lease_ms,
            timeout_ms: new.timeout_ms,
            retention_ms: new.retention_ms,
            backoff_ms: new.backoff_ms,
            state: if later { State::Scheduled } else { State::Available },
            reason: None,
            run_at,
            attempt: 0,
            crash_count: 0,
            claims: 0,
            cancel_requested: false,
            finished_at: None,
            held: None,
        };
        self.rows.insert(id, row);
    }

    /// What a claim hands out, in order.
    pub fn claim(&mut self, queues: &[usize], limit: usize) -> Vec<JobId> {
        self.take_back(None);
        self.promote(|row| queues.contains(&row.queue));
        self.pick(queues, limit)
    }

    fn pick(&mut self, queues: &[usize], limit: usize) -> Vec<JobId> {
        let mut picked = Vec::new();
        for queue in queues.iter().filter(|queue| !self.paused.contains(queue)) {
            let ready = |row: &&(&JobId, &Row)| row.1.queue == *queue && row.1.state == State::Available;
            let mut line: Vec<_> = self.rows.iter().filter(|row| ready(&row)).collect();
            line.sort_by_key(|(_, row)| (row.priority, row.run_at, row.sequence));
            picked.extend(line.into_iter().map(|(id, _)| *id));
        }
        let mut seen = BTreeSet::new();
        picked.retain(|id| seen.insert(*id));
        picked.truncate(limit);
        for id in &picked {
            let (token, now) = (self.tokens.len(), self.monotonic);
            self.tokens.push(*id);
            let row = self.row(id);
            row.state = State::Executing;
            row.attempt += 1;
            row.claims += 1;
            row.reason = None;
            let timeout = row.timeout_ms.map(|timeout_ms| now + timeout_ms);
            let due = (now + row.lease_ms).min(timeout.unwrap_or(u64::MAX));
            row.held = Some(Held { token, lease_ms: row.lease_ms, due, timeout });
        }
        picked
    }

    fn row(&mut self, id: &JobId) -> &mut Row {
        self.rows.get_mut(id).expect("picked from the rows")
    }

    /// Ends the claims that are past.
    pub fn take_back(&mut self, spared: Option<usize>) {
        let past: Vec<(JobId, bool)> = self
            .rows
            .iter()
            .filter_map(|(id, row)| Some((id, row.held.as_ref()?)))
            .filter(|(_, held)| held.due <= self.monotonic && Some(held.token) != spared)
            .map(|(id, held)| (*id, held.timeout.is_some_and(|timeout| timeout <= self.monotonic)))
            .collect();
        for (id, timed_out) in past {
            match timed_out {
                true => self.fail(&id, Reason::TimedOut, None),
                false => self.crash(&id, Reason::LeaseExpired),
            }
        }
    }

    pub fn promote(&mut self, which: impl Fn(&Row) -> bool) {
        let wall = self.wall;
        for row in self.rows.values_mut() {
            let waits = matches!(row.state, State::Scheduled | State::Retryable);
            if waits && row.run_at <= wall && which(row) {
                row.state = State::Available;
            }
        }
    }

    /// Finished rows whose retention has passed: maintain removes them, and a claim may.
    pub fn is_old(&self, row: &Row, older_than_ms: Option<u64>) -> bool {
        let until = self.wall.checked_sub(older_than_ms.unwrap_or(row.retention_ms));
        row.finished_at.is_some_and(|finished_at| until.is_some_and(|until| finished_at <= until))
    }

    pub fn prune(&mut self, older_than_ms: Option<u64>) -> u64 {
        let old: Vec<JobId> =
            self.rows.iter().filter(|(_, row)| self.is_old(row, older_than_ms)).map(|(id, _)| *id).collect();
        for id in &old {
            self.rows.remove(id);
        }
        old.len() as u64
    }

    /// The job of a token that is still good.
    pub fn fence(&self, token: usize) -> Answer<JobId> {
        let id = self.tokens[token];
        let good = |row: &Row| row.held.as_ref().is_some_and(|held| held.token == token);
        if self.rows.get(&id).is_some_and(good) { Ok(id) } else { Err(ErrorKind::LeaseLost) }
    }

    pub fn heartbeat(&mut self, token: usize, lease_ms: Option<u64>) -> Answer<bool> {
        let (id, now) = (self.fence(token)?, self.monotonic);
        let row = self.row(&id);
        let held = row.held.as_mut().expect("fenced");
        held.lease_ms = lease_ms.unwrap_or(held.lease_ms);
        held.due = (now + held.lease_ms).min(held.timeout.unwrap_or(u64::MAX));
        Ok(row.cancel_requested)
    }

    pub fn complete(&mut self, token: usize) -> Answer<JobId> {
        let id = self.fence(token)?;
        self.finish(&id, State::Completed, Reason::Completed);
        Ok(id)
    }

    pub fn complete_and_claim(&mut self, token: usize, queue: usize) -> Answer<Vec<JobId>> {
        self.take_back(Some(token));
        self.promote(|row| row.queue == queue);
        self.complete(token)?;
        Ok(self.pick(&[queue], 1))
    }

    pub fn fail_held(&mut self, token: usize, retry_in_ms: Option<u64>) -> Answer<JobId> {
        let id = self.fence(token)?;
        self.fail(&id, Reason::Failed, retry_in_ms);
        Ok(id)
    }

    pub fn fail(&mut self, id: &JobId, reason: Reason, retry_in_ms: Option<u64>) {
        let wall = self.wall;
        let row = self.row(id);
        if row.cancel_requested {
            self.finish(id, State::Cancelled, Reason::Cancelled);
        } else if row.attempt >= row.max_attempts {
            self.finish(id, State::Discarded, reason);
        } else {
            row.state = State::Retryable;
            row.run_at = wall + retry_in_ms.unwrap_or(row.backoff_ms);
            (row.reason, row.held) = (Some(reason), None);
        }
    }

    pub fn discard(&mut self, token: usize) -> Answer<JobId> {
        let id = self.fence(token)?;
        match self.row(&id).cancel_requested {
            true => self.finish(&id, State::Cancelled, Reason::Cancelled),
            false => self.finish(&id, State::Discarded, Reason::Failed),
        }
        Ok(id)
    }

    /// Snooze with a delay, release without.
    pub fn give_back(&mut self, id: &JobId, delay_ms: Option<u64>) {
        let wall = self.wall;
        let row = self.row(id);
        if row.cancel_requested {
            return self.finish(id, State::Cancelled, Reason::Cancelled);
        }
        row.attempt -= 1;
        row.held = None;
        match delay_ms {
            Some(delay_ms) => {
                (row.state, row.reason, row.run_at) = (State::Scheduled, Some(Reason::Snoozed), wall + delay_ms);
            }
            None => (row.state, row.reason) = (State::Available, Some(Reason::Released)),
        }
    }

    /// A claim that ended without its holder's word.
    pub fn crash(&mut self, id: &JobId, reason: Reason) {
        let row = self.row(id);
        row.crash_count += 1;
        if row.cancel_requested {
            self.finish(id, State::Cancelled, Reason::Cancelled);
        } else if row.crash_count >= row.max_crashes {
            self.finish(id, State::Discarded, reason);
        } else {
            (row.state, row.reason, row.held) = (State::Available, Some(reason), None);
        }
    }

    fn finish(&mut self, id: &JobId, state: State, reason: Reason) {
        let wall = self.wall;
        let row = self.row(id);
        (row.state, row.reason, row.held, row.finished_at) = (state, Some(reason), None, Some(wall));
        if row.retention_ms == 0 {
            self.rows.remove(id);
        }
    }

    pub fn cancel(&mut self, id: &JobId) -> Answer<()> {
        let now = self.monotonic;
        let Some(row) = self.rows.get_mut(id) else { return Err(ErrorKind::NotFound) };
        match row.state {
            State::Completed | State::Discarded => return Err(ErrorKind::Conflict),
            State::Cancelled => {}
            State::Executing => {
                row.cancel_requested = true;
                if row.held.as_ref().is_some_and(|held| held.due <= now) {
                    self.crash(id, Reason::LeaseExpired);
                }
            }
            _ => self.finish(id, State::Cancelled, Reason::Cancelled),
        }
        Ok(())
    }

    pub fn retry(&mut self, id: &JobId) -> Answer<()> {
        let Some(row) = self.rows.get(id) else { return Err(ErrorKind::NotFound) };
        let held_by_another = row.unique.as_ref().and_then(|key| self.holder(row.queue, key)).is_some();
        if !row.state.is_terminal() || held_by_another {
            return Err(ErrorKind::Conflict);
        }
        let wall = self.wall;
        let row = self.row(id);
        (row.state, row.reason, row.run_at, row.finished_at) = (State::Available, None, wall, None);
        (row.attempt, row.crash_count, row.cancel_requested) = (0, 0, false);
        Ok(())
    }

    /// Ends every claim: the process is gone, or closes.
    pub fn end_all(&mut self, crash: bool) -> [u64; 3] {
        let held: Vec<JobId> = self.rows.iter().filter(|(_, row)| row.held.is_some()).map(|(id, _)| *id).collect();
        let mut report = [0; 3];
        for id in held {
            let row = self.row(&id);
            let place = match (row.cancel_requested, row.crash_count + 1 >= row.max_crashes) {
                (true, _) => 2,
                (false, true) if crash => 1,
                _ => 0,
            };
            report[place] += 1;
            match crash {
                true => self.crash(&id, Reason::ProcessCrash),
                false => self.give_back(&id, None),
            }
        }
        report
    }

    pub fn queue_name(row: &Row) -> &'static str {
        QUEUES[row.queue]
    }
}
