//! Claim: scan outside, verify inside.
//!
//! ```text
//!   take back expired leases ─> promote what is due ─> scan the ready index ─> reserve ─> one transaction:
//!                                                        ^                                verify each, claim
//!                                                        └── every candidate was stale ───────┘
//! ```
//!
//! Candidates are *reserved* in memory while their transaction runs, so that concurrent claimers of this process take
//! different heads of the line instead of verifying the same ones. The reservation is only manners: the transaction
//! decides, by the state it finds. A candidate that can't be read is passed over; verify reports it.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use parking_lot::Mutex;

use super::act::Finish;
use super::apply::{apply, load};
use super::bell::BACKSTOP_MS;
use super::enqueue::parse_key;
use super::job::JobId;
use super::lease::Lease;
use super::new_job::{LIMIT_MAX, check_lease, check_limit, check_name};
use super::pair::Pair;
use super::schema::{READY, paused_key};
use super::state::State;
use super::token::Token;
use super::transition::Event;
use super::{Job, Jobs};
use crate::clock::Stopwatch;
use crate::engine::{Direction, Epoch};
use crate::error::{Error, ErrorKind, Result};
use crate::json::Json;
use crate::keys::KeyWriter;
use crate::record::{PAGE_BYTES, Transaction, catalog};

/// Scans after which a claim whose every candidate was stale answers none.
const ROUNDS_MAX: usize = 16;
/// Entries read beyond what is wanted, for those that are reserved.
const SCAN_AHEAD: usize = 16;
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
}

impl ClaimRequest {
    /// One job of these queues, tried in list order, for a worker called `local`.
    #[must_use]
    pub fn new<S: Into<String>>(queues: impl IntoIterator<Item = S>) -> Self {
        let queues = queues.into_iter().map(Into::into).collect();
        ClaimRequest { queues, worker: "local".to_owned(), limit: 1, lease_ms: None }
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
        self.make_ready(&request.queues, None)?;
        self.claim_ready(request, None)
    }

    /// As [`Jobs::claim_with`], but waits up to `wait_ms` (at most 60,000) of real time for a job to become ready.
    ///
    /// # Errors
    /// `Invalid` naming the field beyond its limit.
    pub fn claim_wait(&self, request: &ClaimRequest, wait_ms: u64) -> Result<Vec<Lease>> {
        if wait_ms > WAIT_MS_MAX {
            return Err(Error::invalid(format!("wait_ms: 0..={WAIT_MS_MAX}, got {wait_ms}")));
        }
        let waited = Stopwatch::start();
        loop {
            let seen = self.shared.bell.rings();
            let leases = self.claim_with(request)?;
            let left = Duration::from_millis(wait_ms).saturating_sub(waited.elapsed());
            if !leases.is_empty() || left.is_zero() {
                return Ok(leases);
            }
            self.shared.bell.wait(seen, left.min(Duration::from_millis(BACKSTOP_MS)));
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
        self.make_ready(&request.queues, Some(token))?;
        self.claim_ready(request, Some((token, &finish)))
    }

    /// Takes back what is past and promotes what is due, so that the ready index is what a claim may pick from. The
    /// claim behind `finishing` is about to end in another way and stays.
    fn make_ready(&self, queues: &[String], finishing: Option<&Token>) -> Result<()> {
        self.take_back_past(finishing)?;
        for queue in queues.iter().collect::<BTreeSet<_>>() {
            self.promote_due(queue)?;
        }
        Ok(())
    }

    fn claim_ready(&self, request: &ClaimRequest, mut finish: Option<(&Token, &Finish)>) -> Result<Vec<Lease>> {
        let mut stale = HashSet::new();
        for _ in 0..ROUNDS_MAX {
            let picked = self.pick(request, &stale)?;
            if picked.jobs.is_empty() && finish.is_none() {
                break;
            }
            let started = self.shared.store.clock().monotonic_ms();
            let claimed = self.claim_picked(&picked.jobs, request, finish)?;
            if let Some((token, _)) = finish.take() {
                self.shared.deadlines.forget(token.job, token.number);
            }
            if !claimed.is_empty() {
                return Ok(claimed.iter().filter_map(|pair| self.hand_out(pair, started)).collect());
            }
            stale.extend(picked.jobs.iter().copied());
        }
        Ok(Vec::new())
    }

    /// Ends the finished claim and claims those of `jobs` that are available, in one commit.
    fn claim_picked(
        &self,
        mut jobs: &[JobId],
        request: &ClaimRequest,
        finish: Option<(&Token, &Finish)>,
    ) -> Result<Vec<Pair>> {
        loop {
            let claimed = self.shared.store.transact(self.durability, |txn| {
                if let Some((token, finish)) = finish {
                    finish.apply(txn, token)?;
                }
                claim_available(txn, jobs, request, self.shared.epoch())
            });
            match claimed {
                // Checkpoints and old errors are written again, and many large ones are more than one transaction
                // takes. One job always fits.
                Err(error) if error.kind() == ErrorKind::Invalid && jobs.len() > 1 => {
                    jobs = jobs.get(..jobs.len() / 2).unwrap_or_default();
                }
                claimed => return claimed,
            }
        }
    }

    /// Notes the lease in memory and makes it something to hold.
    fn hand_out(&self, pair: &Pair, started: u64) -> Option<Lease> {
        self.shared.deadlines.note(pair, started);
        let job: Job = pair.job();
        pair.token().map(|token| Lease::new(self.clone(), token, job))
    }

    /// Ready jobs that nobody else of this process is about to claim, reserved until the answer is dropped.
    fn pick(&self, request: &ClaimRequest, stale: &HashSet<JobId>) -> Result<Picked<'_>> {
        let mut picked = Picked { reserved: &self.shared.reserved, jobs: Vec::new() };
        let mut tried = HashSet::new();
        for queue in request.queues.iter().filter(|queue| tried.insert(queue.as_str())) {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let wanted = request.limit.saturating_sub(picked.jobs.len());
                if wanted == 0 {
                    return Ok(picked);
                }
                let page = self.shared.store.read(|view| {
                    if view.get_part::<bool>(catalog::QUEUE_PAUSED, &paused_key(queue))?.unwrap_or_default() {
                        return Ok(None);
                    }
                    let line = KeyWriter::new().str(queue);
                    view.index_page(&READY, line, Direction::Ascending, after.as_deref(), wanted + SCAN_AHEAD).map(Some)
                })?;
                let Some(page) = page else { break };
                for entry in &page.entries {
                    let id = parse_key(&entry.primary)?;
                    if picked.jobs.len() < request.limit && !stale.contains(&id) && self.shared.reserved.reserve(id) {
                        picked.jobs.push(id);
                    }
                }
                match page.resume {
                    Some(resume) => after = Some(resume),
                    None => break,
                }
            }
        }
        Ok(picked)
    }
}

