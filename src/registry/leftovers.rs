//! What is left behind of a model's name when the model goes: rows that no reader sees and a sweep still has to remove.
//!
//! A model of any size is deleted or renamed by one small write, so its versions' rows outlive that write. A name
//! lives as often as a model takes it; an incarnation numbers its lives, and a row is a version only while the model
//! of that very life is there:
//!
//! ```text
//!   models          spam    incarnation 1                  the name's life now
//!   model_versions  spam@v1 incarnation 1                  a version
//!                   spam@v2 incarnation 0                  a leftover of the life before: no reader shows it
//!   records         20 u16 | spam   part LEFTOVERS         lives of the name that have leftovers, and what became of
//!                                                          each: {0: Gone}
//! ```
//!
//! The mark is written by the very commit that ends the life (or, for copies ahead of a rename, by the one that begins
//! to copy), and goes when a sweep has found nothing more of it. While it is there, the name's next life gets a number
//! that no leftover has; otherwise a life's number is 0, so that the same models are stored the same, whatever
//! happened to the name before.
//!
//! It refuses to guess: a row of a life that is neither there nor marked is damage, which verify reports and no sweep
//! touches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::ModelRecord;
use crate::engine::{Direction, KeyRange};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyWriter};
use crate::record::{Transaction, View, catalog};

/// One life of a model's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) model: String,
    pub(crate) incarnation: u32,
}

/// What became of a life that has leftovers. Stored by its place in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// Its model was deleted.
    Gone,
    /// Its model was renamed: every version has a copy there.
    MovedTo(Life),
    /// It has not begun: rows are being copied here, ahead of a rename, or were when the copying ended.
    CopiedFrom(Life),
}

/// The lives of one name that have leftovers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leftovers(BTreeMap<u32, Fate>);

impl Leftovers {
    pub(crate) fn fate(&self, incarnation: u32) -> Option<&Fate> {
        self.0.get(&incarnation)
    }

    pub(crate) fn moved_to(&self, incarnation: u32) -> Option<Life> {
        match self.fate(incarnation) {
            Some(Fate::MovedTo(life)) => Some(life.clone()),
            _ => None,
        }
    }

    pub(crate) fn lives(&self) -> impl Iterator<Item = (u32, &Fate)> {
        self.0.iter().map(|(incarnation, fate)| (*incarnation, fate))
    }

    /// A number for the name's next life that no leftover has.
    pub(crate) fn next_incarnation(&self, name: &str) -> Result<u32> {
        let Some((last, _)) = self.0.last_key_value() else { return Ok(0) };
        last.checked_add(1).ok_or_else(|| {
            Error::new(
                ErrorKind::Full,
                format!("model {name:?}: every incarnation has been given out; sweep leftovers"),
            )
        })
    }
}

/// The leftovers of `name` as the transaction sees them.
pub(crate) fn of(txn: &mut Transaction<'_>, name: &str) -> Result<Leftovers> {
    Ok(txn.get_part(catalog::LEFTOVERS, &key(name))?.unwrap_or_default())
}

/// The leftovers of `name` at one point in time.
pub(crate) fn in_view(view: &View<'_>, name: &str) -> Result<Leftovers> {
    Ok(view.get_part(catalog::LEFTOVERS, &key(name))?.unwrap_or_default())
}

/// The life that begins if `name` is taken now.
pub(crate) fn next_life(txn: &mut Transaction<'_>, name: &str) -> Result<Life> {
    Ok(Life { model: name.to_owned(), incarnation: of(txn, name)?.next_incarnation(name)? })
}

/// Notes what became of a life; `None` forgets it.
pub(crate) fn note(txn: &mut Transaction<'_>, life: &Life, fate: Option<Fate>) -> Result<()> {
    let mut leftovers = of(txn, &life.model)?;
    match fate {
        Some(fate) => leftovers.0.insert(life.incarnation, fate),
        None => leftovers.0.remove(&life.incarnation),
    };
    if leftovers.0.is_empty() {
        return txn.delete_part(catalog::LEFTOVERS, &key(&life.model));
    }
    txn.put_part(catalog::LEFTOVERS, &key(&life.model), &leftovers)
}

/// Whether `from`, as it is now, is being copied to this life.
pub(crate) fn is_moving(from: Option<&ModelRecord>, source: &Life, to: &Life) -> bool {
    from.is_some_and(|model| model.life() == *source && model.moving_to.as_ref() == Some(to))
}

/// Whether this life has ended, or will never begin, and waits for its sweep.
pub(crate) fn is_over(txn: &mut Transaction<'_>, life: &Life) -> Result<bool> {
    match of(txn, &life.model)?.fate(life.incarnation) {
        None => Ok(false),
        Some(Fate::Gone | Fate::MovedTo(_)) => Ok(true),
        Some(Fate::CopiedFrom(source)) => {
            let from = txn.get::<ModelRecord>(&keys::model(&source.model))?;
            Ok(!is_moving(from.as_ref(), source, life))
        }
    }
}

/// One page of names that have leftovers, in their order: the first one behind `after`.
pub(crate) fn next_name(view: &View<'_>, after: Option<&str>) -> Result<Option<String>> {
    let mut range = KeyRange::prefix(&keys::content_prefix(catalog::LEFTOVERS.tag));
    if let Some(after) = after {
        range = range.behind(&key(after), Direction::Ascending);
    }
    loop {
        let page = view.reader().scan(catalog::LEFTOVERS.tree, &range, Direction::Ascending, 1)?;
        if let Some((key, _)) = page.entries.first() {
            return keys::parse_named(key).map(Some);
        }
        match page.resume {
            Some(resume) => range = range.behind(&resume, Direction::Ascending),
            None => return Ok(None),
        }
    }
}

/// What the index entries of a name's versions have in common, those of all its lives.
pub(crate) fn rows_of(name: &str) -> KeyWriter {
    KeyWriter::new().str(name)
}

fn key(name: &str) -> Vec<u8> {
    keys::named(catalog::LEFTOVERS.tag, name)
}
