//! Every operation by its name, with the fields that it knows.

use ml_persistence::{Error, Result};

use super::session::{Answer, Request};
use super::{aliases, clock, jobs, kv, models, snapshot, store, versions};

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
const COMPLETE_AND_CLAIM: &[&str] = &["token", "result", "queues", "worker", "limit", "lease_ms"];
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
    op("model.rename", &["name", "new_name", "expected_revision", "by"], models::rename),
    op("model.delete", &["name", "expected_revision", "by"], models::delete),
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
    op("version.touch", &["model", "version"], versions::touch),
    op("version.least_recently_used", &["limit"], versions::least_recently_used),
    op("version.evict", &["model", "version", "idle_since"], versions::evict),
    op("alias.set", &["model", "alias", "version", "expected_revision", "by"], aliases::set),
    op("alias.delete", &["model", "alias", "expected_revision", "by"], aliases::delete),
    op("alias.history", &["model", "alias", "at"], aliases::history),
    op("job.enqueue", jobs::NEW_JOB, jobs::enqueue),
    op("job.enqueue_batch", &["jobs"], jobs::enqueue_batch),
    op("job.claim", &["queues", "worker", "limit", "lease_ms", "wait_ms"], jobs::claim),
    op("job.heartbeat", &["token", "lease_ms"], jobs::heartbeat),
    op("job.progress", &["token", "percent", "checkpoint"], jobs::progress),
    op("job.complete", &["token", "result"], jobs::complete),
    op("job.complete_and_claim", COMPLETE_AND_CLAIM, jobs::complete_and_claim),
    op("job.fail", &["token", "error", "retry_in_ms"], jobs::fail),
    op("job.snooze", &["token", "delay_ms"], jobs::snooze),
    op("job.release", &["token"], jobs::release),
    op("job.discard", &["token", "reason"], jobs::discard),
    op("job.cancel", &["job"], jobs::cancel),
    op("job.retry", &["job"], jobs::retry),
    op("job.get", &["job"], jobs::get),
    op("job.attempts", &["job"], jobs::attempts),
    op("job.list", &["queue", "state", "kind", "after", "limit"], jobs::list),
    op("job.counts", &["queue"], jobs::counts),
    op("job.prune", &["queue", "older_than_ms"], jobs::prune),
    op("job.maintain", &[], jobs::maintain),
    op("queue.pause", &["queue"], jobs::pause),
    op("queue.resume", &["queue"], jobs::resume),
    op("snapshot.export", &["path", "since"], snapshot::export),
    op("snapshot.import", &["path", "replace"], snapshot::import),
    op("snapshot.inspect", &["path"], snapshot::inspect),
    op("store.changes", &["after", "limit"], snapshot::changes),
    op("store.digest", &[], store::digest),
    op("store.verify", &[], store::verify),
    op("store.repair", &[], store::repair),
    op("store.sync", &[], store::sync),
    op("store.cursor", &[], store::cursor),
    op("store.stats", &[], store::stats),
    op("clock.advance", &["ms"], clock::advance),
];

/// The operation `name`.
pub fn find(name: &str) -> Result<&'static Op> {
    if let Some(op) = OPS.iter().find(|op| op.name == name) {
        return Ok(op);
    }
    Err(Error::invalid(format!("op: there is no operation {name:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operation_stands_twice() {
        let mut names: Vec<&str> = OPS.iter().map(|op| op.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
