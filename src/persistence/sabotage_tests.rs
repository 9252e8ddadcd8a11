//! Sabotage of a whole store: what a wrong maintainer, a bug or a bad disk could leave behind is planted behind
//! everybody's back. Verify must name it, repair must put it right, and the store must then be the one that a clean twin
//! is: the same store where nothing was lost, else one that never had, or has deleted, what was.
//!
//! Damage is planted through the engine's own transactions, so the same list runs on the ephemeral engine, and on sled
//! with a reopening before and after.

mod collections;

use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::clock::{Ids, ManualClock};
use crate::codec::{self, Bytes};
use crate::engine::{Direction, KeyRange, Tree, TxnOptions, Value, counter_value};
use crate::jobs::{JobId, NewJob};
use crate::json::Json;
use crate::keys::{self, KeyWriter};
use crate::kv::KeyValue;
use crate::record::catalog;
use crate::record::scrub::ViolationKind::{self, *};
use crate::registry::{Change, NewModel, NewVersion, Sha256};

const SEED: u64 = 7;

/// A store with something of everything; `last` is whether it has the last job and the last value.
fn populate(db: &MlPersistence, last: bool) {
    let registry = db.registry();
    let version = || NewVersion::new().by("ann").metric("f1", 0.5);
    registry.create_model("spam", NewModel::new().description("filters").external_id("ext-spam")).unwrap();
    registry.register_version("spam", version().artifact(vec![7u8; 50]).label("first")).unwrap();
    registry.register_version("spam", version().artifact(vec![7u8; 50]).external_id("ext-2")).unwrap();
    registry.register_version("spam", version().artifact(vec![8u8; 40_000])).unwrap();
    registry.set_alias("spam", "prod", 2, &Change::new().by("bob")).unwrap();
    registry.set_alias("spam", "next", 3, &Change::new()).unwrap();
    registry.archive("spam", 1, &Change::new()).unwrap();
    registry.register_version("eggs", version().description("d".repeat(20_000)).stage("test")).unwrap();

    let jobs = db.jobs();
    let job = |id: u128, queue: &str| NewJob::new(queue, "fit").id(JobId(id)).backoff(crate::jobs::Backoff::fixed(50));
    jobs.enqueue(job(1, "train").unique_key("u1").payload(json!({"depth": 6}))).unwrap();
    jobs.enqueue(job(2, "train").payload(Json::from(json!("p".repeat(30_000))))).unwrap();
    jobs.enqueue(job(3, "score").unique_key("u3")).unwrap();
    jobs.enqueue(job(4, "score").delay_ms(1_000_000)).unwrap();
    jobs.enqueue(job(5, "idle")).unwrap();
    let claim = |queue: &str| db.jobs().claim(&[queue], 1).unwrap().remove(0).into_parts().1;
    jobs.complete(&claim("train"), Some(Json::from(json!("done")))).unwrap();
    jobs.fail(&claim("train"), Some("no"), Some(0)).unwrap();
    jobs.fail(&claim("train"), Some("again"), Some(0)).unwrap();
    claim("score");
    jobs.pause("idle").unwrap();

    let kv = db.kv();
    kv.put("n", "small", &Json::from(json!(1))).unwrap();
    kv.put("n", "large", &Json::from(json!("v".repeat(50_000)))).unwrap();
    kv.put("other", "k", &Json::from(json!(null))).unwrap();
    if last {
        jobs.enqueue(job(6, "score").unique_key("u6")).unwrap();
        kv.put("n", "z", &Json::from(json!("last"))).unwrap();
    }
}

fn open(builder: Builder) -> MlPersistence {
    builder.clock(Arc::new(ManualClock::at(1_000_000))).ids(Ids::seeded(SEED)).open().unwrap()
}

fn in_memory(last: bool) -> MlPersistence {
    let db = open(MlPersistence::in_memory());
    populate(&db, last);
    db
}

/// The store behind everybody's back.
struct Raw<'d>(&'d MlPersistence);

