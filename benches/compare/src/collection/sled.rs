//! Bare sled: records in one tree, entries in another, both in one transaction; index upkeep by hand.

use std::path::Path;

use sled::transaction::{ConflictableTransactionError, TransactionError};
use sled::{Db, Transactional as _, Tree};

use super::{Item, ROWS, STORED, Shelf};
use crate::Failure;

struct Sled {
    db: Db,
    records: Tree,
    entries: Tree,
    indexes: usize,
}

pub(super) fn open(folder: &Path, indexes: usize) -> Result<Box<dyn Shelf>, Failure> {
    let db = sled::open(folder)?;
    let (records, entries) = (db.open_tree("records")?, db.open_tree("entries")?);
    let mut shelf = Sled { db, records, entries, indexes };
    for id in 0..STORED {
        shelf.save(&Item::new(id, 0))?;
    }
    shelf.db.flush()?;
    Ok(Box::new(shelf))
}

fn encode(item: &Item) -> Vec<u8> {
    let values = item.values.iter().flat_map(|value| value.to_be_bytes());
    values.chain(Item::note().into_bytes()).collect()
}

/// The values at the start of an encoded record.
fn values(record: &[u8]) -> impl Iterator<Item = &[u8]> {
    record.chunks(8)
}

fn entry(index: usize, value: &[u8], id: u64) -> Vec<u8> {
    [&[index as u8], value, &id.to_be_bytes()].concat()
}

impl Shelf for Sled {
    fn save(&mut self, item: &Item) -> Result<(), Failure> {
        let (key, record, indexes) = (item.id.to_be_bytes(), encode(item), self.indexes);
        let saved = (&self.records, &self.entries).transaction(|(records, entries)| {
            let old = records.insert(&key[..], record.as_slice())?;
            if let Some(old) = old {
                for (index, value) in values(&old).take(indexes).enumerate() {
                    entries.remove(entry(index, value, item.id))?;
                }
            }
            for (index, value) in values(&record).take(indexes).enumerate() {
                entries.insert(entry(index, value, item.id), &[])?;
            }
            Ok::<(), ConflictableTransactionError<()>>(())
        });
        saved.map_err(|error: TransactionError<()>| format!("sled: {error:?}").into())
    }

    fn list(&mut self, from: u64) -> Result<usize, Failure> {
        let mut found = 0;
        for entry in self.entries.range(entry(0, &from.to_be_bytes(), 0)..vec![1]).take(ROWS) {
            let (entry, _) = entry?;
            let (_, id) = entry.split_at(entry.len() - 8);
            found += usize::from(self.records.get(id)?.is_some());
        }
        Ok(found)
    }

    fn count(&mut self) -> Result<u64, Failure> {
        Ok(self.records.len() as u64)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.db.flush()?;
        Ok(())
    }
}
