//! One body: its reads through everything on its way to the store, its writes apart until it succeeds.

use std::cell::Cell;

use super::batch::{OwnWrite, OwnWrites};
use super::core::Core;
use super::origin::Standing;
use super::pipeline::{Depends, Pipeline};
use super::sync::{MutexGuard, Ordering, thread_local};
use super::{TXN_BYTES_MAX, TXN_WRITES_MAX};
use crate::clock::Stopwatch;
use crate::config::Durability;
use crate::engine::{Committed, Tree, Txn, TxnOptions, VALUE_BYTES_MAX, Value, check_key, counter_value, read_counter};
use crate::error::{Error, Result};

/// A body that takes longer than this holds everybody up and is counted.
const SLOW_BODY_US: u128 = 1_000;

thread_local! {
    /// This thread is inside a body. Calling an engine from there would deadlock, so it is refused.
    static IN_BODY: Cell<bool> = const { Cell::new(false) };
}

/// Refuses a call of the engine from inside a body of this thread.
pub(super) fn check_outside_body() -> Result<()> {
    if IN_BODY.with(Cell::get) {
        return Err(Error::invalid(
            "the engine was called inside a transaction body; use the transaction's own get, put, delete and add",
        ));
    }
    Ok(())
}

struct InBody;

impl InBody {
    fn enter() -> Self {
        IN_BODY.with(|inside| inside.set(true));
        InBody
    }
}

impl Drop for InBody {
    fn drop(&mut self) {
        IN_BODY.with(|inside| inside.set(false));
    }
}

struct LocalTxn<'c> {
    core: &'c Core,
    pipeline: &'c Pipeline,
    own: OwnWrites,
    depends: Depends,
    /// A write passed the limits: the transaction can only fail.
    spoiled: Option<Error>,
}

impl LocalTxn<'_> {
    /// The value at `key` below this body's own writes.
    fn committed(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        if let Some((write, depends)) = self.pipeline.newest(tree, key) {
            self.depends = self.depends.max(depends);
            return Ok(write.value.clone());
        }
        match self.core.memtables.newest(tree, key) {
            Some(known) => Ok(known),
            None => self.core.store(|store| store.get(tree, key)),
        }
    }

    fn write(&mut self, tree: Tree, key: &[u8], value: Option<Value>, added: bool) -> Result<()> {
        self.own.set(tree, key, OwnWrite { value, added });
        let beyond = if self.own.writes.len() > TXN_WRITES_MAX {
            Some(format!("transaction: at most {TXN_WRITES_MAX} writes; split it up"))
        } else if self.own.bytes > TXN_BYTES_MAX {
            Some(format!("transaction: at most {TXN_BYTES_MAX} bytes; split it up"))
        } else {
            None
        };
        match beyond {
            None => Ok(()),
            Some(message) => {
                // The write is in already, so the body must not succeed, even if it swallows this.
                let error = Error::invalid(message);
                self.spoiled = Some(error.clone());
                Err(error)
            }
        }
    }
}

impl Txn for LocalTxn<'_> {
    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        check_key(key)?;
        match self.own.writes.get(tree, key) {
            Some(own) if own.added => Err(Error::invalid(format!(
                "get of {key:02x?} in {} after add of it in the same body: read it before, or after the commit",
                tree.name()
            ))),
            Some(own) => Ok(own.value.clone()),
            None => self.committed(tree, key),
        }
    }

    fn put(&mut self, tree: Tree, key: &[u8], value: Value) -> Result<()> {
        check_key(key)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::invalid(format!("value: at most {VALUE_BYTES_MAX} bytes, got {}", value.len())));
        }
        self.write(tree, key, Some(value), false)
    }

    fn delete(&mut self, tree: Tree, key: &[u8]) -> Result<()> {
        check_key(key)?;
        self.write(tree, key, None, false)
    }

    fn add(&mut self, tree: Tree, key: &[u8], delta: i64) -> Result<()> {
        check_key(key)?;
        let before = match self.own.writes.get(tree, key) {
            Some(own) => own.value.clone(),
            None => self.committed(tree, key)?,
        };
        let sum = read_counter(tree, key, before.as_deref())?.checked_add(delta).ok_or_else(|| {
            Error::invalid(format!("counter {key:02x?} in {}: adding {delta} would overflow", tree.name()))
        })?;
        let value = (sum != 0).then(|| counter_value(tree, key, sum));
        self.write(tree, key, value, true)
    }
}

impl Core {
    /// See [`Engine::transact`](crate::engine::Engine::transact).
    pub(super) fn run(
        &self,
        options: &TxnOptions,
        body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>,
    ) -> Result<Committed> {
        check_outside_body()?;
        self.check_open()?;
        self.check_writable()?;
        let stopped = || self.check_open().is_err() || self.check_not_held().is_err();
        if !self.admission.admit(|| self.memtables.bytes(), stopped) {
            self.check_open()?;
            self.check_not_held()?;
        }
        self.run_admitted(options, body)
    }

    /// The same without back-pressure.
    pub(super) fn run_admitted(
        &self,
        options: &TxnOptions,
        body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>,
    ) -> Result<Committed> {
        loop {
            let mut pipeline = self.pipeline.lock();
            self.check_open()?;
            let (outcome, mut own, depends) = self.run_body(&pipeline, body);
            let depends = if options.durability == Durability::PowerLoss { depends } else { Depends::Nothing };
            if let Err(error) = outcome {
                self.wait_durable(pipeline, depends, false)?;
                return Err(error);
            }
            let standing = self.origin.note_in(&mut own, options);
            if own.writes.is_empty() {
                let sequence = match depends {
                    Depends::Open => pipeline.open.sequence,
                    Depends::Sealed => pipeline.open.sequence - 1,
                    Depends::Nothing => self.memtables.visible().1,
                };
                self.wait_durable(pipeline, depends, false)?;
                return Ok(Committed::at(self.public_cursor(sequence)));
            }
            let size = self.size_of(&own, options.durability);
            if !self.has_room(&pipeline, &size) {
                // Others may commit while this waits, so the body runs again on what they left.
                self.wait_for_room(&mut pipeline, &size)?;
                continue;
            }
            self.admission.admitted(size.payload_bytes);
            let sequence = self.commit(pipeline, own, options.durability)?;
            self.origin.committed(standing, options);
            if standing != Standing::Unchanged {
                // What the feed answers has changed with this, not with the batch.
                self.watchers.ring();
            }
            return Ok(Committed::at(self.public_cursor(sequence)));
        }
    }

    fn run_body(
        &self,
        pipeline: &MutexGuard<'_, Pipeline>,
        body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>,
    ) -> (Result<()>, OwnWrites, Depends) {
        let mut txn =
            LocalTxn { core: self, pipeline, own: OwnWrites::default(), depends: Depends::Nothing, spoiled: None };
        let took = Stopwatch::start();
        let outcome = {
            // Left also when the body panics: its writes are still in `txn` alone, and go with it.
            let _inside = InBody::enter();
            body(&mut txn)
        };
        if took.elapsed().as_micros() > SLOW_BODY_US {
            self.counts.slow_bodies.fetch_add(1, Ordering::Relaxed);
        }
        let outcome = outcome.and(txn.spoiled.map_or(Ok(()), Err));
        (outcome, txn.own, txn.depends)
    }
}