impl Raw<'_> {
    fn put(&self, tree: Tree, key: &[u8], value: Option<&[u8]>) {
        let planted = self.0.engine().transact(&TxnOptions::default(), &mut |txn| match value {
            Some(value) => txn.put(tree, key, Value::from(value)),
            None => txn.delete(tree, key),
        });
        planted.unwrap();
    }

    fn get(&self, tree: Tree, key: &[u8]) -> Vec<u8> {
        self.0.engine().get(tree, key).unwrap().unwrap().to_vec()
    }

    /// The first key of a tree that begins with `prefix`; none where sabotage before has left none.
    fn first(&self, tree: Tree, prefix: &[u8]) -> Option<Vec<u8>> {
        let page = self.0.engine().scan(tree, &KeyRange::prefix(prefix), Direction::Ascending, 1).unwrap();
        page.entries.into_iter().next().map(|(key, _)| key)
    }

    fn first_entry(&self, index: u32) -> Option<Vec<u8>> {
        self.first(Tree::Index, &keys::index_prefix(index, &[]))
    }

    fn flip_first(&self, tree: Tree, prefix: &[u8]) {
        self.first(tree, prefix).iter().for_each(|key| self.flip(tree, key));
    }

    fn flip(&self, tree: Tree, key: &[u8]) {
        // Sabotage before may have left nothing there.
        let Some(stored) = self.0.engine().get(tree, key).unwrap() else { return };
        let mut value = stored.to_vec();
        let middle = value.len() / 2;
        value[middle] ^= 1;
        self.put(tree, key, Some(&value));
    }

    fn swap(&self, tree: Tree, one: &[u8], other: &[u8]) {
        let (first, second) = (self.get(tree, one), self.get(tree, other));
        self.put(tree, one, Some(&second));
        self.put(tree, other, Some(&first));
    }

    fn forget(&self, index: u32) {
        self.first_entry(index).iter().for_each(|entry| self.put(Tree::Index, entry, None));
    }

    fn surplus(&self, index: u32, parts: KeyWriter, primary: &[u8]) {
        self.put(Tree::Index, &keys::index_entry(index, &parts.finish(), Some(primary)).unwrap(), Some(b""));
    }

    fn lead(&self, entry: &[u8], primary: &[u8]) {
        let value = codec::encode(catalog::UNIQUE_ENTRY, entry, &Bytes(primary.to_vec())).unwrap();
        self.put(Tree::Index, entry, Some(&value));
    }

    fn mislead(&self, index: u32, primary: &[u8]) {
        self.first_entry(index).iter().for_each(|entry| self.lead(entry, primary));
    }

    fn drift(&self, number: u32) {
        let key = self.first(Tree::Counter, &keys::counter(number, &[])).unwrap();
        self.put(Tree::Counter, &key, Some(&counter_value(Tree::Counter, &key, 99)));
    }

    fn part(&self, part: codec::Part, key: &[u8], value: &impl serde::Serialize) {
        self.put(part.tree, key, Some(&codec::encode(part, key, value).unwrap()));
    }
}

/// What a twin without the damage is.
#[derive(Clone, Copy)]
enum Twin {
    /// The same store: nothing is lost.
    Same,
    /// One that never had the last job and the last value.
    WithoutLast,
    /// One whose digest differs in what is lost; the checks say how.
    Other,
    /// One in which that was deleted.
    Deleted(fn(&MlPersistence)),
}

struct Sabotage {
    name: &'static str,
    plant: fn(&Raw<'_>),
    kinds: &'static [ViolationKind],
    twin: Twin,
}

const fn same(name: &'static str, plant: fn(&Raw<'_>), kinds: &'static [ViolationKind]) -> Sabotage {
    Sabotage { name, plant, kinds, twin: Twin::Same }
}

fn by_repair() -> Change {
    Change::new().by("repair")
}

fn attempts(id: u128) -> Vec<u8> {
    keys::history(catalog::JOB_ATTEMPTS.tag, KeyWriter::new().u128(id))
}

fn moved(number: u64) -> Vec<u8> {
    keys::pointer_move(catalog::POINTER_HISTORY.tag, "spam", 0, number)
}

fn alias_moved(alias: &str, number: u64) -> Vec<u8> {
    keys::alias_move(catalog::ALIAS_HISTORY.tag, "spam", 0, alias, number)
}

fn tracks() -> Vec<u8> {
    keys::pointer_moves(catalog::ALIAS_TRACKS.tag, "spam", 0)
}

fn artifact(part: codec::Part, content: &[u8]) -> Vec<u8> {
    keys::content(part.tag, &Sha256::of(content).0)
}

