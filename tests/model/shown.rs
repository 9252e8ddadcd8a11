//! The registry read back: every model, version, pointer and count, by every way there is to ask for them.

use ml_persistence::registry::{ArtifactContent, MoveFilter, PageRequest, SearchRequest, VersionPage};
use ml_persistence::{MlPersistence, VersionRef};

use super::registry::{Model, Registry, Version};
use super::state::{Agreement, agree};
use super::verbs::{ALIASES, MODELS, STAGES, artifact};

type Stored = ml_persistence::Version;
/// A version with its model, its number and its aliases.
type Shown = (String, u32, Vec<String>, Version);
/// A filter, and what it means.
type Filter = (&'static str, fn(&str, u32, &Version) -> bool);

/// A test of an absent field is unknown, and so is its negation.
const FILTERS: [Filter; 5] = [
    ("stage = 'live'", |_, _, version| version.stage.as_deref() == Some("live")),
    ("not stage = 'live'", |_, _, version| version.stage.as_deref().is_some_and(|stage| stage != "live")),
    ("metrics.f1 >= 0.5 and archived = false", |_, _, version| {
        version.f1.is_some_and(|f1| f1 >= 1) && !version.archived
    }),
    ("tags.team = 't1' or stage is null", |_, _, version| {
        version.tag.as_deref() == Some("t1") || version.stage.is_none()
    }),
    ("model like 'm%' and version between 2 and 3", |model, number, _| {
        model.starts_with('m') && (2..=3).contains(&number)
    }),
];

fn told(error: ml_persistence::Error) -> String {
    error.to_string()
}

/// What the store says of a version, in the model's words.
fn read(version: &Stored) -> Shown {
    let f1 = version.metrics.get("f1").map(|f1| (f1.as_str().parse::<f64>().unwrap() * 2.0) as u8);
    let read = Version {
        archived: version.archived,
        stage: version.stage.clone(),
        f1,
        label: version.label.clone(),
        external_id: version.external_id.clone(),
        artifact: version.artifact.as_ref().map(|artifact| artifact.bytes as usize),
        description: version.description.clone(),
        tag: version.tags.get("team").cloned(),
        created_at: version.created_at,
        updated_at: version.updated_at,
        last_used_at: version.last_used_at,
        revision: version.revision,
    };
    (version.model.clone(), version.version, version.aliases.clone(), read)
}

fn told_of(name: &str, model: &Model, number: u32) -> Option<Shown> {
    let version = model.versions.get(&number)?;
    Some((name.to_owned(), number, model.aliases_of(number), version.clone()))
}

fn search(db: &MlPersistence, request: &SearchRequest) -> Result<Vec<Shown>, String> {
    let (mut found, mut request) = (Vec::new(), request.clone().page_size(2));
    loop {
        let VersionPage { versions, next_page_token, damaged, .. } =
            db.registry().search_versions(&request).map_err(told)?;
        agree("damaged", &damaged.len(), &0)?;
        found.extend(versions.iter().map(read));
        match next_page_token {
            Some(token) => request = request.page_token(token),
            None => return Ok(found),
        }
    }
}

/// Every way to read.
pub fn compare(db: &MlPersistence, registry: &Registry) -> Agreement {
    let store = db.registry();
    let listed = store.list_models(&PageRequest::new()).map_err(told)?;
    let names: Vec<&str> = listed.models.iter().map(|model| model.name.as_str()).collect();
    agree("models", &names, &registry.0.keys().map(String::as_str).collect())?;
    for name in MODELS {
        match (store.get_model(name).map_err(told)?, registry.0.get(name)) {
            (None, None) => {}
            (Some(stored), Some(model)) => compare_model(db, &stored, name, model)?,
            (stored, model) => return Err(format!("model {name}: the store says {stored:?}, the model {model:?}")),
        }
    }
    let every = |keep: &dyn Fn(&str, u32, &Version) -> bool| {
        let mut every = Vec::new();
        for (name, model) in &registry.0 {
            let kept = model.versions.iter().filter(|(number, version)| keep(name, **number, version));
            every.extend(kept.filter_map(|(number, _)| told_of(name, model, *number)));
        }
        every
    };
    agree("versions", &search(db, &SearchRequest::new())?, &every(&|_, _, _| true))?;
    for (filter, means) in FILTERS {
        agree(filter, &search(db, &SearchRequest::new().filter(filter))?, &every(&means))?;
    }
    compare_uses(db, registry)?;
    compare_summary(db, registry)
}

fn compare_model(db: &MlPersistence, stored: &ml_persistence::Model, name: &str, model: &Model) -> Agreement {
    let store = db.registry();
    let read = Model {
        description: stored.description.clone(),
        tag: stored.tags.get("team").cloned(),
        aliases: stored.aliases.clone(),
        active: stored.active_version,
        last: stored.last_version,
        archived: stored.archived,
        external_id: stored.external_id.clone(),
        created_at: stored.created_at,
        updated_at: stored.updated_at,
        revision: stored.revision,
        versions: model.versions.clone(),
        moves: model.moves.clone(),
    };
    agree(name, &read, model)?;
    let archived = model.versions.values().filter(|version| version.archived).count() as u64;
    let counts = (model.versions.len() as u64, archived);
    agree("the model's own counts", &(stored.versions.into(), stored.archived_versions.into()), &counts)?;
    let counted = store.version_counts(name).map_err(told)?;
    agree("version_counts", &(counted.total, counted.archived), &counts)?;
    let moves: Vec<_> = store
        .alias_history(name, &MoveFilter::new())
        .map_err(told)?
        .into_iter()
        .rev()
        .map(|moved| (moved.at, moved.alias, moved.from, moved.to))
        .collect();
    agree("alias_history", &moves, &model.moves)?;
    if let Some(id) = &model.external_id {
        let found = store.model_by_external_id(id).map_err(told)?.map(|model| model.name);
        agree("model_by_external_id", &found.as_deref(), &Some(name))?;
    }
    for number in 1..=model.last + 1 {
        let found = store.get(name, number).map_err(told)?;
        agree("version", &found.as_ref().map(self::read), &told_of(name, model, number))?;
        if let Some(version) = model.versions.get(&number) {
            let bytes = match store.artifact(name, number).map_err(told)? {
                Some(ArtifactContent::Inline { content, .. }) => Some(content.to_vec()),
                Some(other) => return Err(format!("artifact: {other:?}")),
                None => None,
            };
            agree("artifact", &bytes, &version.artifact.map(artifact))?;
            if let Some(id) = &version.external_id {
                let found = store.version_by_external_id(id).map_err(told)?.as_ref().map(self::read);
                agree("version_by_external_id", &found, &told_of(name, model, number))?;
            }
            if let Some(label) = &version.label {
                let found = store.get(name, VersionRef::Label(label.clone())).map_err(told)?.as_ref().map(self::read);
                agree("by label", &found, &told_of(name, model, number))?;
            }
        }
    }
    let live = |stage: Option<&str>| {
        let live = |(_, version): &(&u32, &Version)| {
            !version.archived && stage.is_none_or(|stage| version.stage.as_deref() == Some(stage))
        };
        model.versions.iter().rfind(live).map(|(number, _)| *number)
    };
    let latest = store.get(name, VersionRef::latest()).map_err(told)?.map(|version| version.version);
    agree("latest", &latest, &live(None))?;
    for stage in STAGES {
        let latest = store.latest_in_stage(name, stage).map_err(told)?.map(|version| version.version);
        agree("latest_in_stage", &latest, &live(Some(stage)))?;
    }
    for alias in ALIASES {
        let found = store.get(name, alias).map_err(told)?.map(|version| version.version);
        agree("by alias", &found, &model.aliases.get(alias).copied())?;
    }
    Ok(())
}

/// The versions by last use, the longest unused first; what was used at the same time in any order.
fn compare_uses(db: &MlPersistence, registry: &Registry) -> Agreement {
    let uses = |version: &Version| version.last_used_at.unwrap_or(version.created_at);
    let found = db.registry().least_recently_used(1_000).map_err(told)?;
    let times: Vec<u64> = found.iter().map(|version| version.last_used_at.unwrap_or(version.created_at)).collect();
    agree("in order of use", &times.is_sorted(), &true)?;
    let mut found: Vec<_> = found.iter().map(|version| (version.model.as_str(), version.version)).collect();
    found.sort_unstable();
    let mut wanted: Vec<(&str, u32)> = Vec::new();
    let mut times_wanted = Vec::new();
    for (name, model) in &registry.0 {
        wanted.extend(model.versions.keys().map(|number| (name.as_str(), *number)));
        times_wanted.extend(model.versions.values().map(uses));
    }
    times_wanted.sort_unstable();
    agree("least_recently_used", &found, &wanted)?;
    agree("last uses", &times, &times_wanted)
}

fn compare_summary(db: &MlPersistence, registry: &Registry) -> Agreement {
    let summary = db.registry().summary().map_err(told)?;
    let models = |keep: fn(&Model) -> bool| registry.0.values().filter(|model| keep(model)).count() as u64;
    let versions = |archived| {
        let all = registry.0.values().flat_map(|model| model.versions.values());
        all.filter(|version| version.archived == archived).count() as u64
    };
    let found = (summary.models.total, summary.models.archived, summary.models.with_active_version);
    let wanted = (models(|_| true), models(|model| model.archived), models(|model| model.active.is_some()));
    agree("models in numbers", &found, &wanted)?;
    agree(
        "versions in numbers",
        &(summary.versions.live, summary.versions.archived),
        &(versions(false), versions(true)),
    )
}
