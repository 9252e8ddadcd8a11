//! The truth of a condition: true, false, or unknown.

use std::cmp::Ordering;

use super::ast::{Compare, Expr, Kind, Literal, Test};
use super::field::Field;
use super::value::Held;

/// Whether `expr` is true; `None` is unknown. Goes as deep as the parser let it, no deeper.
pub(crate) fn truth<'r>(expr: &Expr, held: &dyn Fn(&Field) -> Held<'r>) -> Option<bool> {
    match &expr.kind {
        Kind::And(parts) => all(parts.iter().map(|part| truth(part, held))),
        Kind::Or(parts) => any(parts.iter().map(|part| truth(part, held))),
        Kind::Not(inner) => truth(inner, held).map(|truth| !truth),
        Kind::Test(field, test) => answer(test, &held(field)),
    }
}

/// One false makes it false, else one unknown unknown.
fn all(mut parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut so_far = Some(true);
    loop {
        match parts.next() {
            None => return so_far,
            Some(Some(false)) => return Some(false),
            Some(None) => so_far = None,
            Some(Some(true)) => {}
        }
    }
}

/// One true makes it true, else one unknown unknown.
fn any(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    all(parts.map(|part| part.map(|truth| !truth))).map(|truth| !truth)
}

fn answer(test: &Test, held: &Held<'_>) -> Option<bool> {
    match test {
        Test::IsNull => Some(matches!(held, Held::Absent)),
        Test::Compare(compare, literal) => Some(compare.holds(order(held, literal)?)),
        Test::Between(low, high) => all([
            order(held, low).map(|order| Compare::AtLeast.holds(order)),
            order(held, high).map(|order| Compare::AtMost.holds(order)),
        ]
        .into_iter()),
        Test::In(list) => any(list.iter().map(|literal| order(held, literal).map(Ordering::is_eq))),
        Test::Like(pattern) => match held {
            Held::Text(text) => Some(pattern.matches(text)),
            _ => None,
        },
    }
}

/// How the value compares with the literal; `None` when it does not.
fn order(held: &Held<'_>, literal: &Literal) -> Option<Ordering> {
    match (held, literal) {
        (Held::Text(text), Literal::Text(other)) => Some(text.as_ref().cmp(other.as_str())),
        (Held::Number(number), Literal::Number(other)) => number.compare(other),
        (Held::Bool(value), Literal::Bool(other)) => Some(value.cmp(other)),
        _ => None,
    }
}

impl Compare {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Compare::Equal => order.is_eq(),
            Compare::Less => order.is_lt(),
            Compare::AtMost => order.is_le(),
            Compare::Greater => order.is_gt(),
            Compare::AtLeast => order.is_ge(),
        }
    }
}
