//! From a question to the one range of one index that answers it.
//!
//! ```text
//! index parts     kind          created desc          slug
//! conditions      eq "post"     gt 5
//! order                         created
//!                 └ equality ┘  └ one range ┘         the rest orders ties
//! ```
//!
//! Of several indexes that would do, the one with the fewest parts answers, and among those the one that was declared
//! first; one that is ready goes before one that is under construction.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::declared::{Declared, IndexRule, RulePart};
use super::layout::Layout;
use super::query::{Comparison, Query};
use super::record::Record;
use crate::engine::{Direction, KeyRange};
use crate::error::{Error, Result};
use crate::record::kind::Kind;
use crate::record::schema::IndexPlace;
use crate::record::view::parts_range;

/// Where the rows are found, in which order.
pub(super) struct Plan {
    pub(super) source: Source,
    pub(super) range: KeyRange,
    pub(super) direction: Direction,
}

pub(super) enum Source {
    /// The records themselves, by key.
    Keys,
    /// An index. With `forks`, a record may have several entries in it.
    Index { place: IndexPlace, forks: bool },
}

/// What is asked of one field, as key bytes.
#[derive(Default)]
struct Asked {
    equal: Option<Vec<u8>>,
    lower: Option<Bound<Vec<u8>>>,
    upper: Option<Bound<Vec<u8>>>,
    start: Option<Vec<u8>>,
}

/// How an index answers: behind how many equal parts, and which way round.
struct Serves {
    equal: usize,
    descending: bool,
}

/// Plans `query`, once it makes sense. The flag tells that the index is under construction.
pub(super) fn plan<T: Record>(query: &Query, layout: &Layout<T>) -> Result<(Plan, bool)> {
    let declared = &*layout.declared;
    let asked = asked_by_field::<T>(query, declared)?;
    for part in &query.order {
        shape_of::<T>(declared, part.field)?;
    }
    if query.index.is_none() && asked.is_empty() && query.order.is_empty() {
        let direction = direction(query.reversed);
        return Ok((Plan { source: Source::Keys, range: layout.range(), direction }, false));
    }
    if let Some(name) = &query.index
        && !declared.indexes.iter().any(|rule| rule.name == name)
    {
        return Err(Error::invalid(format!("index: {} has no {name}", T::COLLECTION)));
    }
    let mut best: Option<(bool, usize, &Arc<IndexRule<T>>, Serves, IndexPlace)> = None;
    for rule in declared.indexes.iter().filter(|rule| query.index.as_ref().is_none_or(|name| rule.name == name)) {
        let Some((place, building)) = layout.index_named(rule.name) else { continue };
        let Some(serves) = serves(rule, query, &asked) else { continue };
        let rank = (building, rule.parts.len());
        if best.as_ref().is_none_or(|best| rank < (best.0, best.1)) {
            best = Some((rank.0, rank.1, rule, serves, place));
        }
    }
    let Some((building, _, rule, serves, place)) = best else { return Err(unserved::<T>(query, &asked)) };
    let range = parts_range(place.number, &range(rule, &serves, &asked));
    let source = Source::Index { place, forks: rule.is_list() };
    Ok((Plan { source, range, direction: direction(serves.descending) }, building))
}

fn direction(descending: bool) -> Direction {
    if descending { Direction::Descending } else { Direction::Ascending }
}

fn shape_of<'d, T: Record>(declared: &'d Declared<T>, field: &str) -> Result<&'d str> {
    let found = declared.fields.iter().find(|(name, _)| name == field);
    found
        .map(|(_, shape)| shape.as_str())
        .ok_or_else(|| Error::invalid(format!("{field}: {} has no such field", T::COLLECTION)))
}

fn asked_by_field<'q, T: Record>(query: &'q Query, declared: &Declared<T>) -> Result<BTreeMap<&'q str, Asked>> {
    let mut by_field: BTreeMap<&str, Asked> = BTreeMap::new();
    for condition in &query.conditions {
        let field = condition.field.as_str();
        let shape = shape_of(declared, field)?;
        let asked = by_field.entry(field).or_default();
        let exclusive = asked.equal.is_none() && asked.start.is_none();
        let bounded = asked.lower.is_some() || asked.upper.is_some();
        let (free, value) = match condition.comparison {
            Comparison::StartsWith => (exclusive && !bounded, condition.operand.fit_start(field, shape)?),
            Comparison::Equal => (exclusive && !bounded, condition.operand.fit(field, shape)?),
            Comparison::AtLeast | Comparison::Above => {
                (exclusive && asked.lower.is_none(), condition.operand.fit(field, shape)?)
            }
            Comparison::AtMost | Comparison::Below => {
                (exclusive && asked.upper.is_none(), condition.operand.fit(field, shape)?)
            }
        };
        if !free {
            return Err(Error::invalid(format!("{field}: its conditions exclude or repeat each other")));
        }
        match condition.comparison {
            Comparison::Equal => asked.equal = Some(value),
            Comparison::StartsWith => asked.start = Some(value),
            Comparison::AtLeast => asked.lower = Some(Bound::Included(value)),
            Comparison::Above => asked.lower = Some(Bound::Excluded(value)),
            Comparison::AtMost => asked.upper = Some(Bound::Included(value)),
            Comparison::Below => asked.upper = Some(Bound::Excluded(value)),
        }
    }
    Ok(by_field)
}