fn sabotages() -> Vec<Sabotage> {
    use catalog::jobs as j;
    vec![
        same("forgotten entry: model", |r| r.forget(catalog::INDEX_MODEL_NAMES), &[EntryMissing]),
        same("forgotten entry: version", |r| r.forget(catalog::INDEX_VERSION_NUMBERS), &[EntryMissing]),
        same("forgotten entry: version live", |r| r.forget(catalog::INDEX_VERSION_LIVE), &[EntryMissing]),
        same("forgotten entry: version stage", |r| r.forget(catalog::INDEX_VERSION_STAGES), &[EntryMissing]),
        same("forgotten unique entry: external id", |r| r.forget(catalog::INDEX_VERSION_EXTERNAL_IDS), &[EntryMissing]),
        same("forgotten unique entry: label", |r| r.forget(catalog::INDEX_VERSION_LABELS), &[EntryMissing]),
        same("forgotten unique entry: model", |r| r.forget(catalog::INDEX_MODEL_EXTERNAL_IDS), &[EntryMissing]),
        same("forgotten entry: ready", |r| r.forget(j::READY), &[EntryMissing]),
        same("forgotten entry: due", |r| r.forget(j::DUE), &[EntryMissing]),
        same("forgotten entry: state", |r| r.forget(j::STATE), &[EntryMissing]),
        same("forgotten entry: order", |r| r.forget(j::ORDER), &[EntryMissing]),
        same("forgotten entry: finished", |r| r.forget(j::FINISHED), &[EntryMissing]),
        same("forgotten unique entry: job", |r| r.forget(j::UNIQUE), &[EntryMissing]),
        same(
            "surplus entry: a job that is not ready",
            |r| r.surplus(j::READY, KeyWriter::new().str("train").u8(100).u64(1).u64(1), &keys::job(1)),
            &[EntryUnexpected],
        ),
        same(
            "surplus entry: a version that does not exist",
            |r| r.surplus(catalog::INDEX_VERSION_NUMBERS, KeyWriter::new().str("spam").u32(9), b"spam@v9"),
            &[EntryUnexpected],
        ),
        same(
            "stale entry: a version that is archived by now",
            |r| r.surplus(catalog::INDEX_VERSION_LIVE, KeyWriter::new().str("spam").u32(1), b"spam@v1"),
            &[EntryUnexpected],
        ),
        same(
            "unique entry with another holder",
            |r| r.mislead(catalog::INDEX_VERSION_EXTERNAL_IDS, b"spam@v3"),
            &[EntryWrong, EntryUnexpected],
        ),
        same(
            "unique entry of a deleted record",
            |r| r.lead(&keys::index_entry(j::UNIQUE, b"q\0\0k\0\0", None).unwrap(), &keys::job(99)),
            &[EntryUnexpected],
        ),
        same(
            "flipped byte: unique entry",
            |r| r.flip_first(Tree::Index, &keys::index_prefix(j::UNIQUE, &[])),
            &[EntryWrong],
        ),
        same("entry that is none", |r| r.put(Tree::Index, &keys::index_prefix(j::DUE, b""), Some(b"")), &[EntryWrong]),
        same("counter drift: models", |r| r.drift(catalog::COUNTER_MODEL_STATES), &[CounterWrong]),
        same("counter drift: versions", |r| r.drift(catalog::COUNTER_VERSION_STATES), &[CounterWrong]),
        same("counter drift: jobs", |r| r.drift(j::STATES), &[CounterWrong]),
        same("counter drift: kv", |r| r.drift(catalog::KV_ENTRIES), &[CounterWrong]),
        same(
            "flipped byte: counter of jobs",
            |r| r.flip_first(Tree::Counter, &keys::counter(j::STATES, &[])),
            &[CounterWrong],
        ),
        same(
            "flipped byte: counter of kv",
            |r| r.flip_first(Tree::Counter, &keys::counter(catalog::KV_ENTRIES, &[])),
            &[CounterWrong],
        ),
        same("piece of nobody", |r| r.put(Tree::Blob, &keys::blob(77, 2), Some(b"x")), &[PieceOrphaned]),
        same("key of no piece", |r| r.put(Tree::Blob, b"x", Some(b"x")), &[PieceOrphaned]),
        same("unknown index number", |r| r.put(Tree::Index, &keys::index_prefix(600, b"x"), Some(b"")), &[Stray]),
        same("unknown counter number", |r| r.put(Tree::Counter, &keys::counter(600, b"x"), Some(b"")), &[Stray]),
        same("unknown name in meta, damaged", |r| r.put(Tree::Meta, b"what\0\0", Some(b"x")), &[Stray]),
        same(
            "references: too many",
            |r| r.part(catalog::ARTIFACT_REFERENCES, &artifact(catalog::ARTIFACT_REFERENCES, &[7; 50]), &9u64),
            &[CounterWrong],
        ),
        same(
            "references: gone",
            |r| r.put(Tree::Records, &artifact(catalog::ARTIFACT_REFERENCES, &[7; 50]), None),
            &[ReferenceBroken],
        ),
        same(
            "references: flipped byte",
            |r| r.flip(Tree::Records, &artifact(catalog::ARTIFACT_REFERENCES, &[7; 50])),
            &[Unreadable],
        ),
        same(
            "artifact of nobody",
            |r| r.part(catalog::ARTIFACT, &artifact(catalog::ARTIFACT, b"nobody"), &Bytes(b"nobody".to_vec())),
            &[ReferenceBroken],
        ),
        same(
            "references of nobody",
            |r| r.part(catalog::ARTIFACT_REFERENCES, &artifact(catalog::ARTIFACT_REFERENCES, b"nobody"), &3u64),
            &[CounterWrong, ReferenceBroken],
        ),
        same("claim without a job", |r| r.put(Tree::Jobs, &keys::claim(0xabc), Some(b"x")), &[ReferenceBroken]),
        same("key of no job", |r| r.put(Tree::Jobs, b"what", Some(b"x")), &[ReferenceBroken]),
        same(
            "attempts without a job",
            |r| r.part(catalog::JOB_ATTEMPTS, &attempts(0xabc), &(Vec::<u8>::new(), Vec::<u8>::new())),
            &[ReferenceBroken],
        ),
        same(
            "pointer move of no model",
            |r| {
                let key = keys::pointer_move(catalog::POINTER_HISTORY.tag, "gone", 0, 0);
                r.put(Tree::History, &key, Some(&r.get(Tree::History, &moved(0))));
            },
            &[ReferenceBroken],
        ),
        same(
            "pointer move that is not kept",
            |r| r.put(Tree::History, &moved(5_000), Some(&r.get(Tree::History, &moved(0)))),
            &[ReferenceBroken],
        ),
        same(
            "move of an alias that is not kept",
            |r| r.put(Tree::History, &alias_moved("prod", 9), Some(&r.get(Tree::History, &alias_moved("prod", 0)))),
            &[ReferenceBroken],
        ),
        same("flipped byte: enqueue order", |r| r.flip_first(Tree::Meta, b"queue.sequence"), &[Unreadable]),
        same(
            "lost: enqueue order",
            |r| r.put(Tree::Meta, &r.first(Tree::Meta, b"queue.sequence").unwrap(), None),
            &[ReferenceBroken],
        ),
        same("flipped byte: pause mark", |r| r.flip_first(Tree::Meta, b"queue.paused"), &[Unreadable]),
        Sabotage {
            name: "flipped byte: kv value, and swapped job",
            plant: |r| {
                r.flip(Tree::Kv, &keys::kv("n", "z"));
                r.flip(Tree::Jobs, &keys::job(6));
            },
            kinds: &[Unreadable, CounterWrong],
            twin: Twin::WithoutLast,
        },
        Sabotage {
            name: "flipped byte: version",
            plant: |r| r.flip(Tree::ModelVersions, b"spam@v3"),
            kinds: &[Unreadable],
            twin: Twin::Deleted(|db| db.registry().delete_version("spam", 3, &by_repair()).unwrap()),
        },
        Sabotage {
            name: "lost row: version",
            plant: |r| r.put(Tree::ModelVersions, b"spam@v3", None),
            kinds: &[EntryUnexpected, ReferenceBroken],
            twin: Twin::Deleted(|db| db.registry().delete_version("spam", 3, &by_repair()).unwrap()),
        },
        Sabotage {
            name: "lost piece: version",
            plant: |r| {
                let stored = r.get(Tree::ModelVersions, b"eggs@v1");
                let head = codec::read_head(Tree::ModelVersions, b"eggs@v1", &stored).unwrap().unwrap();
                r.put(Tree::Blob, &keys::blob(head.value_id, 1), None);
            },
            kinds: &[Unreadable],
            twin: Twin::Deleted(|db| db.registry().delete_version("eggs", 1, &by_repair()).unwrap()),
        },
        Sabotage {
            name: "swapped rows: versions",
            plant: |r| r.swap(Tree::ModelVersions, b"spam@v2", b"spam@v3"),
            kinds: &[Unreadable],
            twin: Twin::Other,
        },
        Sabotage {
            name: "flipped byte: claim of a completed job",
            plant: |r| r.flip(Tree::Jobs, &keys::claim(1)),
            kinds: &[Unreadable, CounterWrong],
            twin: Twin::Other,
        },
        Sabotage {
            name: "flipped byte: claim of an executing job",
            plant: |r| r.flip(Tree::Jobs, &keys::claim(3)),
            kinds: &[Unreadable, CounterWrong],
            twin: Twin::Other,
        },
        Sabotage {
            name: "lost: claim of an executing job",
            plant: |r| r.put(Tree::Jobs, &keys::claim(3), None),
            kinds: &[EntryMissing, EntryUnexpected, CounterWrong],
            twin: Twin::Other,
        },
        Sabotage {
            name: "flipped byte: attempts",
            plant: |r| r.flip(Tree::History, &attempts(2)),
            kinds: &[Unreadable],
            twin: Twin::Other,
        },
        Sabotage {
            name: "flipped byte: pointer move",
            plant: |r| r.flip(Tree::History, &moved(2)),
            kinds: &[ReferenceBroken],
            twin: Twin::Other,
        },
        Sabotage {
            name: "flipped byte: move of an alias",
            plant: |r| r.flip(Tree::History, &alias_moved("next", 1)),
            kinds: &[ReferenceBroken],
            twin: Twin::Other,
        },
        Sabotage {
            name: "lost: move of an alias",
            plant: |r| r.put(Tree::History, &alias_moved("prod", 0), None),
            kinds: &[ReferenceBroken],
            twin: Twin::Other,
        },
        Sabotage {
            name: "flipped byte: tracks of aliases",
            plant: |r| r.flip(Tree::History, &tracks()),
            kinds: &[ReferenceBroken],
            twin: Twin::Other,
        },
        Sabotage {
            name: "lost: tracks of aliases",
            plant: |r| r.put(Tree::History, &tracks(), None),
            kinds: &[ReferenceBroken],
            twin: Twin::Other,
        },
        Sabotage {
            name: "flipped byte: artifact",
            plant: |r| r.flip(Tree::Records, &artifact(catalog::ARTIFACT, &[7; 50])),
            kinds: &[Unreadable],
            twin: Twin::Other,
        },
        Sabotage {
            name: "flipped byte: model",
            plant: |r| r.flip(Tree::Models, b"spam"),
            kinds: &[Unreadable, CounterWrong],
            twin: Twin::Other,
        },
        Sabotage {
            name: "lost row: model",
            plant: |r| r.put(Tree::Models, b"spam", None),
            kinds: &[EntryUnexpected, CounterWrong, ReferenceBroken],
            twin: Twin::Other,
        },
        Sabotage {
            name: "every index entry and counter damaged at once",
            plant: |r| {
                for tree in [Tree::Index, Tree::Counter] {
                    let all = r.0.engine().scan(tree, &KeyRange::all(), Direction::Ascending, 10_000).unwrap();
                    all.entries.iter().for_each(|(key, _)| r.put(tree, key, Some(b"?")));
                }
            },
            kinds: &[EntryWrong, CounterWrong],
            twin: Twin::Same,
        },
    ]
}

