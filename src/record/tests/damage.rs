//! The scrub finds each kind of planted damage; the digest tells states apart.

use super::*;

#[test]
fn each_kind_of_planted_damage_is_found_and_nothing_is_changed() {
    use ViolationKind::*;
    type Damage = fn(&TestEngine);
    fn first(engine: &TestEngine, tree: Tree, prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut found = engine.entries(tree).into_iter().filter(|(key, _)| key.starts_with(prefix));
        found.next().map(|(key, value)| (key, value.to_vec())).unwrap()
    }
    fn index(number: u32) -> Vec<u8> {
        keys::index_prefix(number, &[])
    }
    let damages: [(&str, Damage, &[ViolationKind]); 14] = [
        ("none", |_| {}, &[]),
        (
            "a flipped bit in a record",
            |engine| {
                let (key, mut value) = first(engine, Tree::Records, b"a");
                value[12] ^= 4;
                engine.plant(Tree::Records, &key, Some(&value));
            },
            &[Unreadable, CounterWrong, CounterWrong],
        ),
        (
            "a record under another key",
            |engine| {
                let (_, value) = first(engine, Tree::Records, b"a");
                engine.plant(Tree::Records, b"z", Some(&value));
            },
            &[Unreadable],
        ),
        (
            "a missing piece",
            |engine| {
                let (key, _) = first(engine, Tree::Blob, b"");
                engine.plant(Tree::Blob, &key, None);
            },
            &[Unreadable, CounterWrong, CounterWrong],
        ),
        ("a piece of nobody", |engine| engine.plant(Tree::Blob, &keys::blob(7, 0), Some(b"x")), &[PieceOrphaned]),
        (
            "a missing plain entry",
            |engine| engine.plant(Tree::Index, &first(engine, Tree::Index, &index(901)).0, None),
            &[EntryMissing],
        ),
        (
            "a missing unique entry",
            |engine| engine.plant(Tree::Index, &first(engine, Tree::Index, &index(902)).0, None),
            &[EntryMissing],
        ),
        (
            "an entry of a record that does not exist",
            |engine| engine.plant(Tree::Index, &keys::index_entry(903, b"h\0\0", Some(b"no")).unwrap(), Some(b"")),
            &[EntryUnexpected],
        ),
        (
            "an entry that its record does not ask for",
            |engine| engine.plant(Tree::Index, &keys::index_entry(903, b"h\0\0", Some(b"b")).unwrap(), Some(b"")),
            &[EntryUnexpected],
        ),
        (
            "an entry with a value",
            |engine| engine.plant(Tree::Index, &first(engine, Tree::Index, &index(901)).0, Some(b"x")),
            &[EntryWrong],
        ),
        ("an entry that is none", |engine| engine.plant(Tree::Index, &index(901), Some(b"")), &[EntryWrong]),
        (
            "a unique entry that leads elsewhere",
            |engine| {
                let (key, _) = first(engine, Tree::Index, &index(902));
                let other = crate::codec::encode(catalog::UNIQUE_ENTRY, &key, &Bytes(b"b".to_vec())).unwrap();
                engine.plant(Tree::Index, &key, Some(&other));
            },
            &[EntryWrong, EntryUnexpected],
        ),
        (
            "a counter that drifted",
            |engine| {
                let key = keys::counter(902, &[]);
                engine.plant(Tree::Counter, &key, Some(&counter_value(Tree::Counter, &key, 99)));
            },
            &[CounterWrong],
        ),
        (
            "a counter that is gone, one of a group that has no records, and a damaged one",
            |engine| {
                let absent = keys::counter(901, &KeyWriter::new().str("nobody").finish());
                engine.plant(Tree::Counter, &absent, Some(&counter_value(Tree::Counter, &absent, 1)));
                engine.plant(Tree::Counter, &keys::counter(902, &[]), None);
                let (key, mut value) = first(engine, Tree::Counter, &keys::counter(901, &[]));
                value[0] ^= 1;
                engine.plant(Tree::Counter, &key, Some(&value));
            },
            &[CounterWrong, CounterWrong, CounterWrong],
        ),
    ];
    for (name, plant, expected) in damages {
        let (engine, store) = store();
        let a = Tag { kind: Some("k".into()), slug: Some("s".into()), weight: 3, ..tag("a") };
        insert(&store, &Tag { note: Bytes(vec![1; 40_000]), ..a }).unwrap();
        insert(&store, &Tag { holder: Some("h".into()), weight: 2, ..tag("c") }).unwrap();
        insert(&store, &Tag { kind: Some("k2".into()), ..tag("b") }).unwrap();
        plant(&engine);
        let before: Vec<_> = Tree::ALL.iter().map(|tree| engine.entries(*tree)).collect();
        let report = verify(&store);
        let kinds: Vec<_> = report.violations.iter().map(|violation| violation.kind).collect();
        let (mut found, mut expected) = (kinds.clone(), expected.to_vec());
        found.retain(|kind| *kind != PieceOrphaned || expected.contains(kind));
        found.sort_by_key(|kind| *kind as u8);
        expected.sort_by_key(|kind| *kind as u8);
        assert_eq!(found, expected, "{name}: {:#?}", report.violations);
        assert_eq!(report.records, if name == "a record under another key" { 4 } else { 3 });
        assert_eq!(before, Tree::ALL.iter().map(|tree| engine.entries(*tree)).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn plain_values_are_checked_and_counted_by_key() {
    let (engine, store) = store();
    let kv = catalog::KV_VALUE;
    let counter = scrub::KeyCounter {
        number: catalog::KV_ENTRIES,
        name: "kv entries",
        group: |key| Ok(KeyWriter::new().str(&keys::parse_kv(key)?.0)),
    };
    let check = || {
        let report = store.read(|view| {
            let mut report = Report::default();
            scrub::verify_values(view, kv, &[], Some(&counter), &mut report)?;
            Ok(report)
        });
        report.unwrap().violations.iter().map(|violation| violation.kind).collect::<Vec<_>>()
    };
    store
        .transact(PowerLoss, |txn| {
            for key in ["a", "b"] {
                txn.put_part(kv, &keys::kv("n", key), &Bytes(vec![1; 30_000]))?;
                txn.add(30, KeyWriter::new().str("n"), 1);
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(check(), []);
    engine.plant(Tree::Kv, &keys::kv("n", "a"), Some(b"damaged"));
    assert_eq!(check(), [ViolationKind::Unreadable]);
    engine.plant(Tree::Kv, &keys::kv("n", "a"), None);
    assert_eq!(check(), [ViolationKind::CounterWrong]);
}

#[test]
fn the_digest_is_of_the_data_and_not_of_indexes_counters_or_the_store_itself() {
    let (engine, store) = store();
    insert(&store, &Tag { kind: Some("k".into()), ..tag("a") }).unwrap();
    let before = digest(&*engine).unwrap();
    for tree in [Tree::Index, Tree::Counter, Tree::Meta] {
        engine.plant(tree, b"x", Some(b"y"));
        assert_eq!(digest(&*engine).unwrap(), before);
    }
    // A byte that moves from a key to its value, or to the next tree, is another state.
    let mut seen = vec![before];
    for (tree, key, value) in [(Tree::Kv, &b"ab"[..], &b"c"[..]), (Tree::Kv, b"a", b"bc"), (Tree::History, b"a", b"bc")]
    {
        engine.plant(tree, key, Some(value));
        seen.push(digest(&*engine).unwrap());
        engine.plant(tree, key, None);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4);
}
