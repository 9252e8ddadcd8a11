//! Tags and properties: their bounds, and edits to them.

use std::collections::{BTreeMap, BTreeSet};

use super::name;
use super::property::Property;
use crate::error::{Error, Result};

/// Most bytes that the texts, tags, properties, metrics and hyperparameters of one record take together. A model is
/// written again with every version that it gets, so what is large belongs into an artifact.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// What to set and delete among tags and properties.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edit {
    pub(crate) tags_set: BTreeMap<String, String>,
    pub(crate) tags_delete: BTreeSet<String>,
    pub(crate) properties_set: BTreeMap<String, Property>,
    pub(crate) properties_delete: BTreeSet<String>,
}

impl Edit {
    pub(crate) fn check(&self) -> Result<()> {
        check_tags(&self.tags_set)?;
        check_properties(&self.properties_set)?;
        check_apart("tags", &self.tags_set, &self.tags_delete)?;
        check_apart("properties", &self.properties_set, &self.properties_delete)
    }

    pub(crate) fn apply(&self, tags: &mut BTreeMap<String, String>, properties: &mut BTreeMap<String, Property>) {
        tags.retain(|key, _| !self.tags_delete.contains(key));
        tags.extend(self.tags_set.clone());
        properties.retain(|key, _| !self.properties_delete.contains(key));
        properties.extend(self.properties_set.clone());
    }
}

/// The builder verbs that every update with an `edit` and a `change` has.
macro_rules! edit_verbs {
    ($update:ty) => {
        impl $update {
            /// Sets a tag.
            #[must_use]
            pub fn set_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
                self.edit.tags_set.insert(key.into(), value.into());
                self
            }

            /// Deletes a tag; a missing one is no error.
            #[must_use]
            pub fn delete_tag(mut self, key: impl Into<String>) -> Self {
                self.edit.tags_delete.insert(key.into());
                self
            }

            /// Sets a typed property.
            #[must_use]
            pub fn set_property(mut self, key: impl Into<String>, value: impl Into<Property>) -> Self {
                self.edit.properties_set.insert(key.into(), value.into());
                self
            }

            /// Deletes a property; a missing one is no error.
            #[must_use]
            pub fn delete_property(mut self, key: impl Into<String>) -> Self {
                self.edit.properties_delete.insert(key.into());
                self
            }

            /// Names who asks for it: 1..=256 bytes.
            #[must_use]
            pub fn by(mut self, by: impl Into<String>) -> Self {
                self.change.by = Some(by.into());
                self
            }

            /// Demands that the record is at this revision; another one is a `Conflict`.
            #[must_use]
            pub fn expected_revision(mut self, revision: u64) -> Self {
                self.change.expected_revision = Some(revision);
                self
            }
        }
    };
}
pub(crate) use edit_verbs;

pub(crate) fn check_tags(tags: &BTreeMap<String, String>) -> Result<()> {
    tags.keys().try_for_each(|key| name::check_entry_key("tags: key", key))
}

pub(crate) fn check_properties(properties: &BTreeMap<String, Property>) -> Result<()> {
    for (key, property) in properties {
        name::check_entry_key("properties: key", key)?;
        property.clone().checked().map_err(|error| Error::invalid(format!("properties: {key:?}: {error}")))?;
    }
    Ok(())
}

/// Refuses a record whose parts weigh more than [`RECORD_BYTES_MAX`] together.
pub(crate) fn check_weight(what: impl std::fmt::Display, weight: usize) -> Result<()> {
    if weight > RECORD_BYTES_MAX {
        return Err(Error::invalid(format!(
            "{what}: texts, tags, properties, metrics and hyperparameters of at most {RECORD_BYTES_MAX} bytes together, got {weight}"
        )));
    }
    Ok(())
}

/// About the bytes that a map takes stored.
pub(crate) fn weigh<V>(map: &BTreeMap<String, V>, value: impl Fn(&V) -> usize) -> usize {
    map.iter().map(|(key, held)| 16 + key.len() + value(held)).sum()
}

/// Which of the two is meant can't be known.
fn check_apart<V>(field: &str, set: &BTreeMap<String, V>, delete: &BTreeSet<String>) -> Result<()> {
    match delete.iter().find(|key| set.contains_key(*key)) {
        Some(key) => Err(Error::invalid(format!("{field}: {key:?} is both set and deleted"))),
        None => Ok(()),
    }
}
