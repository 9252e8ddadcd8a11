//! Repair against planted damage of every kind: afterwards verify is clean, and the state is that of a twin that was
//! never damaged, or never had what was lost.

use std::ops::ControlFlow;

use super::super::repair::{self as mend, RepairReport};
use super::*;

fn repair(store: &RecordStore) -> RepairReport {
    repair_with(store, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn repair_with(store: &RecordStore, watch: Watch<'_>) -> Result<RepairReport> {
    mend::repair(store, watch, |run| {
        quarantine::repair(run)?;
        let places = |key: &[u8]| vec![(Tree::Records, key.to_vec()), (Tree::Records, lease_key(key))];
        mend::records::<Tag>(run, places)?;
        mend::pieces(run)
    })
}

fn populate(store: &RecordStore, without: &[&str]) {
    let a = Tag { kind: Some("k".into()), slug: Some("s".into()), weight: 3, holder: Some("i".into()), ..tag("a") };
    let a = Tag { note: Bytes(vec![1; 40_000]), ..a };
    let b = Tag { kind: Some("k2".into()), slug: Some("t".into()), ..tag("b") };
    let c = Tag { holder: Some("h".into()), weight: 2, ..tag("c") };
    for tag in [a, b, c].iter().filter(|tag| !without.contains(&tag.name.as_str())) {
        insert(store, tag).unwrap();
    }
}

/// Entry `place` of a tree among those whose keys begin with `prefix`.
fn nth(engine: &TestEngine, tree: Tree, prefix: &[u8], place: usize) -> (Vec<u8>, Vec<u8>) {
    let mut found = engine.entries(tree).into_iter().filter(|(key, _)| key.starts_with(prefix));
    found.nth(place).map(|(key, value)| (key, value.to_vec())).unwrap()
}

fn index(number: u32) -> Vec<u8> {
    keys::index_prefix(number, &[])
}

fn flip(engine: &TestEngine, tree: Tree, key: &[u8], place: usize) {
    let (key, mut value) = nth(engine, tree, key, 0);
    value[place] ^= 4;
    engine.plant(tree, &key, Some(&value));
}

fn holder(engine: &TestEngine, entry: &[u8], primary: &[u8]) {
    let value = crate::codec::encode(catalog::UNIQUE_ENTRY, entry, &Bytes(primary.to_vec())).unwrap();
    engine.plant(Tree::Index, entry, Some(&value));
}

fn counter(engine: &TestEngine, number: u32, group: KeyWriter, sum: i64) {
    let key = keys::counter(number, &group.finish());
    engine.plant(Tree::Counter, &key, Some(&counter_value(Tree::Counter, &key, sum)));
}

type Damage = (&'static str, fn(&TestEngine), &'static [&'static str]);

/// What a wrong maintainer or a bad disk leaves behind, and which records are lost by it.
const DAMAGES: &[Damage] = &[
    ("nothing", |_| {}, &[]),
    ("a forgotten entry", |e| e.plant(Tree::Index, &nth(e, Tree::Index, &index(901), 0).0, None), &[]),
    ("a forgotten unique entry", |e| e.plant(Tree::Index, &nth(e, Tree::Index, &index(902), 1).0, None), &[]),
    (
        "every entry forgotten",
        |e| e.entries(Tree::Index).iter().for_each(|(key, _)| e.plant(Tree::Index, key, None)),
        &[],
    ),
    (
        "a surplus entry, of a value that the record no longer has",
        |e| e.plant(Tree::Index, &keys::index_entry(903, b"old\0\0", Some(b"c")).unwrap(), Some(b"")),
        &[],
    ),
    (
        "a stale entry instead of the right one",
        |e| {
            e.plant(Tree::Index, &nth(e, Tree::Index, &index(903), 0).0, None);
            e.plant(Tree::Index, &keys::index_entry(903, b"old\0\0", Some(b"c")).unwrap(), Some(b""));
        },
        &[],
    ),
    (
        "an entry of a deleted record",
        |e| e.plant(Tree::Index, &keys::index_entry(903, b"h\0\0", Some(b"gone")).unwrap(), Some(b"")),
        &[],
    ),
    ("an entry with a value", |e| e.plant(Tree::Index, &nth(e, Tree::Index, &index(901), 0).0, Some(b"x")), &[]),
    ("an entry cut short", |e| e.plant(Tree::Index, &index(901), Some(b"")), &[]),
    ("a unique entry that leads to another record", |e| holder(e, &nth(e, Tree::Index, &index(902), 0).0, b"b"), &[]),
    (
        "a unique entry of a deleted record",
        |e| holder(e, &keys::index_entry(902, b"u\0\0", None).unwrap(), b"gone"),
        &[],
    ),
    (
        "unique entries that changed places",
        |e| {
            let (first, second) = (nth(e, Tree::Index, &index(902), 0).0, nth(e, Tree::Index, &index(902), 1).0);
            holder(e, &first, b"b");
            holder(e, &second, b"a");
        },
        &[],
    ),
    ("a flipped byte in a unique entry", |e| flip(e, Tree::Index, &index(902), 12), &[]),
    ("a counter that drifted", |e| counter(e, 902, KeyWriter::new(), 99), &[]),
    ("a counter that is gone", |e| e.plant(Tree::Counter, &keys::counter(902, &[]), None), &[]),
    ("a counter of nobody", |e| counter(e, 901, KeyWriter::new().str("nobody"), 7), &[]),
    ("a flipped byte in a counter", |e| flip(e, Tree::Counter, &keys::counter(902, &[]), 0), &[]),
    (
        "a counter of a group of no record, damaged",
        |e| e.plant(Tree::Counter, &keys::counter(901, b"z"), Some(b"?")),
        &[],
    ),
    ("a piece of nobody", |e| e.plant(Tree::Blob, &keys::blob(7, 3), Some(b"x")), &[]),
    ("a blob key of no piece", |e| e.plant(Tree::Blob, b"what", Some(b"x")), &[]),
    ("a flipped byte in a record", |e| flip(e, Tree::Records, b"b", 12), &["b"]),
    ("a flipped byte in a head", |e| flip(e, Tree::Records, b"a", 12), &["a"]),
    ("a flipped byte in a record's other part", |e| flip(e, Tree::Records, b"c:lease", 12), &["c"]),
    ("a flipped byte in a piece", |e| flip(e, Tree::Blob, b"", 3), &["a"]),
    ("a lost piece", |e| e.plant(Tree::Blob, &nth(e, Tree::Blob, b"", 1).0, None), &["a"]),
    ("a record cut short", |e| e.plant(Tree::Records, b"b", Some(b"")), &["b"]),
    (
        "swapped rows",
        |e| {
            let (b, c) = (nth(e, Tree::Records, b"b", 0).1, nth(e, Tree::Records, b"c", 0).1);
            e.plant(Tree::Records, b"b", Some(&c));
            e.plant(Tree::Records, b"c", Some(&b));
        },
        &["b", "c"],
    ),
    (
        "a copy of a row under another key",
        |e| e.plant(Tree::Records, b"z", Some(&nth(e, Tree::Records, b"b", 0).1)),
        &[],
    ),
    (
        "everything at once",
        |e| {
            e.entries(Tree::Index).iter().for_each(|(key, _)| e.plant(Tree::Index, key, Some(b"?")));
            e.entries(Tree::Counter).iter().for_each(|(key, _)| e.plant(Tree::Counter, key, Some(b"?")));
            e.plant(Tree::Records, b"b", Some(b"?"));
        },
        &["b"],
    ),
];

#[test]
fn repair_leaves_of_every_damage_what_a_twin_without_it_has() {
    for (name, plant, lost) in DAMAGES {
        let (engine, store) = store();
        populate(&store, &[]);
        plant(&engine);
        let kinds = verify(&store).violations_found;
        assert_eq!(kinds == 0, *name == "nothing", "{name}: verify finds it");
        let report = repair(&store);
        assert_eq!(report.unresolved, [], "{name}");
        let found = verify(&store);
        assert_eq!((found.violations, found.quarantined), (vec![], report.quarantined_found), "{name}");
        assert_eq!(report.quarantined.len() as u64, report.quarantined_found);
        let beside = ["a piece of nobody", "a blob key of no piece", "a copy of a row under another key"];
        assert_eq!(report.quarantined_found == 0, lost.is_empty() && !beside.contains(name), "{name}: {report:?}");

        let (clean_engine, clean) = super::store();
        populate(&clean, lost);
        assert_eq!(digest(&*engine).unwrap(), digest(&*clean_engine).unwrap(), "{name}");
        let mine = |engine: &TestEngine, tree| -> Vec<_> {
            let mut entries = engine.entries(tree);
            entries.retain(|(key, _)| !key.starts_with(&keys::counter(catalog::QUARANTINED_VALUES, &[])));
            entries
        };
        for tree in [Tree::Index, Tree::Counter] {
            assert_eq!(mine(&engine, tree), mine(&clean_engine, tree), "{name}: {}", tree.name());
        }
        // A repetition has nothing to do, and the store takes writes as before.
        assert!(repair(&store).is_clean(), "{name}");
        for name in ["a", "b", "c"] {
            if lost.contains(&name) {
                insert(&store, &Tag { kind: Some("new".into()), ..tag(name) }).unwrap();
            } else {
                change(&store, name, |tag| tag.weight += 5).unwrap();
            }
        }
        assert_eq!(verify(&store).violations, [], "{name}");
    }
}
