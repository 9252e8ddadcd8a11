//! What should be in the store: plain maps, and the words for where the store parts from them.

use std::fmt::Debug;

use ml_persistence::{ErrorKind, MlPersistence};

use super::items::{self, Items};
use super::kv::{self, Values};
use super::queue::model::Model as Queue;
use super::registry::Registry;
use super::shown;

/// Says where store and model parted, and how.
pub type Agreement = Result<(), String>;

/// Everything but the jobs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub values: Values,
    pub items: Items,
    pub registry: Registry,
}

/// Everything, at one point in time.
#[derive(Clone)]
pub struct Moment {
    pub state: State,
    pub queue: Queue,
}

impl Moment {
    /// Whether nothing that is stored differs; the clocks may.
    pub fn holds_the_same(&self, other: &Moment) -> bool {
        self.state == other.state && self.queue.rows == other.queue.rows && self.queue.paused == other.queue.paused
    }
}

impl State {
    pub fn compare(&self, db: &MlPersistence) -> Agreement {
        kv::compare(db, &self.values)?;
        items::compare(db, &self.items)?;
        shown::compare(db, &self.registry)
    }
}

pub fn agree<T: PartialEq + Debug>(what: &str, stored: &T, ruled: &T) -> Agreement {
    if stored == ruled { Ok(()) } else { Err(format!("{what}: the store says {stored:?}, the model {ruled:?}")) }
}

/// Whether the store answered what the model says: the same, or an error of the same kind.
pub fn same<T: PartialEq + Debug>(
    what: &str,
    got: ml_persistence::Result<T>,
    wanted: &Result<T, ErrorKind>,
) -> Agreement {
    match (&got, wanted) {
        (Ok(stored), Ok(ruled)) if stored == ruled => Ok(()),
        (Err(error), Err(kind)) if error.kind() == *kind => Ok(()),
        _ => Err(format!("{what}: the store says {got:?}, the model {wanted:?}")),
    }
}
