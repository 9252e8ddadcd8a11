//! A queue on the real engine, over a simulated disk, that can be closed, crashed and opened again; and its checker.

#![allow(dead_code, reason = "no test file uses all of it")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure, in a helper too")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ml_persistence::engine::Engine;
use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::sim::SimDisk;
use ml_persistence::engine::memory::MemoryOpener;
use ml_persistence::jobs::{
    self, Attempt, Counts, JobFilter, NewJob, Outcome, Reason, State, recovery, recovery::SweepReport,
};
use ml_persistence::record::scrub;
use ml_persistence::{
    Config, ErrorKind, Ids, Job, JobId, Jobs, JobsOptions, Lease, ManualClock, RecordStore, Result, Stopwatch, Token,
};

/// A queue that can be closed, crashed and opened again.
pub struct Rig {
    disk: SimDisk,
    pub clock: ManualClock,
    ids: Arc<Ids>,
    open: Option<(RecordStore, Jobs)>,
    pub swept: SweepReport,
}

impl Rig {
    pub fn new() -> Self {
        let mut rig = Rig {
            disk: SimDisk::new(),
            clock: ManualClock::at(1_000_000),
            ids: Arc::new(Ids::seeded(7)),
            open: None,
            swept: SweepReport::default(),
        };
        rig.reopen();
        rig
    }

    pub fn reopen(&mut self) {
        let mut config = Config::new().unwrap();
        config.clock = Arc::new(self.clock.clone());
        config.ids = Arc::clone(&self.ids);
        let opener = MemoryOpener::in_folder(Arc::new(self.disk.clone()));
        let (engine, _) = LocalEngine::open(Arc::new(self.disk.clone()), Path::new("/data"), &opener, &config).unwrap();
        let epoch = engine.epoch();
        self.ids.enter_epoch(epoch.number);
        let store = RecordStore::new(Arc::new(engine), Arc::new(self.clock.clone()), Arc::clone(&self.ids));
        self.swept = recovery::sweep(&store, epoch).unwrap();
        let again = recovery::sweep(&store, epoch).unwrap();
        assert_eq!(again, SweepReport::default(), "a repeated sweep finds nothing");
        self.open = Some((store.clone(), Jobs::new(store, JobsOptions::default())));
    }

    pub fn jobs(&self) -> &Jobs {
        &self.open.as_ref().unwrap().1
    }

    pub fn store(&self) -> &RecordStore {
        &self.open.as_ref().unwrap().0
    }

    /// The process ends without a word: what was acknowledged is on disk, leases are left behind.
    pub fn crash(&mut self) -> SweepReport {
        let (store, jobs) = self.open.take().unwrap();
        store.engine().close().unwrap();
        drop((store, jobs));
        self.reopen();
        self.swept
    }

    /// A clean end, then a new opening.
    pub fn close_and_open(&mut self) -> SweepReport {
        self.jobs().release_all_on_close().unwrap();
        self.crash()
    }

    pub fn get(&self, id: JobId) -> Job {
        self.jobs().get(id).unwrap().unwrap()
    }

    pub fn enqueue(&self, job: NewJob) -> JobId {
        let enqueued = self.jobs().enqueue(job).unwrap();
        assert_eq!(enqueued.outcome, Outcome::Inserted);
        enqueued.job
    }

    pub fn claim(&self, limit: usize) -> Vec<(Job, Token)> {
        self.jobs().claim(&["q"], limit).unwrap().into_iter().map(Lease::into_parts).collect()
    }

    pub fn claim_one(&self) -> (Job, Token) {
        let mut claimed = self.claim(1);
        assert_eq!(claimed.len(), 1, "one job is ready");
        claimed.remove(0)
    }

    /// Holds the whole queue against itself: every index entry and counter against the jobs, and the jobs against what
    /// must always be true of them.
    pub fn verify(&self) {
        let mut report = scrub::Report::default();
        self.store().read(|view| jobs::verify(view, &mut report)).unwrap();
        assert_eq!(report.violations_found, 0, "{:#?}", report.violations);
        let everything = all_by(self.jobs(), &JobFilter::new(), 1_000);
        check(&everything, &self.jobs().counts(None).unwrap()).unwrap();
        let mut by_state = Vec::new();
        for state in State::ALL {
            by_state.extend(all_by(self.jobs(), &JobFilter::new().state(state), 1_000).into_iter().map(|job| job.id));
        }
        by_state.sort_unstable();
        let mut ids: Vec<JobId> = everything.iter().map(|job| job.id).collect();
        ids.sort_unstable();
        assert_eq!(by_state, ids, "every job is in exactly one state index");
    }
}

/// What must be true of all jobs of a store and of its counters, whatever has happened.
pub fn check(jobs: &[Job], counts: &BTreeMap<String, Counts>) -> std::result::Result<(), String> {
    let mut recount: BTreeMap<&str, BTreeMap<State, u64>> = BTreeMap::new();
    let mut holders = BTreeMap::new();
    for job in jobs {
        let fault = |what: &str| Err(format!("{what}: {job:?}"));
        *recount.entry(&job.queue).or_default().entry(job.state).or_default() += 1;
        if (job.state == State::Executing) != job.lease_expires_at.is_some() {
            return fault("a lease exactly while executing");
        }
        if job.state.is_terminal() != job.finished_at.is_some() {
            return fault("a finish time exactly when finished");
        }
        if job.attempt > job.max_attempts + job.max_crashes || job.crash_count > job.max_crashes {
            return fault("attempts and crashes within bounds");
        }
        if let (Some(key), false) = (&job.unique_key, job.state.is_terminal())
            && holders.insert((&job.queue, key), job.id).is_some()
        {
            return fault("one holder per unique key");
        }
    }
    let queues: Vec<&str> = counts.keys().map(String::as_str).collect();
    if queues != recount.keys().copied().collect::<Vec<_>>() {
        return Err(format!("counted queues {queues:?}, jobs in {:?}", recount.keys()));
    }
    for (queue, counts) in counts {
        for state in State::ALL {
            let counted = recount[queue.as_str()].get(&state).copied().unwrap_or(0);
            if counts.of(state) != counted {
                return Err(format!("{queue}: {} {state} by the counter, {counted} in truth", counts.of(state)));
            }
        }
    }
    Ok(())
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.verify();
        }
    }
}

pub fn all(jobs: &Jobs, filter: &JobFilter) -> Vec<Job> {
    all_by(jobs, filter, 7)
}

/// All jobs of a list, by pages of this size.
pub fn all_by(jobs: &Jobs, filter: &JobFilter, page_size: usize) -> Vec<Job> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = jobs.list(filter, after.as_deref(), page_size).unwrap();
        all.extend(page.jobs);
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

pub fn job() -> NewJob {
    NewJob::new("q", "k")
}

pub fn kind_of<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

pub fn reasons(rig: &Rig, id: JobId) -> Vec<Option<Reason>> {
    rig.jobs().attempts(id).unwrap().newest.iter().map(|attempt: &Attempt| attempt.reason).collect()
}

/// Waits for something that another thread does.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = Stopwatch::start();
    while !holds() {
        assert!(waited.elapsed().as_secs() < 600, "in vain: {what}");
        std::thread::yield_now();
    }
}
