//! Every operation by its name, with the fields that it knows.

use ml_persistence::{Error, Result};

use super::session::{Answer, Request};
use super::{clock, kv, store};

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

/// What this build does.
const OPS: &[Op] = &[
    op("kv.put", &["namespace", "key", "value"], kv::put),
    op("kv.get", &["namespace", "key"], kv::get),
    op("kv.delete", &["namespace", "key"], kv::delete),
    op("kv.list", &["namespace", "prefix", "after", "limit"], kv::list),
    op("kv.count", &["namespace"], kv::count),
    op("kv.clear", &["namespace"], kv::clear),
    op("kv.batch", &["ops"], kv::batch),
    op("store.digest", &[], store::digest),
    op("store.verify", &[], store::verify),
    op("store.sync", &[], store::sync),
    op("store.cursor", &[], store::cursor),
    op("store.stats", &[], store::stats),
    op("clock.advance", &["ms"], clock::advance),
];

/// What the surface names and a later build brings.
const LATER: &[&str] = &[
    "model.summary",
    "model.list",
    "model.update",
    "model.rename",
    "model.delete",
    "version.list",
    "version.update",
    "version.delete",
    "version.artifact",
    "version.touch",
    "version.least_recently_used",
    "version.evict",
    "alias.history",
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
