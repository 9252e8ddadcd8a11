//! Construction of new indexes and counters while writers go on, and removal of those that are gone.
//!
//! ```text
//! Start ──> At(key) ──> … ──> End ──> late records ──> ready ──> rests of what is gone ──> nothing to do
//!       a page of records            those with a mark
//! ```
//!
//! What is under construction holds exactly the records whose key is at or before the position and that have no mark.
//! Every step keeps that true in one transaction, and so does every write (`txn.rs`), so the steps may be interrupted
//! anywhere, repeated, and run by several at once.
//!
//! - A step scans outside and takes the records again inside. A record that was inserted between the two, behind the
//!   scan's back and before the step's new position, has a mark: its writer saw a position that did not cover it.
//! - At `End` every write covers its record, so no new marks come, and those that are there only go.
//! - A record that can't be read is counted and left out; verify names it. A record that a new index can't take (a
//!   place in a unique index is held, no room) stops the construction with that error until it is changed.

use std::sync::Arc;

use super::definition::{Build, Definition, Position, Retired, build_key, definition_key, late_key};
use super::handle::Collection;
use super::layout::Layout;
use super::open::refresh;
use super::record::Record;
use crate::codec::Bytes;
use crate::config::Durability;
use crate::engine::{Direction, KeyRange, Tree};
use crate::error::{Error, ErrorKind, Result};
use crate::keys;
use crate::record::kind::Kind;
use crate::record::{Transaction, View, catalog};

/// Records, or entries to be removed, in one step.
const STEP: usize = 128;

/// How far a collection is from being whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Every index and counter can be asked.
    pub ready: bool,
    /// Records that the construction has taken in.
    pub done: u64,
    /// Records that there are.
    pub total: u64,
    /// Records that it could not read.
    pub unreadable: u64,
    /// What is left of indexes and counters that are gone is still being removed.
    pub removing: bool,
}

/// What the next step is, as it was seen at one point in time.
enum Step {
    Take(Build, Vec<Vec<u8>>),
    Reach(Build),
    TakeLate(Build, Vec<Vec<u8>>),
    Finish(Build),
    Remove(Tree, Vec<Vec<u8>>),
    Forget(Retired),
    Nothing,
}

impl<T: Record> Collection<T> {
    /// Builds what is under construction, and removes what is left of what is gone, until neither is left. Others may
    /// do the same at the same time, and write meanwhile.
    ///
    /// # Errors
    /// `AlreadyExists` when two records have the same place in a new unique index, and `Invalid` when one has no room
    /// in a new index, both naming the record: change it and build again. Those of a commit.
    pub fn build(&self) -> Result<()> {
        while !self.build_step()? {}
        Ok(())
    }

    /// One bounded step of [`Collection::build`]; answers whether nothing is left to do.
    ///
    /// # Errors
    /// As there.
    pub fn build_step(&self) -> Result<bool> {
        let opened = self.layout()?;
        let (layout, step) = self.records.read(|view| {
            let layout = opened.current_in(view)?;
            let step = next_step(view, &layout)?;
            Ok((layout, step))
        })?;
        match step {
            Step::Nothing => return Ok(true),
            Step::Take(build, keys) => self.take(&layout, &build, &keys, false)?,
            Step::TakeLate(build, keys) => self.take(&layout, &build, &keys, true)?,
            Step::Reach(build) => self.step(&layout, Some(&build), |txn| {
                put_build::<T>(txn, &Build { position: Position::End, ..build.clone() })
            })?,
            Step::Finish(build) => self.step(&layout, Some(&build), |txn| {
                let mut ready = layout.definition.clone();
                ready.items.iter_mut().for_each(|item| item.ready = true);
                txn.delete_part(catalog::COLLECTION_BUILD, &build_key(T::COLLECTION))?;
                put_definition::<T>(txn, &ready)
            })?,
            Step::Remove(tree, keys) => {
                self.step(&layout, None, |txn| keys.iter().try_for_each(|key| txn.txn.delete(tree, key)))?;
            }
            Step::Forget(retired) => self.step(&layout, None, |txn| {
                let mut rest = layout.definition.clone();
                rest.retired.retain(|other| *other != retired);
                put_definition::<T>(txn, &rest)
            })?,
        }
        refresh(&self.records, &layout.declared)?;
        Ok(false)
    }

    /// How far [`Collection::build`] has come.
    ///
    /// # Errors
    /// `Closed`; `Corrupt`.
    pub fn progress(&self) -> Result<Progress> {
        let opened = self.layout()?;
        self.records.read(|view| progress(view, &*opened.current_in(view)?))
    }

