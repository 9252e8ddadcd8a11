//! Construction and power cuts: wherever the power goes, the next opening goes on.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::local::LocalEngine;
use crate::engine::local::sim::SimDisk;
use crate::engine::memory::MemoryOpener;

fn start(disk: &SimDisk, seed: u64) -> (Arc<dyn Engine>, RecordStore) {
    let mut config = Config::new().unwrap();
    config.ids = Arc::new(crate::Ids::seeded(seed));
    let opener = MemoryOpener::in_folder(Arc::new(disk.clone()));
    let (engine, _) = LocalEngine::open(Arc::new(disk.clone()), Path::new("/store"), &opener, &config).unwrap();
    let engine: Arc<dyn Engine> = Arc::new(engine);
    let store = RecordStore::new(Arc::clone(&engine), Arc::clone(&config.clock), Arc::clone(&config.ids));
    (engine, store)
}

#[test]
fn a_construction_that_a_power_cut_ends_anywhere_goes_on_where_it_was() {
    for seed in 0..12 {
        let dice = Dice::new(seed);
        let mut disk = SimDisk::recording().with_seed(seed);
        let (mut engine, mut store) = start(&disk, seed);
        let mut tags = open(&store, 0);
        for _ in 0..40 {
            dice.write(&tags);
        }
        engine.sync().unwrap();
        let mut crashes = 0;
        tags = open(&store, ALL);
        // Steps are buffered: some are lost with each power cut, so progress needs a sync now and then.
        while !tags.build_step().unwrap() {
            dice.write(&tags);
            if dice.below(3) == 0 {
                engine.sync().unwrap();
            }
            if dice.below(3) == 0 && crashes < 12 {
                crashes += 1;
                let after = disk.crash(seed * 100 + crashes);
                drop((tags, store));
                engine.close().unwrap();
                drop(engine);
                disk = after;
                (engine, store) = start(&disk, seed * 100 + crashes);
                tags = open(&store, ALL);
            }
            assert_eq!(verify(&store).violations, [], "seed {seed}");
        }
        assert!(crashes > 0, "seed {seed}");
        compare(&tags, ALL);
        engine.close().unwrap();
    }
}
