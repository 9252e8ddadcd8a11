//! The filter language: a condition on models or versions, as text.
//!
//! ```text
//! filter     = and { "or" and }
//! and        = not { "and" not }
//! not        = "not" not | "(" filter ")" | test
//! test       = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
//!            | field [ "not" ] ( "like" | "ilike" ) text
//!            | field [ "not" ] "in" "(" value { "," value } ")"
//!            | field [ "not" ] "between" value "and" value
//!            | field "is" [ "not" ] "null"
//! field      = name [ "." key ]        bare, in "double quotes" or in `backquotes`; a bare key may hold more dots
//! value      = text | number | "true" | "false"
//! text       = 'single quotes', a quote inside doubled
//! number     = [ "+" | "-" ] digits [ "." digits ] [ "e" [ "+" | "-" ] digits ]
//! ```
//!
//! Words of the language may be written in any case; names of fields may not. A bare name is made of letters, digits
//! and `_`; anything else wants quotes, in which the quote itself is doubled. A blank filter selects everything.
//!
//! **Three values.** A test is true, false or unknown. It is unknown when the field is absent, when field and value
//! are of different types (a text is never a number), and when the field holds what has no order: bytes, and JSON
//! that is an object, an array or `null`. `not` leaves unknown unknown, `and` and `or` follow SQL, and only what is
//! true is selected. So neither a test nor its negation finds a record without the field; `is null` does. A stored
//! JSON `null` is a value, not an absence.
//!
//! **Order.** Texts compare by their bytes, `false` comes before `true`, numbers by their exact value: an integer is
//! never rounded to be compared, whatever its size, and a number with `.` or `e` is the nearest `f64`, in the filter
//! as in what was stored.
//!
//! **`like`** compares the whole text: `%` is any run of characters, `_` is one, `\` takes the next one as it is.
//! `ilike` also holds letters equal that differ in case alone, character by character (see [`pattern`]).
//!
//! It refuses, as `Invalid` and with the place: what does not parse, fields that do not exist (and names the nearest
//! one), filters of more than [`FILTER_BYTES_MAX`] bytes, nested deeper than [`FILTER_DEPTH_MAX`], with more than
//! [`FILTER_TESTS_MAX`] tests, lists of more than [`FILTER_LIST_MAX`] values, and patterns of more than
//! [`PATTERN_BYTES_MAX`] bytes.
//!
//! ```text
//!   text ──lexer──> tokens ──parser──> ast ──eval──> true | false | unknown, of a record's values
//!                                field: what may stand on the left          number, pattern: how values compare
//! ```

mod ast;
mod eval;
mod field;
mod lexer;
mod number;
mod parser;
pub(crate) mod pattern;
mod place;
mod value;

pub(crate) use ast::{Compare, Expr, Kind, Literal, Test};
pub(crate) use eval::truth;
pub(crate) use field::{Field, Subject};
pub(crate) use number::Number;
pub(crate) use place::nearest;
pub(crate) use value::Held;

use crate::error::Result;

/// Longest filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 64 << 10;
/// How deep parentheses and `not` may stand inside each other.
pub const FILTER_DEPTH_MAX: usize = 64;
/// Most tests in one filter.
pub const FILTER_TESTS_MAX: usize = 1000;
/// Most values in one `in` list.
pub const FILTER_LIST_MAX: usize = 1000;
/// Longest pattern of a `like` or `ilike`, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// A parsed filter with the text that it came from.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    source: String,
    /// `None` selects everything.
    root: Option<Expr>,
}

impl Filter {
    /// The filter that `source` spells, over the fields of `subject`.
    ///
    /// # Errors
    /// `Invalid`, with the place, for anything that the module's doc refuses.
    pub(crate) fn parse(source: &str, subject: Subject) -> Result<Self> {
        Ok(Filter { root: parser::parse(source, subject)?, source: source.to_owned() })
    }

    /// The text that it was parsed from.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The conditions that must all be true: those that `and` joins at the top.
    pub(crate) fn conditions(&self) -> Vec<&Expr> {
        fn gather<'a>(expr: &'a Expr, found: &mut Vec<&'a Expr>) {
            match &expr.kind {
                Kind::And(parts) => parts.iter().for_each(|part| gather(part, found)),
                _ => found.push(expr),
            }
        }
        let mut found = Vec::new();
        if let Some(root) = &self.root {
            gather(root, &mut found);
        }
        found
    }

    /// The text of a part of this filter.
    pub(crate) fn text_of(&self, expr: &Expr) -> &str {
        self.source.get(expr.span.clone()).unwrap_or_default()
    }

    /// Whether the filter is true of a record whose fields `held` answers.
    pub(crate) fn selects<'r>(&self, held: impl Fn(&Field) -> Held<'r>) -> bool {
        self.root.as_ref().is_none_or(|root| truth(root, &held) == Some(true))
    }
}