impl Asked {
    /// Whether a record without this optional value could match.
    fn takes_absent(&self) -> bool {
        let present = |value: &[u8]| value.first() == Some(&1);
        let excluded = self.equal.as_deref().is_some_and(present)
            || self.start.is_some()
            || match &self.lower {
                Some(Bound::Included(value)) => present(value),
                Some(Bound::Excluded(_)) => true,
                _ => false,
            };
        !excluded
    }
}

/// Whether and how this index answers the query.
fn serves<T>(rule: &IndexRule<T>, query: &Query, asked: &BTreeMap<&str, Asked>) -> Option<Serves> {
    let is_equal = |field: &str| asked.get(field).is_some_and(|asked| asked.equal.is_some());
    let equal = rule.parts.iter().take_while(|part| is_equal(part.field)).count();
    if equal != asked.values().filter(|asked| asked.equal.is_some()).count() {
        return None;
    }
    let (_, rest) = rule.parts.split_at_checked(equal)?;
    let mut ranged = asked.iter().filter(|(_, asked)| asked.equal.is_none());
    if let Some((field, _)) = ranged.next()
        && (ranged.next().is_some() || rest.first().is_none_or(|part| part.field != *field))
    {
        return None;
    }
    let mut flipped = None;
    // A field that is equal everywhere orders nothing.
    for (place, wanted) in query.order.iter().filter(|part| !is_equal(part.field)).enumerate() {
        let part = rest.get(place).filter(|part| part.field == wanted.field)?;
        let flip = part.descending != wanted.descending;
        if *flipped.get_or_insert(flip) != flip {
            return None;
        }
    }
    if query.index.is_none() {
        let leaves_out = |part: &&RulePart<T>| {
            let asked = asked.get(part.field);
            let absent = rule.sparse && part.is_optional() && asked.is_none_or(Asked::takes_absent);
            absent || (part.is_list() && asked.is_none())
        };
        if rule.parts.iter().any(|part| leaves_out(&part)) {
            return None;
        }
    }
    Some(Serves { equal, descending: flipped.unwrap_or(false) != query.reversed })
}

/// The range of index parts that match.
fn range<T>(rule: &IndexRule<T>, serves: &Serves, asked: &BTreeMap<&str, Asked>) -> KeyRange {
    let of = |part: &RulePart<T>, value: &[u8]| -> Vec<u8> {
        value.iter().map(|byte| if part.descending { !byte } else { *byte }).collect()
    };
    let mut prefix = Vec::new();
    for part in rule.parts.iter().take(serves.equal) {
        if let Some(value) = asked.get(part.field).and_then(|asked| asked.equal.as_ref()) {
            prefix.extend(of(part, value));
        }
    }
    let all = || Bound::Included(prefix.clone());
    let next = rule.parts.get(serves.equal);
    let Some((part, asked)) = next.and_then(|part| Some((part, asked.get(part.field)?))) else {
        return KeyRange { start: all(), end: all() };
    };
    let at = |value: &Vec<u8>| [prefix.as_slice(), &of(part, value)].concat();
    if let Some(start) = &asked.start {
        return KeyRange { start: Bound::Included(at(start)), end: Bound::Included(at(start)) };
    }
    let bound = |bound: &Option<Bound<Vec<u8>>>| match bound {
        Some(bound) => bound.as_ref().map(at),
        None => all(),
    };
    let (low, high) = (bound(&asked.lower), bound(&asked.upper));
    if part.descending { KeyRange { start: high, end: low } } else { KeyRange { start: low, end: high } }
}

/// No index answers: names the one to declare.
fn unserved<T: Record>(query: &Query, asked: &BTreeMap<&str, Asked>) -> Error {
    let is_equal = |field: &str| asked.get(field).is_some_and(|asked| asked.equal.is_some());
    let mut parts: Vec<String> =
        asked.keys().filter(|field| is_equal(field)).map(|field| format!("{field:?}")).collect();
    let ranged: Vec<&str> = asked.keys().copied().filter(|field| !is_equal(field)).collect();
    let ordered = |part: &super::schema::Part| {
        if part.descending { format!("desc({:?})", part.field) } else { format!("{:?}", part.field) }
    };
    let order: Vec<&super::schema::Part> = query.order.iter().filter(|part| !is_equal(part.field)).collect();
    let name = T::COLLECTION;
    let possible = match (ranged.as_slice(), order.first()) {
        ([], _) => true,
        ([field], None) => {
            parts.push(format!("{field:?}"));
            true
        }
        ([field], Some(first)) => first.field == *field,
        _ => false,
    };
    if !possible {
        return Error::unsupported(format!(
            "{name}: no single index serves ranges over several fields, or a range over one field ordered by another"
        ));
    }
    parts.extend(order.into_iter().map(ordered));
    let parts = parts.join(", ");
    let served = match &query.index {
        Some(index) => format!("index {index} does not serve this query"),
        None => "no index serves this query".to_owned(),
    };
    Error::unsupported(format!("{name}: {served}; declare .index(\"…\", [{parts}])"))
}
