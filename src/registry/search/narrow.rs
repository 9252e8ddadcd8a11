//! What a single condition says about the one field that it asks, in the terms of an index.
//!
//! Only conditions that must all be true are looked at, and only those that name a field and plain values of its type;
//! the others narrow nothing. What is made of a condition may let more through than the condition does, never less.

use std::ops::Bound;

use crate::registry::filter::{Compare, Expr, Field, Kind, Literal, Number, Test};

/// The values that a field may have.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Narrow {
    /// One of these texts, in order and without repetition.
    Texts(Vec<String>),
    /// A text that begins so.
    Prefix(String),
    /// A text in this range.
    Between(Bound<String>, Bound<String>),
    /// A whole number from the first to the second, both included.
    Whole(u64, u64),
}

/// What `condition` says about which field; `None` when no index could use it.
pub(super) fn narrow(condition: &Expr) -> Option<(&Field, Narrow)> {
    let Kind::Test(field, test) = &condition.kind else { return None };
    let narrow = match test {
        Test::Compare(compare, Literal::Text(text)) => texts(*compare, text.clone()),
        Test::Compare(compare, Literal::Number(number)) => wholes(*compare, number)?,
        Test::Between(Literal::Text(low), Literal::Text(high)) => {
            Narrow::Between(Bound::Included(low.clone()), Bound::Included(high.clone()))
        }
        Test::Between(Literal::Number(low), Literal::Number(high)) => Narrow::Whole(at_least(low)?, at_most(high)?),
        Test::In(list) => listed(list)?,
        Test::Like(pattern) => Some(pattern.prefix()).filter(|prefix| !prefix.is_empty()).map(Narrow::Prefix)?,
        Test::Compare(_, Literal::Bool(_)) | Test::Between(..) | Test::IsNull => return None,
    };
    Some((field, narrow))
}

fn texts(compare: Compare, text: String) -> Narrow {
    match compare {
        Compare::Equal => Narrow::Texts(vec![text]),
        Compare::Less => Narrow::Between(Bound::Unbounded, Bound::Excluded(text)),
        Compare::AtMost => Narrow::Between(Bound::Unbounded, Bound::Included(text)),
        Compare::Greater => Narrow::Between(Bound::Excluded(text), Bound::Unbounded),
        Compare::AtLeast => Narrow::Between(Bound::Included(text), Bound::Unbounded),
    }
}

fn wholes(compare: Compare, number: &Number) -> Option<Narrow> {
    Some(match compare {
        Compare::Equal => Narrow::Whole(at_least(number)?, at_most(number)?),
        // The value itself stays in: the record decides.
        Compare::Less | Compare::AtMost => Narrow::Whole(0, at_most(number)?),
        Compare::Greater | Compare::AtLeast => Narrow::Whole(at_least(number)?, u64::MAX),
    })
}

/// Values of another type than the rest are never equal to the field, so texts among numbers can be left out, and
/// numbers among texts.
fn listed(list: &[Literal]) -> Option<Narrow> {
    let mut texts: Vec<String> = list.iter().filter_map(as_text).cloned().collect();
    texts.sort_unstable();
    texts.dedup();
    if !texts.is_empty() {
        return Some(Narrow::Texts(texts));
    }
    let numbers: Vec<&Number> = list.iter().filter_map(as_number).collect();
    let low = numbers.iter().map(|number| at_least(number)).collect::<Option<Vec<u64>>>()?;
    let high = numbers.iter().map(|number| at_most(number)).collect::<Option<Vec<u64>>>()?;
    Some(Narrow::Whole(low.into_iter().min()?, high.into_iter().max()?))
}

fn as_text(literal: &Literal) -> Option<&String> {
    match literal {
        Literal::Text(text) => Some(text),
        _ => None,
    }
}

fn as_number(literal: &Literal) -> Option<&Number> {
    match literal {
        Literal::Number(number) => Some(number),
        _ => None,
    }
}

/// The smallest whole number that is not below. Clamped where nothing below 0 or beyond `u64` can be stored anyway.
fn at_least(number: &Number) -> Option<u64> {
    match number {
        Number::Whole(whole) => Some(u64::try_from((*whole).max(0)).unwrap_or(u64::MAX)),
        // The cast clamps; a fraction more or less is the record's to decide.
        Number::Float(float) => Some(float.floor() as u64),
        Number::Huge { .. } => None,
    }
}

/// The largest whole number that is not above.
fn at_most(number: &Number) -> Option<u64> {
    match number {
        Number::Whole(_) => at_least(number),
        Number::Float(float) => Some(float.ceil() as u64),
        Number::Huge { .. } => None,
    }
}
