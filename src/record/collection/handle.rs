//! The handle on a collection: what a host calls.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::build::progress;
use super::declared::CounterRule;
use super::layout::Layout;
use super::list::{self, Keys, Page};
use super::ordered::{FromKey, Operand, Ordered};
use super::plan::{Plan, plan};
use super::query::Query;
use super::record::{Record, Row};
use super::txn::{CollectionTxn, opened_layout};
use crate::config::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{KeyReader, KeyWriter};
use crate::record::{RecordStore, View};

/// Records removed in one transaction.
const DELETE_STEP: usize = 256;

/// The records of one type. Cheap to clone.
///
/// A list, a count or a sum that needs an index or counter under construction answers `Unavailable` until that is
/// ready; everything else works meanwhile.
pub struct Collection<T> {
    pub(super) records: RecordStore,
    durability: Durability,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Collection { records: self.records.clone(), durability: self.durability, of: PhantomData }
    }
}

impl<T: Record> fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").field("name", &T::COLLECTION).finish_non_exhaustive()
    }
}

impl<T: Record> Collection<T> {
    pub(super) fn new(records: RecordStore, durability: Durability) -> Self {
        Collection { records, durability, of: PhantomData }
    }

    /// The same, with another durability for its writes.
    #[must_use]
    pub fn with_durability(&self, durability: Durability) -> Self {
        Collection { durability, ..self.clone() }
    }

    pub(super) fn layout(&self) -> Result<Arc<Layout<T>>> {
        opened_layout::<T>(&self.records.opened().snapshot())
    }

    /// The record at `key`, or `None`.
    ///
    /// # Errors
    /// `Corrupt` for damage; `Unsupported` for a record of a version that this build can't read.
    pub fn get<Q>(&self, key: &Q) -> Result<Option<Row<T>>>
    where
        T::Key: Borrow<Q>,
        Q: Ordered + ?Sized,
    {
        let (layout, key) = (self.layout()?, Layout::<T>::key_bytes(key)?);
        self.records.read(|view| view.get_of(&*layout, &key))
    }

    /// Writes a new record; answers it as revision 1.
    ///
    /// # Errors
    /// As [`CollectionTxn::insert`]; those of a commit.
    pub fn insert(&self, record: T) -> Result<Row<T>> {
        self.transact(|collection| collection.insert(record.clone()))
    }

    /// Writes a record whether or not it exists; answers it with its new revision.
    ///
    /// # Errors
    /// As [`CollectionTxn::save`]; those of a commit.
    pub fn save(&self, record: T) -> Result<Row<T>> {
        self.transact(|collection| collection.save(record.clone()))
    }

    /// Writes a record over its revision `expected`; answers it with its new revision.
    ///
    /// # Errors
    /// As [`CollectionTxn::update`]; those of a commit.
    pub fn update(&self, record: T, expected: u64) -> Result<Row<T>> {
        self.transact(|collection| collection.update(record.clone(), expected))
    }

    /// Removes the record at `key`; answers whether there was one.
    ///
    /// # Errors
    /// As [`CollectionTxn::delete`]; those of a commit.
    pub fn delete<Q>(&self, key: &Q) -> Result<bool>
    where
        T::Key: Borrow<Q>,
        Q: Ordered + ?Sized,
    {
        self.transact(|collection| collection.delete(key))
    }

    fn transact<A>(&self, mut body: impl FnMut(&mut CollectionTxn<'_, '_, T>) -> Result<A>) -> Result<A> {
        self.records.transact(self.durability, |txn| body(&mut txn.collection::<T>()?))
    }

    /// One page of the records that `query` looks for, all from one point in time.
    ///
    /// # Errors
    /// `Unsupported` when no index answers it, naming the one to declare; `Unavailable` while that index is under
    /// construction; `Invalid` for a field, a value's type, a limit or a page token that does not fit.
    pub fn list(&self, query: &Query) -> Result<Page<T>> {
        let opened = self.layout()?;
        self.records.read(|view| {
            let layout = opened.current_in(view)?;
            let plan = ready_plan(view, &layout, query)?;
            list::page(view, &layout, &plan, query)
        })
    }

