//! The smallest engine that keeps every promise, and twins of it that each break one: the suite has to tell them apart.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{engine, history, replace, txn};
use crate::config::Durability;
use crate::engine::wrap::{CountEngine, FaultEngine};
use crate::engine::*;

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    FailedBodiesStay,
    PanickedBodiesStay,
    LostUpdates,
    TornViews,
    BufferedLags,
    WalksEndEarly,
    WalksRepeat,
    ZerosStay,
    LimitsIgnored,
    CursorStandsStill,
    GuardMissing,
    ClosedStillReads,
    OrderOfSignedBytes,
    BufferedUntold,
    ToldOutOfOrder,
    ToldWithoutRemovals,
}

type Place = (Tree, Vec<u8>);

#[derive(Debug, Clone, Default)]
struct State {
    entries: BTreeMap<Place, Value>,
    lagging: Vec<(Place, Option<Value>)>,
    sequence: u64,
    commits: u64,
    closed: bool,
    /// A commit that was not told when it should have been.
    kept_back: Option<(u64, BTreeMap<Place, Option<Value>>)>,
}

#[derive(Debug)]
struct ModelEngine {
    state: Mutex<State>,
    observers: Observers,
    sabotage: Sabotage,
}

const WRITES_MAX: usize = 4096;
const BYTES_MAX: usize = 1 << 20;

thread_local! {
    static IN_BODY: Cell<bool> = const { Cell::new(false) };
}

struct InBody;

impl Drop for InBody {
    fn drop(&mut self) {
        IN_BODY.set(false);
    }
}

impl ModelEngine {
    fn make(sabotage: Sabotage) -> Arc<dyn Engine> {
        Arc::new(ModelEngine { state: Mutex::default(), observers: Observers::default(), sabotage })
    }

    fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == sabotage
    }

    fn check(&self) -> Result<()> {
        if IN_BODY.get() && !self.is(Sabotage::GuardMissing) {
            return Err(Error::invalid("the engine was called inside a transaction's body"));
        }
        if self.state.lock().closed && !self.is(Sabotage::ClosedStillReads) {
            return Err(Error::closed("closed"));
        }
        Ok(())
    }

    fn tell(&self, sequence: u64, writes: &BTreeMap<Place, Option<Value>>) {
        self.observers.tell(cursor(sequence), |tree, range, hit| {
            for ((_, key), value) in writes.iter().filter(|((of, key), _)| *of == tree && range.contains(key)) {
                if value.is_some() || !self.is(Sabotage::ToldWithoutRemovals) {
                    hit(key, value.is_some());
                }
            }
        });
    }

    fn view(&self) -> View {
        View { state: self.state.lock().clone(), sabotage: self.sabotage }
    }
}

struct View {
    state: State,
    sabotage: Sabotage,
}

impl Reader for View {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        check_key(key)?;
        Ok(self.state.entries.get(&(tree, key.to_vec())).cloned())
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        if keys.len() > GET_MANY_MAX {
            return Err(Error::invalid("keys: too many"));
        }
        keys.iter().map(|(tree, key)| self.get(*tree, key)).collect()
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        check_limit(limit)?;
        let mut entries: Vec<(Vec<u8>, Value)> = Vec::new();
        for ((of, key), value) in &self.state.entries {
            if *of == tree && range.contains(key) {
                entries.push((key.clone(), value.clone()));
            }
        }
        if self.sabotage == Sabotage::OrderOfSignedBytes {
            entries.sort_by_key(|(key, _)| key.iter().map(|byte| *byte as i8).collect::<Vec<_>>());
        }
        if direction == Direction::Descending {
            entries.reverse();
        }
        let more = entries.len() > limit;
        entries.truncate(limit);
        let last = match self.sabotage {
            Sabotage::WalksEndEarly => None,
            Sabotage::WalksRepeat if limit > 1 => entries.iter().rev().nth(1),
            _ => entries.last(),
        };
        let resume = last.filter(|_| more).map(|(key, _)| key.clone());
        Ok(Page { entries, resume })
    }
}

/// Reads that do not come from one point in time.
struct Torn<'a>(&'a ModelEngine);

impl Reader for Torn<'_> {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        std::thread::yield_now();
        self.0.view().get(tree, key)
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        keys.iter().map(|(tree, key)| self.get(*tree, key)).collect()
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        self.0.view().scan(tree, range, direction, limit)
    }
}

struct Body {
    view: View,
    writes: BTreeMap<Place, Option<Value>>,
    sums: BTreeMap<Place, i64>,
    bytes: usize,
}

