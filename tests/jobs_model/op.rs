//! What can be done to the queue, as values: so that it can be drawn by chance, listed in full, and replayed.

use ml_persistence::{Backoff, JobId, NewJob};

/// The queues that jobs are spread over.
pub const QUEUES: [&str; 2] = ["q", "r"];

/// One step. Tokens and jobs are named by their place among all those handed out so far, from the newest back, so stale
/// tokens and removed jobs are used as readily as good ones.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    Enqueue(New),
    Claim {
        queues: Vec<usize>,
        limit: usize,
    },
    ClaimAndDrop {
        queue: usize,
    },
    Heartbeat {
        token: usize,
        lease_ms: Option<u64>,
    },
    Progress {
        token: usize,
    },
    Complete {
        token: usize,
    },
    CompleteAndClaim {
        token: usize,
        queue: usize,
    },
    Fail {
        token: usize,
        retry_in_ms: Option<u64>,
    },
    Discard {
        token: usize,
    },
    Snooze {
        token: usize,
        delay_ms: u64,
    },
    Release {
        token: usize,
    },
    Cancel {
        job: usize,
    },
    Retry {
        job: usize,
    },
    Advance {
        ms: u64,
    },
    SetWall {
        ms: u64,
    },
    Maintain,
    Prune {
        older_than_ms: Option<u64>,
    },
    Pause {
        queue: usize,
    },
    Resume {
        queue: usize,
    },
    /// The process ends without a word, and the store is opened again.
    Crash,
    /// The store is closed and opened again.
    Close,
}

/// A job to enqueue.
#[derive(Debug, Clone, PartialEq)]
pub struct New {
    pub queue: usize,
    pub id: Option<u8>,
    pub priority: u8,
    pub unique: Option<u8>,
    pub delay_ms: Option<u64>,
    pub max_attempts: u32,
    pub max_crashes: u32,
    pub lease_ms: u64,
    pub timeout_ms: Option<u64>,
    pub retention_ms: u64,
    pub backoff_ms: u64,
}

impl New {
    pub fn plain() -> Self {
        New {
            queue: 0,
            id: None,
            priority: 100,
            unique: None,
            delay_ms: None,
            max_attempts: 2,
            max_crashes: 2,
            lease_ms: 100,
            timeout_ms: None,
            retention_ms: 1_000,
            backoff_ms: 30,
        }
    }

    pub fn own_id(&self) -> Option<JobId> {
        self.id.map(|id| JobId(1 + u128::from(id)))
    }

    pub fn unique_key(&self) -> Option<String> {
        self.unique.map(|key| format!("u{key}"))
    }

    pub fn job(&self) -> NewJob {
        let mut job = NewJob::new(QUEUES[self.queue], "k")
            .priority(self.priority)
            .max_attempts(self.max_attempts)
            .max_crashes(self.max_crashes)
            .lease_ms(self.lease_ms)
            .retention_ms(self.retention_ms)
            .backoff(Backoff::fixed(self.backoff_ms));
        if let Some(id) = self.own_id() {
            job = job.id(id);
        }
        if let Some(key) = self.unique_key() {
            job = job.unique_key(key);
        }
        if let Some(delay_ms) = self.delay_ms {
            job = job.delay_ms(delay_ms);
        }
        if let Some(timeout_ms) = self.timeout_ms {
            job = job.timeout_ms(timeout_ms);
        }
        job
    }
}
