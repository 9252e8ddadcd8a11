//! What is stored of models and versions, and the indexes and counters that follow from it.
//!
//! ```text
//! models          name       part MODEL    ModelRecord
//! model_versions  name@vN    part VERSION  VersionRecord (model and number are in the key alone)
//! ```
//!
//! Fields are stored in the order below; a new one means a new schema version in the catalog. Aliases live in the
//! model, so that a pointer, its target's being there and the model's revision are one record's business. So are the
//! counts of its versions: a transaction can't read a counter that it has just changed, and a model that goes takes its
//! counts along.
//!
//! `incarnation` tells the versions of a model from leftovers of an earlier life of its name that are still being swept
//! away (`leftovers.rs`). It is 0 unless a life begins during such a sweep.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::artifact::Artifact;
use super::entries;
use super::leftovers::Life;
use super::property::Property;
use super::search::{
    MODEL_CREATED, MODEL_TAGS, MODEL_UPDATED, VERSION_CREATED, VERSION_RUNS, VERSION_STAGES_OF_ALL, VERSION_TAGS,
    VERSION_UPDATED,
};
use crate::error::Result;
use crate::json::Json;
use crate::keys::{self, KeyWriter};
use crate::record::catalog;
use crate::record::{Counter, Entity, Entries, Index, PartReader, PartWriter, Schema};

/// A model as stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelRecord {
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) incarnation: u32,
    /// Where its versions are being copied to, ahead of a rename.
    pub(crate) moving_to: Option<Life>,
    pub(crate) description: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) properties: BTreeMap<String, Property>,
    pub(crate) aliases: BTreeMap<String, u32>,
    pub(crate) active_version: Option<u32>,
    pub(crate) last_version: u32,
    pub(crate) versions: u32,
    pub(crate) archived_versions: u32,
    /// How many pointer moves there have been: the number of the next one.
    pub(crate) pointer_moves: u64,
    pub(crate) archived: bool,
    pub(crate) external_id: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) changed_by: Option<String>,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
    pub(crate) revision: u64,
}

/// A version as stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct VersionRecord {
    #[serde(skip)]
    pub(crate) model: String,
    #[serde(skip)]
    pub(crate) number: u32,
    pub(crate) incarnation: u32,
    /// The life whose row of the same number this one was copied from, until the sweep has removed that row. Until then
    /// the other row holds the external id and the share in the artifact.
    pub(crate) copy_of: Option<Life>,
    pub(crate) archived: bool,
    pub(crate) stage: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) run_id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) properties: BTreeMap<String, Property>,
    pub(crate) metrics: BTreeMap<String, Json>,
    pub(crate) hyperparams: BTreeMap<String, Json>,
    pub(crate) parent_version: Option<u32>,
    pub(crate) training_data_hash: Option<String>,
    pub(crate) artifact: Option<Artifact>,
    pub(crate) external_id: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) changed_by: Option<String>,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
    pub(crate) last_used_at: Option<u64>,
    pub(crate) revision: u64,
}

impl ModelRecord {
    /// The life of its name that this is.
    pub(crate) fn life(&self) -> Life {
        Life { model: self.name.clone(), incarnation: self.incarnation }
    }

    /// The aliases that point at this version, in order.
    pub(crate) fn aliases_of(&self, number: u32) -> Vec<String> {
        self.aliases.iter().filter(|(_, target)| **target == number).map(|(alias, _)| alias.clone()).collect()
    }

    /// Refuses a record that has grown past its bound. Aliases have a bound of their own.
    pub(crate) fn check_weight(&self) -> Result<()> {
        entries::check_weight("model", self.weight())
    }

    /// About the bytes of what may be large in it.
    pub(crate) fn weight(&self) -> usize {
        self.description.as_ref().map_or(0, String::len)
            + entries::weigh(&self.tags, String::len)
            + entries::weigh(&self.properties, Property::weight)
    }

    /// About the bytes of its aliases.
    pub(crate) fn aliases_weight(&self) -> usize {
        entries::weigh(&self.aliases, |_| 4)
    }
}

impl VersionRecord {
    /// The life of the model's name that it belongs to.
    pub(crate) fn life(&self) -> Life {
        Life { model: self.model.clone(), incarnation: self.incarnation }
    }

