//! Pages of rows, and the tokens that lead from one to the next.
//!
//! ```text
//! token   hex of   0   1  format, 1
//!                  1   8  first bytes of BLAKE3 over (query, place): a token of another query, and one that was cut
//!                         or altered, is refused
//!                  9   …  the place to go on behind: an index entry, or a stored key
//! ```
//!
//! A token names a place in the order, not a count: rows that come or go elsewhere neither repeat nor skip others.

use std::fmt::Write as _;
use std::ops::Bound;

use serde::Serialize;

use super::layout::Layout;
use super::plan::{Plan, Source};
use super::query::{LIST_LIMIT_MAX, Query};
use super::record::{Record, Row};
use crate::engine::Direction;
use crate::error::{Error, ErrorKind, Result};
use crate::record::kind::Kind;
use crate::record::schema::IndexPlace;
use crate::record::value::PartReader;
use crate::record::view::{PAGE_BYTES, View};

const FORMAT: u8 = 1;

/// One page of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Page<T> {
    /// The rows, in the order asked for.
    pub rows: Vec<Row<T>>,
    /// What [`Query::after`] takes for the next page; `None` at the end. A page may be short, or empty, although there
    /// is a next one.
    pub next: Option<String>,
    /// Records that belong into this page and can't be read. Their neighbours are answered all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedRecord>,
}

/// A record that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DamagedRecord {
    /// Its key as it is stored, with what can't be printed escaped.
    pub key: String,
    /// What is wrong with it.
    pub error: String,
}

/// A place in a plan's order: what to go on behind, and whose.
struct Place {
    at: Vec<u8>,
    key: Vec<u8>,
}

