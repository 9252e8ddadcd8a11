//! The store and the model side by side: every step is done to both, and both must agree.

use ml_persistence::jobs::recovery::SweepReport;
use ml_persistence::jobs::{JobFilter, Reason};
use ml_persistence::{ClaimRequest, Clock, ErrorKind, Job, JobId, Lease, Result, Token};

use super::model::{Answer, Model};
use super::op::{Op, QUEUES};
use super::rig::{Rig, all_by};

/// Says in which step store and model parted, and how.
pub type Agreement = std::result::Result<(), String>;

pub struct World {
    pub rig: Rig,
    pub model: Model,
    pub tokens: Vec<Token>,
    pub ids: Vec<JobId>,
}

impl World {
    pub fn new() -> Self {
        let rig = Rig::new();
        let model = Model::at(rig.clock.now_ms());
        World { rig, model, tokens: Vec::new(), ids: Vec::new() }
    }

    /// Does one step to both; then they must hold the same jobs.
    pub fn step(&mut self, op: &Op) -> Agreement {
        self.apply(op).map_err(|fault| format!("{op:?}: {fault}"))
    }

    /// Does one step and holds the whole queue against itself as well.
    pub fn checked_step(&mut self, op: &Op) -> Agreement {
        self.step(op)?;
        self.same_jobs(matches!(op, Op::Claim { .. } | Op::ClaimAndDrop { .. } | Op::CompleteAndClaim { .. }))
            .map_err(|fault| format!("after {op:?}: {fault}"))?;
        self.rig.verify();
        Ok(())
    }

    /// Empties every queue and forgets what was handed out, as if nothing had happened; the clocks go on.
    pub fn clear(&mut self) {
        let jobs = self.rig.jobs();
        for token in &self.tokens {
            // Those that are over refuse it, which is as good.
            drop(jobs.discard(token, None));
        }
        for id in &self.ids {
            drop(jobs.cancel(*id));
        }
        jobs.prune(None, Some(0)).unwrap();
        QUEUES.iter().for_each(|queue| jobs.resume(queue).unwrap());
        assert_eq!(jobs.counts(None).unwrap().len(), 0, "nothing is left");
        (self.tokens, self.ids) = (Vec::new(), Vec::new());
        self.model.clear();
    }

    fn apply(&mut self, op: &Op) -> Agreement {
        let jobs = self.rig.jobs().clone();
        // The newest is the likeliest to be of use.
        let token = |back: &usize| self.tokens.len().checked_sub(back + 1).map(|place| (place, self.tokens[place]));
        let named = |back: &usize| self.ids.len().checked_sub(back + 1).map(|place| self.ids[place]);
        match op {
            Op::Enqueue(new) => {
                let wanted = self.model.existing(new);
                match (jobs.enqueue(new.job()), wanted) {
                    (Err(error), Err(kind)) if error.kind() == kind => {}
                    (Ok(enqueued), Ok(Some(id))) if enqueued.job == id => {}
                    (Ok(enqueued), Ok(None)) if new.own_id().is_none_or(|id| id == enqueued.job) => {
                        self.model.enter(new, enqueued.job);
                        self.ids.push(enqueued.job);
                    }
                    (got, wanted) => return Err(format!("answered {got:?}, the model {wanted:?}")),
                }
            }
            Op::Claim { queues, limit } => {
                let names = queues.iter().map(|queue| QUEUES[*queue]);
                let leases = jobs.claim_with(&ClaimRequest::new(names).limit(*limit));
                let wanted = self.model.claim(queues, *limit);
                self.handed_out(leases, Ok(wanted))?;
            }
            Op::ClaimAndDrop { queue } => {
                let leases = jobs.claim(&[QUEUES[*queue]], 1).map_err(|error| error.to_string())?;
                let wanted = self.model.claim(&[*queue], 1);
                agree(&leases.iter().map(|lease| lease.job().id).collect::<Vec<_>>(), &wanted)?;
                self.tokens.extend(leases.iter().map(Lease::token));
                drop(leases);
                // A drop leaves a note, which the next call writes; a crash before that would count as one.
                jobs.counts(None).map_err(|error| error.to_string())?;
                for id in wanted {
                    self.model.fail(&id, Reason::Dropped, None);
                }
            }
            Op::Heartbeat { token: back, lease_ms } => {
                if let Some((place, token)) = token(back) {
                    same(jobs.heartbeat(&token, *lease_ms), self.model.heartbeat(place, *lease_ms))?;
                }
            }
            Op::Progress { token: back } => {
                if let Some((place, token)) = token(back) {
                    same(jobs.progress(&token, Some(5), None), self.model.fence(place).map(drop))?;
                }
            }
            Op::Complete { token: back } => {
                if let Some((place, token)) = token(back) {
                    same(jobs.complete(&token, None).map(|job| job.id), self.model.complete(place))?;
                }
            }
            Op::CompleteAndClaim { token: back, queue } => {
                if let Some((place, token)) = token(back) {
                    let leases = jobs.complete_and_claim(&token, None, &ClaimRequest::new([QUEUES[*queue]]));
                    let wanted = self.model.complete_and_claim(place, *queue);
                    self.handed_out(leases, wanted)?;
                }
            }
            Op::Fail { token: back, retry_in_ms } => {
                if let Some((place, token)) = token(back) {
                    let failed = jobs.fail(&token, Some("e"), *retry_in_ms).map(|job| job.id);
                    same(failed, self.model.fail_held(place, *retry_in_ms))?;
                }
            }
            Op::Discard { token: back } => {
                if let Some((place, token)) = token(back) {
                    same(jobs.discard(&token, None).map(|job| job.id), self.model.discard(place))?;
                }
            }
            Op::Snooze { token: back, delay_ms } => {
                if let Some((place, token)) = token(back) {
                    let wanted = self.model.fence(place);
                    same(jobs.snooze(&token, *delay_ms).map(|job| job.id), wanted)?;
                    if let Ok(id) = wanted {
                        self.model.give_back(&id, Some(*delay_ms));
                    }
                }
            }
            Op::Release { token: back } => {
                if let Some((place, token)) = token(back) {
                    let wanted = self.model.fence(place);
                    same(jobs.release(&token).map(|job| job.id), wanted)?;
                    if let Ok(id) = wanted {
                        self.model.give_back(&id, None);
                    }
                }
            }
            Op::Cancel { job } => {
                if let Some(id) = named(job) {
                    same(jobs.cancel(id).map(drop), self.model.cancel(&id))?;
                }
            }
            Op::Retry { job } => {
                if let Some(id) = named(job) {
                    same(jobs.retry(id).map(drop), self.model.retry(&id))?;
                }
            }
            Op::Advance { ms } => {
                self.rig.clock.advance(*ms);
                self.model.wall += ms;
                self.model.monotonic += ms;
            }
            Op::SetWall { ms } => {
                self.rig.clock.set_wall(*ms);
                self.model.wall = *ms;
            }
            Op::Maintain => {
                jobs.maintain().map_err(|error| error.to_string())?;
                self.model.take_back(None);
                self.model.promote(|_| true);
                self.model.prune(None);
            }
            Op::Prune { older_than_ms } => {
                let pruned = jobs.prune(None, *older_than_ms);
                same(pruned, Ok(self.model.prune(*older_than_ms)))?;
            }
            Op::Pause { queue } => {
                self.model.paused.insert(*queue);
                same(jobs.pause(QUEUES[*queue]), Ok(()))?;
            }
            Op::Resume { queue } => {
                self.model.paused.remove(queue);
                same(jobs.resume(QUEUES[*queue]), Ok(()))?;
            }
            Op::Crash | Op::Close => {
                drop(jobs);
                let crash = *op == Op::Crash;
                let wanted = self.model.end_all(crash);
                let swept = if crash { self.rig.crash() } else { self.rig.close_and_open() };
                let SweepReport { requeued, discarded, cancelled, .. } = swept;
                let wanted = if crash { wanted } else { [0; 3] };
                agree(&[requeued, discarded, cancelled], &wanted)?;
            }
        }
        Ok(())
    }