    /// Whether it is a version of this model, and not a leftover of an earlier one of the same name.
    pub(crate) fn is_of(&self, model: &ModelRecord) -> bool {
        self.incarnation == model.incarnation && self.model == model.name
    }

    /// When it was used last; one that never was counts from when it was registered.
    pub(crate) fn last_use(&self) -> u64 {
        self.last_used_at.unwrap_or(self.created_at)
    }

    /// Refuses a record that has grown past its bound.
    pub(crate) fn check_weight(&self) -> Result<()> {
        entries::check_weight("version", self.weight())
    }

    /// About the bytes of what may be large in it.
    pub(crate) fn weight(&self) -> usize {
        self.description.as_ref().map_or(0, String::len)
            + entries::weigh(&self.tags, String::len)
            + entries::weigh(&self.properties, Property::weight)
            + entries::weigh(&self.metrics, |json| json.as_str().len())
            + entries::weigh(&self.hyperparams, |json| json.as_str().len())
    }
}

impl Entity for ModelRecord {
    fn schema() -> &'static Schema<Self> {
        &MODELS
    }

    fn key(&self) -> Vec<u8> {
        keys::model(&self.name)
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn load(key: &[u8], parts: &mut PartReader<'_>) -> Result<Option<Self>> {
        let Some(mut record) = parts.get::<ModelRecord>(catalog::MODEL, key)? else { return Ok(None) };
        record.name = keys::parse_model(key)?.to_owned();
        Ok(Some(record))
    }

    fn save(&self, _old: Option<&Self>, parts: &mut PartWriter<'_>) -> Result<()> {
        parts.put(catalog::MODEL, &self.key(), self)
    }

    fn erase(&self, parts: &mut PartWriter<'_>) -> Result<()> {
        parts.delete(catalog::MODEL, &self.key())
    }
}

impl Entity for VersionRecord {
    fn schema() -> &'static Schema<Self> {
        &VERSIONS
    }

    fn key(&self) -> Vec<u8> {
        keys::version(&self.model, self.number)
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn load(key: &[u8], parts: &mut PartReader<'_>) -> Result<Option<Self>> {
        let Some(mut record) = parts.get::<VersionRecord>(catalog::VERSION, key)? else { return Ok(None) };
        let (model, number) = keys::parse_version(key)?;
        record.model = model.to_owned();
        record.number = number;
        Ok(Some(record))
    }

    fn save(&self, _old: Option<&Self>, parts: &mut PartWriter<'_>) -> Result<()> {
        parts.put(catalog::VERSION, &self.key(), self)
    }

    fn erase(&self, parts: &mut PartWriter<'_>) -> Result<()> {
        parts.delete(catalog::VERSION, &self.key())
    }
}

/// Everything derived from a model.
pub(crate) static MODELS: Schema<ModelRecord> = Schema {
    name: "model",
    primary: catalog::MODEL,
    owns: |_| true,
    indexes: &[MODEL_NAMES, MODEL_EXTERNAL_IDS, MODEL_CREATED, MODEL_UPDATED, MODEL_TAGS],
    counters: &[MODEL_STATES, VERSION_STATES],
};

/// Everything derived from a version.
pub(crate) static VERSIONS: Schema<VersionRecord> = Schema {
    name: "version",
    primary: catalog::VERSION,
    owns: |_| true,
    indexes: &[
        VERSION_NUMBERS,
        VERSION_LIVE,
        VERSION_STAGES,
        VERSION_EXTERNAL_IDS,
        VERSION_LABELS,
        VERSION_CREATED,
        VERSION_UPDATED,
        VERSION_TAGS,
        VERSION_STAGES_OF_ALL,
        VERSION_RUNS,
        VERSION_USES,
    ],
    counters: &[],
};

/// (name), the order of `list_models`.
pub(crate) const MODEL_NAMES: Index<ModelRecord> = Index {
    number: catalog::INDEX_MODEL_NAMES,
    name: "model by name",
    unique: false,
    entries: |model, entries| entries.push(KeyWriter::new().str(&model.name)),
};

/// (external id), where there is one.
pub(crate) const MODEL_EXTERNAL_IDS: Index<ModelRecord> = Index {
    number: catalog::INDEX_MODEL_EXTERNAL_IDS,
    name: "model by external_id",
    unique: true,
    entries: |model, entries| push_some(entries, model.external_id.as_deref(), KeyWriter::new()),
};

