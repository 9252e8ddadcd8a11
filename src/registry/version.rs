//! A version as it is registered, changed and answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::artifact::{Artifact, ArtifactContent, Sha256};
use super::entries::{self, Edit};
use super::name;
use super::property::Property;
use super::record::{ModelRecord, VersionRecord};
use crate::error::{Error, Result};
use crate::json::Json;

/// A version at one point in time.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Version {
    /// The model that it belongs to.
    pub model: String,
    /// Its number, from 1.
    pub version: u32,
    /// Whether it is put away: not to be activated, and without aliases.
    pub archived: bool,
    /// A free label such as `staging`, independent of `archived`.
    pub stage: Option<String>,
    /// Where it came from.
    pub source: Option<String>,
    /// The training run that made it.
    pub run_id: Option<String>,
    /// What it is, in words.
    pub description: Option<String>,
    /// Texts by name.
    pub tags: BTreeMap<String, String>,
    /// Typed values by name.
    pub properties: BTreeMap<String, Property>,
    /// Numbers by name, exactly as they were written.
    pub metrics: BTreeMap<String, Json>,
    /// JSON by name, exactly as it was written.
    pub hyperparams: BTreeMap<String, Json>,
    /// The version of the same model that it was made from; it may be deleted since.
    pub parent_version: Option<u32>,
    /// Hash of the data that it was trained on.
    pub training_data_hash: Option<String>,
    /// Who registered it.
    pub created_by: Option<String>,
    /// What it is made of.
    pub artifact: Option<Artifact>,
    /// The aliases that point here, in order.
    pub aliases: Vec<String>,
    /// When it was registered, in ms since the Unix epoch.
    pub created_at: u64,
    /// When it was changed last; use does not count.
    pub updated_at: u64,
    /// When it was used last.
    pub last_used_at: Option<u64>,
    /// 1 when registered, and higher with every change. Pointers to it are the model's.
    pub revision: u64,
    /// The name that a registry on top knows it by, unique among versions.
    #[serde(skip)]
    pub external_id: Option<String>,
    /// The client's own name of it, unique in the model.
    #[serde(skip)]
    pub label: Option<String>,
    /// Who changed it last.
    #[serde(skip)]
    pub changed_by: Option<String>,
}

impl Version {
    /// The version with the aliases that `model`, read at the same point in time, points at it.
    pub(crate) fn of(record: VersionRecord, model: &ModelRecord) -> Self {
        Version {
            aliases: model.aliases_of(record.number),
            model: record.model,
            version: record.number,
            archived: record.archived,
            stage: record.stage,
            source: record.source,
            run_id: record.run_id,
            description: record.description,
            tags: record.tags,
            properties: record.properties,
            metrics: record.metrics,
            hyperparams: record.hyperparams,
            parent_version: record.parent_version,
            training_data_hash: record.training_data_hash,
            created_by: record.created_by,
            artifact: record.artifact,
            created_at: record.created_at,
            updated_at: record.updated_at,
            last_used_at: record.last_used_at,
            revision: record.revision,
            external_id: record.external_id,
            label: record.label,
            changed_by: record.changed_by,
        }
    }
}

/// How a version is named.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VersionRef {
    /// By its number.
    Number(u32),
    /// By an alias; `latest` is the highest version not archived.
    Alias(String),
    /// By the client's own name of it.
    Label(String),
}

impl VersionRef {
    /// The highest version not archived.
    #[must_use]
    pub fn latest() -> Self {
        VersionRef::Alias(name::LATEST.to_owned())
    }
}

impl VersionRef {
    /// Refuses a model, alias or label that can't be one, before anything is looked up.
    pub(crate) fn check(&self, model: &str) -> Result<()> {
        name::check_model(model)?;
        match self {
            VersionRef::Number(_) => Ok(()),
            VersionRef::Alias(alias) => name::check_alias_syntax(alias),
            VersionRef::Label(label) => name::check_label(label),
        }
    }
}

