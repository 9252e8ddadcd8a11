//! Opening a collection: what is declared meets what is stored.
//!
//! ```text
//! nothing stored         numbers are given out, everything is ready
//! the same               nothing is written
//! an item is new         it gets a number; ready at once where there is no record yet, under construction otherwise
//! an item is gone        its number is retired, its entries are removed in steps
//! VERSION was raised     every item is new, and its predecessor gone
//! VERSION is the same    but an item, a field or the key has another type: refused
//! ```
//!
//! A construction that is interrupted by another change starts over under new numbers: what it had counted so far
//! can't be told from what it had not.

use std::sync::Arc;

use super::declared::Declared;
use super::definition::{Build, Definition, Item, Retired, build_key, definition_key, numbers_key};
use super::handle::Collection;
use super::layout::{Layout, Opened};
use super::record::Record;
use crate::config::Durability;
use crate::engine::{Tree, read_counter};
use crate::error::{Error, Result};
use crate::keys;
use crate::record::value::PartReader;
use crate::record::{RecordStore, Transaction, catalog};

impl RecordStore {
    /// Opens the collection of `T`, and creates it if need be. What has to be built is left to
    /// [`Collection::build`].
    ///
    /// # Errors
    /// `Invalid` for a schema that makes no sense; `Unsupported` for one that contradicts what is stored, saying what
    /// changed; those of a commit.
    pub fn open_collection<T: Record>(&self, durability: Durability) -> Result<Collection<T>> {
        let declared = Arc::new(Declared::<T>::new()?);
        let place = definition_key(T::COLLECTION);
        let stored = self.read(|view| view.get_part::<Definition>(catalog::COLLECTION, &place))?;
        // Numbers do not matter here: only whether there is anything to write.
        let next = next_definition(&declared, stored.clone(), false, &mut || Ok(0))?;
        if stored.as_ref() != Some(&next) {
            self.transact(durability, |txn| define(txn, &declared))?;
        }
        refresh(self, &declared)?;
        Ok(Collection::new(self.clone(), durability))
    }
}

/// Looks at the definition again and keeps what it says now for the transactions to come.
pub(super) fn refresh<T: Record>(records: &RecordStore, declared: &Arc<Declared<T>>) -> Result<()> {
    let place = definition_key(T::COLLECTION);
    let layout = records.read(|view| {
        let stored = view.reader().get(Tree::Meta, &place)?;
        let stored =
            stored.ok_or_else(|| Error::corrupt(format!("collection {}: its definition is gone", T::COLLECTION)))?;
        let definition = PartReader::in_view(view.reader()).open(catalog::COLLECTION, &place, &stored)?;
        Layout::new(declared, definition, stored)
    })?;
    records.opened().put(T::COLLECTION, Arc::new(Opened(Arc::new(layout))));
    Ok(())
}

/// Brings the stored definition to what is declared.
fn define<T: Record>(txn: &mut Transaction<'_>, declared: &Declared<T>) -> Result<()> {
    let place = definition_key(T::COLLECTION);
    let old: Option<Definition> = txn.get_part(catalog::COLLECTION, &place)?;
    let empty = match &old {
        None => true,
        Some(old) => {
            let total = keys::counter(old.total, &[]);
            read_counter(Tree::Counter, &total, txn.txn.get(Tree::Counter, &total)?.as_deref())? == 0
        }
    };
    let numbers = txn.get_part::<u32>(catalog::COLLECTION_NUMBERS, &numbers_key())?;
    let first = numbers.unwrap_or(catalog::COLLECTION_NUMBER_FIRST);
    let mut number = first;
    let next = next_definition(declared, old.clone(), empty, &mut || {
        let given = number;
        number = number.checked_add(1).ok_or_else(|| Error::invalid("collection: every number has been given out"))?;
        Ok(given)
    })?;
    if number != first {
        txn.put_part(catalog::COLLECTION_NUMBERS, &numbers_key(), &number)?;
    }
    if old.is_some_and(|old| old.build != next.build) {
        let build = build_key(T::COLLECTION);
        match next.is_building() {
            true => txn.put_part(catalog::COLLECTION_BUILD, &build, &Build::FIRST)?,
            false => txn.delete_part(catalog::COLLECTION_BUILD, &build)?,
        }
    }
    txn.put_part(catalog::COLLECTION, &place, &next)
}

