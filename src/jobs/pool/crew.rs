//! The workers of a pool: what each does, and what they share.
//!
//! ```text
//!   claim (waits) ──> perform: the handler ──> end the claim ──> next; a completion claims the next in its commit
//!        ^                                          │ store full or unavailable: try again
//!        └──────────────────────────────────────────┘ store closed: every worker ends
//! ```

use std::time::Duration;

use parking_lot::Mutex;

use super::gate::Gate;
use super::handlers::{Ending, Handlers};
use super::perform::perform;
use super::roster::{Post, Roster};
use super::run::Run;
use super::signal::Signal;
use super::tally::Tally;
use super::{Options, PoolStats};
use crate::error::{Error, ErrorKind, Result};
use crate::jobs::door::Door;
use crate::jobs::{ClaimRequest, Jobs, Lease, Reason};

/// Pause after an error of the store that may pass.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one wait for work may take before the worker looks around again.
const WAIT_MS: u64 = 60_000;
/// How often a completion with writes of its own is tried when the store is full or unavailable: that may be the
/// body's own word, too.
const BODY_TRIES: u32 = 5;

/// What the threads of a pool share.
#[derive(Debug)]
pub(super) struct Crew {
    pub jobs: Jobs,
    pub handlers: Handlers,
    pub options: Options,
    /// Running jobs are asked to stop.
    pub stopping: Signal,
    /// Closed before that: nothing is claimed any more, not by a completion on its way either.
    claims: Door,
    /// The grace period is over: nothing is renewed any more.
    pub over: Signal,
    pub roster: Roster,
    gate: Gate,
    news: Mutex<News>,
}

#[derive(Debug, Default)]
struct News {
    tally: Tally,
    errors: u64,
    last_error: Option<Error>,
}

/// What a worker does after an attempt.
enum Next {
    Claim,
    Work(Box<Lease>),
    End,
}

impl Crew {
    pub fn new(jobs: Jobs, handlers: Handlers, options: Options) -> Self {
        Crew {
            jobs,
            handlers,
            options,
            stopping: Signal::default(),
            claims: Door::default(),
            over: Signal::default(),
            roster: Roster::default(),
            gate: Gate::default(),
            news: Mutex::default(),
        }
    }

    /// Ends the claiming, asks what runs to stop, and lets everybody hear of it. Waits for claims that are being committed.
    pub fn stop(&self) {
        self.claims.close();
        self.roster.stop(&self.stopping);
        self.gate.wake();
        self.jobs.shared.lines.lock().call_all();
    }

    pub fn stats(&self) -> PoolStats {
        let running = self.roster.running();
        let news = self.news.lock();
        PoolStats { running, tally: news.tally.clone(), errors: news.errors, last_error: news.last_error.clone() }
    }

    /// Counts an error of the store; ends the pool when the store is gone.
    pub fn met(&self, error: Error) {
        let over = matches!(error.kind(), ErrorKind::Closed | ErrorKind::CommitUnknown);
        let mut news = self.news.lock();
        news.errors += 1;
        news.last_error = Some(error);
        drop(news);
        if over {
            self.stop();
        }
    }

    /// One worker of `queue`, from start to end.
    pub fn work(&self, queue: &str, worker: &str, post: &Post<'_>) {
        let mut request = ClaimRequest::new([queue]).worker(worker).lease_ms(self.options.lease_ms);
        request.fresh_only = self.options.isolate_suspects;
        request.until = Some(self.claims.clone());
        let mut next = Next::Claim;
        loop {
            next = match next {
                Next::End => return,
                Next::Work(lease) => self.attempt(*lease, &request, post),
                Next::Claim if self.stopping.is_raised() => return,
                Next::Claim => match self.claim_and_work(queue, &request, post) {
                    Ok(next) => next,
                    Err(error) => {
                        self.met(error);
                        // A store that is gone has raised the signal; anything else may pass.
                        self.stopping.wait(PAUSE);
                        Next::Claim
                    }
                },
            };
        }
    }

