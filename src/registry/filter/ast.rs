//! What a filter says, once parsed. `not like`, `!=` and their kin are `not` around their opposite: in three-valued
//! logic that is the same.

use std::ops::Range;

use super::field::Field;
use super::number::Number;
use super::pattern::Pattern;

/// A condition and where it stands in the filter's text, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

/// The forms of a condition.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// All of them.
    And(Vec<Expr>),
    /// At least one of them.
    Or(Vec<Expr>),
    /// Its opposite.
    Not(Box<Expr>),
    /// A question about one field.
    Test(Field, Test),
}

/// A question about the value of a field.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    /// How it compares.
    Compare(Compare, Literal),
    /// Whether it lies between the two, both included.
    Between(Literal, Literal),
    /// Whether it is one of them.
    In(Vec<Literal>),
    /// Whether it has this shape.
    Like(Pattern),
    /// Whether it is absent.
    IsNull,
}

/// How two values compare. `!=` is `not` around [`Compare::Equal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// A value that stands in the filter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    /// `'text'`
    Text(String),
    /// `7`, `7.5`
    Number(Number),
    /// `true`, `false`
    Bool(bool),
}
