//! Reads of single models and versions, and sums.

use serde::Serialize;

use super::artifact::{self, ArtifactContent};
use super::leftovers;
use super::list;
use super::name;
use super::record::{
    MODEL_EXTERNAL_IDS, MODEL_STATES, ModelRecord, VERSION_EXTERNAL_IDS, VERSION_LABELS, VERSION_LIVE, VERSION_STAGES,
    VERSION_STATES, VersionRecord,
};
use super::txn::{no_such_model, no_such_version};
use super::{Model, Version, VersionRef};
use crate::error::{Error, Result};
use crate::keys::{self, KeyReader, KeyWriter};
use crate::record::View;

/// How many versions there are of what state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VersionCounts {
    /// All of them.
    pub total: u64,
    /// Those that are not archived.
    pub live: u64,
    /// Those that are.
    pub archived: u64,
}

/// How many models there are of what state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModelCounts {
    /// All of them.
    pub total: u64,
    /// Those that are not archived.
    pub live: u64,
    /// Those that are.
    pub archived: u64,
    /// Those that have an active version, archived or not: as many versions are active.
    pub with_active_version: u64,
}

/// The whole registry in numbers, from counters alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Of models.
    pub models: ModelCounts,
    /// Of versions.
    pub versions: VersionCounts,
}

pub(crate) fn model(view: &View<'_>, name: &str) -> Result<Option<ModelRecord>> {
    view.get(&keys::model(name))
}

pub(crate) fn model_by_external_id(view: &View<'_>, id: &str) -> Result<Option<Model>> {
    let Some(key) = view.find_unique(&MODEL_EXTERNAL_IDS, KeyWriter::new().str(id))? else { return Ok(None) };
    Ok(view.get::<ModelRecord>(&key)?.map(Model::of))
}

pub(crate) fn version(view: &View<'_>, model: &str, wanted: &VersionRef) -> Result<Option<Version>> {
    let Some(holder) = self::model(view, model)? else { return Ok(None) };
    let record = match wanted {
        VersionRef::Number(number) => view.get(&keys::version(model, *number))?,
        VersionRef::Alias(alias) if alias == name::LATEST => {
            list::latest(view, &VERSION_LIVE, || KeyWriter::new().str(model), &holder, |_| true)?
        }
        VersionRef::Alias(alias) => match holder.aliases.get(alias) {
            Some(number) => view.get(&keys::version(model, *number))?,
            None => None,
        },
        VersionRef::Label(label) => match view.find_unique(&VERSION_LABELS, KeyWriter::new().str(model).str(label))? {
            Some(key) => view.get(&key)?,
            None => None,
        },
    };
    let record = record.filter(|record: &VersionRecord| record.is_of(&holder) && wanted.may_be(record));
    Ok(record.map(|record| Version::of(record, &holder)))
}

pub(crate) fn version_by_external_id(view: &View<'_>, id: &str) -> Result<Option<Version>> {
    let Some(key) = view.find_unique(&VERSION_EXTERNAL_IDS, KeyWriter::new().str(id))? else { return Ok(None) };
    let found = view.get::<VersionRecord>(&key)?.filter(|record| record.external_id.as_deref() == Some(id));
    let Some(record) = found else { return Ok(None) };
    if let Some(holder) = self::model(view, &record.model)?.filter(|holder| record.is_of(holder)) {
        return Ok(Some(Version::of(record, &holder)));
    }
    // The row that a rename has left behind holds the id until it is swept away: the version is its copy.
    let Some(life) = leftovers::in_view(view, &record.model)?.moved_to(record.incarnation) else { return Ok(None) };
    let Some(holder) = self::model(view, &life.model)?.filter(|holder| holder.life() == life) else { return Ok(None) };
    let copy = view.get::<VersionRecord>(&keys::version(&life.model, record.number))?;
    Ok(copy.filter(|copy| copy.copy_of == Some(record.life())).map(|copy| Version::of(copy, &holder)))
}

pub(crate) fn latest_in_stage(view: &View<'_>, model: &str, stage: &str) -> Result<Option<Version>> {
    let Some(holder) = self::model(view, model)? else { return Ok(None) };
    let prefix = || KeyWriter::new().str(model).str(stage).bool(false);
    let holds = |record: &VersionRecord| record.stage.as_deref() == Some(stage);
    Ok(list::latest(view, &VERSION_STAGES, prefix, &holder, holds)?.map(|record| Version::of(record, &holder)))
}

pub(crate) fn artifact(view: &View<'_>, model: &str, wanted: &VersionRef) -> Result<Option<ArtifactContent>> {
    let found = version(view, model, wanted)?;
    let found = found.ok_or_else(|| match wanted {
        VersionRef::Number(number) => no_such_version(model, *number),
        VersionRef::Alias(name) | VersionRef::Label(name) => {
            Error::not_found(format!("model {model:?}, version {name:?}: there is no such version"))
        }
    })?;
    found.artifact.map(|held| artifact::fetch(view, &held)).transpose()
}

pub(crate) fn version_counts(view: &View<'_>, model: &str) -> Result<VersionCounts> {
    let holder = self::model(view, model)?.ok_or_else(|| no_such_model(model))?;
    let (total, archived) = (i64::from(holder.versions), i64::from(holder.archived_versions));
    VersionCounts::of(total - archived, archived)
}

pub(crate) fn summary(view: &View<'_>) -> Result<Summary> {
    let count = |archived| view.count(&VERSION_STATES, KeyWriter::new().bool(archived));
    let mut summary = Summary { versions: VersionCounts::of(count(false)?, count(true)?)?, ..Summary::default() };
    let models = &mut summary.models;
    for (group, sum) in view.counts(&MODEL_STATES, KeyWriter::new())? {
        let mut group = KeyReader::new(&group);
        let (archived, active) = (group.bool()?, group.bool()?);
        let sum = whole(sum)?;
        models.total += sum;
        *(if archived { &mut models.archived } else { &mut models.live }) += sum;
        models.with_active_version += if active { sum } else { 0 };
    }
    Ok(summary)
}

impl VersionCounts {
    fn of(live: i64, archived: i64) -> Result<Self> {
        let (live, archived) = (whole(live)?, whole(archived)?);
        Ok(VersionCounts { total: live + archived, live, archived })
    }
}

fn whole(sum: i64) -> Result<u64> {
    u64::try_from(sum).map_err(|_| Error::corrupt(format!("a counter of the registry is below zero: {sum}")))
}
