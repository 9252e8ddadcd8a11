//! The one door through which a transition reaches the store.
//!
//! Saves the pair, keeps the attempt that the transition pushed out of it, and removes a job whose retention is 0 in
//! the commit that finishes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::job::{Attempt, JobId};
use super::pair::Pair;
use super::schema::attempts_key;
use super::state::Reason;
use super::transition::{Event, transition};
use crate::error::Result;
use crate::keys;
use crate::record::{Transaction, catalog};

/// Older attempts that are kept in full. With the running one, or the one that ended last, that makes 16.
pub(crate) const ATTEMPTS_KEPT: usize = 15;

/// The older attempts of a job as stored: every one that ended, except the newest, which lies in the head.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// Oldest first.
    pub kept: Vec<Attempt>,
    /// Those before them, by how they ended.
    pub dropped: BTreeMap<Reason, u64>,
}

/// Applies `event` to `old`, as this very body read it. An event that changes nothing writes nothing.
pub(crate) fn apply(txn: &mut Transaction<'_>, old: &Pair, event: &Event) -> Result<Pair> {
    let mut next = transition(old, event)?;
    if next == *old {
        return Ok(next);
    }
    if next.head.state.is_terminal() && next.body.retention_ms == 0 {
        next.head.revision += 1;
        txn.delete(old)?;
        return Ok(next);
    }
    if let (Some(ended), None) = (&old.head.last, &next.head.last) {
        keep(txn, old.id(), ended.clone())?;
    }
    txn.update(old, next)
}

/// The job with this id.
pub(crate) fn load(txn: &mut Transaction<'_>, id: JobId) -> Result<Option<Pair>> {
    txn.get::<Pair>(&keys::job(id.0))
}

fn keep(txn: &mut Transaction<'_>, id: JobId, ended: Attempt) -> Result<()> {
    let key = attempts_key(id.0);
    let mut past: Past = txn.get_part(catalog::JOB_ATTEMPTS, &key)?.unwrap_or_default();
    past.kept.push(ended);
    while past.kept.len() > ATTEMPTS_KEPT {
        let oldest = past.kept.remove(0);
        if let Some(reason) = oldest.reason {
            *past.dropped.entry(reason).or_default() += 1;
        }
    }
    txn.put_part(catalog::JOB_ATTEMPTS, &key, &past)
}
