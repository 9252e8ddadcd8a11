//! `job.*` and `queue.*`: the job queue.

use std::collections::BTreeMap;

use ml_persistence::Result;
use ml_persistence::jobs::{
    BATCH_MAX, Backoff, ClaimRequest, Job, JobFilter, JobId, Jobs, LEASE_MS_MAX, Lease, NewJob, State, Token,
};
use serde::Serialize;

use super::session::{Answer, Request, json, null};
use crate::fields::Fields;

/// Longest wait of a claim: a minute.
const WAIT_MS_MAX: u64 = 60_000;

/// Fields of a job to enqueue.
pub const NEW_JOB: &[&str] = &[
    "queue",
    "kind",
    "payload",
    "target",
    "priority",
    "run_at",
    "delay_ms",
    "max_attempts",
    "max_crashes",
    "lease_ms",
    "timeout_ms",
    "retention_ms",
    "backoff",
    "unique_key",
    "job",
];

/// Fields of a backoff.
const BACKOFF: &[&str] = &["base_ms", "factor", "max_ms", "jitter_percent"];

pub fn enqueue(request: &Request<'_>) -> Answer {
    let job = new_job(request.fields)?;
    json(&queue(request).enqueue(job)?)
}

pub fn enqueue_batch(request: &Request<'_>) -> Answer {
    let new = |fields: &Fields<'_>| {
        fields.check(Some(&[NEW_JOB]))?;
        new_job(fields)
    };
    let jobs: Result<Vec<NewJob>> = request.fields.objects("jobs", BATCH_MAX)?.iter().map(new).collect();
    json(&queue(request).enqueue_batch(&jobs?)?)
}

fn new_job(fields: &Fields<'_>) -> Result<NewJob> {
    let most = u64::from(u32::MAX);
    let mut job = NewJob::new(fields.text("queue")?, fields.text("kind")?);
    if let Some(id) = fields.text_opt("job")? {
        job = job.id(id.parse()?);
    }
    if let Some(payload) = fields.json_opt("payload")? {
        job = job.payload(payload);
    }
    if let Some(target) = fields.text_opt("target")? {
        job = job.target(target);
    }
    if let Some(priority) = fields.integer_opt("priority", 0..=255)? {
        job = job.priority(priority as u8);
    }
    match (fields.integer_opt("run_at", 0..=u64::MAX)?, fields.integer_opt("delay_ms", 0..=u64::MAX)?) {
        (Some(_), Some(_)) => return Err(fields.wrong("run_at", "either run_at or delay_ms, not both")),
        (Some(run_at), None) => job = job.run_at(run_at),
        (None, Some(delay_ms)) => job = job.delay_ms(delay_ms),
        (None, None) => {}
    }
    if let Some(max_attempts) = fields.integer_opt("max_attempts", 1..=most)? {
        job = job.max_attempts(max_attempts as u32);
    }
    if let Some(max_crashes) = fields.integer_opt("max_crashes", 1..=most)? {
        job = job.max_crashes(max_crashes as u32);
    }
    if let Some(lease_ms) = lease_ms(fields)? {
        job = job.lease_ms(lease_ms);
    }
    if let Some(timeout_ms) = fields.integer_opt("timeout_ms", 1..=u64::MAX)? {
        job = job.timeout_ms(timeout_ms);
    }
    if let Some(retention_ms) = fields.integer_opt("retention_ms", 0..=u64::MAX)? {
        job = job.retention_ms(retention_ms);
    }
    if let Some(backoff) = backoff(fields)? {
        job = job.backoff(backoff);
    }
    if let Some(unique_key) = fields.text_opt("unique_key")? {
        job = job.unique_key(unique_key);
    }
    Ok(job)
}

/// An object, each of whose fields may be left out or `null`.
fn backoff(fields: &Fields<'_>) -> Result<Option<Backoff>> {
    let Some(given) = fields.object_opt("backoff")? else { return Ok(None) };
    given.check(Some(&[BACKOFF]))?;
    let named = |name: &&'static str| Some((*name, given.raw(name).filter(|raw| raw.get() != "null")?));
    let named: BTreeMap<_, _> = BACKOFF.iter().filter_map(named).collect();
    serde_json::from_str(&json(&named)?).map(Some).map_err(|error| fields.wrong("backoff", error))
}

/// The queue, whose writes return at the durability that was asked for.
fn queue(request: &Request<'_>) -> Jobs {
    request.session.db.jobs().with_durability(request.durability)
}

fn id(fields: &Fields<'_>) -> Result<JobId> {
    fields.text("job")?.parse()
}

fn token(fields: &Fields<'_>) -> Result<Token> {
    fields.text("token")?.parse()
}

fn lease_ms(fields: &Fields<'_>) -> Result<Option<u64>> {
    fields.integer_opt("lease_ms", 1..=LEASE_MS_MAX)
}

pub fn claim(request: &Request<'_>) -> Answer {
    let (fields, wanted) = (request.fields, wanted(request.fields)?);
    let wait_ms = fields.integer_opt("wait_ms", 0..=WAIT_MS_MAX)?.unwrap_or(0);
    // A manual clock moves by a request alone, so waiting for it would be waiting for nothing.
    let waits = wait_ms > 0 && request.session.clock.is_none();
    let jobs = queue(request);
    claimed(if waits { jobs.claim_wait(&wanted, wait_ms)? } else { jobs.claim_with(&wanted)? })
}

