//! ml-persistence's own engine over sled, through the public `Engine`.

use std::path::Path;
use std::sync::Arc;

use ml_persistence::engine::local::LocalEngine;
use ml_persistence::engine::local::disk::RealDisk;
use ml_persistence::engine::sled::SledOpener;
use ml_persistence::engine::{Direction, Engine, KeyRange, Reader, SCAN_LIMIT_MAX, Tree, TxnOptions, read_counter};
use ml_persistence::{Config, Durability};

use super::{COUNTER, Counts, Held, Item, Session, System};
use crate::Failure;

/// The engine and how it is asked to commit.
pub struct Ours {
    engine: LocalEngine,
    options: TxnOptions,
}

/// Opens `folder` with the default settings.
pub fn engine(folder: &Path) -> Result<LocalEngine, Failure> {
    Ok(LocalEngine::open(Arc::new(RealDisk::new()), folder, &SledOpener, &Config::new()?)?.0)
}

/// Each commit durable when it returns.
pub fn open_durable(folder: &Path) -> Result<Box<dyn System>, Failure> {
    open(folder, Durability::PowerLoss)
}

/// Each commit visible when it returns.
pub fn open_buffered(folder: &Path) -> Result<Box<dyn System>, Failure> {
    open(folder, Durability::Buffered)
}

fn open(folder: &Path, durability: Durability) -> Result<Box<dyn System>, Failure> {
    Ok(Box::new(Ours { engine: engine(folder)?, options: TxnOptions::durability(durability) }))
}

impl System for Ours {
    fn session(&self) -> Result<Box<dyn Session + '_>, Failure> {
        Ok(Box::new(self))
    }

    fn held(&self) -> Result<Held, Failure> {
        held(&self.engine)
    }

    fn counts(&self) -> Counts {
        let stats = self.engine.stats();
        Counts {
            syncs_per_commit: Some(stats.journal_syncs as f64 / stats.commits.max(1) as f64),
            batch_commits_max: Some(stats.batch_commits_max),
            batch_bytes: Some(stats.journal_appended_bytes as f64 / stats.batches.max(1) as f64),
            stall_seconds: Some(stats.stall_us as f64 / 1e6),
        }
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(self.engine.close()?)
    }
}

impl Session for &Ours {
    fn commit(&mut self, items: &mut Item) -> Result<u64, Failure> {
        let item = items.step();
        // The encoding of a record happens before the body; so does this.
        let (record, nothing) = (Arc::from(item.record), Arc::from([]));
        self.engine.transact(&self.options, &mut |txn| {
            txn.put(Tree::Records, &item.key, Arc::clone(&record))?;
            txn.put(Tree::Index, &item.entry, Arc::clone(&nothing))?;
            txn.add(Tree::Counter, COUNTER, 1)
        })?;
        Ok(1)
    }
}

/// What the engine holds, read page by page.
pub fn held(engine: &LocalEngine) -> Result<Held, Failure> {
    let counter = read_counter(Tree::Counter, COUNTER, engine.get(Tree::Counter, COUNTER)?.as_deref())?;
    Ok(Held { records: count(engine, Tree::Records)?, entries: count(engine, Tree::Index)?, counter })
}

fn count(engine: &LocalEngine, tree: Tree) -> Result<u64, Failure> {
    let (mut entries, mut range) = (0, KeyRange::all());
    loop {
        let page = engine.scan(tree, &range, Direction::Ascending, SCAN_LIMIT_MAX)?;
        entries += page.entries.len() as u64;
        match page.resume {
            Some(key) => range = KeyRange::all().behind(&key, Direction::Ascending),
            None => return Ok(entries),
        }
    }
}
