//! An opener whose stores fail on demand, also those that are opened later: an import fills a new one.

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use ml_persistence::Result;
use ml_persistence::engine::KvStore;
use ml_persistence::engine::local::opener::StoreOpener;
use ml_persistence::engine::wrap::{CountStore, FaultStore, Mishap, StoreCall, StoreCounts, Times};

/// What goes wrong: the call of this kind and number of each store.
#[derive(Debug, Clone)]
pub struct Plan {
    pub call: StoreCall,
    pub nth: u64,
    pub times: Times,
    pub mishap: Mishap,
}

#[derive(Debug)]
pub struct FaultOpener {
    inner: Arc<dyn StoreOpener>,
    plan: Mutex<Option<Plan>>,
    /// Without a hold on them: an engine that closes waits until nobody uses its store any more.
    opened: Mutex<Vec<(Weak<FaultStore>, Weak<CountStore>)>>,
}

impl FaultOpener {
    pub fn new(inner: Arc<dyn StoreOpener>) -> Arc<Self> {
        Arc::new(FaultOpener { inner, plan: Mutex::default(), opened: Mutex::default() })
    }

    /// From now on, counted anew for each store.
    pub fn plan(&self, plan: &Plan) {
        for (store, _) in self.opened.lock().unwrap().iter() {
            if let Some(store) = store.upgrade() {
                store.plan(plan.call, plan.nth, plan.times, plan.mishap.clone());
            }
        }
        *self.plan.lock().unwrap() = Some(plan.clone());
    }

    /// Calls of this kind that each store has seen; none of one that is closed.
    pub fn calls(&self, call: StoreCall) -> Vec<u64> {
        let of = |counts: StoreCounts| match call {
            StoreCall::Get => counts.gets,
            StoreCall::Scan => counts.scans,
            StoreCall::Apply => counts.applies,
            StoreCall::Sync => counts.syncs,
            StoreCall::Mark => 0,
        };
        self.opened
            .lock()
            .unwrap()
            .iter()
            .map(|(_, counted)| counted.upgrade().map_or(0, |counted| of(counted.counts())))
            .collect()
    }
}

impl StoreOpener for FaultOpener {
    fn engine(&self) -> &'static str {
        self.inner.engine()
    }

    fn is_persistent(&self) -> bool {
        self.inner.is_persistent()
    }

    fn open(&self, folder: &Path, cache_bytes: usize) -> Result<Arc<dyn KvStore>> {
        let failing = Arc::new(FaultStore::new(self.inner.open(folder, cache_bytes)?));
        if let Some(plan) = &*self.plan.lock().unwrap() {
            failing.plan(plan.call, plan.nth, plan.times, plan.mishap.clone());
        }
        let counted = Arc::new(CountStore::new(Arc::<FaultStore>::clone(&failing)));
        self.opened.lock().unwrap().push((Arc::downgrade(&failing), Arc::downgrade(&counted)));
        Ok(counted)
    }
}
