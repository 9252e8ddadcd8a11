//! Reads outside of bodies: every page and every set of keys from one point in time.
//!
//! A view holds both memtables at one version. What the store adds is right as long as the applier has not begun to
//! move a table that the view knows as the active one; then the store may hold something newer, and the read starts
//! over. The frozen table being moved does no harm: the view's own reference covers each of its keys.

use std::cell::Cell;
use std::collections::VecDeque;

use super::core::Core;
use super::memtable::{MemView, Slice, in_direction};
use super::sync::Ordering;
use super::txn::check_outside_body;
use crate::engine::{Direction, GET_MANY_MAX, KeyRange, Page, Reader, Tree, Value, check_key, check_limit};
use crate::error::{Error, Result};

/// Read from the memtables beyond the page's limit, so that tombstones do not leave every page short.
const TOMBSTONE_SLACK: usize = 256;

/// The applier has moved on: the read must start over with a new view.
#[derive(Debug)]
struct MovedOn;

type Attempt<T> = std::result::Result<T, MovedOn>;

fn check_keys(keys: &[(Tree, &[u8])]) -> Result<()> {
    if keys.len() > GET_MANY_MAX {
        return Err(Error::invalid(format!("keys: at most {GET_MANY_MAX}, got {}", keys.len())));
    }
    keys.iter().try_for_each(|(_, key)| check_key(key))
}

impl Core {
    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        check_outside_body()?;
        self.check_open()?;
        check_key(key)?;
        // No view is needed for one key: if a table went to the store in between, the store has this or newer.
        match self.memtables.newest(tree, key) {
            Some(known) => Ok(known),
            None => self.store(|store| store.get(tree, key)),
        }
    }

    pub(super) fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        check_outside_body()?;
        check_keys(keys)?;
        self.with_view(|view| view.values(keys))
    }

    pub(super) fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        check_outside_body()?;
        check_limit(limit)?;
        self.with_view(|view| view.page(tree, range, direction, limit))
    }

    pub(super) fn view(&self, body: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        check_outside_body()?;
        loop {
            self.check_open()?;
            let reader =
                ViewReader { view: View { core: self, memory: self.memtables.view() }, moved_on: Cell::new(false) };
            let outcome = body(&reader);
            // What a body made of a view that moved on is nobody's answer, an error least of all.
            if !reader.moved_on.get() {
                return outcome;
            }
        }
    }

    fn with_view<T>(&self, mut read: impl FnMut(&View<'_>) -> Result<Attempt<T>>) -> Result<T> {
        loop {
            self.check_open()?;
            if let Ok(answer) = read(&View { core: self, memory: self.memtables.view() })? {
                return Ok(answer);
            }
        }
    }
}

struct View<'c> {
    core: &'c Core,
    memory: MemView<'c>,
}

impl View<'_> {
    /// Whether the store may hold something newer than this view by now.
    fn has_moved_on(&self) -> bool {
        self.core.applying.load(Ordering::SeqCst) >= self.memory.active.id
    }

    fn value(&self, tree: Tree, key: &[u8]) -> Result<Attempt<Option<Value>>> {
        if let Some(known) = self.memory.get(tree, key) {
            return Ok(Ok(known));
        }
        let stored = self.core.store(|store| store.get(tree, key))?;
        Ok(if self.has_moved_on() { Err(MovedOn) } else { Ok(stored) })
    }

    fn values(&self, keys: &[(Tree, &[u8])]) -> Result<Attempt<Vec<Option<Value>>>> {
        let mut values = Vec::with_capacity(keys.len());
        for (tree, key) in keys {
            match self.value(*tree, key)? {
                Ok(value) => values.push(value),
                Err(moved_on) => return Ok(Err(moved_on)),
            }
        }
        Ok(Ok(values))
    }

    fn page(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Attempt<Page>> {
        if range.is_empty() {
            return Ok(Ok(Page::default()));
        }
        let (known, known_all) = self.memory.slice(tree, range, direction, limit + TOMBSTONE_SLACK);
        let stored = self.core.store(|store| store.scan(tree, range, direction, limit))?;
        if self.has_moved_on() {
            return Ok(Err(MovedOn));
        }
        let stored_all = stored.len() < limit;
        Ok(Ok(merge(known, known_all, stored.into(), stored_all, direction, limit)))
    }
}

/// Merges what the memtables know with what the store holds; the memtables win. Stops where either was not read on.
fn merge(
    mut known: Slice,
    known_all: bool,
    mut stored: VecDeque<(Vec<u8>, Value)>,
    stored_all: bool,
    direction: Direction,
    limit: usize,
) -> Page {
    let mut page = Page::default();
    let mut last = None;
    while page.entries.len() < limit {
        let order = match (known.front(), stored.front()) {
            (None, None) if known_all && stored_all => return page,
            (None, _) if !known_all => break,
            (_, None) if !stored_all => break,
            (None, _) => std::cmp::Ordering::Greater,
            (Some(_), None) => std::cmp::Ordering::Less,
            (Some((known, _)), Some((stored, _))) => in_direction(known, stored, direction),
        };
        let hidden = if order == std::cmp::Ordering::Less { None } else { stored.pop_front() };
        let entry = if order == std::cmp::Ordering::Greater {
            hidden
        } else {
            known.pop_front().and_then(|(key, value)| {
                last = Some(key.clone());
                value.map(|value| (key, value))
            })
        };
        if let Some(entry) = entry {
            last = Some(entry.0.clone());
            page.entries.push(entry);
        }
    }
    let at_end = known_all && stored_all && known.is_empty() && stored.is_empty();
    page.resume = if at_end { None } else { last };
    page
}

/// A view as its body holds it.
struct ViewReader<'c> {
    view: View<'c>,
    moved_on: Cell<bool>,
}

impl ViewReader<'_> {
    fn answer<T>(&self, read: impl FnOnce(&View<'_>) -> Result<Attempt<T>>) -> Result<T> {
        self.view.core.check_open()?;
        read(&self.view)?.map_err(|MovedOn| {
            self.moved_on.set(true);
            Error::conflict("this view is out of date; return the error, and the body runs again on a new one")
        })
    }
}

impl Reader for ViewReader<'_> {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        check_key(key)?;
        self.answer(|view| view.value(tree, key))
    }

    fn get_many(&self, keys: &[(Tree, &[u8])]) -> Result<Vec<Option<Value>>> {
        check_keys(keys)?;
        self.answer(|view| view.values(keys))
    }

    fn scan(&self, tree: Tree, range: &KeyRange, direction: Direction, limit: usize) -> Result<Page> {
        check_limit(limit)?;
        self.answer(|view| view.page(tree, range, direction, limit))
    }
}
