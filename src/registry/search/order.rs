//! The order of a search, and the place of a record in it.
//!
//! ```text
//! place   key order             the key                          against it: the same bytes inverted
//!         by fields             for each: 00 and its value (inverted when descending), or 01 when it is absent;
//!                               then the key
//! ```
//!
//! Places compare as bytes, and no two records share one. Where fields are equal the key decides, smallest first
//! whichever way the fields run; a record without the field comes last, whichever way it runs.

use std::fmt;

use super::subject::Searched;
use crate::error::{Error, Result};
use crate::keys::{KeyReader, KeyWriter};
use crate::registry::filter::{Field, Held, Number, nearest};

/// An order, brought to its shortest form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// By the key: the name, or model and number.
    Key { descending: bool },
    /// By fields first.
    Fields(Vec<Term>),
}

/// One field of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) field: Field,
    pub(super) descending: bool,
}

impl Order {
    /// The order that the list spells. `in_model`: only the versions of one model are searched.
    pub(super) fn parse<R: Searched>(list: &[String], in_model: bool) -> Result<Self> {
        let mut terms: Vec<Term> = Vec::new();
        for (place, text) in list.iter().enumerate() {
            let term = term::<R>(text).map_err(|problem| Error::invalid(format!("order_by[{place}]: {problem}")))?;
            if terms.iter().any(|known| known.field == term.field) {
                return Err(Error::invalid(format!("order_by[{place}]: {} is given twice", term.field)));
            }
            terms.push(term);
        }
        Ok(Self::shortest(terms, in_model))
    }

    fn shortest(mut terms: Vec<Term>, in_model: bool) -> Self {
        if in_model {
            terms.retain(|term| term.field != Field::Model);
        }
        let at = |field| terms.iter().position(|term: &Term| term.field == field);
        // Behind all parts of the key nothing is left to be decided.
        let decided = match (at(Field::Name), at(Field::Version), at(Field::Model)) {
            (Some(name), ..) => Some(name),
            (_, Some(version), _) if in_model => Some(version),
            (_, Some(version), Some(model)) => Some(version.max(model)),
            _ => None,
        };
        if let Some(last) = decided {
            terms.truncate(last + 1);
        }
        let is = |place: usize, field: Field, descending: bool| {
            terms.get(place).is_some_and(|term: &Term| term.field == field && term.descending == descending)
        };
        let key = |descending| match terms.len() {
            1 => is(0, Field::Name, descending) || (in_model && is(0, Field::Version, descending)),
            2 => is(0, Field::Model, descending) && is(1, Field::Version, descending),
            _ => false,
        };
        match () {
            () if terms.is_empty() || key(false) => Order::Key { descending: false },
            () if key(true) => Order::Key { descending: true },
            () if terms.len() == 1 && is(0, Field::Model, false) => Order::Key { descending: false },
            () => Order::Fields(terms),
        }
    }

    /// The place of a record.
    pub(super) fn place<R: Searched>(&self, record: &R, key: &[u8]) -> Vec<u8> {
        self.place_of(key, |field| record.held(field))
    }

    /// The place of a record of which only the key is known: behind all those that are.
    pub(super) fn place_unread(&self, key: &[u8]) -> Vec<u8> {
        self.place_of(key, |_| Held::Absent)
    }

    /// Whether a place in an order by one time is that of a record of which only the key was known.
    pub(super) fn is_unread(place: &[u8]) -> bool {
        KeyReader::new(place).bool().unwrap_or(true)
    }

    fn place_of<'r>(&self, key: &[u8], held: impl Fn(&Field) -> Held<'r>) -> Vec<u8> {
        match self {
            Order::Key { descending: false } => key.to_vec(),
            Order::Key { descending: true } => inverted(key),
            Order::Fields(terms) => {
                let place = terms.iter().fold(KeyWriter::new(), |place, term| {
                    let present = |place: KeyWriter| {
                        let place = place.bool(false);
                        if term.descending { place.descending() } else { place }
                    };
                    match held(&term.field) {
                        Held::Text(text) => present(place).str(&text),
                        Held::Number(Number::Whole(number)) => {
                            // Times and numbers of versions, all of them within u64.
                            present(place).u64(u64::try_from(number).unwrap_or(u64::MAX))
                        }
                        // No other type can be ordered by.
                        _ => place.bool(true),
                    }
                });
                place.raw(key).finish()
            }
        }
    }

    /// The place of a record in an order by key.
    pub(super) fn place_of_key(&self, key: &[u8]) -> Vec<u8> {
        self.place_unread(key)
    }

    /// The place of an entry of a time index, when that index has this order.
    pub(super) fn place_in_time(&self, time: u64, key: &[u8]) -> Vec<u8> {
        self.place_of(key, |_| Held::whole(time))
    }

    /// The key at a place of an order by key.
    pub(super) fn key_at(&self, place: &[u8]) -> Vec<u8> {
        match self {
            Order::Key { descending: true } => inverted(place),
            _ => place.to_vec(),
        }
    }

    /// The time and the key at a place of an order by one time.
    pub(super) fn time_at<'p>(&self, place: &'p [u8]) -> Result<(u64, &'p [u8])> {
        let mut reader = KeyReader::new(place);
        reader.bool()?;
        if self.descends() {
            reader.descending();
        }
        Ok((reader.u64()?, reader.rest()))
    }

    /// The field, when it is the only one.
    pub(super) fn only_field(&self) -> Option<&Field> {
        match self {
            Order::Fields(terms) => match terms.as_slice() {
                [only] => Some(&only.field),
                _ => None,
            },
            Order::Key { .. } => None,
        }
    }

    /// Whether the first field, or the key, runs against its order.
    pub(super) fn descends(&self) -> bool {
        match self {
            Order::Key { descending } => *descending,
            Order::Fields(terms) => terms.first().is_some_and(|term| term.descending),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Key { descending: false } => f.write_str("key"),
            Order::Key { descending: true } => f.write_str("key desc"),
            Order::Fields(terms) => {
                for term in terms {
                    write!(f, "{} {}, ", term.field, if term.descending { "desc" } else { "asc" })?;
                }
                f.write_str("key")
            }
        }
    }
}

fn term<R: Searched>(text: &str) -> Result<Term, String> {
    let mut words = text.split_whitespace();
    let name = words.next().ok_or("a field, and asc or desc behind it, got nothing")?;
    let descending = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("asc") => false,
        Some(word) if word.eq_ignore_ascii_case("desc") => true,
        Some(other) => return Err(format!("asc or desc behind the field, got {other:?}")),
    };
    if let Some(more) = words.next() {
        return Err(format!("one field, and asc or desc behind it, got {more:?} besides"));
    }
    let names: Vec<String> = R::ORDERED.iter().map(ToString::to_string).collect();
    match R::ORDERED.iter().find(|field| field.to_string() == name) {
        Some(field) => Ok(Term { field: field.clone(), descending }),
        None if R::SUBJECT.plain(name).is_some() => {
            Err(format!("{name} has no index to be ordered by; these have: {}", names.join(", ")))
        }
        None => {
            let near = nearest(name, names.iter().map(String::as_str)).unwrap_or_default();
            Err(format!("unknown field {name:?}; did you mean {near}? (indexed: {})", names.join(", ")))
        }
    }
}

/// The same bytes, each inverted: their order runs the other way, since no key is the beginning of another.
fn inverted(key: &[u8]) -> Vec<u8> {
    key.iter().map(|byte| !byte).collect()
}
