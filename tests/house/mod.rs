//! A store in memory, behind a journal on a simulated disk, that can be opened again and again: what the tests of the
//! queue run on.

use std::path::Path;
use std::sync::Arc;

use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::sim::SimDisk;
use ml_persistence::engine::memory::{MemoryOpener, MemoryStore};
use ml_persistence::engine::wrap::CountEngine;
use ml_persistence::jobs::{self, JobsOptions, recovery};
use ml_persistence::record::scrub;
use ml_persistence::{Clock, Config, Ids, Jobs, RecordStore};

/// What outlives an opening.
pub struct House {
    disk: SimDisk,
    data: Arc<MemoryStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
}

/// One opening.
pub struct Open {
    pub engine: Arc<CountEngine>,
    pub store: RecordStore,
    pub jobs: Jobs,
}

impl House {
    pub fn new(clock: impl Clock + 'static) -> Self {
        let ids = Arc::new(Ids::seeded(11));
        House { disk: SimDisk::new(), data: Arc::new(MemoryStore::new()), clock: Arc::new(clock), ids }
    }

    /// Opens it, which takes back what an earlier opening left executing.
    pub fn open(&self) -> Open {
        let mut config = Config::new().expect("this machine has randomness");
        config.clock = Arc::clone(&self.clock);
        config.ids = Arc::clone(&self.ids);
        let opener = MemoryOpener::shared(Arc::clone(&self.data));
        let opened = LocalEngine::open(Arc::new(self.disk.clone()), Path::new("/data"), &opener, &config);
        let engine = Arc::new(CountEngine::new(Arc::new(opened.expect("the folder opens").0)));
        let shared: Arc<dyn ml_persistence::engine::Engine> = Arc::<CountEngine>::clone(&engine);
        let store = RecordStore::new(shared, Arc::clone(&self.clock), Arc::clone(&self.ids));
        let epoch = store.engine().epoch();
        self.ids.enter_epoch(epoch.number);
        recovery::sweep(&store, epoch).expect("the sweep goes through");
        let jobs = Jobs::new(store.clone(), JobsOptions::default());
        Open { engine, store, jobs }
    }
}

impl Open {
    /// Ends the opening without a word to the queue, as a crash would; leases stay behind.
    pub fn end(self) {
        self.store.engine().close().expect("a clean end of the engine");
    }

    /// Indexes and counters are what the jobs say.
    pub fn verify(&self) {
        let mut report = scrub::Report::default();
        self.store.read(|view| jobs::verify(view, &mut report)).expect("the store can be read");
        assert_eq!(report.violations_found, 0, "{:#?}", report.violations);
    }
}

/// A seeded stream of numbers: a failing walk replays from its seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}
