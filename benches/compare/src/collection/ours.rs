//! A collection of ml-persistence over sled.

use std::path::Path;

use ml_persistence::{Collection, Durability, MlPersistence, Query, Record, Schema};
use serde::{Deserialize, Serialize};

use super::{FIELDS, Item, ROWS, STORED, Shelf};
use crate::Failure;

#[derive(Clone, Serialize, Deserialize)]
struct Sample<const INDEXES: usize> {
    id: u64,
    values: [u64; 6],
    note: String,
}

impl<const INDEXES: usize> Record for Sample<INDEXES> {
    const COLLECTION: &'static str = "samples";
    type Key = u64;

    fn key(&self) -> u64 {
        self.id
    }

    fn schema() -> Schema<Self> {
        let fields = FIELDS.iter().enumerate().take(INDEXES);
        fields.fold(Schema::new(), |schema, (place, name)| {
            schema.field(name, move |sample: &Self| sample.values[place]).index(name, [*name])
        })
    }
}

struct Ours<const INDEXES: usize> {
    db: MlPersistence,
    samples: Collection<Sample<INDEXES>>,
}

pub(super) fn open_durable(folder: &Path, indexes: usize) -> Result<Box<dyn Shelf>, Failure> {
    open(folder, indexes, Durability::PowerLoss)
}

pub(super) fn open_buffered(folder: &Path, indexes: usize) -> Result<Box<dyn Shelf>, Failure> {
    open(folder, indexes, Durability::Buffered)
}

fn open(folder: &Path, indexes: usize, durability: Durability) -> Result<Box<dyn Shelf>, Failure> {
    Ok(match indexes {
        0 => Box::new(Ours::<0>::open(folder, durability)?),
        1 => Box::new(Ours::<1>::open(folder, durability)?),
        3 => Box::new(Ours::<3>::open(folder, durability)?),
        6 => Box::new(Ours::<6>::open(folder, durability)?),
        other => return Err(format!("no sample has {other} indexes").into()),
    })
}

impl<const INDEXES: usize> Ours<INDEXES> {
    fn open(folder: &Path, durability: Durability) -> Result<Self, Failure> {
        let db = MlPersistence::open(folder)?;
        let samples = db.collection()?.with_durability(Durability::Buffered);
        for id in 0..STORED {
            samples.save(sample(&Item::new(id, 0)))?;
        }
        db.checkpoint()?;
        Ok(Ours { db, samples: samples.with_durability(durability) })
    }
}

fn sample<const INDEXES: usize>(item: &Item) -> Sample<INDEXES> {
    Sample { id: item.id, values: item.values, note: Item::note() }
}

impl<const INDEXES: usize> Shelf for Ours<INDEXES> {
    fn save(&mut self, item: &Item) -> Result<(), Failure> {
        self.samples.save(sample(item))?;
        Ok(())
    }

    fn list(&mut self, from: u64) -> Result<usize, Failure> {
        Ok(self.samples.list(&Query::new().ge("a", from).limit(ROWS))?.rows.len())
    }

    fn count(&mut self) -> Result<u64, Failure> {
        Ok(self.samples.count()?)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(self.db.close()?)
    }
}
