//! A collection as it is kept now: what the host declares, with the numbers that the store gave out.

use std::any::Any;
use std::sync::Arc;

use super::declared::{Declared, KEY_BYTES_MAX};
use super::definition::{Build, Definition, Item, build_key, definition_key, late_key};
use super::opened::Checked;
use super::ordered::Ordered;
use super::record::{OldRecord, Record, Row};
use crate::codec::{self, Part};
use crate::engine::{KeyRange, Tree, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyWriter};
use crate::record::catalog;
use crate::record::kind::Kind;
use crate::record::repair::{self, Repairer};
use crate::record::schema::{CounterRef, IndexPlace, IndexRef};
use crate::record::scrub::{self, Report, ViolationKind};
use crate::record::value::PartReader;
use crate::record::{Entries, PartWriter, Sums, View};

/// One state of a collection's definition, ready to be worked with. It never changes: another state is another layout.
pub(super) struct Layout<T> {
    pub(super) declared: Arc<Declared<T>>,
    pub(super) definition: Definition,
    /// The definition as it lies in the store: while the same bytes are found there, this layout holds.
    stored: Value,
    indexes: Vec<KeptIndex<T>>,
    counters: Vec<KeptCounter<T>>,
}

/// Collects what follows from a row.
type Derive<T, C> = Box<dyn Fn(&Row<T>, &mut C) + Send + Sync>;

struct KeptIndex<T> {
    place: IndexPlace,
    building: bool,
    entries: Derive<T, Entries>,
}

struct KeptCounter<T> {
    number: u32,
    name: &'static str,
    building: bool,
    sums: Derive<T, Sums>,
}

impl<T: Record> Layout<T> {
    /// The layout of `definition`, which lies in the store as `stored`.
    ///
    /// # Errors
    /// `Conflict` when it is not what `declared` declares.
    pub(super) fn new(declared: &Arc<Declared<T>>, definition: Definition, stored: Value) -> Result<Self> {
        let numbers: Vec<u32> = definition.items.iter().map(|item| item.number).collect();
        let mut layout = Self::of_items(declared, definition, stored, |item| numbers.contains(&item.number))?;
        layout.counters.push(KeptCounter {
            number: layout.definition.total,
            name: "all records",
            building: false,
            sums: Box::new(|_, sums| sums.add(KeyWriter::new(), 1)),
        });
        Ok(layout)
    }

    /// A layout of what is under construction alone, as if it were ready.
    pub(super) fn rising(&self) -> Result<Self> {
        let mut rising =
            Self::of_items(&self.declared, self.definition.clone(), Arc::clone(&self.stored), |item| !item.ready)?;
        rising.indexes.iter_mut().for_each(|index| index.building = false);
        rising.counters.iter_mut().for_each(|counter| counter.building = false);
        Ok(rising)
    }

    fn of_items(
        declared: &Arc<Declared<T>>,
        definition: Definition,
        stored: Value,
        takes: impl Fn(&Item) -> bool,
    ) -> Result<Self> {
        if definition.version != T::VERSION
            || definition.items.len() != declared.indexes.len() + declared.counters.len()
        {
            return Err(moved_on::<T>());
        }
        let item = |counter: bool, name: &str, signature: &str| {
            let found = definition.items.iter().find(|item| item.counter == counter && item.name == name);
            found.filter(|item| item.signature == signature).ok_or_else(moved_on::<T>)
        };
        let (mut indexes, mut counters) = (Vec::new(), Vec::new());
        for rule in &declared.indexes {
            let item = item(false, rule.name, &rule.signature)?;
            if takes(item) {
                let place = IndexPlace { number: item.number, name: rule.name, unique: rule.unique };
                let rule = Arc::clone(rule);
                let entries = Box::new(move |row: &Row<T>, entries: &mut Entries| rule.entries(&row.record, entries));
                indexes.push(KeptIndex { place, building: !item.ready, entries });
            }
        }
        for rule in &declared.counters {
            let item = item(true, rule.name, &rule.signature)?;
            if takes(item) {
                let (number, name, rule) = (item.number, rule.name, Arc::clone(rule));
                let sums = Box::new(move |row: &Row<T>, sums: &mut Sums| rule.sums(&row.record, sums));
                counters.push(KeptCounter { number, name, building: !item.ready, sums });
            }
        }
        Ok(Layout { declared: Arc::clone(declared), definition, stored, indexes, counters })
    }

