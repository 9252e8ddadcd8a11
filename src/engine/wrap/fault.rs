//! Calls that go wrong on demand: the third `apply`, every `sync` from the second on.
//!
//! A plan names a kind of call, which one of them counted from now, and what goes wrong. The rest passes through.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::{
    Capabilities, Changes, Committed, Cursor, Direction, Engine, EngineStats, Epoch, FeedHold, Fresh, KeyRange,
    KvStore, Observer, Page, Position, Reader, Tree, Txn, TxnOptions, Value, WriteBatch,
};
use crate::error::{Error, Result};

/// How a call goes wrong.
#[derive(Debug, Clone)]
pub enum Mishap {
    /// It answers this error and has no effect.
    FailBefore(Error),
    /// It has its effect, then answers this error instead of success.
    FailAfter(Error),
    /// It panics, before any effect.
    Panic,
}

/// How often a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// That one call.
    Once,
    /// That call and every later one of its kind.
    Forever,
}

/// Mishaps that wait for their call.
#[derive(Debug)]
struct Plans<C>(Mutex<Vec<Plan<C>>>);

#[derive(Debug)]
struct Plan<C> {
    call: C,
    calls_left: u64,
    times: Times,
    mishap: Mishap,
}

impl<C: Copy + PartialEq + std::fmt::Debug> Plans<C> {
    fn new() -> Self {
        Plans(Mutex::new(Vec::new()))
    }

    fn add(&self, call: C, nth: u64, times: Times, mishap: Mishap) {
        self.0.lock().push(Plan { call, calls_left: nth.max(1), times, mishap });
    }

    fn meet(&self, call: C) -> Option<Mishap> {
        let mut met = None;
        self.0.lock().retain_mut(|plan| {
            if plan.call == call {
                plan.calls_left = plan.calls_left.saturating_sub(1);
                if plan.calls_left == 0 {
                    met.get_or_insert_with(|| plan.mishap.clone());
                    return plan.times == Times::Forever;
                }
            }
            true
        });
        met
    }

    /// Runs `pass_on` as the plans say.
    fn run<T>(&self, call: C, pass_on: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.meet(call) {
            None => pass_on(),
            Some(Mishap::FailBefore(error)) => Err(error),
            Some(Mishap::FailAfter(error)) => pass_on().and(Err(error)),
            Some(Mishap::Panic) => panic!("planned panic in {call:?}"),
        }
    }
}

/// A kind of call of a [`KvStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreCall {
    /// `get`.
    Get,
    /// `scan`.
    Scan,
    /// `apply`.
    Apply,
    /// `sync`.
    Sync,
    /// `mark`.
    Mark,
}

/// A store whose calls go wrong on demand.
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn KvStore>,
    plans: Plans<StoreCall>,
}

impl FaultStore {
    /// Passes everything on to `inner` until something is planned.
    #[must_use]
    pub fn new(inner: Arc<dyn KvStore>) -> Self {
        FaultStore { inner, plans: Plans::new() }
    }

    /// The `nth` call of this kind from now on (1 is the next one) goes wrong.
    ///
    /// `Mishap::Panic` makes that call panic.
    pub fn plan(&self, call: StoreCall, nth: u64, times: Times, mishap: Mishap) {
        self.plans.add(call, nth, times, mishap);
    }
}

impl KvStore for FaultStore {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.plans.run(StoreCall::Get, || self.inner.get(tree, key))
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Vec<(Vec<u8>, Value)>> {
        self.plans.run(StoreCall::Scan, || self.inner.scan(tree, range, direction, limit))
    }

    fn apply(&self, batch: &WriteBatch) -> Result<()> {
        self.plans.run(StoreCall::Apply, || self.inner.apply(batch))
    }

    fn sync(&self) -> Result<()> {
        self.plans.run(StoreCall::Sync, || self.inner.sync())
    }

    fn mark(&self) -> Result<Option<Value>> {
        self.plans.run(StoreCall::Mark, || self.inner.mark())
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }
}

/// A kind of call of an [`Engine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineCall {
    /// `get` and `get_many` outside transactions and views.
    Get,
    /// `scan` outside views.
    Scan,
    /// `transact`.
    Transact,
    /// `read_view`.
    ReadView,
    /// `sync`.
    Sync,
    /// `checkpoint`.
    Checkpoint,
    /// `changes`.
    Changes,
}

/// An engine whose calls go wrong on demand: [`Mishap::FailAfter`] of a `transact` is a commit that landed and whose
/// answer got lost.
#[derive(Debug)]
pub struct FaultEngine {
    inner: Arc<dyn Engine>,
    plans: Plans<EngineCall>,
}