    /// Runs `body` unless the definition or the construction has moved on since the step was looked up.
    fn step(
        &self,
        layout: &Arc<Layout<T>>,
        build: Option<&Build>,
        body: impl Fn(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<()> {
        self.records.transact(Durability::Buffered, |txn| {
            let now = txn.collection::<T>()?.layout;
            let found = txn.get_part::<Build>(catalog::COLLECTION_BUILD, &build_key(T::COLLECTION))?;
            let moved = build.is_some_and(|build| found.unwrap_or(Build::FIRST) != *build);
            if now.definition != layout.definition || moved { Ok(()) } else { body(txn) }
        })
    }

    /// Takes records into what is under construction: those of a page, or late ones.
    fn take(&self, layout: &Arc<Layout<T>>, build: &Build, keys: &[Vec<u8>], late: bool) -> Result<()> {
        let rising = layout.rising()?;
        let outcome = self.step(layout, Some(build), |txn| {
            let mut next = build.clone();
            for key in keys {
                take_one(txn, &rising, key, late, &mut next)?;
            }
            if let (false, Some(last)) = (late, keys.last()) {
                next.position = Position::At(Bytes(last.clone()));
            }
            put_build::<T>(txn, &next)
        });
        match outcome {
            // More entries than a transaction takes, or one record that can't be taken: fewer at once tells which.
            Err(error) if error.kind() == ErrorKind::Invalid && keys.len() > 1 => {
                let (first, _) = keys.split_at(keys.len() / 2);
                self.take(layout, build, first, late)
            }
            outcome => outcome,
        }
    }
}

fn take_one<T: Record>(
    txn: &mut Transaction<'_>,
    rising: &Layout<T>,
    key: &[u8],
    late: bool,
    next: &mut Build,
) -> Result<()> {
    let mark = late_key(T::COLLECTION, rising.definition.build, key);
    let marked = txn.holds_part(catalog::COLLECTION_LATE, &mark)?;
    if marked {
        txn.delete_part(catalog::COLLECTION_LATE, &mark)?;
    } else if late {
        // Its writer has covered it meanwhile.
        return Ok(());
    }
    match txn.get_of(rising, key) {
        Ok(None) => Ok(()),
        Ok(Some(row)) => {
            next.done += 1;
            txn.derive(rising, &row).map_err(|error| {
                let (name, key) = (T::COLLECTION, key.escape_ascii());
                Error::new(error.kind(), format!("collection {name}: building at record `{key}`: {error}"))
            })
        }
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            next.unreadable += 1;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn next_step<T: Record>(view: &View<'_>, layout: &Layout<T>) -> Result<Step> {
    if !layout.definition.is_building() {
        return next_removal(view, layout);
    }
    let build: Build = view.get_part(catalog::COLLECTION_BUILD, &build_key(T::COLLECTION))?.unwrap_or(Build::FIRST);
    let ahead = match &build.position {
        Position::Start => layout.range(),
        Position::At(last) => layout.range().behind(&layout.stored_key(&last.0), Direction::Ascending),
        Position::End => {
            let prefix = late_key(T::COLLECTION, layout.definition.build, &[]);
            let marks = view.first_keys(Tree::Meta, KeyRange::prefix(&prefix), STEP)?;
            let late: Vec<Vec<u8>> =
                marks.iter().filter_map(|mark| mark.strip_prefix(&*prefix)).map(Vec::from).collect();
            return Ok(if late.is_empty() { Step::Finish(build) } else { Step::TakeLate(build, late) });
        }
    };
    let stored_keys = view.first_keys(layout.part().tree, ahead, STEP)?;
    let ahead: Vec<Vec<u8>> = stored_keys.iter().filter_map(|key| layout.primary_of(key)).map(Vec::from).collect();
    Ok(if ahead.is_empty() { Step::Reach(build) } else { Step::Take(build, ahead) })
}

fn next_removal<T: Record>(view: &View<'_>, layout: &Layout<T>) -> Result<Step> {
    let Some(&retired) = layout.definition.retired.first() else { return Ok(Step::Nothing) };
    let (tree, prefix) = match retired {
        Retired::Index(number) => (Tree::Index, keys::index_prefix(number, &[])),
        Retired::Counter(number) => (Tree::Counter, keys::counter(number, &[])),
        Retired::Late(build) => (Tree::Meta, late_key(T::COLLECTION, build, &[])),
    };
    let rest = view.first_keys(tree, KeyRange::prefix(&prefix), STEP)?;
    Ok(if rest.is_empty() { Step::Forget(retired) } else { Step::Remove(tree, rest) })
}

pub(super) fn progress<T: Record>(view: &View<'_>, layout: &Layout<T>) -> Result<Progress> {
    let total = view.sum(layout.definition.total, keys::KeyWriter::new())?.unsigned_abs();
    let ready = !layout.definition.is_building();
    let build: Option<Build> = view.get_part(catalog::COLLECTION_BUILD, &build_key(T::COLLECTION))?;
    let build = build.unwrap_or(Build::FIRST);
    let removing = !layout.definition.retired.is_empty();
    let done = if ready { total } else { build.done };
    Ok(Progress { ready, done, total, unreadable: build.unreadable, removing })
}

fn put_build<T: Record>(txn: &mut Transaction<'_>, build: &Build) -> Result<()> {
    txn.put_part(catalog::COLLECTION_BUILD, &build_key(T::COLLECTION), build)
}

fn put_definition<T: Record>(txn: &mut Transaction<'_>, definition: &Definition) -> Result<()> {
    txn.put_part(catalog::COLLECTION, &definition_key(T::COLLECTION), definition)
}