impl Body {
    fn limit(&mut self, key: &[u8], bytes: usize) -> Result<()> {
        check_key(key)?;
        self.bytes += key.len() + bytes;
        let over = bytes > VALUE_BYTES_MAX || self.bytes > BYTES_MAX || self.writes.len() >= WRITES_MAX;
        if over && self.view.sabotage != Sabotage::LimitsIgnored {
            return Err(Error::invalid("past a limit"));
        }
        Ok(())
    }
}

impl Txn for Body {
    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        check_key(key)?;
        let place = (tree, key.to_vec());
        if self.sums.contains_key(&place) {
            return Err(Error::invalid("get after add"));
        }
        match self.writes.get(&place) {
            Some(own) => Ok(own.clone()),
            None => self.view.get(tree, key),
        }
    }

    fn put(&mut self, tree: Tree, key: &[u8], value: Value) -> Result<()> {
        self.limit(key, value.len())?;
        self.writes.insert((tree, key.to_vec()), Some(value));
        Ok(())
    }

    fn delete(&mut self, tree: Tree, key: &[u8]) -> Result<()> {
        self.limit(key, 0)?;
        self.writes.insert((tree, key.to_vec()), None);
        Ok(())
    }

    fn add(&mut self, tree: Tree, key: &[u8], delta: i64) -> Result<()> {
        self.limit(key, 0)?;
        let place = (tree, key.to_vec());
        let before = match self.sums.get(&place) {
            Some(sum) => *sum,
            None => read_counter(tree, key, self.view.get(tree, key)?.as_deref())?,
        };
        let sum = before.checked_add(delta).ok_or_else(|| Error::invalid("counter: overflow"))?;
        self.sums.insert(place.clone(), sum);
        let stays = sum != 0 || self.view.sabotage == Sabotage::ZerosStay;
        self.writes.insert(place, stays.then(|| counter_value(tree, key, sum)));
        Ok(())
    }
}

impl Reader for ModelEngine {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.check()?;
        self.view().get(tree, key)
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        self.check()?;
        self.view().get_many(keys)
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        self.check()?;
        self.view().scan(tree, range, direction, limit)
    }
}

impl Engine for ModelEngine {
    fn transact(&self, options: &TxnOptions, body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Committed> {
        self.check()?;
        // A twin without guard must not wait for itself, so it does not hold the state while the body runs either.
        let held = !matches!(self.sabotage, Sabotage::LostUpdates | Sabotage::GuardMissing);
        let mut guard = held.then(|| self.state.lock());
        let state = guard.as_deref().cloned().unwrap_or_else(|| self.state.lock().clone());
        let view = View { state, sabotage: self.sabotage };
        let mut txn = Body { view, writes: BTreeMap::new(), sums: BTreeMap::new(), bytes: 0 };
        IN_BODY.set(true);
        let in_body = InBody;
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut txn)));
        drop(in_body);
        if self.is(Sabotage::LostUpdates) {
            std::thread::yield_now();
        }
        let mut late = guard.is_none().then(|| self.state.lock());
        let state = guard.as_deref_mut().or(late.as_deref_mut()).expect("one of the two holds it");
        let stays = match &outcome {
            Ok(Ok(())) => true,
            Ok(Err(_)) => self.is(Sabotage::FailedBodiesStay),
            Err(_) => self.is(Sabotage::PanickedBodiesStay),
        };
        if stays && !txn.writes.is_empty() {
            state.commits += 1;
            state.sequence += u64::from(!self.is(Sabotage::CursorStandsStill));
            let told = txn.writes.clone();
            state.lagging.extend(txn.writes);
            if !(self.is(Sabotage::BufferedLags) && options.durability == Durability::Buffered) {
                for (place, value) in std::mem::take(&mut state.lagging) {
                    match value {
                        Some(value) => state.entries.insert(place, value),
                        None => state.entries.remove(&place),
                    };
                }
            }
            let untold = self.is(Sabotage::BufferedUntold) && options.durability == Durability::Buffered;
            if self.is(Sabotage::ToldOutOfOrder) && state.kept_back.is_none() {
                state.kept_back = Some((state.sequence, told));
            } else if !untold {
                self.tell(state.sequence, &told);
                if let Some((sequence, told)) = state.kept_back.take() {
                    self.tell(sequence, &told);
                }
            }
        }
        let sequence = state.sequence;
        drop((guard, late));
        match outcome {
            Ok(Ok(())) => Ok(Committed::at(cursor(sequence))),
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn read_view(&self, body: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        self.check()?;
        match self.sabotage {
            Sabotage::TornViews => body(&Torn(self)),
            _ => body(&self.view()),
        }
    }

    fn sync(&self) -> Result<Cursor> {
        self.check()?;
        Ok(self.cursor())
    }

    fn checkpoint(&self) -> Result<()> {
        self.check()
    }

    fn changes(&self, _after: &Cursor, _limit: usize) -> Result<Changes> {
        Err(Error::unsupported("this engine keeps no feed"))
    }

    fn observe(&self, observer: Weak<dyn Observer>) {
        self.observers.add(observer);
    }

    fn cursor(&self) -> Cursor {
        cursor(self.state.lock().sequence)
    }

    fn epoch(&self) -> Epoch {
        Epoch { number: 1, id: 1 }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            feeds_changes: false,
            engine: "model",
            txn_writes_max: WRITES_MAX,
            txn_bytes_max: BYTES_MAX,
            durability_max: Durability::Buffered,
            persistent: false,
            syncs_folders: false,
        }
    }

    fn stats(&self) -> EngineStats {
        EngineStats { commits: self.state.lock().commits, ..EngineStats::default() }
    }

    fn close(&self) -> Result<()> {
        self.state.lock().closed = true;
        Ok(())
    }
}

