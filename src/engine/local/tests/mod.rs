//! The engine as a whole, on the simulated disk.

mod commit;
mod failure;
mod feed;
mod gate;
mod rebuild;
mod recovery;
mod replace;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use self::gate::{Gate, GatedDisk};
use super::disk::Disk;
use super::sim::{Call, Fault, SimDisk};
use super::{LocalEngine, OpenReport};
use crate::config::{Config, Durability};
use crate::engine::memory::{MemoryOpener, MemoryStore};
use crate::engine::{Change, Cursor, Direction, Engine, KeyRange, Reader, Tree, TxnOptions, Value, read_counter};
use crate::error::{Error, ErrorKind, Result};

const FOLDER: &str = "/data";

/// A disk and a store that outlive the engine, so that closing and reopening is an operation like any other.
struct Machine {
    disk: SimDisk,
    store: Arc<MemoryStore>,
    config: Config,
}

impl Machine {
    fn new() -> Self {
        let mut config = Config::new().unwrap();
        config.memtable_bytes = 1 << 20;
        Machine { disk: SimDisk::recording(), store: Arc::new(MemoryStore::new()), config }
    }

    fn open(&self) -> Result<(LocalEngine, OpenReport)> {
        let opener = MemoryOpener::shared(Arc::clone(&self.store));
        LocalEngine::open(Arc::new(self.disk.clone()), Path::new(FOLDER), &opener, &self.config)
    }

    fn engine(&self) -> LocalEngine {
        self.open().unwrap().0
    }

    /// The machine after a kill: what was written stays, the process's memory is gone.
    fn killed(&self) -> Machine {
        Machine { disk: self.disk.kill(), store: Arc::clone(&self.store), config: self.config.clone() }
    }

    /// The machine after a power cut.
    fn power_cut(&self, seed: u64) -> Machine {
        Machine { disk: self.disk.crash(seed), store: Arc::clone(&self.store), config: self.config.clone() }
    }
}

fn put(engine: &LocalEngine, durability: Durability, key: &str, value: &str) -> Result<()> {
    let options = TxnOptions::durability(durability);
    engine.transact(&options, &mut |txn| txn.put(Tree::Kv, key.as_bytes(), Value::from(value.as_bytes()))).map(drop)
}

fn get(engine: &dyn Reader, key: &str) -> Option<String> {
    engine.get(Tree::Kv, key.as_bytes()).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}
