//! An engine for the tests of this layer: ordered maps under one mutex.
//!
//! It runs every body twice, throws the first run away, and asserts that both wrote the same: so a body that depends
//! on how often it runs is caught wherever it is tested. It remembers what each commit wrote, and it lets a test plant
//! damage.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Weak};

#[cfg(not(shuttle))]
use parking_lot::Mutex;

use crate::clock::{Ids, ManualClock};
use crate::config::Durability;
#[cfg(shuttle)]
use crate::engine::local::sync::modelled::Mutex;
use crate::engine::*;
use crate::error::{Error, Result};

use super::RecordStore;

type Maps = BTreeMap<(Tree, Vec<u8>), Value>;
pub(crate) type Writes = BTreeMap<(Tree, Vec<u8>), Option<Value>>;

#[derive(Debug, Default)]
pub(crate) struct TestEngine {
    maps: Mutex<Maps>,
    last: Mutex<Writes>,
    observers: Observers,
    /// Held over a commit and what is told of it.
    commits: Mutex<()>,
    tells_first: Mutex<bool>,
    hook: Mutex<Hook>,
}

/// What a test does behind the next commit, before its caller hears of it.
#[derive(Default)]
struct Hook(Option<Box<dyn FnOnce() + Send>>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hook").field(&self.0.is_some()).finish()
    }
}

/// A store over a fresh [`TestEngine`], at 1,000 ms.
pub(crate) fn store() -> (Arc<TestEngine>, RecordStore) {
    let engine = Arc::new(TestEngine::default());
    let store = RecordStore::new(engine.clone(), Arc::new(ManualClock::at(1_000)), Arc::new(Ids::seeded(1)));
    (engine, store)
}

impl TestEngine {
    /// What the last commit wrote.
    pub(crate) fn last_writes(&self) -> Writes {
        self.last.lock().clone()
    }

    /// Changes stored bytes behind everybody's back.
    pub(crate) fn plant(&self, tree: Tree, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.maps.lock().insert((tree, key.to_vec()), Value::from(value)),
            None => self.maps.lock().remove(&(tree, key.to_vec())),
        };
    }

    /// Has `hook` run once the next commit is done, before its caller is answered.
    pub(crate) fn once_committed(&self, hook: impl FnOnce() + Send + 'static) {
        self.hook.lock().0 = Some(Box::new(hook));
    }

    /// From here on observers are told of a commit while reads do not see it yet: for those who check checkers.
    #[cfg(shuttle)]
    pub(crate) fn tell_before_it_is_visible(&self) {
        *self.tells_first.lock() = true;
    }

    /// Every entry of a tree.
    pub(crate) fn entries(&self, tree: Tree) -> Vec<(Vec<u8>, Value)> {
        let maps = self.maps.lock();
        maps.iter().filter(|((of, _), _)| *of == tree).map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    fn point(&self) -> Point {
        Point(self.maps.lock().clone())
    }
}

struct Point(Maps);

impl Reader for Point {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        check_key(key)?;
        Ok(self.0.get(&(tree, key.to_vec())).cloned())
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        assert!(keys.len() <= GET_MANY_MAX);
        keys.iter().map(|(tree, key)| self.get(*tree, key)).collect()
    }

    /// Pages of at most three entries, and an empty one at the end of each, so that callers have to go on.
    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        check_limit(limit)?;
        let inside = self.0.iter().filter(|((of, key), _)| *of == tree && range.contains(key));
        let inside = inside.map(|((_, key), value)| (key.clone(), value.clone()));
        let mut entries: Vec<_> = inside.collect();
        if direction == Direction::Descending {
            entries.reverse();
        }
        entries.truncate(limit.min(3));
        let resume = entries.last().map(|(key, _)| key.clone());
        Ok(Page { entries, resume })
    }
}

impl Reader for TestEngine {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        self.point().get(tree, key)
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        self.point().get_many(keys)
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        self.point().scan(tree, range, direction, limit)
    }
}

