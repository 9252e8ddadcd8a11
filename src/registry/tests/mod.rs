//! The registry over the record layer's test engine, which runs every body twice and answers scans in pages of three.
//! Each test ends with a clean verify.

mod artifacts;
mod damage;
mod listing;
mod models;
mod moves;
mod pointers;
mod search;
mod sweeps;
mod uses;
mod versions;

use std::sync::Arc;

use super::*;
use crate::clock::{Ids, ManualClock};
use crate::error::{Error, ErrorKind};
use crate::record::scrub::{self, Report};
use crate::record::testing::TestEngine;
use serde_json::json;

struct Room {
    engine: Arc<TestEngine>,
    clock: ManualClock,
    store: RecordStore,
    registry: Registry,
}

impl Room {
    fn new() -> Self {
        let (engine, clock) = (Arc::new(TestEngine::default()), ManualClock::at(1_000));
        let store = RecordStore::new(engine.clone(), Arc::new(clock.clone()), Arc::new(Ids::seeded(1)));
        Room { engine, clock, registry: Registry::new(store.clone()), store }
    }

    fn register(&self, model: &str) -> Version {
        self.registry.register_version(model, NewVersion::new()).unwrap()
    }

    fn model(&self, name: &str) -> Model {
        self.registry.get_model(name).unwrap().unwrap()
    }

    fn version(&self, model: &str, version: impl Into<VersionRef>) -> Version {
        self.registry.get(model, version).unwrap().unwrap()
    }

    fn report(&self) -> Report {
        let mut report = Report::default();
        let swept = self.store.read(|view| {
            report = Report::default();
            verify(view, &mut report)?;
            scrub::verify_pieces(view, &mut report)
        });
        swept.unwrap();
        report
    }

    fn assert_clean(&self) {
        assert_eq!(self.report().violations, []);
    }
}

fn any() -> Change {
    Change::new()
}

fn kind<T: std::fmt::Debug>(outcome: Result<T, Error>) -> ErrorKind {
    outcome.expect_err("must be refused").kind()
}