fn cursor(sequence: u64) -> Cursor {
    Cursor { lineage: 1, epoch: Epoch { number: 1, id: 1 }, sequence }
}

fn all() -> impl Iterator<Item = &'static (&'static str, engine::Check)> {
    engine::ALL.iter().chain(txn::ALL).chain(history::ALL).chain(replace::ALL)
}

#[test]
fn an_engine_that_keeps_every_promise_passes_plain_and_wrapped() {
    for (name, check) in all() {
        println!("{name}");
        check(&|| ModelEngine::make(Sabotage::None)).expect(name);
        check(&|| Arc::new(CountEngine::new(ModelEngine::make(Sabotage::None)))).expect(name);
        check(&|| Arc::new(FaultEngine::new(ModelEngine::make(Sabotage::None)))).expect(name);
    }
}

#[test]
fn an_engine_that_breaks_a_promise_is_caught_and_by_the_check_that_names_it() {
    let twins = [
        (Sabotage::FailedBodiesStay, "a_failing_body_writes_nothing_and_answers_its_own_error"),
        (Sabotage::PanickedBodiesStay, "a_panic_in_a_body_writes_nothing_and_unwinds_on"),
        (Sabotage::LostUpdates, "concurrent_increments_by_get_and_put_add_up"),
        (Sabotage::TornViews, "a_view_does_not_see_a_commit_made_while_it_lasts"),
        (Sabotage::TornViews, "a_view_is_one_point_in_time"),
        (Sabotage::BufferedLags, "a_commit_is_visible_when_it_returns"),
        (Sabotage::WalksEndEarly, "resuming_reads_everything_exactly_once"),
        (Sabotage::WalksRepeat, "resuming_reads_everything_exactly_once"),
        (Sabotage::ZerosStay, "a_missing_counter_is_zero_and_one_that_becomes_zero_is_removed"),
        (Sabotage::LimitsIgnored, "a_transaction_past_its_bytes_is_invalid_and_writes_nothing"),
        (Sabotage::CursorStandsStill, "the_cursor_grows_with_commits_and_sync_covers_them"),
        (Sabotage::GuardMissing, "calling_the_engine_inside_a_body_is_invalid"),
        (Sabotage::ClosedStillReads, "a_closed_engine_answers_closed_and_closes_twice"),
        (Sabotage::BufferedUntold, "an_observer_hears_what_it_watches_before_the_commit_is_answered"),
        (Sabotage::ToldWithoutRemovals, "an_observer_hears_what_it_watches_before_the_commit_is_answered"),
        (Sabotage::ToldOutOfOrder, "what_an_observer_hears_of_is_visible_and_comes_in_commit_order"),
        (Sabotage::OrderOfSignedBytes, "scans_find_what_a_model_finds_wherever_the_entries_lie"),
    ];
    for (sabotage, name) in twins {
        let check = all().find(|(listed, _)| *listed == name).expect("the check is listed").1;
        let caught = || {
            let verdict = catch_unwind(AssertUnwindSafe(|| check(&|| ModelEngine::make(sabotage))));
            !matches!(verdict, Ok(Ok(())))
        };
        // Those that race may be lucky once.
        assert!((0..30).any(|_| caught()), "{sabotage:?} passes {name}");
    }
}