/// The page of `plan` that `query` asks for.
pub(super) fn page<T: Record>(view: &View<'_>, layout: &Layout<T>, plan: &Plan, query: &Query) -> Result<Page<T>> {
    let limit = query.limit;
    if limit == 0 || limit > LIST_LIMIT_MAX {
        return Err(Error::invalid(format!("limit: 1..={LIST_LIMIT_MAX}, got {limit}")));
    }
    let asked = fingerprint::<T>(plan);
    let mut after = query.token.as_ref().map(|token| read_token(token, &asked)).transpose()?;
    let mut page = Page { rows: Vec::new(), next: None, damaged: Vec::new() };
    let (mut bytes, mut last) = (0, None);
    loop {
        let room = limit - page.rows.len() - page.damaged.len();
        let (places, more) = places(view, layout, plan, after.as_deref(), room + 1)?;
        for Place { at, key } in places {
            if page.rows.len() + page.damaged.len() >= limit || bytes >= PAGE_BYTES {
                page.next = last.map(|last: Vec<u8>| write_token(&last, &asked));
                return Ok(page);
            }
            match row(view, layout, &key) {
                Ok((row, weight)) => {
                    if is_first(layout, plan, &row, &key, &at)? {
                        bytes += weight;
                        page.rows.push(row);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
                    let key = key.escape_ascii().to_string();
                    page.damaged.push(DamagedRecord { key, error: error.to_string() });
                }
                Err(error) => return Err(error),
            }
            last = Some(at);
        }
        match more {
            true => after.clone_from(&last),
            false => return Ok(page),
        }
    }
}

/// Keys of the records that match, at most about `limit`, behind `after`; whether there may be more. A record with
/// several entries in the range comes up several times.
pub(super) fn keys<T: Record>(
    view: &View<'_>,
    layout: &Layout<T>,
    plan: &Plan,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<(Vec<Vec<u8>>, Option<Vec<u8>>)> {
    let (places, more) = places(view, layout, plan, after, limit)?;
    let resume = places.last().filter(|_| more).map(|place| place.at.clone());
    Ok((places.into_iter().map(|place| place.key).collect(), resume))
}

fn places<T: Record>(
    view: &View<'_>,
    layout: &Layout<T>,
    plan: &Plan,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<(Vec<Place>, bool)> {
    if is_empty(plan) {
        return Ok((Vec::new(), false));
    }
    match &plan.source {
        Source::Index { place, .. } => {
            let page = view.page(*place, plan.range.clone(), plan.direction, after, limit)?;
            let places = page.entries.into_iter().map(|entry| Place { at: entry.entry, key: entry.primary });
            Ok((places.collect(), page.resume.is_some()))
        }
        Source::Keys => {
            let range = match after {
                Some(after) => plan.range.behind(after, plan.direction),
                None => plan.range.clone(),
            };
            let page = view.reader().scan(layout.part().tree, &range, plan.direction, limit)?;
            let places = page.entries.into_iter().filter_map(|(stored_key, _)| {
                let key = layout.primary_of(&stored_key)?.to_vec();
                Some(Place { at: stored_key, key })
            });
            Ok((places.collect(), page.resume.is_some()))
        }
    }
}

/// Bounds that cross each other match nothing.
fn is_empty(plan: &Plan) -> bool {
    plan.range.is_empty()
}

fn row<T: Record>(view: &View<'_>, layout: &Layout<T>, key: &[u8]) -> Result<(Row<T>, usize)> {
    let stored_key = layout.stored_key(key);
    let found = PartReader::in_view(view.reader()).get_with(layout.part(), &stored_key, |envelope| {
        Ok((layout.read_row(&stored_key, envelope)?, envelope.len()))
    })?;
    found.ok_or_else(|| Error::corrupt(format!("{}: in an index, but not there", T::COLLECTION)))
}

/// Whether `at` is the first of the record's entries that a scan of the plan meets: only there it is answered.
fn is_first<T: Record>(layout: &Layout<T>, plan: &Plan, row: &Row<T>, key: &[u8], at: &[u8]) -> Result<bool> {
    let Source::Index { place, forks: true } = &plan.source else { return Ok(true) };
    let matching = matching_entries(layout, *place, plan, row, key)?;
    let first = match plan.direction {
        Direction::Ascending => matching.first(),
        Direction::Descending => matching.last(),
    };
    Ok(first.is_some_and(|first| first == at))
}

/// Whether the record, as it is now, is one that the plan looks for.
pub(super) fn matches<T: Record>(layout: &Layout<T>, plan: &Plan, row: &Row<T>, key: &[u8]) -> Result<bool> {
    match &plan.source {
        Source::Keys => Ok(true),
        Source::Index { place, .. } => Ok(!matching_entries(layout, *place, plan, row, key)?.is_empty()),
    }
}

fn matching_entries<T: Record>(
    layout: &Layout<T>,
    place: IndexPlace,
    plan: &Plan,
    row: &Row<T>,
    key: &[u8],
) -> Result<Vec<Vec<u8>>> {
    let index = layout.indexes().find(|index| index.place == place);
    let index = index.ok_or_else(|| Error::internal(format!("index {}: planned, but not kept", place.name)))?;
    let mut entries = index.entry_keys(row, key)?;
    entries.retain(|entry| plan.range.contains(entry));
    Ok(entries)
}

/// What two queries have in common whose tokens are good for each other.
fn fingerprint<T: Record>(plan: &Plan) -> Vec<u8> {
    let mut asked = T::COLLECTION.as_bytes().to_vec();
    asked.push(u8::from(plan.direction == Direction::Descending));
    asked.push(u8::from(matches!(plan.source, Source::Keys)));
    for bound in [&plan.range.start, &plan.range.end] {
        let (mark, key): (u8, &[u8]) = match bound {
            Bound::Included(key) => (0, key),
            Bound::Excluded(key) => (1, key),
            Bound::Unbounded => (2, &[]),
        };
        asked.push(mark);
        asked.extend_from_slice(&(key.len() as u64).to_be_bytes());
        asked.extend_from_slice(key);
    }
    asked
}

fn sealed(asked: &[u8], place: &[u8]) -> [u8; 8] {
    let mut hash = blake3::Hasher::new();
    hash.update(&(asked.len() as u64).to_be_bytes()).update(asked).update(place);
    let [a, b, c, d, e, f, g, h, ..] = *hash.finalize().as_bytes();
    [a, b, c, d, e, f, g, h]
}

fn write_token(place: &[u8], asked: &[u8]) -> String {
    let seal = sealed(asked, place);
    let bytes = std::iter::once(FORMAT).chain(seal).chain(place.iter().copied());
    bytes.fold(String::new(), |mut token, byte| {
        // Writing to a string never fails.
        write!(token, "{byte:02x}").ok();
        token
    })
}

fn read_token(token: &str, asked: &[u8]) -> Result<Vec<u8>> {
    let refused = || Error::invalid("page token: not one that this query answered");
    let digits: Option<Vec<u8>> =
        token.bytes().map(|digit| (digit as char).to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or_else(refused)?;
    let (pairs, _) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    match bytes.split_first_chunk::<9>() {
        Some((&[FORMAT, ref seal @ ..], place)) if *seal == sealed(asked, place) => Ok(place.to_vec()),
        _ => Err(refused()),
    }
}