/// What the definition becomes; the same when there is nothing to change.
fn next_definition<T: Record>(
    declared: &Declared<T>,
    old: Option<Definition>,
    empty: bool,
    allot: &mut dyn FnMut() -> Result<u32>,
) -> Result<Definition> {
    let empty = empty || old.is_none();
    let mut next = match old {
        Some(old) => old,
        None => Definition {
            version: T::VERSION,
            key: declared.key.clone(),
            fields: declared.fields.clone(),
            total: allot()?,
            items: Vec::new(),
            build: 0,
            retired: Vec::new(),
        },
    };
    check_versions(declared, &next)?;
    let raised = T::VERSION > next.version;
    let was_building = next.is_building();
    let mut earlier = std::mem::take(&mut next.items);
    let adds = raised || declared.items().any(|wanted| !earlier.iter().any(|item| item.is(wanted.0, wanted.1)));
    for (counter, name, signature) in declared.items() {
        let found = earlier.iter().position(|item| item.is(counter, name));
        let item = match found.map(|place| earlier.swap_remove(place)) {
            // What was under construction starts over beside what is new.
            Some(item) if raised || (adds && !item.ready) => {
                next.retired.push(item.retired());
                None
            }
            Some(item) if item.signature != signature => {
                return Err(changed::<T>(&format!("{} {name}", item.what()), &item.signature, signature));
            }
            kept => kept,
        };
        next.items.push(match item {
            Some(item) => item,
            None => {
                let (name, signature) = (name.to_owned(), signature.to_owned());
                Item { counter, name, signature, number: allot()?, ready: empty }
            }
        });
    }
    next.retired.extend(earlier.iter().map(Item::retired));
    next.version = T::VERSION;
    next.fields.clone_from(&declared.fields);
    if (next.is_building() && adds) || (was_building && !next.is_building()) {
        if was_building {
            next.retired.push(Retired::Late(next.build));
        }
        next.build += 1;
    }
    Ok(next)
}

/// Refuses what can't follow on what is stored.
fn check_versions<T: Record>(declared: &Declared<T>, old: &Definition) -> Result<()> {
    if old.version > T::VERSION {
        let (name, stored, own) = (T::COLLECTION, old.version, T::VERSION);
        return Err(Error::unsupported(format!("collection {name}: stored with version {stored}, newer than {own}")));
    }
    if old.key != declared.key {
        let (name, was, now) = (T::COLLECTION, &old.key, &declared.key);
        return Err(Error::unsupported(format!(
            "collection {name}: its key was {was} and is now {now}; a key's type never changes, use another collection"
        )));
    }
    if old.version == T::VERSION {
        for (field, shape) in &declared.fields {
            let before = old.fields.iter().find(|(name, before)| name == field && before != shape);
            if let Some((_, before)) = before {
                return Err(changed::<T>(&format!("field {field}"), before, shape));
            }
        }
    }
    Ok(())
}

fn changed<T: Record>(what: &str, was: &str, now: &str) -> Error {
    let (name, version) = (T::COLLECTION, T::VERSION);
    Error::unsupported(format!(
        "collection {name}: {what} was `{was}` and is now `{now}`, both in version {version}; raise the version, or give it another name"
    ))
}

impl Item {
    fn is(&self, counter: bool, name: &str) -> bool {
        self.counter == counter && self.name == name
    }

    fn retired(&self) -> Retired {
        if self.counter { Retired::Counter(self.number) } else { Retired::Index(self.number) }
    }

    fn what(&self) -> &'static str {
        if self.counter { "counter" } else { "index" }
    }
}