impl VersionRef {
    /// Whether an index that led to this record may have meant it: the entry of a row that went to quarantine may lead
    /// to a later row of the same number.
    pub(crate) fn may_be(&self, record: &VersionRecord) -> bool {
        match self {
            VersionRef::Label(label) => record.label.as_ref() == Some(label),
            VersionRef::Number(_) | VersionRef::Alias(_) => true,
        }
    }
}

/// A version's name for messages.
pub(crate) fn named(model: &str, number: u32) -> String {
    format!("model {model:?}, version {number}")
}

impl From<u32> for VersionRef {
    fn from(number: u32) -> Self {
        VersionRef::Number(number)
    }
}

impl From<String> for VersionRef {
    fn from(alias: String) -> Self {
        VersionRef::Alias(alias)
    }
}

impl From<&str> for VersionRef {
    fn from(alias: &str) -> Self {
        VersionRef::Alias(alias.to_owned())
    }
}

/// A version to register. By default the model is created if need be, and the version becomes the active one.
///
/// ```
/// use ml_persistence::registry::NewVersion;
/// use serde_json::json;
/// let new = NewVersion::new()
///     .metric("f1", 0.91)
///     .hyperparam("depth", json!(6))
///     .run_id("run-17")
///     .artifact(vec![1, 2, 3])
///     .by("ann");
/// # let _same = new.clone();
/// ```
#[derive(Debug, Clone)]
pub struct NewVersion {
    pub(crate) make_active: bool,
    pub(crate) create_model: bool,
    pub(crate) source: Option<String>,
    pub(crate) run_id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) properties: BTreeMap<String, Property>,
    pub(crate) metrics: BTreeMap<String, Json>,
    pub(crate) hyperparams: BTreeMap<String, Json>,
    pub(crate) parent_version: Option<u32>,
    pub(crate) training_data_hash: Option<String>,
    pub(crate) stage: Option<String>,
    pub(crate) artifact: Option<ArtifactContent>,
    pub(crate) external_id: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) by: Option<String>,
    /// What a builder call could not take, answered when the version is registered.
    refused: Option<Error>,
}

impl Default for NewVersion {
    fn default() -> Self {
        NewVersion {
            make_active: true,
            create_model: true,
            source: None,
            run_id: None,
            description: None,
            tags: BTreeMap::new(),
            properties: BTreeMap::new(),
            metrics: BTreeMap::new(),
            hyperparams: BTreeMap::new(),
            parent_version: None,
            training_data_hash: None,
            stage: None,
            artifact: None,
            external_id: None,
            label: None,
            by: None,
            refused: None,
        }
    }
}

/// Builder verbs that only set a text.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: impl Into<String>) -> Self {
            self.$name = Some($name.into());
            self
        }
    )*};
}