    fn claim_and_work(&self, queue: &str, request: &ClaimRequest, post: &Post<'_>) -> Result<Next> {
        if !self.options.isolate_suspects {
            let leases = self.jobs.claim_wait_unless(request, WAIT_MS, &|| self.stopping.is_raised())?;
            return Ok(leases.into_iter().next().map_or(Next::Claim, |lease| Next::Work(lease.into())));
        }
        if self.jobs.suspect_is_next(queue)? {
            return self.work_alone(queue, request, post);
        }
        let Some(_beside) = self.gate.enter_beside(&self.stopping) else { return Ok(Next::End) };
        // A worker that waits for work holds its pass, so it leaves when somebody wants to be alone, and when the next
        // in line ought to be.
        let leaves =
            || self.stopping.is_raised() || self.gate.is_wanted() || self.jobs.suspect_is_next(queue).unwrap_or(true);
        let leases = self.jobs.claim_wait_unless(request, WAIT_MS, &leaves)?;
        Ok(leases.into_iter().next().map_or(Next::Claim, |lease| self.attempt(lease, request, post)))
    }

    /// Claims a suspect and works on it while nobody else of the pool runs.
    fn work_alone(&self, queue: &str, request: &ClaimRequest, post: &Post<'_>) -> Result<Next> {
        let ring = || self.jobs.shared.lines.lock().call_all();
        let Some(alone) = self.gate.enter_alone(&self.stopping, ring) else { return Ok(Next::End) };
        // Another worker may have been quicker, and the next in line need not be alone.
        if !self.jobs.suspect_is_next(queue)? {
            return Ok(Next::Claim);
        }
        let mut any = request.clone();
        any.fresh_only = false;
        if let Some(lease) = self.jobs.claim_with(&any)?.into_iter().next() {
            return Ok(self.attempt(lease, request, post));
        }
        // It stands first in line and can't be had: somebody else is about to claim it, or it can't be read.
        drop(alone);
        self.stopping.wait(PAUSE);
        Ok(Next::Claim)
    }

    fn attempt(&self, lease: Lease, request: &ClaimRequest, post: &Post<'_>) -> Next {
        // Either a shutdown finds the lease on the roster, or this finds the shutdown.
        let ending = match post.begin(lease.token(), &self.stopping) {
            true => perform(&self.handlers, &Run::new(&lease, &self.stopping)),
            false => Ending::Release,
        };
        post.hand_back();
        // Isolated, a worker claims by itself, when it may.
        let next = self.end(lease, ending, (!self.options.isolate_suspects).then_some(request));
        post.end();
        next
    }

    /// Ends the claim, trying again while the store is in the way. With a request a completion claims the next job.
    fn end(&self, lease: Lease, mut ending: Ending, request: Option<&ClaimRequest>) -> Next {
        // From here on nothing may fail the attempt but what is decided here.
        let (_, token) = lease.into_parts();
        let mut tries = 0;
        loop {
            let outcome = match (&ending, request) {
                (Ending::Complete(result), Some(request)) => self
                    .jobs
                    .complete_and_claim(&token, result.clone(), request)
                    .map(|leases| (Reason::Completed, leases.into_iter().next())),
                _ => ending.apply(&self.jobs, &token).map(|reason| (reason, None)),
            };
            let error = match outcome {
                Ok((reason, next)) => {
                    self.news.lock().tally.count(reason);
                    return next.map_or(Next::Claim, |lease| Next::Work(lease.into()));
                }
                Err(error) => error,
            };
            tries += 1;
            let passes = matches!(error.kind(), ErrorKind::Full | ErrorKind::Unavailable);
            let of_a_body = matches!(ending, Ending::CompleteWith(..));
            match error.kind() {
                ErrorKind::LeaseLost => {
                    self.news.lock().tally.lost += 1;
                    return Next::Claim;
                }
                ErrorKind::Closed | ErrorKind::CommitUnknown => {
                    self.met(error);
                    return Next::End;
                }
                _ if passes && !(of_a_body && tries >= BODY_TRIES) => {
                    self.met(error);
                    if self.over.wait(PAUSE) {
                        return Next::End;
                    }
                }
                _ if matches!(ending, Ending::Fail { .. }) => {
                    // Not even failing it is possible: its lease runs out, once it is renewed no more.
                    self.met(error);
                    return Next::Claim;
                }
                _ => ending = Ending::refused(&error),
            }
        }
    }
}
