//! Engines that break one promise each: the twins that prove the checker.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread;

use ml_persistence::engine::{
    Capabilities, Changes, Committed, Cursor, Direction, Engine, EngineStats, Epoch, KeyRange, Page, Reader, Tree, Txn,
    TxnOptions, Value,
};
use ml_persistence::{Durability, Error, ErrorKind, Result};

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// `get_many` is answered by one `get` after the other.
    TornGetMany,
    /// `read_view` hands out the engine itself.
    TornView,
    /// A page is put together of pages of one entry.
    TornPage,
    /// `get` answers what it answered for the key before.
    StaleGet,
    /// Bodies read outside of the commit, which is not looked at again.
    LostUpdates,
    /// The same, but what a body writes is verified: snapshot isolation instead of serializability.
    WriteSkew,
    /// What a body wrote before it failed stays.
    KeepsFailed,
    /// Nothing waits for its sync.
    EarlyAnswer,
}

impl Sabotage {
    pub const ALL: [Sabotage; 8] = [
        Sabotage::TornGetMany,
        Sabotage::TornView,
        Sabotage::TornPage,
        Sabotage::StaleGet,
        Sabotage::LostUpdates,
        Sabotage::WriteSkew,
        Sabotage::KeepsFailed,
        Sabotage::EarlyAnswer,
    ];
}

type Key = (Tree, Vec<u8>);

pub struct Sabotaged {
    inner: Arc<dyn Engine>,
    how: Sabotage,
    /// What `get` answered last.
    known: Mutex<BTreeMap<Key, Option<Value>>>,
}

impl Sabotaged {
    pub fn new(inner: Arc<dyn Engine>, how: Sabotage) -> Self {
        Sabotaged { inner, how, known: Mutex::default() }
    }

    /// Runs the body on plain reads, then commits its writes.
    fn transact_on_old_reads(
        &self,
        options: &TxnOptions,
        body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>,
    ) -> Result<Committed> {
        for _ in 0..100 {
            let mut outside = Outside { engine: &*self.inner, read: BTreeMap::new(), writes: Vec::new() };
            body(&mut outside)?;
            thread::yield_now();
            let committed = self.inner.transact(options, &mut |txn| {
                for (key, write) in &outside.writes {
                    if let (WriteSkew, Some(read)) = (self.how, outside.read.get(key))
                        && txn.get(key.0, &key.1)? != *read
                    {
                        return Err(Error::unavailable("read again"));
                    }
                    write.apply(key, txn)?;
                }
                Ok(())
            });
            match committed {
                Err(error) if error.kind() == ErrorKind::Unavailable => {}
                other => return other,
            }
        }
        Err(Error::conflict("planned: too many others"))
    }
}

use Sabotage::WriteSkew;

#[derive(Debug, Clone)]
enum Change {
    Put(Value),
    Delete,
    Add(i64),
}

impl Change {
    fn apply(&self, (tree, key): &Key, txn: &mut dyn Txn) -> Result<()> {
        match self {
            Change::Put(value) => txn.put(*tree, key, value.clone()),
            Change::Delete => txn.delete(*tree, key),
            Change::Add(delta) => txn.add(*tree, key, *delta),
        }
    }
}

struct Outside<'e> {
    engine: &'e dyn Engine,
    read: BTreeMap<Key, Option<Value>>,
    /// The newest per key last; a draft before it is applied, too.
    writes: Vec<(Key, Change)>,
}

impl Txn for Outside<'_> {
    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        let key = (tree, key.to_vec());
        match self.writes.iter().rev().find(|(written, _)| *written == key) {
            Some((_, Change::Put(value))) => Ok(Some(value.clone())),
            Some(_) => Ok(None),
            None => {
                let value = self.engine.get(tree, &key.1)?;
                self.read.insert(key, value.clone());
                Ok(value)
            }
        }
    }

    fn put(&mut self, tree: Tree, key: &[u8], value: Value) -> Result<()> {
        let key = (tree, key.to_vec());
        self.writes.retain(|(written, _)| *written != key);
        self.writes.push((key, Change::Put(value)));
        Ok(())
    }

    fn delete(&mut self, tree: Tree, key: &[u8]) -> Result<()> {
        let key = (tree, key.to_vec());
        self.writes.retain(|(written, _)| *written != key);
        self.writes.push((key, Change::Delete));
        Ok(())
    }

    fn add(&mut self, tree: Tree, key: &[u8], delta: i64) -> Result<()> {
        self.writes.push(((tree, key.to_vec()), Change::Add(delta)));
        Ok(())
    }
}

impl Reader for Sabotaged {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        let value = self.inner.get(tree, key)?;
        if self.how != Sabotage::StaleGet {
            return Ok(value);
        }
        let before = self.known.lock().expect("nobody panics here").insert((tree, key.to_vec()), value.clone());
        Ok(before.unwrap_or(value))
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        if self.how != Sabotage::TornGetMany {
            return self.inner.get_many(keys);
        }
        let one = |(tree, key): &(Tree, &[u8])| {
            thread::yield_now();
            self.inner.get(*tree, key)
        };
        keys.iter().map(one).collect()
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        if self.how != Sabotage::TornPage {
            return self.inner.scan(tree, range, direction, limit);
        }
        let (mut page, mut rest) = (Page::default(), range.clone());
        while page.entries.len() < limit {
            let mut one = self.inner.scan(tree, &rest, direction, 1)?;
            page.entries.append(&mut one.entries);
            page.resume = one.resume;
            let Some(last) = &page.resume else { break };
            rest = rest.behind(last, direction);
            thread::yield_now();
        }
        Ok(page)
    }
}

impl Engine for Sabotaged {
    fn observe(&self, observer: std::sync::Weak<dyn ml_persistence::engine::Observer>) {
        self.inner.observe(observer);
    }

    fn transact(&self, options: &TxnOptions, body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Committed> {
        match self.how {
            Sabotage::LostUpdates | Sabotage::WriteSkew => self.transact_on_old_reads(options, body),
            Sabotage::EarlyAnswer => self.inner.transact(&TxnOptions::durability(Durability::Buffered), body),
            Sabotage::KeepsFailed => {
                let mut failed = Ok(());
                let committed = self.inner.transact(options, &mut |txn| {
                    failed = body(txn);
                    Ok(())
                });
                failed.and(committed)
            }
            _ => self.inner.transact(options, body),
        }
    }

    fn read_view(&self, body: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        match self.how {
            Sabotage::TornView => body(&*self.inner),
            _ => self.inner.read_view(body),
        }
    }

    fn sync(&self) -> Result<Cursor> {
        self.inner.sync()
    }

    fn checkpoint(&self) -> Result<()> {
        self.inner.checkpoint()
    }

    fn changes(&self, after: &Cursor, limit: usize) -> Result<Changes> {
        self.inner.changes(after, limit)
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

impl fmt::Debug for Sabotaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sabotaged({:?})", self.how)
    }
}