/// What lies in a tree, without the count of what is in quarantine.
fn entries(db: &MlPersistence, tree: Tree) -> Vec<(Vec<u8>, Value)> {
    let page = db.engine().scan(tree, &KeyRange::all(), Direction::Ascending, 10_000).unwrap();
    assert_eq!(page.resume, None);
    let own = keys::counter(catalog::QUARANTINED_VALUES, &[]);
    page.entries.into_iter().filter(|(key, _)| tree != Tree::Counter || !key.starts_with(&own)).collect()
}

fn assert_equal(name: &str, db: &MlPersistence, twin: &MlPersistence) {
    for tree in [Tree::Models, Tree::ModelVersions, Tree::Jobs, Tree::Kv, Tree::History, Tree::Index, Tree::Counter] {
        if matches!(tree, Tree::Index | Tree::Counter) {
            assert_eq!(entries(db, tree), entries(twin, tree), "{name}: {}", tree.name());
        } else {
            let keys = |db| -> Vec<String> {
                entries(db, tree).iter().map(|(key, _)| key.escape_ascii().to_string()).collect()
            };
            assert_eq!(keys(db), keys(twin), "{name}: {}", tree.name());
        }
    }
    assert_eq!(db.digest().unwrap(), twin.digest().unwrap(), "{name}");
}

