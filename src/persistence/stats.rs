//! Plain numbers about an open store.

use serde::Serialize;

use crate::engine::EngineStats;
use crate::error::Result;
use crate::keys::KeyWriter;
use crate::record::{RecordStore, View, catalog};

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
    /// Keys of the plain contract, in all namespaces.
    pub kv: u64,
}

pub(super) fn stats(records: &RecordStore) -> Result<StoreStats> {
    let engine = records.engine();
    Ok(StoreStats {
        engine: engine.capabilities().engine,
        epoch: engine.epoch().number,
        records: records.read(|view| Ok(RecordCounts { kv: total(view, catalog::KV_ENTRIES)? }))?,
        storage: engine.stats(),
    })
}

/// The sum over all groups of a counter.
fn total(view: &View<'_>, counter: u32) -> Result<u64> {
    let sums = view.sums(counter, KeyWriter::new())?;
    Ok(sums.iter().fold(0u64, |total, (_, sum)| total.saturating_add_signed(*sum)))
}
