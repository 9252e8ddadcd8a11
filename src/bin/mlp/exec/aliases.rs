//! `alias.*`: names that point at versions.

use super::models::{change, commit, model};
use super::session::{Answer, Request};
use super::versions::number;

pub fn set(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, alias, number, change) = (fields.text("model")?, fields.text("alias")?, number(fields)?, change(fields)?);
    model(commit(request, |registry| registry.set_alias(&name, &alias, number, &change)))
}

pub fn delete(request: &Request<'_>) -> Answer {
    let fields = request.fields;
    let (name, alias, change) = (fields.text("model")?, fields.text("alias")?, change(fields)?);
    model(commit(request, |registry| registry.delete_alias(&name, &alias, &change)))
}
