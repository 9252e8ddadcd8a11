//! What whole stores stand on in tests: a simulated disk, a clock that moves when told to, identifiers from a seed.
//!
//! ```text
//!   MlPersistence ──> journal, CURRENT, folder store of memory ──> SimDisk: what was written, what was synced
//! ```
//!
//! Everything that is durable lies on the disk, so an image of the disk is an image of the store.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::sync::Arc;

use ml_persistence::engine::local::opener::StoreOpener;
use ml_persistence::engine::local::sim::SimDisk;
use ml_persistence::engine::memory::MemoryOpener;
use ml_persistence::{Builder, Ids, ManualClock, MlPersistence};

/// Where a store lies and where its time and its identifiers come from. A clone is the same place.
#[derive(Clone)]
pub struct Ground {
    pub disk: SimDisk,
    pub clock: ManualClock,
    pub seed: u64,
}

impl Ground {
    /// An empty disk. Two stores of one test need two seeds: their identifiers must differ.
    pub fn new(clock: ManualClock, seed: u64) -> Self {
        Ground { disk: SimDisk::recording().with_seed(seed), clock, seed }
    }

    /// The same place with another disk: what a power cut, or the end of the process, leaves of the first.
    pub fn with_disk(&self, disk: SimDisk) -> Self {
        Ground { disk, clock: self.clock.clone(), seed: self.seed }
    }

    pub fn opener(&self) -> Arc<dyn StoreOpener> {
        Arc::new(MemoryOpener::in_folder(Arc::new(self.disk.clone())))
    }

    pub fn builder(&self) -> Builder {
        self.builder_over(self.opener())
    }

    /// With a store that something stands in front of.
    pub fn builder_over(&self, opener: Arc<dyn StoreOpener>) -> Builder {
        MlPersistence::builder("/data")
            .on(Arc::new(self.disk.clone()), opener)
            .clock(Arc::new(self.clock.clone()))
            .ids(Ids::seeded(self.seed))
    }
}
