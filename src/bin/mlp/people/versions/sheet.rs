//! How a version looks to people: a line of a list, a sheet of its own, and what would go with it.

use std::collections::{BTreeMap, BTreeSet};

use ml_persistence::registry::Version;
use ml_persistence::{MlPersistence, Result};

use crate::people::models::typed;
use crate::table::{facts, optional, pairs, time_or_none};
use crate::time;

/// The active versions of the models that these versions belong to.
pub fn active_of(db: &MlPersistence, versions: &[Version]) -> Result<BTreeMap<String, u32>> {
    let models: BTreeSet<&str> = versions.iter().map(|version| version.model.as_str()).collect();
    let mut active = BTreeMap::new();
    for name in models {
        if let Some(number) = db.registry().get_model(name)?.and_then(|model| model.active_version) {
            active.insert(name.to_owned(), number);
        }
    }
    Ok(active)
}

/// One line of a list.
pub fn row(version: &Version, active: &BTreeMap<String, u32>) -> [String; 8] {
    [
        version.model.clone(),
        version.version.to_string(),
        state(version, active.get(&version.model).copied()).to_owned(),
        optional(version.stage.as_ref()),
        version.aliases.join(", "),
        pairs(&version.metrics),
        time::shown(version.created_at),
        optional(version.created_by.as_ref()),
    ]
}

fn state(version: &Version, active: Option<u32>) -> &'static str {
    if active == Some(version.version) {
        "active"
    } else if version.archived {
        "archived"
    } else {
        ""
    }
}

/// One version, every field.
pub fn sheet(version: &Version, active: Option<u32>) -> String {
    facts([
        ("model", version.model.clone()),
        ("version", version.version.to_string()),
        ("state", state(version, active).to_owned()),
        ("stage", optional(version.stage.as_ref())),
        ("aliases", version.aliases.join(", ")),
        ("description", optional(version.description.as_ref())),
        ("metrics", pairs(&version.metrics)),
        ("hyperparameters", pairs(&version.hyperparams)),
        ("tags", pairs(&version.tags)),
        ("properties", typed(&version.properties)),
        ("artifact", artifact(version)),
        ("source", optional(version.source.as_ref())),
        ("run", optional(version.run_id.as_ref())),
        ("parent version", optional(version.parent_version)),
        ("training data", optional(version.training_data_hash.as_ref())),
        ("label", optional(version.label.as_ref())),
        ("created at", time::shown(version.created_at)),
        ("created by", optional(version.created_by.as_ref())),
        ("updated at", time::shown(version.updated_at)),
        ("changed by", optional(version.changed_by.as_ref())),
        ("last used at", time_or_none(version.last_used_at)),
        ("revision", version.revision.to_string()),
    ])
}

/// What the version is made of, in a cell.
fn artifact(version: &Version) -> String {
    let words = version.artifact.as_ref().map(|artifact| {
        let place = artifact.uri.as_deref().map_or_else(|| "kept here".to_owned(), |uri| format!("at {uri}"));
        format!("{} bytes {place}, sha256 {}", artifact.bytes, artifact.sha256)
    });
    optional(words)
}

/// What is lost with a version.
pub fn what_goes(version: &Version, active: bool) -> String {
    let mut lines = vec![format!(
        "model {}, version {}, of {}, will go",
        version.model,
        version.version,
        time::shown(version.created_at)
    )];
    lines.extend(pointers(&version.aliases, active).map(|pointers| format!("  it is {pointers}")));
    if version.artifact.is_some() {
        lines.push(format!("  with its artifact, unless another version holds the same: {}", artifact(version)));
    }
    lines.join("\n")
}

/// What points at a version.
pub fn pointers(aliases: &[String], active: bool) -> Option<String> {
    match (active, aliases) {
        (false, []) => None,
        (true, []) => Some("the active one".to_owned()),
        (true, aliases) => Some(format!("the active one, and {}", aliases.join(", "))),
        (false, aliases) => Some(aliases.join(", ")),
    }
}
