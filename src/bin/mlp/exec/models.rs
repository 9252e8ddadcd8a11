//! `model.*`: models of the registry.

use ml_persistence::Result;
use ml_persistence::registry::{Change, Model, ModelUpdate, NewModel, Property, Registry, RegistryTxn, SearchRequest};

use super::session::{Answer, Request, json};
use crate::fields::Fields;

/// Runs one verb of the registry in a transaction of its own.
pub fn commit<T>(request: &Request<'_>, verb: impl FnMut(&mut RegistryTxn<'_, '_>) -> Result<T>) -> Result<T> {
    registry(request).transact(verb)
}

/// The registry, whose writes have the durability that the request asks for.
pub fn registry(request: &Request<'_>) -> Registry {
    request.session.db.registry().with_durability(request.durability)
}

/// Who asks, and the revision that must still stand.
pub fn change(fields: &Fields<'_>) -> Result<Change> {
    let mut change = Change::new();
    change.by = fields.text_opt("by")?;
    change.expected_revision = revision(fields)?;
    Ok(change)
}

pub fn revision(fields: &Fields<'_>) -> Result<Option<u64>> {
    fields.integer_opt("expected_revision", 0..=u64::MAX)
}

/// Typed properties; a refusal names the field and the property.
pub fn properties(fields: &Fields<'_>, name: &str) -> Result<Vec<(String, Property)>> {
    let given = fields.json_map_opt(name)?.unwrap_or_default();
    let typed = |(key, value)| match Property::from_json(&value) {
        Ok(property) => Ok((key, property)),
        Err(error) => Err(fields.wrong(&format!("{name}.{key}"), error)),
    };
    given.into_iter().map(typed).collect()
}

pub fn create(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let name = fields.text("name")?;
    let mut new = NewModel::new();
    if let Some(description) = fields.text_opt("description")? {
        new = new.description(description);
    }
    for (key, value) in fields.text_map_opt("tags")?.unwrap_or_default() {
        new = new.tag(key, value);
    }
    for (key, value) in properties(fields, "properties")? {
        new = new.property(key, value);
    }
    if let Some(by) = fields.text_opt("by")? {
        new = new.by(by);
    }
    model(commit(request, |registry| registry.create_model(&name, &new)))
}

pub fn get(request: &Request<'_>) -> Answer {
    json(&request.session.db.registry().get_model(&request.fields.text("name")?)?)
}

pub fn update(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let name = fields.text("name")?;
    let mut update = ModelUpdate::new();
    if let Some(description) = fields.text_opt("description")? {
        update = update.description(description);
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
    if let Some(archived) = fields.flag_opt("archived")? {
        update = update.archived(archived);
    }
    if let Some(revision) = revision(fields)? {
        update = update.expected_revision(revision);
    }
    if let Some(by) = fields.text_opt("by")? {
        update = update.by(by);
    }
    model(commit(request, |registry| registry.update_model(&name, &update)))
}

pub fn rename(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, new_name, change) = (fields.text("name")?, fields.text("new_name")?, change(fields)?);
    model(registry(request).rename_model(&name, &new_name, &change))
}

pub fn delete(request: &Request<'_>) -> Answer {
    let (name, change) = (request.fields.text("name")?, change(request.fields)?);
    let versions = registry(request).delete_model(&name, &change)?;
    Ok(format!("{{\"versions\":{versions}}}"))
}

pub fn summary(request: &Request<'_>) -> Answer {
    json(&request.session.db.registry().summary()?)
}

pub fn list(request: &Request<'_>) -> Answer {
    json(&request.session.db.registry().search_models(&search(request.fields)?)?)
}

/// What to search for, and which page of it.
pub fn search(fields: &Fields<'_>) -> Result<SearchRequest> {
    let mut search = SearchRequest::new().page_size(super::page_limit(fields, "page_size")?);
    if let Some(filter) = fields.text_opt("filter")? {
        search = search.filter(filter);
    }
    for term in fields.texts_opt("order_by")?.unwrap_or_default() {
        search = search.order_by(term);
    }
    if let Some(token) = fields.text_opt("page_token")? {
        search = search.page_token(token);
    }
    Ok(search.explain(fields.flag_opt("explain")?.unwrap_or(false)))
}

/// The model that an operation answers.
pub fn model(outcome: Result<Model>) -> Answer {
    json(&outcome?)
}
