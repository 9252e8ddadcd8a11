//! Plain numbers about an open store.

use serde::Serialize;

use crate::engine::EngineStats;
use crate::error::Result;
use crate::keys::KeyWriter;
use crate::record::{RecordStore, View, catalog};
use crate::registry::Registry;

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
    /// Keys of the plain contract, in all namespaces.
    pub kv: u64,
}

pub(super) fn stats(records: &RecordStore, registry: &Registry) -> Result<StoreStats> {
    let engine = records.engine();
    let summary = registry.summary()?;
    Ok(StoreStats {
        engine: engine.capabilities().engine,
        epoch: engine.epoch().number,
        records: RecordCounts {
            models: summary.models.total,
            versions: summary.versions.total,
            kv: records.read(|view| total(view, catalog::KV_ENTRIES))?,
        },
        storage: engine.stats(),
    })
}

/// The sum over all groups of a counter.
fn total(view: &View<'_>, counter: u32) -> Result<u64> {
    let sums = view.sums(counter, KeyWriter::new())?;
    Ok(sums.iter().fold(0u64, |total, (_, sum)| total.saturating_add_signed(*sum)))
}
