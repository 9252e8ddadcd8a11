//! A schema that was found to make sense, ready to be compared with what is stored and to be run.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ordered::Ordered;
use super::record::Record;
use super::schema::{Amount, DeclaredCounter, DeclaredIndex, FieldValue, Schema};
use crate::error::{Error, Result};
use crate::keys::KeyWriter;
use crate::record::{Entries, Sums};

/// Longest name of a collection, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 100;
/// Longest encoded key of a record, in bytes: what is left of an engine's key lets every index have some values.
pub(super) const KEY_BYTES_MAX: usize = 768;

/// What a host's type declares.
pub(super) struct Declared<T> {
    pub(super) key: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) indexes: Vec<Arc<IndexRule<T>>>,
    pub(super) counters: Vec<Arc<CounterRule<T>>>,
}

/// An index: what its entries are made of.
pub(super) struct IndexRule<T> {
    pub(super) name: &'static str,
    pub(super) unique: bool,
    pub(super) sparse: bool,
    pub(super) parts: Vec<RulePart<T>>,
    pub(super) signature: String,
}

/// One field of an index or of a counter's group.
pub(super) struct RulePart<T> {
    pub(super) field: &'static str,
    pub(super) shape: String,
    pub(super) descending: bool,
    value: FieldValue<T>,
}

/// A counter: which groups a record counts in, and for how much.
pub(super) struct CounterRule<T> {
    pub(super) name: &'static str,
    pub(super) group: Vec<RulePart<T>>,
    amount: Option<Amount<T>>,
    pub(super) signature: String,
}

impl<T: Record> Declared<T> {
    /// Checks what `T` declares.
    ///
    /// # Errors
    /// `Invalid`, naming what can't be.
    pub(super) fn new() -> Result<Self> {
        let wrong = |what: String| Error::invalid(format!("collection {}: {what}", T::COLLECTION));
        if T::COLLECTION.is_empty() || T::COLLECTION.len() > NAME_BYTES_MAX {
            return Err(wrong(format!("its name takes 1..={NAME_BYTES_MAX} bytes")));
        }
        let schema = T::schema();
        let fields: BTreeSet<&str> = schema.fields.iter().map(|field| field.name).collect();
        let indexes: BTreeSet<&str> = schema.indexes.iter().map(|index| index.name).collect();
        let counters: BTreeSet<&str> = schema.counters.iter().map(|counter| counter.name).collect();
        let named =
            [(&fields, schema.fields.len()), (&indexes, schema.indexes.len()), (&counters, schema.counters.len())];
        if named.iter().any(|(names, declared)| names.len() != *declared || names.contains("")) {
            return Err(wrong("fields, indexes and counters have a name each".to_owned()));
        }
        Ok(Declared {
            key: T::Key::shape(),
            fields: schema.fields.iter().map(|field| (field.name.to_owned(), field.shape.clone())).collect(),
            indexes: schema
                .indexes
                .iter()
                .map(|index| IndexRule::new(&schema, index))
                .collect::<Result<_>>()
                .map_err(|error: Error| wrong(error.to_string()))?,
            counters: schema
                .counters
                .iter()
                .map(|counter| CounterRule::new(&schema, counter))
                .collect::<Result<_>>()
                .map_err(|error: Error| wrong(error.to_string()))?,
        })
    }
}

impl<T> Declared<T> {
    /// Every index and then every counter: whether it is one, its name and its signature.
    pub(super) fn items(&self) -> impl Iterator<Item = (bool, &'static str, &str)> {
        let indexes = self.indexes.iter().map(|index| (false, index.name, index.signature.as_str()));
        indexes.chain(self.counters.iter().map(|counter| (true, counter.name, counter.signature.as_str())))
    }
}

impl<T> RulePart<T> {
    fn new(schema: &Schema<T>, field: &'static str, descending: bool) -> Result<Self> {
        let found = schema.fields.iter().find(|found| found.name == field);
        let found = found.ok_or_else(|| Error::invalid(format!("there is no field {field}")))?;
        Ok(RulePart { field, shape: found.shape.clone(), descending, value: found.value.clone() })
    }

    /// Whether a record has any number of these.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.value, FieldValue::Each(_))
    }

    /// Whether a sparse index may leave a record out because of it.
    pub(super) fn is_optional(&self) -> bool {
        self.shape.starts_with("option ")
    }

    fn signature(&self) -> String {
        let list = if self.is_list() { "each " } else { "" };
        let direction = if self.descending { " desc" } else { "" };
        format!("{list}{} {}{direction}", self.field, self.shape)
    }
}

