//! The list of writes against the public functions of the crate: a new one is either a write that is struck here, or is
//! said to be none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::write::Write;

/// Types through whose functions a store is written.
const TYPES: [&str; 12] = [
    "MlPersistence",
    "Replica",
    "Kv",
    "Namespace",
    "KvTxn",
    "Collection",
    "CollectionTxn",
    "Registry",
    "RegistryTxn",
    "Jobs",
    "JobsTxn",
    "Lease",
];

/// What only reads, or only makes a handle.
const READS: &[(&str, &[&str])] = &[
    (
        "MlPersistence",
        &[
            "open",
            "builder",
            "in_memory",
            "recovery",
            "jobs",
            "registry",
            "kv",
            "namespace",
            "cursor",
            "capabilities",
            "stats",
            "verify",
            "quarantine",
            "quarantined",
            "digest",
            "inspect_snapshot",
            "inspect_snapshot_with",
            "changes",
            "watch",
        ],
    ),
    ("Replica", &["status"]),
    ("Kv", &["new", "with_durability", "count"]),
    ("Namespace", &["new", "get", "get_as", "list", "count"]),
    ("KvTxn", &["get"]),
    ("Collection", &["with_durability", "get", "list", "count", "count_by", "sum", "counts", "distinct", "progress"]),
    ("CollectionTxn", &["get"]),
    (
        "Registry",
        &[
            "new",
            "with_durability",
            "get_model",
            "model_by_external_id",
            "list_models",
            "get",
            "version_by_external_id",
            "latest_in_stage",
            "list_versions",
            "list_all_versions",
            "search_models",
            "search_versions",
            "artifact",
            "alias_history",
            "version_counts",
            "summary",
            "least_recently_used",
        ],
    ),
    ("RegistryTxn", &["get_model", "get"]),
    // What `drain` writes it writes through leases.
    (
        "Jobs",
        &["new", "with_durability", "memory", "get", "list", "counts", "attempts", "is_paused", "on_ready", "drain"],
    ),
    ("JobsTxn", &["get"]),
    ("Lease", &["job", "token", "into_parts", "cancel_requested", "is_lost", "remaining_ms"]),
];

/// The public functions of the types, as `Type::name`, read from the source.
fn public_functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            public_functions(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut of: Option<&str> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("impl") {
                // `impl<T: Record> Collection<T> {`, `impl Jobs {`; a trait's functions are those of the trait.
                let rest = if rest.starts_with('<') {
                    rest.split_once("> ").map_or("", |(_, rest)| rest)
                } else {
                    rest.trim()
                };
                let name = rest.split(['<', ' ']).next().unwrap_or_default();
                of = TYPES.into_iter().find(|known| *known == name && !rest.contains(" for "));
                // The plain contract is a trait, so that hosts can implement it, too.
                if let Some((_, subject)) = rest.split_once("KeyValue for ") {
                    of = TYPES.into_iter().find(|known| *known == subject.trim_end_matches(" {"));
                }
            } else if line == "}" {
                of = None;
            }
            let in_trait =
                line.strip_prefix("    fn ").filter(|_| of == Some("Kv") && text.contains("impl KeyValue for Kv"));
            let function = line.strip_prefix("    pub fn ").or(in_trait);
            if let (Some(of), Some(function)) = (of, function) {
                let name = function.split(['(', '<']).next().unwrap_or_default();
                found.insert(format!("{of}::{name}"));
            }
        }
    }
}

#[test]
fn every_public_function_is_struck_or_writes_nothing() {
    let mut found = BTreeSet::new();
    public_functions(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let reads: BTreeSet<String> =
        READS.iter().flat_map(|(of, names)| names.iter().map(move |name| format!("{of}::{name}"))).collect();
    let mut struck: BTreeMap<&str, Write> = BTreeMap::new();
    for write in Write::ALL {
        struck.extend(write.covers().iter().map(|name| (*name, *write)));
    }
    // What the plain contract's type has beside it and does not show.
    let inner = ["Kv::stage", "Kv::stage_all", "Kv::settle", "Kv::get", "Kv::list"].map(str::to_owned);
    let unknown: Vec<&String> = found
        .iter()
        .filter(|name| !reads.contains(*name) && !struck.contains_key(name.as_str()) && !inner.contains(name))
        .collect();
    assert!(unknown.is_empty(), "neither struck in write.rs nor known to write nothing: {unknown:?}");
    let gone: Vec<&str> =
        struck.keys().copied().chain(reads.iter().map(String::as_str)).filter(|name| !found.contains(*name)).collect();
    assert!(gone.is_empty(), "no public functions any more: {gone:?}");
}
