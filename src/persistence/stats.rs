//! Plain numbers about an open store.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::EngineStats;
use crate::error::Result;
use crate::jobs::{Counts, JobFilter, Jobs, State};
use crate::keys::KeyWriter;
use crate::record::{RecordStore, View, catalog};
use crate::registry::Registry;

use super::policy::{self, SnapshotStats};

/// Plain numbers about a store, for any metrics crate. Record counts come from counters: nothing is scanned.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StoreStats {
    /// The engine's name.
    pub engine: &'static str,
    /// This opening's number.
    pub epoch: u64,
    /// Records by kind.
    pub records: RecordCounts,
    /// The queues, by name.
    pub queues: BTreeMap<String, QueueStats>,
    /// Whether a store whose files are damaged would be rebuilt by the next opening, with nothing lost: its journal reaches
    /// back to the start, or to one of its own snapshots. Never for a store without a folder.
    pub rebuildable: bool,
    /// The snapshots that it keeps of itself.
    pub snapshots: SnapshotStats,
    /// What the engine has done since it was opened, and what it holds.
    pub storage: EngineStats,
}

/// How many records there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecordCounts {
    /// Models, archived ones included.
    pub models: u64,
    /// Versions of all models, archived ones included.
    pub versions: u64,
    /// Jobs, in every state.
    pub jobs: u64,
    /// Keys of the plain contract, in all namespaces.
    pub kv: u64,
}

/// How one queue stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueStats {
    /// Jobs that wait to be claimed: available, scheduled or retryable.
    pub depth: u64,
    /// Milliseconds since the oldest available job was enqueued; `None` without one.
    pub oldest_age_ms: Option<u64>,
    /// Jobs by state.
    pub jobs: Counts,
}

pub(super) fn stats(
    records: &RecordStore,
    registry: &Registry,
    jobs: &Jobs,
    snapshots: Option<&policy::Snapshots>,
) -> Result<StoreStats> {
    let engine = records.engine();
    let storage = engine.stats();
    let summary = registry.summary()?;
    let now_ms = records.clock().now_ms();
    let mut queues = BTreeMap::new();
    for (name, counts) in jobs.counts(None)? {
        let oldest = match counts.available {
            0 => None,
            _ => jobs.list(&JobFilter::new().queue(&name).state(State::Available), None, 1)?.jobs.into_iter().next(),
        };
        let depth = counts.available + counts.scheduled + counts.retryable;
        let oldest_age_ms = oldest.map(|job| now_ms.saturating_sub(job.enqueued_at));
        queues.insert(name, QueueStats { depth, oldest_age_ms, jobs: counts });
    }
    Ok(StoreStats {
        engine: engine.capabilities().engine,
        epoch: engine.epoch().number,
        records: RecordCounts {
            models: summary.models.total,
            versions: summary.versions.total,
            jobs: queues.values().flat_map(|queue| State::ALL.map(|state| queue.jobs.of(state))).sum(),
            kv: records.read(|view| total(view, catalog::KV_ENTRIES))?,
        },
        queues,
        rebuildable: policy::is_rebuildable(&**engine, &storage)?,
        snapshots: policy::stats(&**engine, snapshots)?,
        storage,
    })
}

/// The sum over all groups of a counter.
fn total(view: &View<'_>, counter: u32) -> Result<u64> {
    let sums = view.sums(counter, KeyWriter::new())?;
    Ok(sums.iter().fold(0u64, |total, (_, sum)| total.saturating_add_signed(*sum)))
}
