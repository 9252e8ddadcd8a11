//! Claim: scan outside, verify inside.
//!
//! ```text
//!   take back expired leases ─> promote what is due ─> prune a little ─> pick candidates ─> one transaction:
//!                                                                          ^                verify each, claim
//!                                                                          └── none was ready any more ──┘
//! ```
//!
//! Candidates come from the windows in memory and are reserved while their transaction runs, so that concurrent
//! claimers of this process take different heads of the line instead of verifying the same ones. The reservation is
//! only manners: the transaction decides, by the state it finds. A candidate that can't be read is passed over; verify
//! reports it.
//!
//! Cost: a claim that finds nothing reads nothing, as long as nothing is due (it only asks whether the store is open);
//! one that finds a job in its window is one transaction. Writes of one job's steps, as the package's `tests/queue_cost.rs` counts them (the counters
//! and the sequence are hot keys, which the engine writes once a batch):
//!
//! ```text
//! enqueue             6   job · ready, state and order entries · sequence · 1 counter              (+1 unique key)
//! claim               6   claim record · ready, state, lease entries · 2 counters
//! heartbeat           1   claim record
//! complete            6   claim record · lease, state, finished entries · 2 counters            (+1 with a result)
//! complete and claim  10  both in one commit, so one journal sync; two jobs share two of the counters
//! ```
//!
//! Reads of keys that memory does not hold: the job and its claim, once each. What the window says of a job is only
//! where it stands; that it is there is for the transaction to see.
//!
//! With a million finished jobs those reads go deeper, and nothing else changes: counted by callgrind, the claims of 1,000
//! jobs from a sled store take 1.9 % more instructions than with none finished. What a clock shows beyond that comes
//! from elsewhere: a processor whose other half is busy with what the store still has to tidy up is 1.5 x slower, so
//! `benches/queue.rs` waits for that to end, and measures against an empty store in turns.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use super::act::Finish;
use super::apply::{apply, load};
use super::bell::Sleeper;
use super::door::Door;
use super::job::JobId;
use super::lease::Lease;
use super::new_job::{LIMIT_MAX, check_lease, check_limit, check_name};
use super::pair::Pair;
use super::pick::Candidate;
use super::state::State;
use super::sync::Stopwatch;
use super::token::Token;
use super::transition::Event;
use super::{Job, Jobs};
use crate::engine::Epoch;
use crate::error::{Error, ErrorKind, Result};
use crate::json::Json;
use crate::record::{PAGE_BYTES, Transaction};

/// Scans after which a claim whose every candidate was stale answers none.
const ROUNDS_MAX: usize = 16;
/// Longest wait of [`Jobs::claim_wait`].
const WAIT_MS_MAX: u64 = 60_000;

/// What to claim.
///
/// ```
/// use ml_persistence::ClaimRequest;
/// let request = ClaimRequest::new(["urgent", "train"]).worker("gpu-3").limit(8).lease_ms(120_000);
/// ```
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    queues: Vec<String>,
    worker: String,
    limit: usize,
    lease_ms: Option<u64>,
    /// Passes over jobs that have crashed before.
    pub(crate) fresh_only: bool,
    /// Once this is closed nothing is claimed any more, and nothing waited for.
    pub(crate) until: Option<Door>,
}

impl ClaimRequest {
    /// One job of these queues, tried in list order, for a worker called `local`.
    #[must_use]
    pub fn new<S: Into<String>>(queues: impl IntoIterator<Item = S>) -> Self {
        let queues = queues.into_iter().map(Into::into).collect();
        ClaimRequest { queues, worker: "local".to_owned(), limit: 1, lease_ms: None, fresh_only: false, until: None }
    }

    /// Who claims; shown on the job.
    #[must_use]
    pub fn worker(mut self, worker: impl Into<String>) -> Self {
        self.worker = worker.into();
        self
    }