/// Claims those of `jobs` that are still available, in their order, until they carry [`PAGE_BYTES`].
fn claim_available(
    txn: &mut Transaction<'_>,
    jobs: &[JobId],
    request: &ClaimRequest,
    epoch: Epoch,
) -> Result<Vec<Pair>> {
    let (mut claimed, mut bytes) = (Vec::new(), 0);
    let mut paused: Option<(String, bool)> = None;
    for id in jobs {
        if bytes >= PAGE_BYTES {
            break;
        }
        let pair = match load(txn, *id) {
            Ok(Some(pair)) if pair.head.state == State::Available => pair,
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::Corrupt => continue,
            Err(error) => return Err(error),
        };
        // Candidates come queue by queue, so remembering one answer asks once a queue.
        let is_paused = match &paused {
            Some((queue, is_paused)) if *queue == pair.body.queue => *is_paused,
            _ => txn.get_part::<bool>(catalog::QUEUE_PAUSED, &paused_key(&pair.body.queue))?.unwrap_or_default(),
        };
        paused = Some((pair.body.queue.clone(), is_paused));
        if is_paused {
            continue;
        }
        let now = txn.now_ms();
        let lease_ms = request.lease_ms.unwrap_or(pair.body.lease_ms);
        let event = Event::Claim { now, epoch, worker: request.worker.clone(), lease_ms };
        bytes += pair.carried_bytes();
        claimed.push(apply(txn, &pair, &event)?);
    }
    Ok(claimed)
}

/// Candidates of claims that are on their way.
#[derive(Debug, Default)]
pub(crate) struct Reserved(Mutex<HashSet<JobId>>);

impl Reserved {
    fn reserve(&self, id: JobId) -> bool {
        self.0.lock().insert(id)
    }
}

/// Reserved candidates; dropping it lets them go.
struct Picked<'r> {
    reserved: &'r Reserved,
    jobs: Vec<JobId>,
}

impl Drop for Picked<'_> {
    fn drop(&mut self) {
        let mut reserved = self.reserved.0.lock();
        for id in &self.jobs {
            reserved.remove(id);
        }
    }
}