/// (archived, has an active version) -> how many models.
pub(crate) const MODEL_STATES: Counter<ModelRecord> = Counter {
    number: catalog::COUNTER_MODEL_STATES,
    name: "models by state",
    sums: |model, sums| sums.add(KeyWriter::new().bool(model.archived).bool(model.active_version.is_some()), 1),
};

/// (model, number), the order of `list_versions`, in one model and across all.
pub(crate) const VERSION_NUMBERS: Index<VersionRecord> = Index {
    number: catalog::INDEX_VERSION_NUMBERS,
    name: "version by model and number",
    unique: false,
    entries: |version, entries| entries.push(KeyWriter::new().str(&version.model).u32(version.number)),
};

/// (model, number) of versions that are not archived: the end of a model's is `latest`.
pub(crate) const VERSION_LIVE: Index<VersionRecord> = Index {
    number: catalog::INDEX_VERSION_LIVE,
    name: "live version by model and number",
    unique: false,
    entries: |version, entries| {
        if !version.archived {
            entries.push(KeyWriter::new().str(&version.model).u32(version.number));
        }
    },
};

/// (model, stage, archived, number), where there is a stage: the end of (model, stage, false) is its latest.
pub(crate) const VERSION_STAGES: Index<VersionRecord> = Index {
    number: catalog::INDEX_VERSION_STAGES,
    name: "version by model and stage",
    unique: false,
    entries: |version, entries| {
        if let Some(stage) = &version.stage {
            let parts = KeyWriter::new().str(&version.model).str(stage).bool(version.archived).u32(version.number);
            entries.push(parts);
        }
    },
};

/// (external id), where there is one. Of a row and its copy the row holds it.
pub(crate) const VERSION_EXTERNAL_IDS: Index<VersionRecord> = Index {
    number: catalog::INDEX_VERSION_EXTERNAL_IDS,
    name: "version by external_id",
    unique: true,
    entries: |version, entries| {
        if version.copy_of.is_none() {
            push_some(entries, version.external_id.as_deref(), KeyWriter::new());
        }
    },
};

/// (model, label), where there is a label.
pub(crate) const VERSION_LABELS: Index<VersionRecord> = Index {
    number: catalog::INDEX_VERSION_LABELS,
    name: "version by model and label",
    unique: true,
    entries: |version, entries| push_some(entries, version.label.as_deref(), KeyWriter::new().str(&version.model)),
};

/// (when it was used last, model, number): the order of `least_recently_used`.
pub(crate) const VERSION_USES: Index<VersionRecord> = Index {
    number: catalog::INDEX_VERSION_USES,
    name: "version by last use",
    unique: false,
    entries: |version, entries| {
        entries.push(KeyWriter::new().u64(version.last_use()).str(&version.model).u32(version.number));
    },
};

/// (archived) -> how many versions there are in all. A sum over models and not over versions: a model that is deleted
/// takes its versions out of the count with the one write that makes it invisible, and no leftover is ever counted.
pub(crate) const VERSION_STATES: Counter<ModelRecord> = Counter {
    number: catalog::COUNTER_VERSION_STATES,
    name: "versions by state",
    sums: |model, sums| {
        let live = i64::from(model.versions) - i64::from(model.archived_versions);
        sums.add(KeyWriter::new().bool(false), live);
        sums.add(KeyWriter::new().bool(true), i64::from(model.archived_versions));
    },
};

fn push_some(entries: &mut Entries, text: Option<&str>, before: KeyWriter) {
    if let Some(text) = text {
        entries.push(before.str(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_indexes_or_counters_of_the_registry_share_a_number() {
        let indexes = MODELS.indexes.iter().map(|index| index.number);
        let mut numbers: Vec<u32> = indexes.chain(VERSIONS.indexes.iter().map(|index| index.number)).collect();
        let counters = MODELS.counters.iter().map(|counter| counter.number);
        let mut sums: Vec<u32> = counters.chain(VERSIONS.counters.iter().map(|counter| counter.number)).collect();
        for numbers in [&mut numbers, &mut sums] {
            numbers.sort_unstable();
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        }
        assert!(numbers.iter().all(|number| (20..=49).contains(number)));
    }
}