    /// At most this many jobs: 1..=1,000, default 1.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// How long each claim holds without a heartbeat; default: what the job says.
    #[must_use]
    pub fn lease_ms(mut self, lease_ms: u64) -> Self {
        self.lease_ms = Some(lease_ms);
        self
    }

    pub(crate) fn queues(&self) -> &[String] {
        &self.queues
    }

    pub(crate) fn wanted(&self) -> usize {
        self.limit
    }

    fn is_over(&self) -> bool {
        self.until.as_ref().is_some_and(Door::is_closed)
    }

    fn check(&self) -> Result<()> {
        if self.queues.is_empty() || self.queues.len() > LIMIT_MAX {
            return Err(Error::invalid(format!("queues: 1..={LIMIT_MAX} queues, got {}", self.queues.len())));
        }
        self.queues.iter().try_for_each(|queue| check_name("queues", queue))?;
        check_name("worker", &self.worker)?;
        check_limit("limit", self.limit)?;
        self.lease_ms.map_or(Ok(()), |lease_ms| check_lease("lease_ms", lease_ms))
    }
}

impl Jobs {
    /// Claims up to `limit` jobs of these queues, tried in list order; none when nothing is ready.
    ///
    /// # Errors
    /// `Invalid` naming the field beyond its limit.
    pub fn claim(&self, queues: &[&str], limit: usize) -> Result<Vec<Lease>> {
        self.claim_with(&ClaimRequest::new(queues.iter().copied()).limit(limit))
    }

    /// Claims what is asked for, in one commit; none when nothing is ready. Fewer than `limit` when the jobs carry more
    /// than one answer (32 MiB) or one commit takes: the next claim goes on behind them.
    ///
    /// # Errors
    /// `Invalid` naming the field beyond its limit.
    pub fn claim_with(&self, request: &ClaimRequest) -> Result<Vec<Lease>> {
        request.check()?;
        if self.shared.door.is_closed() {
            return Err(closing());
        }
        self.make_ready(&request.queues, None)?;
        self.claim_ready(request, None)
    }

    /// As [`Jobs::claim_with`], but waits up to `wait_ms` (at most 60,000) of real time for a job to become ready. It is
    /// woken by whatever makes one ready: an enqueue, also inside a caller's transaction, a release, a retry, a resumed
    /// queue, a time that has come, a lease that ran out. One job wakes one waiter, the one that waits longest.
    ///
    /// Times are those of the store's clock. A manual one does not pass while this sleeps: what its advance makes due
    /// is noticed by the next claim, or after a second.
    ///
    /// # Errors
    /// `Invalid` naming the field beyond its limit.
    pub fn claim_wait(&self, request: &ClaimRequest, wait_ms: u64) -> Result<Vec<Lease>> {
        if wait_ms > WAIT_MS_MAX {
            return Err(Error::invalid(format!("wait_ms: 0..={WAIT_MS_MAX}, got {wait_ms}")));
        }
        self.claim_wait_unless(request, wait_ms, &|| false)
    }

