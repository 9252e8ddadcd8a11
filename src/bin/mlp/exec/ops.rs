//! Every operation by its name, with the fields that it knows.

use ml_persistence::{Error, Result};

use super::session::{Answer, Request};
use super::{aliases, clock, kv, models, store, versions};

/// One operation.
pub struct Op {
    pub name: &'static str,
    /// Its fields beside those that every request may carry.
    pub fields: &'static [&'static str],
    pub run: fn(&Request<'_>) -> Answer,
}

const fn op(name: &'static str, fields: &'static [&'static str], run: fn(&Request<'_>) -> Answer) -> Op {
    Op { name, fields, run }
}

const PAGE: &[&str] = &["filter", "order_by", "page_size", "page_token", "explain"];
const PAGE_OF_MODEL: &[&str] = &["model", "filter", "order_by", "page_size", "page_token", "explain"];
const MODEL_UPDATE: &[&str] = &[
    "name",
    "description",
    "tags_set",
    "tags_delete",
    "properties_set",
    "properties_delete",
    "archived",
    "expected_revision",
    "by",
];
const VERSION: &[&str] = &[
    "model",
    "make_active",
    "create_model",
    "source",
    "run_id",
    "description",
    "tags",
    "properties",
    "metrics",
    "hyperparams",
    "parent_version",
    "training_data_hash",
    "stage",
    "artifact",
    "by",
];
const VERSION_UPDATE: &[&str] = &[
    "model",
    "version",
    "description",
    "tags_set",
    "tags_delete",
    "properties_set",
    "properties_delete",
    "stage",
    "expected_revision",
    "by",
];
const VERSION_CHANGE: &[&str] = &["model", "version", "expected_revision", "by"];

/// What this build does.
const OPS: &[Op] = &[
    op("kv.put", &["namespace", "key", "value"], kv::put),
    op("kv.get", &["namespace", "key"], kv::get),
    op("kv.delete", &["namespace", "key"], kv::delete),
    op("kv.list", &["namespace", "prefix", "after", "limit"], kv::list),
    op("kv.count", &["namespace"], kv::count),
    op("kv.clear", &["namespace"], kv::clear),
    op("kv.batch", &["ops"], kv::batch),
    op("model.create", &["name", "description", "tags", "properties", "by"], models::create),
    op("model.get", &["name"], models::get),
    op("model.summary", &[], models::summary),
    op("model.list", PAGE, models::list),
    op("model.update", MODEL_UPDATE, models::update),
    op("version.register", VERSION, versions::register),
    op("version.get", &["model", "version", "alias"], versions::get),
    op("version.list", PAGE_OF_MODEL, versions::list),
    op("version.update", VERSION_UPDATE, versions::update),
    op("version.activate", VERSION_CHANGE, versions::activate),
    op("version.deactivate", &["model", "expected_revision", "by"], versions::deactivate),
    op("version.archive", VERSION_CHANGE, versions::archive),
    op("version.unarchive", VERSION_CHANGE, versions::unarchive),
    op("version.delete", VERSION_CHANGE, versions::delete),
    op("version.artifact", &["model", "version"], versions::artifact),
    op("alias.set", &["model", "alias", "version", "expected_revision", "by"], aliases::set),
    op("alias.delete", &["model", "alias", "expected_revision", "by"], aliases::delete),
    op("alias.history", &["model", "alias", "at"], aliases::history),
    op("store.digest", &[], store::digest),
    op("store.verify", &[], store::verify),
    op("store.sync", &[], store::sync),
    op("store.cursor", &[], store::cursor),
    op("store.stats", &[], store::stats),
    op("clock.advance", &["ms"], clock::advance),
];

/// What the surface names and a later build brings.
const LATER: &[&str] = &[
    "model.rename",
    "model.delete",
    "version.touch",
    "version.least_recently_used",
    "version.evict",
    "job.complete_and_claim",
    "job.attempts",
    "job.prune",
    "snapshot.export",
    "snapshot.import",
    "snapshot.inspect",
    "store.repair",
    "store.changes",
];

/// The operation `name`.
pub fn find(name: &str) -> Result<&'static Op> {
    if let Some(op) = OPS.iter().find(|op| op.name == name) {
        return Ok(op);
    }
    if LATER.contains(&name) {
        return Err(Error::unsupported(format!("{name}: not in this build yet")));
    }
    Err(Error::invalid(format!("op: there is no operation {name:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operation_stands_twice_or_both_here_and_later() {
        let mut names: Vec<&str> = OPS.iter().map(|op| op.name).chain(LATER.iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
