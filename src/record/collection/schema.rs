//! What a host declares about its records: fields, and over them indexes and counters.
//!
//! ```text
//! field  kind     |post| post.kind.clone()          one value, in the order of its type
//! list   labels   |post| post.labels.clone()        any number of values, each an entry of its own
//!   index   by_kind    kind asc, created desc        equality on leading parts, a range on the next, order by the rest
//!   unique  by_slug    slug                          one record a place
//!   count   kinds      kind                          how many; the distinct values
//!   sum     uses       kind, |post| post.uses        how much
//! ```
//!
//! What is declared is checked when the collection is opened, not here.

use std::sync::Arc;

use super::ordered::Ordered;
use crate::keys::KeyWriter;

/// The schema of one type of record.
#[must_use]
pub struct Schema<T> {
    pub(super) fields: Vec<Field<T>>,
    pub(super) indexes: Vec<DeclaredIndex>,
    pub(super) counters: Vec<DeclaredCounter<T>>,
}

/// A named value of a record, or a list of them.
pub(super) struct Field<T> {
    pub(super) name: &'static str,
    pub(super) shape: String,
    pub(super) value: FieldValue<T>,
}

/// How the value of a field gets into a key.
pub(super) enum FieldValue<T> {
    One(Arc<dyn Fn(&T, KeyWriter) -> KeyWriter + Send + Sync>),
    Each(Arc<dyn Fn(&T) -> Vec<Vec<u8>> + Send + Sync>),
}

/// Whose clone needs no clone of a record.
impl<T> Clone for FieldValue<T> {
    fn clone(&self) -> Self {
        match self {
            FieldValue::One(value) => FieldValue::One(Arc::clone(value)),
            FieldValue::Each(values) => FieldValue::Each(Arc::clone(values)),
        }
    }
}

pub(super) struct DeclaredIndex {
    pub(super) name: &'static str,
    pub(super) parts: Vec<Part>,
    pub(super) unique: bool,
    pub(super) sparse: bool,
}

/// What a record adds to a sum.
pub(super) type Amount<T> = Arc<dyn Fn(&T) -> i64 + Send + Sync>;

pub(super) struct DeclaredCounter<T> {
    pub(super) name: &'static str,
    pub(super) group: Vec<&'static str>,
    /// `None`: counts.
    pub(super) amount: Option<Amount<T>>,
}

/// A field in an index or in an order, with its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub(super) field: &'static str,
    pub(super) descending: bool,
}

/// Smallest first. The same as the field's bare name.
#[must_use]
pub fn asc(field: &'static str) -> Part {
    Part { field, descending: false }
}

/// Largest first.
#[must_use]
pub fn desc(field: &'static str) -> Part {
    Part { field, descending: true }
}

impl From<&'static str> for Part {
    fn from(field: &'static str) -> Self {
        asc(field)
    }
}

impl<T> Default for Schema<T> {
    fn default() -> Self {
        Schema { fields: Vec::new(), indexes: Vec::new(), counters: Vec::new() }
    }
}

impl<T: 'static> Schema<T> {
    /// A schema of nothing: records by key, and how many there are.
    pub fn new() -> Self {
        Self::default()
    }

    /// A field that indexes, counters and queries can name.
    pub fn field<V: Ordered>(mut self, name: &'static str, value: impl Fn(&T) -> V + Send + Sync + 'static) -> Self {
        let value = FieldValue::One(Arc::new(move |record, key| value(record).write(key)));
        self.fields.push(Field { name, shape: V::shape(), value });
        self
    }

    /// A field of any number of values. An index over it has an entry for each, a counter counts each; the same value
    /// twice in one record counts once.
    pub fn list_field<I>(mut self, name: &'static str, values: impl Fn(&T) -> I + Send + Sync + 'static) -> Self
    where
        I: IntoIterator,
        I::Item: Ordered,
    {
        let encode = move |record: &T| {
            let values = values(record).into_iter();
            let mut values: Vec<Vec<u8>> = values.map(|value| value.write(KeyWriter::new()).finish()).collect();
            values.sort_unstable();
            values.dedup();
            values
        };
        self.fields.push(Field { name, shape: I::Item::shape(), value: FieldValue::Each(Arc::new(encode)) });
        self
    }

    /// An index over fields, in this order. At most one of them may be a list.
    pub fn index<P: Into<Part>>(self, name: &'static str, parts: impl IntoIterator<Item = P>) -> Self {
        self.with_index(name, parts, false, false)
    }

    /// An index whose places have one holder each: a second record with the same values is refused
    /// (`AlreadyExists`). `None` is a value like any other; see [`Schema::unique_sparse`].
    pub fn unique<P: Into<Part>>(self, name: &'static str, parts: impl IntoIterator<Item = P>) -> Self {
        self.with_index(name, parts, true, false)
    }

    /// An index that leaves out records in which one of its optional fields is `None`.
    pub fn sparse<P: Into<Part>>(self, name: &'static str, parts: impl IntoIterator<Item = P>) -> Self {
        self.with_index(name, parts, false, true)
    }

    /// A unique index that leaves out records in which one of its optional fields is `None`.
    pub fn unique_sparse<P: Into<Part>>(self, name: &'static str, parts: impl IntoIterator<Item = P>) -> Self {
        self.with_index(name, parts, true, true)
    }

    /// How many records there are for each value of these fields, and which values there are. At most one of the
    /// fields may be a list.
    pub fn count_by(mut self, name: &'static str, fields: impl IntoIterator<Item = &'static str>) -> Self {
        self.counters.push(DeclaredCounter { name, group: fields.into_iter().collect(), amount: None });
        self
    }

    /// The sum of a number for each value of these fields (of all records, if there are none).
    pub fn sum(
        mut self,
        name: &'static str,
        fields: impl IntoIterator<Item = &'static str>,
        amount: impl Fn(&T) -> i64 + Send + Sync + 'static,
    ) -> Self {
        let group = fields.into_iter().collect();
        self.counters.push(DeclaredCounter { name, group, amount: Some(Arc::new(amount)) });
        self
    }

    fn with_index<P: Into<Part>>(
        mut self,
        name: &'static str,
        parts: impl IntoIterator<Item = P>,
        unique: bool,
        sparse: bool,
    ) -> Self {
        let parts = parts.into_iter().map(Into::into).collect();
        self.indexes.push(DeclaredIndex { name, parts, unique, sparse });
        self
    }
}