    fn handed_out(&mut self, leases: Result<Vec<Lease>>, wanted: Answer<Vec<JobId>>) -> Agreement {
        let parts = leases.map(|leases| leases.into_iter().map(Lease::into_parts).collect::<Vec<(Job, Token)>>());
        let ids = parts.as_ref().map(|parts| parts.iter().map(|(job, _)| job.id).collect::<Vec<_>>());
        match (ids, wanted) {
            (Ok(ids), Ok(wanted)) => agree(&ids, &wanted)?,
            (Err(error), Err(kind)) if error.kind() == kind => {}
            (got, wanted) => return Err(format!("answered {got:?}, the model {wanted:?}")),
        }
        self.tokens.extend(parts.into_iter().flatten().map(|(_, token)| token));
        Ok(())
    }

    /// Whether store and model hold the same jobs. A claim may remove finished ones whose retention has passed.
    pub fn same_jobs(&mut self, may_prune: bool) -> Agreement {
        let listed = all_by(self.rig.jobs(), &JobFilter::new(), 1_000);
        if may_prune {
            let old = |(id, row): &(&JobId, &super::model::Row)| {
                self.model.is_old(row, None) && !listed.iter().any(|job| job.id == **id)
            };
            let gone: Vec<JobId> = self.model.rows.iter().filter(old).map(|(id, _)| *id).collect();
            gone.iter().for_each(|id| drop(self.model.rows.remove(id)));
        }
        let mut wanted: Vec<_> = self.model.rows.iter().collect();
        wanted.sort_by_key(|(_, row)| row.sequence);
        agree(
            &listed.iter().map(|job| job.id).collect::<Vec<_>>(),
            &wanted.iter().map(|(id, _)| **id).collect::<Vec<_>>(),
        )?;
        for (job, (_, row)) in listed.iter().zip(&wanted) {
            let stored = (job.state, job.reason, job.run_at, job.attempt, job.crash_count, job.cancel_requested);
            let ruled = (row.state, row.reason, row.run_at, row.attempt, row.crash_count, row.cancel_requested);
            agree(&stored, &ruled)?;
            let stored = (&*job.queue, &job.unique_key, job.priority, job.finished_at, job.lease_expires_at.is_some());
            let ruled = (Model::queue_name(row), &row.unique, row.priority, row.finished_at, row.held.is_some());
            agree(&stored, &ruled)?;
        }
        // Every token of a claim that is over is refused, whatever it is used for.
        for (place, token) in self.tokens.iter().enumerate() {
            if self.model.fence(place).is_err() {
                let kind = self.rig.jobs().progress(token, None, None).err().map(|error| error.kind());
                agree(&kind, &Some(ErrorKind::LeaseLost))?;
            }
        }
        Ok(())
    }
}

fn agree<T: PartialEq + std::fmt::Debug>(stored: &T, ruled: &T) -> Agreement {
    if stored == ruled { Ok(()) } else { Err(format!("the store says {stored:?}, the model {ruled:?}")) }
}

fn same<T: PartialEq + std::fmt::Debug>(got: Result<T>, wanted: Answer<T>) -> Agreement {
    agree(&got.map_err(|error| error.kind()), &wanted)
}