    /// Removes every record that `query` looks for, whatever its limit, in transactions of at most 256 records;
    /// answers how many. Each is looked at again before it goes. Interrupted, it leaves a rest that calling it again
    /// removes.
    ///
    /// # Errors
    /// As [`Collection::list`]; `Corrupt` at a record that can't be read; those of a commit.
    pub fn delete_where(&self, query: &Query) -> Result<u64> {
        if query.token.is_some() {
            return Err(Error::invalid("page token: a deletion starts at the beginning"));
        }
        let opened = self.layout()?;
        let (mut removed, mut step, mut after) = (0, DELETE_STEP, None::<Vec<u8>>);
        loop {
            let (plan, Keys { keys, resume }) = self.records.read(|view| {
                let layout = opened.current_in(view)?;
                let plan = ready_plan(view, &layout, query)?;
                let keys = list::keys(view, &layout, &plan, after.as_deref(), step)?;
                Ok((plan, keys))
            })?;
            match self.transact(|collection| remove_all(collection, &plan, &keys)) {
                Ok(gone) => removed += gone,
                // More entries or pieces than one transaction takes. One record always fits.
                Err(error) if error.kind() == ErrorKind::Invalid && keys.len() > 1 => {
                    step = keys.len() / 2;
                    continue;
                }
                Err(error) => return Err(error),
            }
            match resume {
                Some(resume) => after = Some(resume),
                None => return Ok(removed),
            }
        }
    }

    /// How many records there are: one key is read.
    ///
    /// # Errors
    /// `Closed`; `Corrupt`.
    pub fn count(&self) -> Result<u64> {
        let layout = self.layout()?;
        let count = self.records.read(|view| view.sum(layout.definition.total, KeyWriter::new()))?;
        as_count(count, "all records")
    }

    /// How many records the counter has in `group`: one key is read. A group of several fields is a tuple.
    ///
    /// # Errors
    /// `Invalid` for a counter that is not declared or is a sum, or a group of another type; `Unavailable` while it is
    /// under construction; `Corrupt`.
    pub fn count_by(&self, counter: &str, group: impl Ordered) -> Result<u64> {
        if rule(&*self.layout()?, counter)?.is_sum() {
            return Err(Error::invalid(format!("counter {counter}: a sum does not tell how many there are")));
        }
        as_count(self.sum(counter, group)?, counter)
    }

    /// The sum that the counter has in `group`: one key is read.
    ///
    /// # Errors
    /// As [`Collection::count_by`], but for sums and counts alike.
    pub fn sum(&self, counter: &str, group: impl Ordered) -> Result<i64> {
        let opened = self.layout()?;
        let group = group_bytes(rule(&opened, counter)?, &group)?;
        self.records.read(|view| {
            let number = ready_counter(view, &*opened.current_in(view)?, counter)?;
            view.sum(number, KeyWriter::new().raw(&group))
        })
    }

    /// Every group of a counter with its count or sum, in order, without reading records. Groups whose sum is 0 are left out.
    ///
    /// # Errors
    /// As [`Collection::count_by`].
    pub fn counts<G: FromKey>(&self, counter: &str) -> Result<Vec<(G, i64)>> {
        let opened = self.layout()?;
        check_group::<T, G>(rule(&opened, counter)?)?;
        let sums = self.records.read(|view| {
            let number = ready_counter(view, &*opened.current_in(view)?, counter)?;
            view.sums(number, KeyWriter::new())
        })?;
        let read = |(group, sum): (Vec<u8>, i64)| {
            let mut group = KeyReader::new(&group);
            let value = G::read(&mut group)?;
            group.end().map(|()| (value, sum))
        };
        sums.into_iter().map(read).collect()
    }

