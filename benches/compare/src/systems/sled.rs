//! Bare sled 0.34.7, as a careful user would drive it by hand.
//!
//! Its `flush` alone does not survive power loss, so every durable commit is followed by an `fdatasync` of its main
//! file through a second handle; that costs next to nothing beside the flush.

use std::fs::File;
use std::path::Path;

use sled::Transactional;
use sled::transaction::{ConflictableTransactionError, TransactionError, TransactionalTree};

use super::{COUNTER, Held, Item, Session, System};
use crate::Failure;

/// Memory for its pages, as ours gives it.
const CACHE_BYTES: u64 = 64 << 20;

/// When a commit goes to the device, and how many share one.
#[derive(Debug, Clone, Copy)]
enum Style {
    Each,
    Batched(u64),
    Default,
}

struct Sled {
    db: sled::Db,
    trees: [sled::Tree; 3],
    file: File,
    style: Style,
}

/// A transaction each, then flush and `fdatasync`.
pub fn open_each(folder: &Path) -> Result<Box<dyn System>, Failure> {
    open(folder, Style::Each)
}

/// 64 records a transaction, gathered by the caller, then flush and `fdatasync`.
pub fn open_batched(folder: &Path) -> Result<Box<dyn System>, Failure> {
    open(folder, Style::Batched(64))
}

/// A transaction each, flushed by sled's own timer.
pub fn open_default(folder: &Path) -> Result<Box<dyn System>, Failure> {
    open(folder, Style::Default)
}

fn open(folder: &Path, style: Style) -> Result<Box<dyn System>, Failure> {
    let mut config = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES);
    if !matches!(style, Style::Default) {
        // Its timer also drives the collection of garbage, so it is never switched off.
        config = config.flush_every_ms(Some(50));
    }
    let db = config.open()?;
    let trees = [db.open_tree("records")?, db.open_tree("index")?, db.open_tree("counter")?];
    db.flush()?;
    for name in ["conf", "db", "."] {
        File::open(folder.join(name))?.sync_all()?;
    }
    let file = File::open(folder.join("db"))?;
    Ok(Box::new(Sled { db, trees, file, style }))
}

impl System for Sled {
    fn session(&self) -> Result<Box<dyn Session + '_>, Failure> {
        Ok(Box::new(self))
    }

    fn held(&self) -> Result<Held, Failure> {
        let [records, entries, counter] = &self.trees;
        let counter = sum(counter.get(COUNTER)?.as_deref());
        Ok(Held { records: records.len() as u64, entries: entries.len() as u64, counter })
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.db.flush()?;
        Ok(())
    }
}

impl Session for &Sled {
    fn commit(&mut self, items: &mut Item) -> Result<u64, Failure> {
        let many = match self.style {
            Style::Batched(many) => many,
            Style::Each | Style::Default => 1,
        };
        // The body may run again, so what it writes is laid out before.
        let batch: Vec<([u8; 16], [u8; 28], sled::IVec)> = (0..many)
            .map(|_| {
                let item = items.step();
                (item.key, item.entry, sled::IVec::from(&item.record[..]))
            })
            .collect();
        self.trees.transaction(|trees| write(trees, &batch)).map_err(|error| match error {
            TransactionError::Storage(error) => Failure::from(error),
            TransactionError::Abort(()) => "sled gave up though nothing asked it to".into(),
        })?;
        if !matches!(self.style, Style::Default) {
            self.db.flush()?;
            self.file.sync_data()?;
        }
        Ok(many)
    }
}

fn write(
    trees: &[TransactionalTree],
    batch: &[([u8; 16], [u8; 28], sled::IVec)],
) -> Result<(), ConflictableTransactionError<()>> {
    let [records, entries, counter] = trees else { return Err(ConflictableTransactionError::Abort(())) };
    for (key, entry, record) in batch {
        records.insert(key, record)?;
        entries.insert(entry, &[])?;
    }
    // Whoever batches by hand also adds once.
    let before = sum(counter.get(COUNTER)?.as_deref());
    counter.insert(COUNTER, &(before + batch.len() as i64).to_le_bytes())?;
    Ok(())
}

fn sum(bytes: Option<&[u8]>) -> i64 {
    bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_le_bytes)
}