impl FaultEngine {
    /// Passes everything on to `inner` until something is planned.
    #[must_use]
    pub fn new(inner: Arc<dyn Engine>) -> Self {
        FaultEngine { inner, plans: Plans::new() }
    }

    /// The `nth` call of this kind from now on (1 is the next one) goes wrong.
    ///
    /// `Mishap::Panic` makes that call panic.
    pub fn plan(&self, call: EngineCall, nth: u64, times: Times, mishap: Mishap) {
        self.plans.add(call, nth, times, mishap);
    }
}

impl Reader for FaultEngine {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.plans.run(EngineCall::Get, || self.inner.get(tree, key))
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        self.plans.run(EngineCall::Get, || self.inner.get_many(keys))
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        self.plans.run(EngineCall::Scan, || self.inner.scan(tree, range, direction, limit))
    }
}

impl Engine for FaultEngine {
    fn transact(&self, options: &TxnOptions, body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Committed> {
        self.plans.run(EngineCall::Transact, || self.inner.transact(options, body))
    }

    fn read_view(&self, body: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        self.plans.run(EngineCall::ReadView, || self.inner.read_view(body))
    }

    fn sync(&self) -> Result<Cursor> {
        self.plans.run(EngineCall::Sync, || self.inner.sync())
    }

    fn checkpoint(&self) -> Result<()> {
        self.plans.run(EngineCall::Checkpoint, || self.inner.checkpoint())
    }

    fn changes(&self, after: &Cursor, limit: usize) -> Result<Changes> {
        self.plans.run(EngineCall::Changes, || self.inner.changes(after, limit))
    }

    fn watch(&self, after: &Cursor, at_most: Duration) -> Result<bool> {
        self.inner.watch(after, at_most)
    }

    fn observe(&self, observer: Weak<dyn Observer>) {
        self.inner.observe(observer);
    }

    fn hold_changes(&self) -> Result<Box<dyn FeedHold>> {
        self.inner.hold_changes()
    }

    fn annex(&self) -> Option<PathBuf> {
        self.inner.annex()
    }

    fn keep_changes(&self, sequence: u64) -> Result<()> {
        self.inner.keep_changes(sequence)
    }

    fn position(&self, at: &Cursor) -> Result<Position> {
        self.inner.position(at)
    }

    fn replace(&self, only_if_empty: bool, fill: &mut dyn FnMut(&mut dyn Fresh) -> Result<Position>) -> Result<()> {
        self.inner.replace(only_if_empty, fill)
    }

    fn cursor(&self) -> Cursor {
        self.inner.cursor()
    }

    fn epoch(&self) -> Epoch {
        self.inner.epoch()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn stats(&self) -> EngineStats {
        self.inner.stats()
    }

    fn close(&self) -> Result<()> {
        self.inner.close()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::engine::memory::MemoryStore;

    fn store() -> FaultStore {
        FaultStore::new(Arc::new(MemoryStore::new()))
    }

    fn put(key: &[u8]) -> WriteBatch {
        WriteBatch { writes: vec![(Tree::Kv, key.into(), Some(Value::from(key)))], mark: None }
    }

    #[test]
    fn a_failed_apply_has_no_effect_unless_it_was_to_fail_afterwards() {
        let store = store();
        store.plan(StoreCall::Apply, 2, Times::Once, Mishap::FailBefore(Error::unavailable("planned")));
        store.plan(StoreCall::Apply, 3, Times::Once, Mishap::FailAfter(Error::unavailable("planned")));
        let outcomes = [b"1", b"2", b"3", b"4"]
            .map(|key| (store.apply(&put(key)).is_ok(), store.get(Tree::Kv, key).unwrap().is_some()));
        assert_eq!(outcomes, [(true, true), (false, false), (false, true), (true, true)]);
    }

    #[test]
    fn a_mishap_for_ever_leaves_other_calls_alone() {
        let store = store();
        store.plan(StoreCall::Sync, 1, Times::Forever, Mishap::FailBefore(Error::unavailable("planned")));
        for _ in 0..3 {
            assert!(store.sync().is_err());
            store.apply(&put(b"k")).unwrap();
        }
    }

    #[test]
    fn a_planned_panic_unwinds_out_of_the_call() {
        let store = store();
        store.plan(StoreCall::Get, 1, Times::Once, Mishap::Panic);
        assert!(catch_unwind(AssertUnwindSafe(|| store.get(Tree::Kv, b"k"))).is_err());
        assert_eq!(store.get(Tree::Kv, b"k").unwrap(), None);
    }
}