pub fn complete_and_claim(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (token, result, wanted) = (token(fields)?, fields.json_opt("result")?, wanted(fields)?);
    claimed(queue(request).complete_and_claim(&token, result, &wanted)?)
}

fn wanted(fields: &Fields<'_>) -> Result<ClaimRequest> {
    let mut wanted = ClaimRequest::new(fields.texts("queues")?).worker(fields.text("worker")?);
    if let Some(limit) = fields.integer_opt("limit", 1..=1000)? {
        wanted = wanted.limit(limit as usize);
    }
    if let Some(lease_ms) = lease_ms(fields)? {
        wanted = wanted.lease_ms(lease_ms);
    }
    Ok(wanted)
}

/// Hands jobs and tokens out. From here on only their time ends the leases: who holds the tokens is not known.
fn claimed(leases: Vec<Lease>) -> Answer {
    #[derive(Serialize)]
    struct Claimed {
        job: Job,
        token: String,
    }
    let parts = leases.into_iter().map(Lease::into_parts);
    json(&parts.map(|(job, token)| Claimed { job, token: token.to_string() }).collect::<Vec<_>>())
}

pub fn heartbeat(request: &Request<'_>) -> Answer {
    let (token, lease_ms) = (token(request.fields)?, lease_ms(request.fields)?);
    let cancel_requested = queue(request).heartbeat(&token, lease_ms)?;
    Ok(format!(r#"{{"cancel_requested":{cancel_requested}}}"#))
}

pub fn progress(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let percent = fields.integer_opt("percent", 0..=100)?.map(|percent| percent as u8);
    let checkpoint = fields.json_opt("checkpoint")?.filter(|checkpoint| checkpoint.as_str() != "null");
    queue(request).progress(&token(fields)?, percent, checkpoint)?;
    null()
}

pub fn complete(request: &Request<'_>) -> Answer {
    let (token, result) = (token(request.fields)?, request.fields.json_opt("result")?);
    json(&queue(request).complete(&token, result)?)
}

pub fn fail(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (token, error) = (token(fields)?, fields.text_opt("error")?);
    let retry_in_ms = fields.integer_opt("retry_in_ms", 0..=u64::MAX)?;
    json(&queue(request).fail(&token, error.as_deref(), retry_in_ms)?)
}

pub fn snooze(request: &Request<'_>) -> Answer {
    let (token, delay_ms) = (token(request.fields)?, request.fields.integer("delay_ms", 1..=u64::MAX)?);
    json(&queue(request).snooze(&token, delay_ms)?)
}

pub fn release(request: &Request<'_>) -> Answer {
    json(&queue(request).release(&token(request.fields)?)?)
}

pub fn discard(request: &Request<'_>) -> Answer {
    let (token, reason) = (token(request.fields)?, request.fields.text_opt("reason")?);
    json(&queue(request).discard(&token, reason.as_deref())?)
}

pub fn cancel(request: &Request<'_>) -> Answer {
    json(&queue(request).cancel(id(request.fields)?)?)
}

pub fn retry(request: &Request<'_>) -> Answer {
    json(&queue(request).retry(id(request.fields)?)?)
}

pub fn get(request: &Request<'_>) -> Answer {
    json(&queue(request).get(id(request.fields)?)?)
}

pub fn attempts(request: &Request<'_>) -> Answer {
    json(&queue(request).attempts(id(request.fields)?)?.newest)
}

pub fn list(request: &Request<'_>) -> Answer {
    #[derive(Serialize)]
    struct Page {
        jobs: Vec<Job>,
        next: Option<String>,
    }
    let fields = request.fields;
    let mut filter = JobFilter::new();
    filter.queue = fields.text_opt("queue")?;
    filter.kind = fields.text_opt("kind")?;
    filter.state = match fields.text_opt("state")? {
        Some(state) => Some(state.parse::<State>()?),
        None => None,
    };
    let after = fields.text_opt("after")?;
    let page = queue(request).list(&filter, after.as_deref(), super::page_limit(fields, "limit")?)?;
    json(&Page { jobs: page.jobs, next: page.next })
}

pub fn counts(request: &Request<'_>) -> Answer {
    json(&queue(request).counts(request.fields.text_opt("queue")?.as_deref())?)
}

pub fn prune(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, older_than_ms) = (fields.text_opt("queue")?, fields.integer_opt("older_than_ms", 0..=u64::MAX)?);
    json(&queue(request).prune(name.as_deref(), older_than_ms)?)
}

pub fn maintain(request: &Request<'_>) -> Answer {
    json(&queue(request).maintain()?)
}

pub fn pause(request: &Request<'_>) -> Answer {
    queue(request).pause(&request.fields.text("queue")?)?;
    null()
}

pub fn resume(request: &Request<'_>) -> Answer {
    queue(request).resume(&request.fields.text("queue")?)?;
    null()
}
