//! `alias.*`: names that point at versions.

use ml_persistence::registry::{MoveFilter, Pointer};

use super::models::{change, commit, model};
use super::session::{Answer, Request, json};
use super::versions::number;

pub fn set(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, alias, number, change) =
        (fields.text("model")?, fields.text("alias")?, number(fields)?, change(fields)?);
    model(commit(request, |registry| registry.set_alias(&name, &alias, number, &change)))
}

pub fn delete(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, alias, change) = (fields.text("model")?, fields.text("alias")?, change(fields)?);
    model(commit(request, |registry| registry.delete_alias(&name, &alias, &change)))
}

pub fn history(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let mut filter = MoveFilter::new();
    // Without an alias: every pointer's moves, the active one's among them.
    if let Some(alias) = fields.text_opt("alias")? {
        filter = filter.pointer(Pointer::Alias(alias));
    }
    if let Some(at) = fields.integer_opt("at", 0..=u64::MAX)? {
        filter = filter.at(at);
    }
    json(&request.session.db.registry().alias_history(&fields.text("model")?, &filter)?)
}