fn assert_works(name: &str, db: &MlPersistence) {
    // Numbers go on behind the highest that was ever given out.
    assert_eq!(db.registry().register_version("spam", NewVersion::new()).unwrap().version, 4, "{name}");
    db.registry().alias_history("spam", &Default::default()).unwrap();
    db.registry().list_all_versions(&Default::default()).unwrap();
    db.jobs().enqueue(NewJob::new("train", "more")).unwrap();
    while let Some(lease) = db.jobs().claim(&["train", "score"], 1).unwrap().pop() {
        lease.complete(Json::null()).unwrap();
    }
    assert!(db.jobs().claim(&["idle"], 1).unwrap().is_empty(), "{name}: paused");
    db.kv().put("n", "new", &Json::from(json!(2))).unwrap();
    db.kv().clear("n").unwrap();
    assert_eq!(db.kv().count("n").unwrap(), 0, "{name}");
    assert_eq!(db.verify().unwrap().violations, [], "{name}");
}

#[test]
fn every_sabotage_is_named_by_verify_and_put_right_by_repair() {
    for Sabotage { name, plant, kinds, twin } in sabotages() {
        let db = in_memory(true);
        assert_eq!(db.verify().unwrap().violations, [], "{name}: clean before");
        plant(&Raw(&db));
        let found = db.verify().unwrap();
        for kind in kinds {
            assert!(found.violations.iter().any(|violation| violation.kind == *kind), "{name}: {kind:?} in {found:#?}");
        }
        let report = db.repair().unwrap();
        assert_eq!(report.unresolved, [], "{name}");
        let verified = db.verify().unwrap();
        assert_eq!(verified.violations, [], "{name}: {report:#?}");
        assert_eq!(verified.quarantined, report.quarantined_found, "{name}");
        assert!(db.repair().unwrap().is_clean(), "{name}: nothing left to do");
        match twin {
            Twin::Same => assert_equal(name, &db, &in_memory(true)),
            Twin::WithoutLast => assert_equal(name, &db, &in_memory(false)),
            Twin::Deleted(delete) => {
                let twin = in_memory(true);
                delete(&twin);
                assert_equal(name, &db, &twin);
            }
            Twin::Other => assert_ne!(report.quarantined_found + report.mended(), 0, "{name}"),
        }
        assert_works(name, &db);
    }
}

