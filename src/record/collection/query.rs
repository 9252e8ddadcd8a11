//! A question to a collection: which records, in which order, how many. Nothing is looked up here.

use super::ordered::{Operand, Ordered};
use super::schema::Part;

/// Most rows in a page.
pub const LIST_LIMIT_MAX: usize = 1_000;
const LIST_LIMIT_DEFAULT: usize = 100;

/// Which records of a collection, and in which order.
///
/// One index answers it, or it is refused: equality on the index's first fields, then a range or a start on the next
/// one, and an order by what follows. Without an order of its own the rows come in the index's. A record with equal
/// values stands where its key does. A list field matches when one of its values does; each record comes once.
///
/// ```
/// use ml_persistence::{Query, desc};
/// let newest = Query::new().eq("kind", "post").order_by(desc("created")).limit(20);
/// let drafts = Query::index("by_kind").eq("kind", "draft").descending();
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Query {
    pub(super) index: Option<String>,
    pub(super) conditions: Vec<Condition>,
    pub(super) order: Vec<Part>,
    pub(super) reversed: bool,
    pub(super) limit: usize,
    pub(super) token: Option<String>,
}

/// What a field has to be.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) field: String,
    pub(super) comparison: Comparison,
    pub(super) operand: Operand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    AtLeast,
    Above,
    AtMost,
    Below,
    StartsWith,
}

impl Default for Query {
    fn default() -> Self {
        Query {
            index: None,
            conditions: Vec::new(),
            order: Vec::new(),
            reversed: false,
            limit: LIST_LIMIT_DEFAULT,
            token: None,
        }
    }
}

impl Query {
    /// Every record, by key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every record in this index, in its order; what a sparse index leaves out is left out.
    pub fn index(name: impl Into<String>) -> Self {
        Query { index: Some(name.into()), ..Self::default() }
    }

    /// The field has this value. An integer of another type is compared by its value.
    pub fn eq(self, field: impl Into<String>, value: impl Ordered) -> Self {
        self.with(field, Comparison::Equal, &value)
    }

    /// The field lies in `low..=high`.
    pub fn between(self, field: impl Into<String>, low: impl Ordered, high: impl Ordered) -> Self {
        let field = field.into();
        self.with(field.clone(), Comparison::AtLeast, &low).with(field, Comparison::AtMost, &high)
    }

    /// The field is less than this value; `None` is less than all others.
    pub fn lt(self, field: impl Into<String>, value: impl Ordered) -> Self {
        self.with(field, Comparison::Below, &value)
    }

    /// The field is at most this value.
    pub fn le(self, field: impl Into<String>, value: impl Ordered) -> Self {
        self.with(field, Comparison::AtMost, &value)
    }

    /// The field is greater than this value.
    pub fn gt(self, field: impl Into<String>, value: impl Ordered) -> Self {
        self.with(field, Comparison::Above, &value)
    }

    /// The field is at least this value.
    pub fn ge(self, field: impl Into<String>, value: impl Ordered) -> Self {
        self.with(field, Comparison::AtLeast, &value)
    }

    /// The field, a text or bytes, starts with this.
    pub fn starts_with(self, field: impl Into<String>, start: impl Ordered) -> Self {
        self.with(field, Comparison::StartsWith, &start)
    }

    /// By this field, behind the fields named before: `order_by("kind").order_by(desc("created"))`.
    pub fn order_by(mut self, part: impl Into<Part>) -> Self {
        self.order.push(part.into());
        self
    }

    /// The whole order the other way round.
    pub fn descending(mut self) -> Self {
        self.reversed = !self.reversed;
        self
    }

    /// At most this many rows: 1..=1000, 100 unless told.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Goes on where the page that answered this token ended. Everything but the limit has to be as it was.
    pub fn after(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    fn with<V: Ordered>(mut self, field: impl Into<String>, comparison: Comparison, value: &V) -> Self {
        self.conditions.push(Condition { field: field.into(), comparison, operand: Operand::of(value) });
        self
    }
}