    /// This layout, or the one that holds by now: `stored` is the definition as the caller's reads find it.
    pub(super) fn current(self: &Arc<Self>, stored: Option<Value>, parts: &mut PartReader<'_>) -> Result<Arc<Self>> {
        match stored {
            Some(stored) if stored == self.stored => Ok(Arc::clone(self)),
            Some(stored) => {
                let definition = parts.open(catalog::COLLECTION, &definition_key(T::COLLECTION), &stored)?;
                Layout::new(&self.declared, definition, stored).map(Arc::new)
            }
            None => Err(moved_on::<T>()),
        }
    }

    /// As [`Layout::current`], at the view's point in time.
    pub(super) fn current_in(self: &Arc<Self>, view: &View<'_>) -> Result<Arc<Self>> {
        let stored = view.reader().get(Tree::Meta, &definition_key(T::COLLECTION))?;
        self.current(stored, &mut PartReader::in_view(view.reader()))
    }

    /// As [`Layout::current_in`], once it is known how far a construction has come: what its records are judged by.
    fn judged_in(self: &Arc<Self>, view: &View<'_>) -> Result<Arc<Self>> {
        let layout = self.current_in(view)?;
        view.get_part::<Build>(catalog::COLLECTION_BUILD, &build_key(T::COLLECTION))?;
        Ok(layout)
    }

    /// The bytes of a key.
    ///
    /// # Errors
    /// `Invalid` for one that is too long.
    pub(super) fn key_bytes<K: Ordered + ?Sized>(key: &K) -> Result<Vec<u8>> {
        let bytes = key.write(KeyWriter::new()).finish();
        if bytes.len() > KEY_BYTES_MAX {
            let (name, length) = (T::COLLECTION, bytes.len());
            return Err(Error::invalid(format!(
                "key of {name}: at most {KEY_BYTES_MAX} bytes once encoded, got {length}"
            )));
        }
        Ok(bytes)
    }

    /// The row in an envelope that lies at `stored_key`.
    pub(super) fn read_row(&self, stored_key: &[u8], envelope: &[u8]) -> Result<Row<T>> {
        let part = self.part();
        let version = codec::schema_version(part, stored_key, envelope)?;
        if version == T::VERSION {
            let (revision, record) = codec::decode(part, stored_key, envelope)?;
            return Ok(Row { record, revision });
        }
        // The revision stands first in every version.
        let old = OldRecord { part, stored_key, envelope, version };
        Ok(Row { revision: codec::decode_start(part, stored_key, envelope)?, record: T::migrate(old)? })
    }

    pub(super) fn stored_key(&self, key: &[u8]) -> Vec<u8> {
        keys::collected(T::COLLECTION, key)
    }

    /// The index of this name, with whether it is under construction.
    pub(super) fn index_named(&self, name: &str) -> Option<(IndexPlace, bool)> {
        self.indexes.iter().find(|index| index.place.name == name).map(|index| (index.place, index.building))
    }

    /// The number of the counter of this name, with whether it is under construction.
    pub(super) fn counter_named(&self, name: &str) -> Option<(u32, bool)> {
        self.counters.iter().find(|counter| counter.name == name).map(|counter| (counter.number, counter.building))
    }
}

/// Sorts what keeps one collection from being judged (inner) from what stops the sweep over all of them (outer).
fn usable<L>(layout: Result<L>) -> Result<Result<L>> {
    match layout {
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(Err(error)),
        layout => scrub::damage(layout),
    }
}