    /// As [`Jobs::claim_wait`], and answers none as soon as `gives_up`: asked before each look and each sleep, and whoever
    /// changes its answer calls everybody to look.
    pub(crate) fn claim_wait_unless(
        &self,
        request: &ClaimRequest,
        wait_ms: u64,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<Vec<Lease>> {
        let waited = Stopwatch::start();
        if gives_up() {
            return Ok(Vec::new());
        }
        let leases = self.claim_with(request)?;
        if !leases.is_empty() || wait_ms == 0 {
            return Ok(leases);
        }
        let sleeper = Sleeper::thread(&self.shared.lines, &request.queues);
        loop {
            if gives_up() {
                return Ok(Vec::new());
            }
            let left = Duration::from_millis(wait_ms).saturating_sub(waited.elapsed());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            sleeper.wait(self.shared.store.clock(), left);
            if gives_up() {
                return Ok(Vec::new());
            }
            let leases = self.claim_with(request)?;
            if !leases.is_empty() {
                return Ok(leases);
            }
        }
    }

    /// Completes the claim behind `token` and claims what is asked for, in one commit. As with every finish, a token whose
    /// lease has run out is good until another claim, or `maintain`, takes it back.
    ///
    /// # Errors
    /// `LeaseLost`, and nothing is claimed; `Invalid` naming the field beyond its limit.
    pub fn complete_and_claim(
        &self,
        token: &Token,
        result: Option<Json>,
        request: &ClaimRequest,
    ) -> Result<Vec<Lease>> {
        request.check()?;
        let finish = Finish::complete(result)?;
        // Damage that a claim can't get past is not the completion's: that goes alone then, and the next claim reports it.
        let ready = self.make_ready(&request.queues, Some(token));
        let claimed = ready.and_then(|()| self.claim_ready(request, Some((token, &finish))));
        match claimed {
            Err(error) if error.kind() == ErrorKind::Corrupt => self.finish(token, &finish).map(|_| Vec::new()),
            claimed => claimed,
        }
    }

    /// Takes back what is past and promotes what is due, so that the ready index is what a claim may pick from. The
    /// claim behind `finishing` is about to end in another way and stays.
    fn make_ready(&self, queues: &[String], finishing: Option<&Token>) -> Result<()> {
        self.fail_dropped()?;
        self.take_back_past(finishing)?;
        for queue in queues.iter().collect::<BTreeSet<_>>() {
            self.promote_due(queue)?;
            self.prune_some(queue)?;
        }
        Ok(())
    }

    fn claim_ready(&self, request: &ClaimRequest, finish: Option<(&Token, &Finish)>) -> Result<Vec<Lease>> {
        let mut finishing = finish;
        match self.claim_rounds(request, &mut finishing) {
            // The completion is committed, and an error would say that it is not. What is in the way of a claim, the
            // next claim meets and reports.
            Err(_) if finish.is_some() && finishing.is_none() => Ok(Vec::new()),
            outcome => outcome,
        }
    }

    /// Looks for jobs until it has some or there are none; takes `finish` once that is committed.
    fn claim_rounds(&self, request: &ClaimRequest, finish: &mut Option<(&Token, &Finish)>) -> Result<Vec<Lease>> {
        for _ in 0..ROUNDS_MAX {
            if finish.is_none() && request.is_over() {
                return Ok(Vec::new());
            }
            let mut picked = self.pick(request)?;
            if picked.candidates.is_empty() && finish.is_none() {
                break;
            }
            let started = self.shared.store.clock().monotonic_ms();
            // Until they are handed out, this is how a cancel reaches them.
            let _arriving = self.shared.deadlines.arrive();
            let claimed = self.claim_picked(&picked.candidates, request, *finish)?;
            if let Some((token, _)) = finish.take() {
                self.shared.deadlines.forget(token.job, token.which());
            }
            let none_stale = claimed.stale.is_empty();
            picked.gone(claimed.pairs.iter().map(Pair::id).chain(claimed.stale));
            if !claimed.pairs.is_empty() {
                return Ok(claimed.pairs.iter().filter_map(|pair| self.hand_out(pair, started)).collect());
            }
            // Suspects that are not for this claimer would only be picked again.
            if request.fresh_only && none_stale {
                break;
            }
        }
        // That there is nothing may have come from memory alone, and a closed store is not an empty queue.
        self.shared.store.read(|_| Ok(()))?;
        Ok(Vec::new())
    }

    /// Ends the finished claim and claims those of `candidates` that are available, in one commit.
    pub(super) fn claim_picked(
        &self,
        mut candidates: &[Candidate],
        request: &ClaimRequest,
        finish: Option<(&Token, &Finish)>,
    ) -> Result<Claimed> {
        let inside = self.shared.door.enter();
        if inside.is_none() && finish.is_none() {
            return Err(closing());
        }
        let until = request.until.as_ref().map(Door::enter);
        if inside.is_none() || matches!(until, Some(None)) {
            candidates = &[];
        }
        let open = self.not_paused(candidates, request);
        let mut candidates = &*open;
        loop {
            let claimed = self.shared.store.transact(self.durability, |txn| {
                if let Some((token, finish)) = finish {
                    finish.apply(txn, token)?;
                }
                claim_available(txn, candidates, request, self.shared.epoch())
            });
            match claimed {
                // Checkpoints and old errors are written again, and many large ones are more than one transaction
                // takes. One job always fits.
                Err(error) if error.kind() == ErrorKind::Invalid && candidates.len() > 1 => {
                    candidates = candidates.get(..candidates.len() / 2).unwrap_or_default();
                }
                claimed => return claimed,
            }
        }
    }

    /// Those of `candidates` whose queues are not paused by now. Asked inside the door, where a pause waits for everybody:
    /// so a claim that has not seen the pause is committed before the call that pauses returns, and memory answers as
    /// well as a read inside the transaction would.
    fn not_paused<'c>(&self, candidates: &'c [Candidate], request: &ClaimRequest) -> Cow<'c, [Candidate]> {
        let mut state = self.shared.lines.lock();
        // What is not known may be paused: it goes back, and is asked for anew.
        let mut is_open = |some: &[Candidate]| {
            let queue = some.first().and_then(|first| request.queues.get(first.queue));
            queue.and_then(|queue| state.known(queue)).is_some_and(|line| line.paused == Some(false))
        };
        let by_queue = || candidates.chunk_by(|one, next| one.queue == next.queue);
        if by_queue().all(&mut is_open) {
            return Cow::Borrowed(candidates);
        }
        by_queue().filter(|some| is_open(some)).flatten().cloned().collect()
    }

    /// Notes the lease in memory and makes it something to hold.
    fn hand_out(&self, pair: &Pair, started: u64) -> Option<Lease> {
        self.shared.deadlines.note(pair, started);
        let job: Job = pair.job();
        pair.token().map(|token| Lease::new(self.clone(), token, job))
    }
}