#[test]
fn a_model_whose_row_is_lost_keeps_its_numbers_its_versions_and_the_pointers_that_its_moves_tell_of() {
    let damages: [fn(&Raw<'_>); 2] =
        [|raw| raw.flip(Tree::Models, b"spam"), |raw| raw.put(Tree::Models, b"spam", None)];
    for damage in damages {
        let db = in_memory(true);
        let before = db.registry().get_model("spam").unwrap().unwrap();
        let raw = Raw(&db);
        // Version 3 goes first, and for good: only its key in quarantine still says that 3 was given out.
        raw.flip(Tree::ModelVersions, b"spam@v3");
        db.repair().unwrap();
        let moves = db.registry().alias_history("spam", &Default::default()).unwrap().len();
        damage(&raw);
        db.repair().unwrap();
        let after = db.registry().get_model("spam").unwrap().unwrap();
        assert_eq!((after.versions, after.archived_versions, after.last_version), (2, 1, 3));
        assert_eq!(after.aliases, [("prod".to_owned(), 2)].into());
        assert_eq!((after.active_version, before.active_version), (None, Some(3)));
        assert_eq!(db.registry().alias_history("spam", &Default::default()).unwrap().len(), moves);
        assert_eq!(db.registry().register_version("spam", NewVersion::new()).unwrap().version, 4);
        assert_eq!(db.verify().unwrap().violations, []);
    }
}

#[test]
fn what_is_in_quarantine_is_listed_exported_byte_for_byte_and_discarded_only_when_asked() {
    let db = in_memory(true);
    let raw = Raw(&db);
    let key = keys::kv("n", "large");
    let pieces_before = entries(&db, Tree::Blob);
    let piece = {
        let head = codec::read_head(Tree::Kv, &key, &raw.get(Tree::Kv, &key)).unwrap().unwrap();
        assert!(head.pieces > 2);
        keys::blob(head.value_id, 1)
    };
    raw.flip(Tree::Blob, &piece);
    let stored = raw.get(Tree::Kv, &key);
    raw.flip(Tree::Jobs, &keys::job(5));
    let job = raw.get(Tree::Jobs, &keys::job(5));
    let report = db.repair().unwrap();
    assert_eq!((report.quarantined_found, report.quarantined.len()), (2, 2));
    let first = db.quarantine(None, 1).unwrap();
    let second = db.quarantine(first.next.as_deref(), 10).unwrap();
    assert_eq!(second.next, None);
    let listed: Vec<_> = first.entries.iter().chain(&second.entries).collect();
    assert_eq!(listed.iter().map(|entry| entry.tree).collect::<Vec<_>>(), ["jobs", "kv"]);
    let value = |at: usize| db.quarantined(&listed[at].id).unwrap().unwrap();
    assert_eq!((value(0).key, value(0).stored), (keys::job(5), job));
    let large = value(1);
    assert_eq!((&large.key, &large.stored), (&key, &stored));
    assert_eq!(large.pieces.iter().flatten().map(Vec::len).sum::<usize>() as u64, large.entry.bytes);
    assert_eq!(entries(&db, Tree::Blob).len(), pieces_before.len(), "pieces stay");
    assert_eq!(db.verify().unwrap().quarantined, 2);
    for entry in &listed {
        assert!(db.discard_quarantined(&entry.id).unwrap());
        assert!(!db.discard_quarantined(&entry.id).unwrap());
    }
    assert_eq!(entries(&db, Tree::Blob).len(), pieces_before.len() - large.pieces.len());
    let verified = db.verify().unwrap();
    assert_eq!((verified.violations, verified.quarantined), (vec![], 0));
    assert_eq!(db.quarantined("77").unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn two_records_that_ask_for_one_unique_place_are_left_and_reported() {
    let db = in_memory(true);
    // The entry is lost, another job takes the key, and now both ask for it.
    let unique = keys::index_entry(catalog::jobs::UNIQUE, &KeyWriter::new().str("score").str("u6").finish(), None);
    Raw(&db).put(Tree::Index, &unique.unwrap(), None);
    let late = db.jobs().enqueue(NewJob::new("score", "fit").unique_key("u6")).unwrap();
    let before = db.digest().unwrap();
    let report = db.repair().unwrap();
    assert_eq!((report.unresolved_found, report.mended()), (1, 0));
    assert_eq!(db.digest().unwrap(), before);
    // One of them finishes, and there is nothing left to decide.
    db.jobs().cancel(late.job).unwrap();
    assert_eq!(db.repair().unwrap().unresolved, []);
    assert_eq!(db.verify().unwrap().violations, []);
}

#[test]
fn a_repair_stops_when_its_callback_says_so_and_the_next_one_does_the_rest() {
    let db = in_memory(true);
    let stops = std::cell::Cell::new(0u64);
    for sabotage in sabotages().iter().filter(|sabotage| matches!(sabotage.twin, Twin::Same)) {
        (sabotage.plant)(&Raw(&db));
    }
    for pages in 1.. {
        let mut seen = 0;
        let report = db.repair_with(|progress| {
            assert!(!progress.stage.is_empty());
            seen += 1;
            if seen < pages { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let report = report.unwrap();
        if !report.cancelled {
            assert!(report.is_clean(), "everything was done by those before: {report:?}");
            break;
        }
        stops.set(stops.get() + 1);
    }
    assert!(stops.get() > 20, "{}", stops.get());
    assert_equal("stopped after each page", &db, &in_memory(true));
}

#[test]
fn of_two_repairs_the_newer_goes_on() {
    let db = in_memory(true);
    Raw(&db).drift(catalog::KV_ENTRIES);
    let mut inner = None;
    let outer = {
        let db = db.clone();
        let other = db.clone();
        db.repair_with(|_| {
            // Between two pages of the one, all of the other.
            if inner.is_none() {
                inner = Some(other.repair());
            }
            ControlFlow::Continue(())
        })
    };
    assert_eq!(inner.unwrap().unwrap().counters, 1);
    assert_eq!(outer.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(db.verify().unwrap().violations, []);
}

#[cfg(feature = "sled")]
#[test]
fn on_sled_a_store_damaged_everywhere_opens_is_repaired_and_stays_so_over_reopenings() {
    let (folder, clean) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open_at = |folder: &tempfile::TempDir| open(MlPersistence::builder(folder.path()));
    let (db, twin) = (open_at(&folder), open_at(&clean));
    populate(&db, true);
    populate(&twin, true);
    twin.close().unwrap();
    // Closed first, so that both have given their leases back alike.
    db.close().unwrap();
    drop((db, twin));
    let db = open_at(&folder);
    let same = sabotages().into_iter().filter(|sabotage| matches!(sabotage.twin, Twin::Same));
    same.for_each(|sabotage| (sabotage.plant)(&Raw(&db)));
    drop(db);
    let db = open_at(&folder);
    assert_ne!(db.verify().unwrap().violations_found, 0);
    assert_eq!(db.repair().unwrap().unresolved, []);
    drop(db);
    let (db, twin) = (open_at(&folder), open_at(&clean));
    assert_eq!(db.verify().unwrap().violations, []);
    assert_equal("sled", &db, &twin);
    assert!(db.repair().unwrap().is_clean());
    assert_works("sled", &db);
}

#[test]
fn an_opening_gets_past_executing_jobs_entries_and_counters_that_cannot_be_read() {
    type Plant = fn(&Raw<'_>);
    let damages: [(&str, Plant, bool); 5] = [
        ("claim", |raw| raw.flip(Tree::Jobs, &keys::claim(3)), true),
        ("body", |raw| raw.flip(Tree::Jobs, &keys::job(3)), true),
        ("entry", |raw| raw.put(Tree::Index, &keys::index_prefix(catalog::jobs::LEASE, b"x"), Some(b"")), false),
        ("dangling entry", |raw| raw.surplus(catalog::jobs::LEASE, KeyWriter::new().u64(1).u64(1), b"none"), false),
        (
            "counter",
            |raw| {
                let counters = entries(raw.0, Tree::Counter);
                counters.iter().for_each(|(key, _)| raw.flip(Tree::Counter, key));
            },
            false,
        ),
    ];
    for (name, plant, lost) in damages {
        let folder = tempfile::tempdir().unwrap();
        let open_again = || open(MlPersistence::builder(folder.path()).engine(EngineKind::Memory));
        let db = open_again();
        populate(&db, true);
        plant(&Raw(&db));
        // Not `close`: the process dies with its leases.
        db.engine().close().unwrap();
        drop(db);
        let db = open_again();
        let report = db.recovery();
        assert_eq!(report.quarantined > 0, lost, "{name}: {report:?}");
        assert_eq!(report.jobs_requeued, u64::from(!lost), "{name}: {report:?}");
        assert_eq!(report.quarantined + report.repaired > 0, name != "none", "{name}: {report:?}");
        db.repair().unwrap();
        assert_eq!(db.verify().unwrap().violations, [], "{name}");
        assert_works(name, &db);
    }
}

#[test]
fn counters_and_entries_are_exact_though_writers_go_on_during_every_repair() {
    let db = in_memory(true);
    let raw = Raw(&db);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let go_on = || !stop.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (db, go_on) = (&db, &go_on);
            scope.spawn(move || {
                let buffered = |n: u64| NewJob::new("busy", "w").priority((n % 200) as u8);
                let jobs = db.jobs().with_durability(Durability::Buffered);
                let kv = db.kv().with_durability(Durability::Buffered);
                let registry = db.registry().with_durability(Durability::Buffered);
                let model = format!("busy-{writer}");
                for n in 0.. {
                    if !go_on() {
                        break;
                    }
                    // What a damaged counter or mark refuses is refused whole, and tried again later.
                    drop(jobs.enqueue(buffered(n)));
                    drop(
                        jobs.claim(&["busy"], 1)
                            .map(|mut leases| leases.pop().map(|lease| lease.complete(Json::null()))),
                    );
                    drop(kv.put("n", &format!("{writer}-{}", n % 50), &Json::from(json!(n))));
                    drop(kv.delete("n", &format!("{writer}-{}", (n * 7) % 50)));
                    drop(registry.register_version(&model, NewVersion::new().artifact(vec![writer; 20])));
                    drop(registry.delete_version(&model, (n / 2) as u32, &Change::new()));
                }
            });
        }
        for round in 0..6u32 {
            raw.drift(catalog::KV_ENTRIES);
            raw.drift(catalog::COUNTER_VERSION_STATES);
            raw.flip_first(Tree::Counter, &keys::counter(catalog::jobs::STATES, &[]));
            raw.forget(catalog::INDEX_VERSION_NUMBERS);
            raw.forget(catalog::jobs::ORDER);
            raw.surplus(catalog::jobs::DUE, KeyWriter::new().str("busy").u64(1).u64(1), &keys::job(1));
            let references = artifact(catalog::ARTIFACT_REFERENCES, &[round as u8 % 3; 20]);
            raw.part(catalog::ARTIFACT_REFERENCES, &references, &500u64);
            db.repair().unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let violations = db.verify().unwrap().violations;
    assert_eq!(violations, []);
    assert!(db.repair().unwrap().is_clean());
}