    /// The different values in the groups of a counter, in order, without reading records.
    ///
    /// # Errors
    /// As [`Collection::count_by`]; `Invalid` for a sum, which has no group where it is 0.
    pub fn distinct<G: FromKey>(&self, counter: &str) -> Result<Vec<G>> {
        let opened = self.layout()?;
        if rule(&opened, counter)?.is_sum() {
            return Err(Error::invalid(format!("counter {counter}: a sum does not tell which values there are")));
        }
        Ok(self.counts::<G>(counter)?.into_iter().map(|(value, _)| value).collect())
    }
}

/// The plan of `query`, unless its index is under construction.
fn ready_plan<T: Record>(view: &View<'_>, layout: &Layout<T>, query: &Query) -> Result<Plan> {
    match plan(query, layout)? {
        (plan, false) => Ok(plan),
        (_, true) => Err(under_construction(view, layout, "the index that serves this query")),
    }
}

fn ready_counter<T: Record>(view: &View<'_>, layout: &Layout<T>, counter: &str) -> Result<u32> {
    match layout.counter_named(counter) {
        Some((number, false)) => Ok(number),
        Some((_, true)) => Err(under_construction(view, layout, &format!("counter {counter}"))),
        None => Err(Error::invalid(format!("counter: {} has no {counter}", T::COLLECTION))),
    }
}

fn under_construction<T: Record>(view: &View<'_>, layout: &Layout<T>, what: &str) -> Error {
    match progress(view, layout) {
        Ok(progress) => Error::unavailable(format!(
            "{}: {what} is under construction, {} of {} records are in",
            T::COLLECTION,
            progress.done,
            progress.total
        )),
        Err(error) => error,
    }
}

fn rule<'l, T: Record>(layout: &'l Layout<T>, counter: &str) -> Result<&'l CounterRule<T>> {
    let found = layout.declared.counters.iter().find(|rule| rule.name == counter);
    found.map(|rule| &**rule).ok_or_else(|| Error::invalid(format!("counter: {} has no {counter}", T::COLLECTION)))
}

/// The key bytes of a group, given as one value or, for several fields, as a tuple.
fn group_bytes<T, G: Ordered>(rule: &CounterRule<T>, group: &G) -> Result<Vec<u8>> {
    let mut operands = group.operands();
    if operands.len() != rule.group.len() {
        operands = vec![Operand::of(group)];
    }
    if operands.len() != rule.group.len() {
        return Err(Error::invalid(format!("counter {}: groups by {} fields", rule.name, rule.group.len())));
    }
    let fitted = rule.group.iter().zip(&operands).map(|(part, operand)| operand.fit(part.field, &part.shape));
    fitted.collect::<Result<Vec<_>>>().map(|parts| parts.concat())
}

/// Refuses to read groups as anything but what they are.
fn check_group<T, G: FromKey>(rule: &CounterRule<T>) -> Result<()> {
    let shapes: Vec<&str> = rule.group.iter().map(|part| part.shape.as_str()).collect();
    let tuple = format!("({})", shapes.join(", "));
    let one = if let [one] = shapes.as_slice() { one } else { tuple.as_str() };
    let asked = G::shape();
    if asked == one || asked == tuple {
        return Ok(());
    }
    Err(Error::invalid(format!("counter {}: groups are {one}, asked for {asked}", rule.name)))
}

fn remove_all<T: Record>(collection: &mut CollectionTxn<'_, '_, T>, plan: &Plan, keys: &[Vec<u8>]) -> Result<u64> {
    let mut gone = 0;
    for key in keys {
        let layout = Arc::clone(&collection.layout);
        let removed = collection.remove(key, |old, key| match old {
            Some(old) => list::matches(&layout, plan, old, key),
            None => Ok(false),
        })?;
        gone += u64::from(removed);
    }
    Ok(gone)
}

fn as_count(count: i64, counter: &str) -> Result<u64> {
    u64::try_from(count).map_err(|_| Error::corrupt(format!("counter {counter}: {count} records")))
}