fn closing() -> Error {
    Error::closed("the queue is closing, and hands nothing out any more")
}

/// What became of the candidates. Those in neither list were not to be had right now.
#[derive(Default)]
pub(super) struct Claimed {
    pub(super) pairs: Vec<Pair>,
    /// Not ready any more, not at the place where they were found, or not to be read, their history included.
    stale: Vec<JobId>,
}

/// Claims those of `candidates` that are still available, in their order, until they carry [`PAGE_BYTES`].
fn claim_available(
    txn: &mut Transaction<'_>,
    candidates: &[Candidate],
    request: &ClaimRequest,
    epoch: Epoch,
) -> Result<Claimed> {
    let (mut claimed, mut bytes) = (Claimed::default(), 0);
    for candidate in candidates {
        if bytes >= PAGE_BYTES {
            break;
        }
        let pair = match load(txn, candidate.job) {
            // Not for this claimer, and not stale: it goes to somebody else.
            Ok(Some(pair)) if request.fresh_only && pair.head.crash_count > 0 => continue,
            // At another place means: enqueued anew further back. It is told, and claimed when its turn comes.
            Ok(Some(pair)) if pair.head.state == State::Available && pair.place() == candidate.place => pair,
            Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
            Ok(_) | Err(_) => {
                claimed.stale.push(candidate.job);
                continue;
            }
        };
        let now = txn.now_ms();
        let lease_ms = request.lease_ms.unwrap_or(pair.body.lease_ms);
        let event = Event::Claim { now, epoch, worker: request.worker.clone(), lease_ms };
        match apply(txn, &pair, &event) {
            Ok(pair) => {
                bytes += pair.carried_bytes();
                claimed.pairs.push(pair);
            }
            // Its history, which is read before anything is written, can't be. (After a write that failed half-way
            // the transaction would not be committed.)
            Err(error) if error.kind() == ErrorKind::Corrupt => claimed.stale.push(candidate.job),
            Err(error) => return Err(error),
        }
    }
    Ok(claimed)
}
