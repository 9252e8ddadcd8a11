//! How one kind of record is kept: all that the writer, the upkeep and the scrub need to know of it.
//!
//! ```text
//!   Entity (a model, a job)  ──> Fixed<R>    schema known at compile time, numbers from the catalog      ┐
//!   Record (what hosts keep) ──> Layout<T>   schema declared by the host, numbers given out by the store ├─> Kind
//!                                                                                                        ┘
//! ```
//!
//! One writer serves both, so nothing that holds for the one has to be proven again for the other. An index or counter
//! of a host's collection may be under construction: it then holds some records and not yet the others, and every
//! write says on which side its record stands ([`Built`]).

use std::marker::PhantomData;

use crate::codec::Part;
use crate::engine::KeyRange;
use crate::error::Result;

use super::schema::{CounterRef, Entity, IndexRef};
use super::value::{PartReader, PartWriter};
use super::view::View;

/// One kind of record.
pub(crate) trait Kind {
    /// What the rest of the crate holds of one.
    type Record: Clone + 'static;

    /// Its name in messages: `model`, `job`, a collection's name.
    fn name(&self) -> &'static str;

    /// The part whose tree lists every record of the kind.
    fn part(&self) -> Part;

    /// Where in that tree they lie, with others between them perhaps.
    fn range(&self) -> KeyRange;

    /// The primary key behind a stored key of that range, or `None` when that is no key of such a record.
    fn primary_of<'k>(&self, stored_key: &'k [u8]) -> Option<&'k [u8]>;

    /// The index at this place of its list.
    fn index_at(&self, place: usize) -> Option<IndexRef<'_, Self::Record>>;

    /// The counter at this place of its list.
    fn counter_at(&self, place: usize) -> Option<CounterRef<'_, Self::Record>>;

    /// The primary key, as index entries carry it.
    fn key(&self, record: &Self::Record) -> Vec<u8>;

    /// How often it was written.
    fn revision(&self, record: &Self::Record) -> u64;

    /// Called by the writer alone.
    fn set_revision(&self, record: &mut Self::Record, revision: u64);

    /// The record at the primary key `key`, or `None`.
    fn load(&self, key: &[u8], parts: &mut PartReader<'_>) -> Result<Option<Self::Record>>;

    /// Writes those parts that differ from `old`.
    fn save(&self, record: &Self::Record, old: Option<&Self::Record>, parts: &mut PartWriter<'_>) -> Result<()>;

    /// Removes every part.
    fn erase(&self, record: &Self::Record, parts: &mut PartWriter<'_>) -> Result<()>;

    /// What the record says that can't be so, or `None`. It is treated as one that can't be read.
    fn contradiction(&self, _record: &Self::Record) -> Option<String> {
        None
    }

    /// Whether what is under construction holds the record at this primary key, at the view's point in time.
    fn is_built(&self, _view: &View<'_>, _key: &[u8]) -> Result<bool> {
        Ok(true)
    }

    /// Its indexes, those under construction included.
    fn indexes(&self) -> impl Iterator<Item = IndexRef<'_, Self::Record>> {
        (0..).map_while(|place| self.index_at(place))
    }

    /// Its counters, those under construction included.
    fn counters(&self) -> impl Iterator<Item = CounterRef<'_, Self::Record>> {
        (0..).map_while(|place| self.counter_at(place))
    }
}

/// Whether what is under construction holds the old state of a record, and whether it is to hold the new one. What is
/// ready holds both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Built {
    pub(crate) old: bool,
    pub(crate) new: bool,
}

impl Built {
    /// Nothing is under construction, or it has passed this record.
    pub(crate) const WHOLE: Built = Built { old: true, new: true };
}

/// The kind of an [`Entity`]: everything about it is known at compile time.
pub(crate) struct Fixed<R>(PhantomData<fn() -> R>);

impl<R: Entity> Fixed<R> {
    pub(crate) fn new() -> Self {
        Fixed(PhantomData)
    }
}

impl<R: Entity> Kind for Fixed<R> {
    type Record = R;

    fn name(&self) -> &'static str {
        R::schema().name
    }

    fn part(&self) -> Part {
        R::schema().primary
    }

    fn range(&self) -> KeyRange {
        KeyRange::all()
    }

    fn primary_of<'k>(&self, stored_key: &'k [u8]) -> Option<&'k [u8]> {
        (R::schema().owns)(stored_key).then_some(stored_key)
    }

    fn index_at(&self, place: usize) -> Option<IndexRef<'_, R>> {
        R::schema().indexes.get(place).map(|index| index.by_ref())
    }

    fn counter_at(&self, place: usize) -> Option<CounterRef<'_, R>> {
        R::schema().counters.get(place).map(|counter| counter.by_ref())
    }

    fn key(&self, record: &R) -> Vec<u8> {
        record.key()
    }

    fn revision(&self, record: &R) -> u64 {
        record.revision()
    }

    fn set_revision(&self, record: &mut R, revision: u64) {
        record.set_revision(revision);
    }

    fn load(&self, key: &[u8], parts: &mut PartReader<'_>) -> Result<Option<R>> {
        R::load(key, parts)
    }

    fn contradiction(&self, record: &R) -> Option<String> {
        record.contradiction()
    }

    fn save(&self, record: &R, old: Option<&R>, parts: &mut PartWriter<'_>) -> Result<()> {
        record.save(old, parts)
    }

    fn erase(&self, record: &R, parts: &mut PartWriter<'_>) -> Result<()> {
        record.erase(parts)
    }
}
