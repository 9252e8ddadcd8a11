//! `version.*`: versions of models.

use ml_persistence::Result;
use ml_persistence::registry::{ArtifactContent, NewVersion, Version, VersionRef, VersionUpdate};

use super::models::{change, commit, model, properties, registry, revision, search};
use super::page_limit;
use super::session::{Answer, Request, json, null};
use crate::fields::Fields;

/// The number of a version.
pub fn number(fields: &Fields<'_>) -> Result<u32> {
    // Within the range, so it fits.
    Ok(fields.integer("version", 1..=u64::from(u32::MAX))? as u32)
}

fn version(outcome: Result<Version>) -> Answer {
    json(&outcome?)
}

pub fn register(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let name = fields.text("model")?;
    let new = new_version(fields)?;
    version(commit(request, |registry| registry.register_version(&name, &new)))
}

/// A builder verb that takes a text.
type SetText = fn(NewVersion, String) -> NewVersion;

fn new_version(fields: &Fields<'_>) -> Result<NewVersion> {
    let mut new = NewVersion::new();
    let texts: [(&str, SetText); 6] = [
        ("source", NewVersion::source),
        ("run_id", NewVersion::run_id),
        ("description", NewVersion::description),
        ("training_data_hash", NewVersion::training_data_hash),
        ("stage", NewVersion::stage),
        ("by", NewVersion::by),
    ];
    for (name, set) in texts {
        if let Some(text) = fields.text_opt(name)? {
            new = set(new, text);
        }
    }
    if let Some(make_active) = fields.flag_opt("make_active")? {
        new = new.make_active(make_active);
    }
    if let Some(create_model) = fields.flag_opt("create_model")? {
        new = new.create_model(create_model);
    }
    if let Some(parent) = fields.integer_opt("parent_version", 1..=u64::from(u32::MAX))? {
        new = new.parent_version(parent as u32);
    }
    for (key, value) in fields.text_map_opt("tags")?.unwrap_or_default() {
        new = new.tag(key, value);
    }
    for (key, value) in properties(fields, "properties")? {
        new = new.property(key, value);
    }
    for (key, value) in fields.json_map_opt("metrics")?.unwrap_or_default() {
        new = new.metric_json(key, value);
    }
    for (key, value) in fields.json_map_opt("hyperparams")?.unwrap_or_default() {
        new = new.hyperparam(key, value);
    }
    if let Some(artifact) = fields.json_opt("artifact")?.filter(|artifact| artifact.as_str() != "null") {
        new = new.artifact_content(ArtifactContent::from_json(&artifact)?);
    }
    Ok(new)
}

pub fn get(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let name = fields.text("model")?;
    let wanted = match fields.text_opt("alias")? {
        None => VersionRef::Number(number(fields)?),
        Some(alias) if fields.integer_opt("version", 0..=u64::MAX)?.is_none() => VersionRef::Alias(alias),
        Some(_) => return Err(fields.wrong("alias", "either version or alias, not both")),
    };
    json(&request.session.db.registry().get(&name, wanted)?)
}

pub fn list(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let mut search = search(fields)?;
    if let Some(model) = fields.text_opt("model")? {
        search = search.in_model(model);
    }
    json(&request.session.db.registry().search_versions(&search)?)
}

pub fn update(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, number) = (fields.text("model")?, number(fields)?);
    let mut update = VersionUpdate::new();
    if let Some(description) = fields.text_opt("description")? {
        update = update.description(description);
    }
    if let Some(stage) = fields.text_opt("stage")? {
        update = update.stage(stage);
    }
    for (key, value) in fields.text_map_opt("tags_set")?.unwrap_or_default() {
        update = update.set_tag(key, value);
    }
    for key in fields.texts_opt("tags_delete")?.unwrap_or_default() {
        update = update.delete_tag(key);
    }
    for (key, value) in properties(fields, "properties_set")? {
        update = update.set_property(key, value);
    }
    for key in fields.texts_opt("properties_delete")?.unwrap_or_default() {
        update = update.delete_property(key);
    }
    if let Some(revision) = revision(fields)? {
        update = update.expected_revision(revision);
    }
    if let Some(by) = fields.text_opt("by")? {
        update = update.by(by);
    }
    version(commit(request, |registry| registry.update_version(&name, number, &update)))
}

pub fn activate(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, number, change) = (fields.text("model")?, number(fields)?, change(fields)?);
    model(commit(request, |registry| registry.activate(&name, number, &change)))
}

pub fn deactivate(request: &Request<'_>) -> Answer {
    let (name, change) = (request.fields.text("model")?, change(request.fields)?);
    model(commit(request, |registry| registry.deactivate(&name, &change)))
}

pub fn archive(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, number, change) = (fields.text("model")?, number(fields)?, change(fields)?);
    version(commit(request, |registry| registry.archive(&name, number, &change)))
}

pub fn unarchive(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, number, change) = (fields.text("model")?, number(fields)?, change(fields)?);
    version(commit(request, |registry| registry.unarchive(&name, number, &change)))
}

pub fn delete(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, number, change) = (fields.text("model")?, number(fields)?, change(fields)?);
    commit(request, |registry| registry.delete_version(&name, number, &change))?;
    null()
}

pub fn artifact(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    json(&request.session.db.registry().artifact(&fields.text("model")?, number(fields)?)?)
}

pub fn touch(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, number) = (fields.text("model")?, number(fields)?);
    // Buffered, whatever durability the request asks for: a moment of use is worth no wait for the disk.
    registry(request).touch(&name, number)?;
    null()
}

pub fn least_recently_used(request: &Request<'_>) -> Answer {
    let limit = page_limit(request.fields, "limit")?;
    json(&request.session.db.registry().least_recently_used(limit)?)
}

pub fn evict(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, number, since) = (fields.text("model")?, number(fields)?, fields.integer("idle_since", 0..=u64::MAX)?);
    let evicted = commit(request, |registry| registry.evict_if_idle_since(&name, number, since))?;
    Ok(format!("{{\"evicted\":{evicted}}}"))
}