impl NewVersion {
    /// A version with nothing but its number.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    texts! {
        /// Where it came from: at most 4096 bytes.
        source;
        /// The training run that made it: at most 256 bytes.
        run_id;
        /// What it is, in words: at most 64 KiB.
        description;
        /// Hash of the data that it was trained on: at most 256 bytes.
        training_data_hash;
        /// A free label such as `staging`: 1..=64 bytes.
        stage;
        /// The name that a registry on top knows it by: 1..=256 bytes, unique among versions.
        external_id;
        /// Your own name of it: 1..=256 bytes, unique in the model.
        label;
        /// Who registers it: 1..=256 bytes.
        by;
    }

    /// Whether it becomes the active version. Default: yes.
    #[must_use]
    pub fn make_active(mut self, make_active: bool) -> Self {
        self.make_active = make_active;
        self
    }

    /// Whether a missing model is created. Default: yes.
    #[must_use]
    pub fn create_model(mut self, create_model: bool) -> Self {
        self.create_model = create_model;
        self
    }

    /// The version of the same model that it was made from.
    #[must_use]
    pub fn parent_version(mut self, number: u32) -> Self {
        self.parent_version = Some(number);
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

    /// A metric. One that is not finite is refused when the version is registered: JSON has no spelling for it.
    #[must_use]
    pub fn metric(mut self, key: impl Into<String>, value: f64) -> Self {
        let key = key.into();
        match serde_json::Number::from_f64(value) {
            Some(number) => self.metric_json(key, Json::from(serde_json::Value::Number(number))),
            None => {
                self.refuse(Error::invalid(format!("metrics: {key:?}: must be finite, got {value}")));
                self
            }
        }
    }

    /// A metric exactly as written. What is no number is refused when the version is registered.
    #[must_use]
    pub fn metric_json(mut self, key: impl Into<String>, value: impl Into<Json>) -> Self {
        self.metrics.insert(key.into(), value.into());
        self
    }

    /// A hyperparameter.
    #[must_use]
    pub fn hyperparam(mut self, key: impl Into<String>, value: impl Into<Json>) -> Self {
        self.hyperparams.insert(key.into(), value.into());
        self
    }

    /// The bytes that it is made of, kept here: at most 16 MiB. They are hashed now.
    #[must_use]
    pub fn artifact(self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.artifact_or_refused(ArtifactContent::inline(bytes))
    }

    /// Where the bytes are that it is made of, the hash that they must have, and how many they must be.
    #[must_use]
    pub fn artifact_uri(self, uri: impl Into<String>, sha256: Sha256, bytes: u64) -> Self {
        self.artifact_or_refused(ArtifactContent::reference(uri, sha256, bytes))
    }

    /// What it is made of.
    #[must_use]
    pub fn artifact_content(mut self, content: ArtifactContent) -> Self {
        self.artifact = Some(content);
        self
    }

    fn artifact_or_refused(mut self, content: Result<ArtifactContent>) -> Self {
        match content {
            Ok(content) => self.artifact = Some(content),
            Err(error) => self.refuse(error),
        }
        self
    }

    /// Keeps the first refusal: later ones may only follow from it.
    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(error) = &self.refused {
            return Err(error.clone());
        }
        name::check_optional("source", self.source.as_deref(), name::URI_BYTES_MAX)?;
        name::check_optional("run_id", self.run_id.as_deref(), name::SHORT_BYTES_MAX)?;
        name::check_optional("description", self.description.as_deref(), name::DESCRIPTION_BYTES_MAX)?;
        name::check_optional("training_data_hash", self.training_data_hash.as_deref(), name::SHORT_BYTES_MAX)?;
        self.stage.as_deref().map_or(Ok(()), name::check_stage)?;
        self.external_id.as_deref().map_or(Ok(()), name::check_external_id)?;
        self.label.as_deref().map_or(Ok(()), name::check_label)?;
        name::check_by(self.by.as_deref())?;
        entries::check_tags(&self.tags)?;
        entries::check_properties(&self.properties)?;
        self.hyperparams.keys().try_for_each(|key| name::check_entry_key("hyperparams: key", key))?;
        for (key, value) in &self.metrics {
            name::check_entry_key("metrics: key", key)?;
            if !value.as_str().starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
                return Err(Error::invalid(format!("metrics: {key:?}: must be a number")));
            }
        }
        Ok(())
    }
}

/// What to change about a version. What it does not name stays; what was registered as content can't be named.
#[derive(Debug, Clone, Default)]
pub struct VersionUpdate {
    pub(crate) description: Option<String>,
    pub(crate) stage: Option<Option<String>>,
    pub(crate) edit: Edit,
    pub(crate) change: super::Change,
}

impl VersionUpdate {
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

    /// Moves it to a stage: 1..=64 bytes.
    #[must_use]
    pub fn stage(mut self, stage: impl Into<String>) -> Self {
        self.stage = Some(Some(stage.into()));
        self
    }

    /// Takes it out of any stage.
    #[must_use]
    pub fn clear_stage(mut self) -> Self {
        self.stage = Some(None);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        name::check_optional("description", self.description.as_deref(), name::DESCRIPTION_BYTES_MAX)?;
        if let Some(Some(stage)) = &self.stage {
            name::check_stage(stage)?;
        }
        self.edit.check()?;
        self.change.check()
    }
}

entries::edit_verbs!(VersionUpdate);