/// The one list among `parts`, where keys fork.
fn check_lists<T>(what: &str, parts: &[RulePart<T>]) -> Result<()> {
    if parts.iter().filter(|part| part.is_list()).count() > 1 {
        return Err(Error::invalid(format!("{what}: at most one list field")));
    }
    Ok(())
}

/// The keys that a record's values make: one, or one for each value of its list. `None` when `sparse` and a value is
/// absent.
fn keys_of<T>(parts: &[RulePart<T>], record: &T, sparse: bool) -> Option<Vec<KeyWriter>> {
    let mut keys = vec![KeyWriter::new()];
    for part in parts {
        match &part.value {
            FieldValue::One(value) if !sparse || !part.is_optional() => {
                for key in &mut keys {
                    let before = std::mem::take(key);
                    *key =
                        if part.descending { before.against(|key| value(record, key)) } else { value(record, before) };
                }
            }
            FieldValue::One(value) => {
                let value = value(record, KeyWriter::new()).finish();
                if value.first() == Some(&0) {
                    return None;
                }
                append(&mut keys, &[value], part.descending);
            }
            FieldValue::Each(values) => {
                let mut values = values(record);
                if sparse && part.is_optional() {
                    values.retain(|value| value.first() != Some(&0));
                }
                append(&mut keys, &values, part.descending);
            }
        }
    }
    Some(keys)
}

fn append(keys: &mut Vec<KeyWriter>, values: &[Vec<u8>], descending: bool) {
    let with = |key: &KeyWriter, value: &[u8]| {
        if descending { key.clone().against(|key| key.raw(value)) } else { key.clone().raw(value) }
    };
    *keys = keys.iter().flat_map(|key| values.iter().map(move |value| with(key, value))).collect();
}

impl<T: 'static> IndexRule<T> {
    fn new(schema: &Schema<T>, declared: &DeclaredIndex) -> Result<Arc<Self>> {
        let DeclaredIndex { name, unique, sparse, .. } = *declared;
        let parts = declared.parts.iter().map(|part| RulePart::new(schema, part.field, part.descending));
        let parts: Vec<RulePart<T>> =
            parts.collect::<Result<_>>().map_err(|error| Error::invalid(format!("index {name}: {error}")))?;
        if parts.is_empty() {
            return Err(Error::invalid(format!("index {name}: over no field")));
        }
        check_lists(&format!("index {name}"), &parts)?;
        let over: Vec<String> = parts.iter().map(RulePart::signature).collect();
        let kind = [("unique ", unique), ("sparse ", sparse)];
        let kind: String = kind.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect();
        let signature = format!("{kind}index over {}", over.join(", "));
        Ok(Arc::new(IndexRule { name, unique, sparse, parts, signature }))
    }

    pub(super) fn is_list(&self) -> bool {
        self.parts.iter().any(RulePart::is_list)
    }

    /// The entries of `record`.
    pub(super) fn entries(&self, record: &T, entries: &mut Entries) {
        keys_of(&self.parts, record, self.sparse).into_iter().flatten().for_each(|key| entries.push(key));
    }
}

impl<T: 'static> CounterRule<T> {
    fn new(schema: &Schema<T>, declared: &DeclaredCounter<T>) -> Result<Arc<Self>> {
        let name = declared.name;
        let group = declared.group.iter().map(|field| RulePart::new(schema, field, false));
        let group: Vec<RulePart<T>> =
            group.collect::<Result<_>>().map_err(|error| Error::invalid(format!("counter {name}: {error}")))?;
        check_lists(&format!("counter {name}"), &group)?;
        let over: Vec<String> = group.iter().map(RulePart::signature).collect();
        let kind = if declared.amount.is_some() { "sum" } else { "count" };
        let signature = format!("{kind} by {}", over.join(", "));
        Ok(Arc::new(CounterRule { name, group, amount: declared.amount.clone(), signature }))
    }

    pub(super) fn is_sum(&self) -> bool {
        self.amount.is_some()
    }

    /// What `record` adds to which group.
    pub(super) fn sums(&self, record: &T, sums: &mut Sums) {
        let amount = self.amount.as_ref().map_or(1, |amount| amount(record));
        keys_of(&self.group, record, false).into_iter().flatten().for_each(|group| sums.add(group, amount));
    }
}