/// What a handle answers whose type is not any more what the store keeps.
pub(super) fn moved_on<T: Record>() -> Error {
    Error::conflict(format!("collection {}: its definition has changed, open it again", T::COLLECTION))
}

impl<T: Record> Kind for Layout<T> {
    type Record = Row<T>;

    fn name(&self) -> &'static str {
        T::COLLECTION
    }

    fn part(&self) -> Part {
        Part { version: T::VERSION, ..catalog::HOST_RECORD }
    }

    fn range(&self) -> KeyRange {
        KeyRange::prefix(&keys::collection_prefix(T::COLLECTION))
    }

    fn primary_of<'k>(&self, stored_key: &'k [u8]) -> Option<&'k [u8]> {
        stored_key.strip_prefix(keys::collection_prefix(T::COLLECTION).as_slice())
    }

    fn index_at(&self, place: usize) -> Option<IndexRef<'_, Row<T>>> {
        let KeptIndex { place, building, entries } = self.indexes.get(place)?;
        Some(IndexRef { place: *place, building: *building, entries: &**entries })
    }

    fn counter_at(&self, place: usize) -> Option<CounterRef<'_, Row<T>>> {
        let KeptCounter { number, name, building, sums } = self.counters.get(place)?;
        Some(CounterRef { number: *number, name, building: *building, sums: &**sums })
    }

    fn key(&self, row: &Row<T>) -> Vec<u8> {
        row.record.key().write(KeyWriter::new()).finish()
    }

    fn revision(&self, row: &Row<T>) -> u64 {
        row.revision
    }

    fn set_revision(&self, row: &mut Row<T>, revision: u64) {
        row.revision = revision;
    }

    fn load(&self, key: &[u8], parts: &mut PartReader<'_>) -> Result<Option<Row<T>>> {
        let stored_key = self.stored_key(key);
        parts.get_with(self.part(), &stored_key, |envelope| self.read_row(&stored_key, envelope))
    }

    fn save(&self, row: &Row<T>, _old: Option<&Row<T>>, parts: &mut PartWriter<'_>) -> Result<()> {
        parts.put(self.part(), &self.stored_key(&self.key(row)), &(row.revision, &row.record))
    }

    fn erase(&self, row: &Row<T>, parts: &mut PartWriter<'_>) -> Result<()> {
        parts.delete(self.part(), &self.stored_key(&self.key(row)))
    }

    fn is_built(&self, view: &View<'_>, key: &[u8]) -> Result<bool> {
        if !self.definition.is_building() {
            return Ok(true);
        }
        let build: Build = view.get_part(catalog::COLLECTION_BUILD, &build_key(T::COLLECTION))?.unwrap_or(Build::FIRST);
        let late = late_key(T::COLLECTION, self.definition.build, key);
        Ok(build.position.covers(key) && view.reader().get(Tree::Meta, &late)?.is_none())
    }
}

/// An opened collection: its layout as it was last seen.
pub(super) struct Opened<T>(pub(super) Arc<Layout<T>>);

impl<T: Record> Checked for Opened<T> {
    fn name(&self) -> &str {
        T::COLLECTION
    }

    fn verify(&self, view: &View<'_>, report: &mut Report) -> Result<()> {
        match usable(self.0.judged_in(view))? {
            Ok(layout) => scrub::verify_kind(&*layout, view, report),
            Err(error) => {
                let (key, why) = (definition_key(T::COLLECTION), error.to_string());
                report.violation(ViolationKind::ReferenceBroken, Tree::Meta, &key, why);
                Ok(())
            }
        }
    }

    fn repair(&self, run: &mut Repairer<'_>) -> Result<()> {
        let store = run.store();
        let layout = match usable(store.read(|view| self.0.judged_in(view)))? {
            Ok(layout) => layout,
            Err(error) => {
                run.leave(Tree::Meta, &definition_key(T::COLLECTION), error.to_string());
                return Ok(());
            }
        };
        repair::records_of(run, &*layout, |txn, key, reason, changes| {
            changes.set_aside(txn, Tree::Records, key, reason)
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
