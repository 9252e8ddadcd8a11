//! The handle that everything above holds: an engine, a clock and a source of identifiers.

use std::fmt;
use std::sync::Arc;

use crate::clock::{Clock, Ids};
use crate::config::Durability;
use crate::engine::{Committed, Engine, TxnOptions};
use crate::error::{Error, Result};

use super::collection::{BuilderSeat, Checked, OpenedCollections};
use super::txn::Transaction;
use super::view::View;

/// A shared handle on the records of one engine. Cheap to clone.
#[derive(Clone)]
pub struct RecordStore {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
    opened: OpenedCollections,
}

impl fmt::Debug for RecordStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let collections: Vec<String> = self.collections().iter().map(|opened| opened.name().to_owned()).collect();
        let mut about = f.debug_struct("RecordStore");
        about.field("engine", &self.engine).field("collections", &collections).finish_non_exhaustive()
    }
}

impl RecordStore {
    /// A handle on `engine`.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>, ids: Arc<Ids>) -> Self {
        RecordStore { engine, clock, ids, opened: OpenedCollections::default() }
    }

    /// The engine underneath.
    #[must_use]
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Where time comes from.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Where identifiers come from.
    #[must_use]
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The collections that this process has opened, by name: what verify and repair know of hosts' records.
    pub(crate) fn collections(&self) -> Vec<Arc<dyn Checked>> {
        self.opened.snapshot().values().cloned().collect()
    }

    /// The seat of the builder of `T`, or `None` while somebody builds: he hears of the wish.
    pub(crate) fn take_builder_seat<T: 'static>(&self) -> Option<BuilderSeat> {
        self.opened.take_seat::<T>()
    }

    pub(super) fn opened(&self) -> &OpenedCollections {
        &self.opened
    }

    /// Runs `body` and commits what it wrote, all of it or nothing. The body may run more than once, so it does
    /// nothing but read and write through its [`Transaction`].
    ///
    /// # Errors
    /// The body's own, and those of [`Engine::transact`].
    pub fn transact<T>(
        &self,
        durability: Durability,
        body: impl FnMut(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.commit(durability, body).map(|(value, _)| value)
    }

    /// As [`RecordStore::transact`], and answers where the commit stands.
    ///
    /// # Errors
    /// The body's own, and those of [`Engine::transact`].
    pub fn commit<T>(
        &self,
        durability: Durability,
        mut body: impl FnMut(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<(T, Committed)> {
        let (now_ms, base_id) = (self.clock.now_ms(), self.ids.next_u128());
        let opened = self.opened.snapshot();
        let mut answer = None;
        let committed = self.engine.transact(&TxnOptions::durability(durability), &mut |txn| {
            let mut transaction = Transaction::new(txn, now_ms, base_id, Arc::clone(&opened));
            answer = None;
            let value = body(&mut transaction)?;
            transaction.finish()?;
            answer = Some(value);
            Ok(())
        })?;
        match answer {
            Some(value) => Ok((value, committed)),
            None => Err(Error::internal("the engine committed a body that it never ran to its end")),
        }
    }

    /// Runs `body` on one point in time. The body may run more than once.
    ///
    /// # Errors
    /// The body's own, and those of [`Engine::read_view`].
    pub fn read<T>(&self, mut body: impl FnMut(&View<'_>) -> Result<T>) -> Result<T> {
        let mut answer = None;
        self.engine.read_view(&mut |reader| {
            answer = Some(body(&View::new(reader))?);
            Ok(())
        })?;
        answer.ok_or_else(|| Error::internal("the engine answered without having read"))
    }
}
