//! What search knows of models and versions: their fields, and the indexes that answer questions about them.
//!
//! ```text
//! models     by name                  (name)                          versions   by model and number   (model, number)
//!            by creation, by update   (ms, name)                                 by creation, update   (ms, model, number)
//!            by tag                   (key, value, name)                         by tag                (key, value, model, number)
//!                                                                                by stage              (stage, model, number)
//!                                                                                by run                (run id, model, number)
//! ```
//!
//! What stands behind the leading parts is the *key*: it breaks ties, and it is the order when none is asked for. In
//! the tag and run indexes a text of more than [`TAG_ENTRY_BYTES_MAX`] bytes is cut, with its SHA-256 behind the cut,
//! so that entries have a bound; the record itself decides.

use sha2::Digest as _;

use crate::error::Result;
use crate::keys::{KeyReader, KeyWriter};
use crate::record::{Entity, Entries, Index, catalog};
use crate::registry::filter::{Field, Held, Subject};
use crate::registry::record::{MODEL_NAMES, ModelRecord, VERSION_NUMBERS, VersionRecord};

/// Longest text that stands in an index entry as it is, in bytes.
pub(crate) const TAG_ENTRY_BYTES_MAX: usize = 96;
/// How much of a longer one is kept: with a hash behind it, it is as long as the longest that is not cut.
pub(super) const CUT_BYTES: usize = TAG_ENTRY_BYTES_MAX - 32;

/// Models or versions.
pub(crate) trait Searched: Entity {
    /// Which of the two.
    const SUBJECT: Subject;
    /// The fields that it can be ordered by, those of the key first.
    const ORDERED: &'static [Field];

    /// The index of all of them in the order of their keys.
    fn by_key() -> &'static Index<Self>;

    /// The index by tag.
    fn by_tag() -> &'static Index<Self>;

    /// The index by this field, where its entries begin with a text.
    fn by_text(field: &Field) -> Option<&'static Index<Self>>;

    /// The index by this field, where its entries begin with a time.
    fn by_time(field: &Field) -> Option<&'static Index<Self>>;

    /// What `field` holds.
    fn held(&self, field: &Field) -> Held<'_>;
}

/// What stands in front of the key in the entries of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// Nothing.
    None,
    /// So many texts.
    Texts(usize),
    /// Milliseconds.
    Time,
}

impl Lead {
    /// The key in the parts of an entry.
    pub(super) fn key(self, parts: &[u8]) -> Result<&[u8]> {
        let mut reader = KeyReader::new(parts);
        match self {
            Lead::None => {}
            Lead::Texts(count) => {
                for _ in 0..count {
                    reader.bytes()?;
                }
            }
            Lead::Time => {
                reader.u64()?;
            }
        }
        Ok(reader.rest())
    }
}

impl Searched for ModelRecord {
    const SUBJECT: Subject = Subject::Models;
    const ORDERED: &'static [Field] = &[Field::Name, Field::CreatedAt, Field::UpdatedAt];

    fn by_key() -> &'static Index<Self> {
        &MODEL_NAMES
    }

    fn by_tag() -> &'static Index<Self> {
        &MODEL_TAGS
    }

    fn by_text(_field: &Field) -> Option<&'static Index<Self>> {
        None
    }

    fn by_time(field: &Field) -> Option<&'static Index<Self>> {
        match field {
            Field::CreatedAt => Some(&MODEL_CREATED),
            Field::UpdatedAt => Some(&MODEL_UPDATED),
            _ => None,
        }
    }

    fn held(&self, field: &Field) -> Held<'_> {
        match field {
            Field::Name => Held::text(Some(&self.name)),
            Field::Description => Held::text(self.description.as_deref()),
            Field::ActiveVersion => self.active_version.map_or(Held::Absent, Held::whole),
            Field::Archived => Held::Bool(self.archived),
            Field::CreatedAt => Held::whole(self.created_at),
            Field::UpdatedAt => Held::whole(self.updated_at),
            Field::Tag(key) => Held::text(self.tags.get(key).map(String::as_str)),
            Field::Property(key) => Held::property(self.properties.get(key)),
            // The parser lets none of these through.
            Field::Model
            | Field::Version
            | Field::Stage
            | Field::Source
            | Field::RunId
            | Field::CreatedBy
            | Field::Metric(_)
            | Field::Hyperparam(_) => Held::Absent,
        }
    }
}

impl Searched for VersionRecord {
    const SUBJECT: Subject = Subject::Versions;
    const ORDERED: &'static [Field] =
        &[Field::Model, Field::Version, Field::Stage, Field::RunId, Field::CreatedAt, Field::UpdatedAt];

