//! A model as it is asked for, changed and answered.

use std::collections::BTreeMap;

use serde::Serialize;

use super::entries::{self, Edit};
use super::name;
use super::property::Property;
use super::record::ModelRecord;
use crate::error::Result;

/// A model at one point in time.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Model {
    /// Its unique name.
    pub name: String,
    /// What it is, in words.
    pub description: Option<String>,
    /// Texts by name.
    pub tags: BTreeMap<String, String>,
    /// Typed values by name.
    pub properties: BTreeMap<String, Property>,
    /// Version numbers by alias.
    pub aliases: BTreeMap<String, u32>,
    /// The version that is in use.
    pub active_version: Option<u32>,
    /// The highest number given out so far; 0 before the first. No number is given out twice.
    pub last_version: u32,
    /// How many versions there are, archived ones included.
    pub versions: u32,
    /// How many of them are archived.
    pub archived_versions: u32,
    /// Whether the model is put away. It can still be changed and take versions.
    pub archived: bool,
    /// When it was created, in ms since the Unix epoch.
    pub created_at: u64,
    /// When a version was registered, deleted or moved to another stage, or the description was set, last.
    pub updated_at: u64,
    /// 1 when created, and higher with every change, its pointers' included.
    pub revision: u64,
    /// The name that a registry on top knows it by, unique among models.
    #[serde(skip)]
    pub external_id: Option<String>,
    /// Who created it.
    #[serde(skip)]
    pub created_by: Option<String>,
    /// Who changed it last.
    #[serde(skip)]
    pub changed_by: Option<String>,
}

impl Model {
    pub(crate) fn of(record: ModelRecord) -> Self {
        Model {
            name: record.name,
            description: record.description,
            tags: record.tags,
            properties: record.properties,
            aliases: record.aliases,
            active_version: record.active_version,
            last_version: record.last_version,
            versions: record.versions,
            archived_versions: record.archived_versions,
            archived: record.archived,
            created_at: record.created_at,
            updated_at: record.updated_at,
            revision: record.revision,
            external_id: record.external_id,
            created_by: record.created_by,
            changed_by: record.changed_by,
        }
    }
}

/// A model to create.
///
/// ```
/// use ml_persistence::registry::NewModel;
/// let new = NewModel::new().description("spam or not").tag("team", "mail").property("threshold", 0.5);
/// # let _same = new.clone();
/// ```
#[derive(Debug, Clone, Default)]
pub struct NewModel {
    pub(crate) description: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) properties: BTreeMap<String, Property>,
    pub(crate) external_id: Option<String>,
    pub(crate) by: Option<String>,
}

impl NewModel {
    /// A model with nothing but its name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it is, in words: at most 64 KiB.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// A tag; the last value of a key counts.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// A typed property; the last value of a key counts.
    #[must_use]
    pub fn property(mut self, key: impl Into<String>, value: impl Into<Property>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// The name that a registry on top knows it by: 1..=256 bytes, unique among models.
    #[must_use]
    pub fn external_id(mut self, id: impl Into<String>) -> Self {
        self.external_id = Some(id.into());
        self
    }

    /// Who creates it: 1..=256 bytes.
    #[must_use]
    pub fn by(mut self, by: impl Into<String>) -> Self {
        self.by = Some(by.into());
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        name::check_optional("description", self.description.as_deref(), name::DESCRIPTION_BYTES_MAX)?;
        entries::check_tags(&self.tags)?;
        entries::check_properties(&self.properties)?;
        self.external_id.as_deref().map_or(Ok(()), name::check_external_id)?;
        name::check_by(self.by.as_deref())
    }
}

/// What to change about a model. What it does not name stays.
///
/// ```
/// use ml_persistence::registry::ModelUpdate;
/// let update = ModelUpdate::new().set_tag("team", "mail").delete_property("threshold").expected_revision(4);
/// # let _same = update.clone();
/// ```
#[derive(Debug, Clone, Default)]
pub struct ModelUpdate {
    pub(crate) description: Option<String>,
    pub(crate) edit: Edit,
    pub(crate) archived: Option<bool>,
    pub(crate) change: super::Change,
}

impl ModelUpdate {
    /// Changes nothing, but raises the revision.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Puts the model away, or takes it out again.
    #[must_use]
    pub fn archived(mut self, archived: bool) -> Self {
        self.archived = Some(archived);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        name::check_optional("description", self.description.as_deref(), name::DESCRIPTION_BYTES_MAX)?;
        self.edit.check()?;
        self.change.check()
    }
}

entries::edit_verbs!(ModelUpdate);