struct TestTxn<'a> {
    maps: &'a Maps,
    writes: Writes,
    added: HashSet<(Tree, Vec<u8>)>,
}

impl TestTxn<'_> {
    fn read(&self, place: &(Tree, Vec<u8>)) -> Option<Value> {
        self.writes.get(place).cloned().unwrap_or_else(|| self.maps.get(place).cloned())
    }
}

impl Txn for TestTxn<'_> {
    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        check_key(key)?;
        let place = (tree, key.to_vec());
        if self.added.contains(&place) {
            return Err(Error::invalid("get behind add"));
        }
        Ok(self.read(&place))
    }

    fn put(&mut self, tree: Tree, key: &[u8], value: Value) -> Result<()> {
        check_key(key)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::invalid("value too large"));
        }
        self.writes.insert((tree, key.to_vec()), Some(value));
        Ok(())
    }

    fn delete(&mut self, tree: Tree, key: &[u8]) -> Result<()> {
        check_key(key)?;
        self.writes.insert((tree, key.to_vec()), None);
        Ok(())
    }

    fn add(&mut self, tree: Tree, key: &[u8], delta: i64) -> Result<()> {
        check_key(key)?;
        let place = (tree, key.to_vec());
        let sum = read_counter(tree, key, self.read(&place).as_deref())?;
        let sum = sum.checked_add(delta).ok_or_else(|| Error::invalid("overflow"))?;
        assert!(self.added.insert(place.clone()), "two adds on one key");
        self.writes.insert(place, (sum != 0).then(|| counter_value(tree, key, sum)));
        Ok(())
    }
}

impl Engine for TestEngine {
    fn transact(&self, _options: &TxnOptions, body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Committed> {
        let in_order = self.commits.lock();
        let maps = self.maps.lock().clone();
        let mut run = || {
            let mut txn = TestTxn { maps: &maps, writes: Writes::new(), added: HashSet::new() };
            body(&mut txn).map(|()| txn.writes)
        };
        let first = run()?;
        let writes = run()?;
        assert_eq!(first, writes, "a body that runs twice does the same twice");
        let tell = || {
            self.observers.tell(self.cursor(), |tree, range, hit| {
                for ((_, key), value) in writes.iter().filter(|((of, key), _)| *of == tree && range.contains(key)) {
                    hit(key, value.is_some());
                }
            });
        };
        let tells_first = *self.tells_first.lock();
        if tells_first {
            tell();
        }
        let mut maps = self.maps.lock();
        for (place, value) in &writes {
            match value {
                Some(value) => maps.insert(place.clone(), value.clone()),
                None => maps.remove(place),
            };
        }
        drop(maps);
        if !tells_first {
            tell();
        }
        *self.last.lock() = writes;
        drop(in_order);
        let hook = self.hook.lock().0.take();
        hook.into_iter().for_each(|hook| hook());
        Ok(Committed::at(self.cursor()))
    }

    fn read_view(&self, body: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        body(&self.point())
    }

    fn sync(&self) -> Result<Cursor> {
        Ok(self.cursor())
    }

    fn checkpoint(&self) -> Result<()> {
        Ok(())
    }

    fn changes(&self, _after: &Cursor, _limit: usize) -> Result<Changes> {
        Err(Error::unsupported("this engine keeps no feed"))
    }

    fn observe(&self, observer: Weak<dyn Observer>) {
        self.observers.add(observer);
    }

    fn cursor(&self) -> Cursor {
        Cursor { lineage: 1, epoch: self.epoch(), sequence: 1 }
    }

    fn epoch(&self) -> Epoch {
        Epoch { number: 1, id: 1 }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            feeds_changes: false,
            engine: "test",
            txn_writes_max: usize::MAX,
            txn_bytes_max: usize::MAX,
            durability_max: Durability::Buffered,
            persistent: false,
            syncs_folders: false,
        }
    }

    fn stats(&self) -> EngineStats {
        EngineStats::default()
    }

    fn close(&self) -> Result<()> {
        Ok(())
    }
}