    fn by_key() -> &'static Index<Self> {
        &VERSION_NUMBERS
    }

    fn by_tag() -> &'static Index<Self> {
        &VERSION_TAGS
    }

    fn by_text(field: &Field) -> Option<&'static Index<Self>> {
        match field {
            Field::Stage => Some(&VERSION_STAGES_OF_ALL),
            Field::RunId => Some(&VERSION_RUNS),
            _ => None,
        }
    }

    fn by_time(field: &Field) -> Option<&'static Index<Self>> {
        match field {
            Field::CreatedAt => Some(&VERSION_CREATED),
            Field::UpdatedAt => Some(&VERSION_UPDATED),
            _ => None,
        }
    }

    fn held(&self, field: &Field) -> Held<'_> {
        match field {
            Field::Model => Held::text(Some(&self.model)),
            Field::Version => Held::whole(self.number),
            Field::Stage => Held::text(self.stage.as_deref()),
            Field::Source => Held::text(self.source.as_deref()),
            Field::RunId => Held::text(self.run_id.as_deref()),
            Field::CreatedBy => Held::text(self.created_by.as_deref()),
            Field::Archived => Held::Bool(self.archived),
            Field::CreatedAt => Held::whole(self.created_at),
            Field::UpdatedAt => Held::whole(self.updated_at),
            Field::Tag(key) => Held::text(self.tags.get(key).map(String::as_str)),
            Field::Property(key) => Held::property(self.properties.get(key)),
            Field::Metric(key) => Held::json(self.metrics.get(key)),
            Field::Hyperparam(key) => Held::json(self.hyperparams.get(key)),
            // The parser lets none of these through.
            Field::Name | Field::Description | Field::ActiveVersion => Held::Absent,
        }
    }
}

/// A text as index entries hold it: whole, or its beginning and its hash.
pub(crate) fn text_part(text: &str) -> Vec<u8> {
    let mut part = text.as_bytes().to_vec();
    if part.len() > TAG_ENTRY_BYTES_MAX {
        let hash: [u8; 32] = sha2::Sha256::digest(text.as_bytes()).into();
        part.truncate(CUT_BYTES);
        part.extend_from_slice(&hash);
    }
    part
}

/// (created ms, name).
pub(crate) const MODEL_CREATED: Index<ModelRecord> = Index {
    number: catalog::INDEX_MODEL_CREATED,
    name: "model by creation",
    unique: false,
    entries: |model, entries| entries.push(KeyWriter::new().u64(model.created_at).str(&model.name)),
};

/// (updated ms, name).
pub(crate) const MODEL_UPDATED: Index<ModelRecord> = Index {
    number: catalog::INDEX_MODEL_UPDATED,
    name: "model by update",
    unique: false,
    entries: |model, entries| entries.push(KeyWriter::new().u64(model.updated_at).str(&model.name)),
};

/// (tag's key, its value, name), one entry for each tag.
pub(crate) const MODEL_TAGS: Index<ModelRecord> = Index {
    number: catalog::INDEX_MODEL_TAGS,
    name: "model by tag",
    unique: false,
    entries: |model, entries| {
        for (key, value) in &model.tags {
            entries.push(tag(key, value).str(&model.name));
        }
    },
};

/// (created ms, model, number).
pub(crate) const VERSION_CREATED: Index<VersionRecord> = Index {
    number: catalog::INDEX_VERSION_CREATED,
    name: "version by creation",
    unique: false,
    entries: |version, entries| push(entries, version, KeyWriter::new().u64(version.created_at)),
};

/// (updated ms, model, number).
pub(crate) const VERSION_UPDATED: Index<VersionRecord> = Index {
    number: catalog::INDEX_VERSION_UPDATED,
    name: "version by update",
    unique: false,
    entries: |version, entries| push(entries, version, KeyWriter::new().u64(version.updated_at)),
};

/// (tag's key, its value, model, number), one entry for each tag.
pub(crate) const VERSION_TAGS: Index<VersionRecord> = Index {
    number: catalog::INDEX_VERSION_TAGS,
    name: "version by tag",
    unique: false,
    entries: |version, entries| {
        for (key, value) in &version.tags {
            push(entries, version, tag(key, value));
        }
    },
};

/// (stage, model, number), where there is a stage: across all models, archived or not.
pub(crate) const VERSION_STAGES_OF_ALL: Index<VersionRecord> = Index {
    number: catalog::INDEX_VERSION_STAGES_OF_ALL,
    name: "version by stage",
    unique: false,
    entries: |version, entries| {
        if let Some(stage) = &version.stage {
            push(entries, version, KeyWriter::new().bytes(&text_part(stage)));
        }
    },
};

/// (run id, model, number), where there is a run.
pub(crate) const VERSION_RUNS: Index<VersionRecord> = Index {
    number: catalog::INDEX_VERSION_RUNS,
    name: "version by run",
    unique: false,
    entries: |version, entries| {
        if let Some(run) = &version.run_id {
            push(entries, version, KeyWriter::new().bytes(&text_part(run)));
        }
    },
};

fn tag(key: &str, value: &str) -> KeyWriter {
    KeyWriter::new().bytes(&text_part(key)).bytes(&text_part(value))
}

fn push(entries: &mut Entries, version: &VersionRecord, lead: KeyWriter) {
    entries.push(lead.str(&version.model).u32(version.number));
}
