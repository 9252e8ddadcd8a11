//! Records, indexes and counters, compared with a model after every transaction; what a transaction refuses.

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Insert(Tag),
    Put(Tag),
    Update(Tag),
    Delete(String),
}

fn tags() -> impl Strategy<Value = Tag> {
    let short = || prop::option::of(prop::sample::select(vec!["", "a", "a\0", "b"]));
    let name = prop::sample::select(vec!["p", "q", "pq"]);
    let note = prop_oneof![4 => Just(3usize), 1 => Just(40_000)];
    (name, short(), -2i64..3, short(), short(), note).prop_map(|(name, kind, weight, slug, holder, note)| Tag {
        kind: kind.map(str::to_owned),
        weight,
        slug: slug.map(str::to_owned),
        holder: holder.map(str::to_owned),
        note: Bytes(vec![5; note]),
        ..tag(name)
    })
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        tags().prop_map(Op::Insert),
        tags().prop_map(Op::Put),
        tags().prop_map(Op::Update),
        tags().prop_map(|tag| Op::Delete(tag.name)),
    ]
}

/// What the operation should do to the model, or the kind of its refusal.
fn apply_to_model(model: &mut BTreeMap<String, Tag>, op: &Op) -> std::result::Result<(), ErrorKind> {
    let (new, must_exist) = match op {
        Op::Delete(name) => return model.remove(name).map(|_| ()).ok_or(ErrorKind::NotFound),
        Op::Insert(new) => (new, Some(false)),
        Op::Update(new) => (new, Some(true)),
        Op::Put(new) => (new, None),
    };
    let old = model.get(&new.name);
    match must_exist {
        Some(true) if old.is_none() => return Err(ErrorKind::NotFound),
        Some(false) if old.is_some() => return Err(ErrorKind::AlreadyExists),
        _ => {}
    }
    if new.slug.is_some() && model.values().any(|other| other.name != new.name && other.slug == new.slug) {
        return Err(ErrorKind::AlreadyExists);
    }
    let revision = old.map_or(1, |old| old.revision + 1);
    model.insert(new.name.clone(), Tag { revision, ..new.clone() });
    Ok(())
}

fn apply(txn: &mut Transaction<'_>, op: &Op) -> Result<()> {
    let found =
        |txn: &mut Transaction<'_>, name: &str| txn.get::<Tag>(name.as_bytes())?.ok_or_else(|| Error::not_found(name));
    match op {
        Op::Insert(tag) => txn.insert(tag.clone()).map(|_| ()),
        Op::Put(tag) => txn.put(tag.clone()).map(|_| ()),
        Op::Update(tag) => {
            let old = found(txn, &tag.name)?;
            txn.update(&old, tag.clone()).map(|_| ())
        }
        Op::Delete(name) => {
            let old = found(txn, name)?;
            txn.delete(&old)
        }
    }
}

fn compare_with_model(store: &RecordStore, engine: &TestEngine, model: &BTreeMap<String, Tag>) {
    let report = verify(store);
    assert_eq!((report.records, report.violations), (model.len() as u64, Vec::new()));
    let check = |view: &View<'_>| {
        for name in ["p", "q", "pq"] {
            assert_eq!(view.get::<Tag>(name.as_bytes())?.as_ref(), model.get(name));
        }
        let mut by_kind: Vec<_> = model.values().filter(|tag| tag.kind.is_some()).collect();
        by_kind.sort_by_key(|tag| (tag.kind.clone(), -tag.weight, tag.name.clone()));
        let page = view.index_page(&BY_KIND, KeyWriter::new(), Direction::Ascending, None, 10_000)?;
        let names: Vec<_> = page.entries.iter().map(|entry| entry.primary.clone()).collect();
        assert_eq!(names, by_kind.iter().map(|tag| tag.key()).collect::<Vec<_>>());
        for tag in model.values().filter(|tag| tag.slug.is_some()) {
            let slug = KeyWriter::new().str(tag.slug.as_deref().unwrap_or_default());
            assert_eq!(view.find_unique(&BY_SLUG, slug)?, Some(tag.key()));
        }
        let weights: i64 = model.values().map(|tag| tag.weight).sum();
        assert_eq!(view.count(&WEIGHTS, KeyWriter::new())?, weights);
        let mut counts = BTreeMap::<String, i64>::new();
        for tag in model.values() {
            *counts.entry(tag.kind.clone().unwrap_or_default()).or_default() += 1;
        }
        let found = view.counts(&BY_KIND_COUNT, KeyWriter::new())?;
        let found: BTreeMap<String, i64> =
            found.iter().map(|(group, sum)| (KeyReader::new(group).str().unwrap(), *sum)).collect();
        assert_eq!(found, counts);
        Ok(())
    };
    store.read(check).unwrap();
    let large = model.values().filter(|tag| tag.note.0.len() == 40_000).count();
    assert_eq!(engine.entries(Tree::Blob).len(), large * 3, "pieces of overwritten values are gone");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn records_indexes_and_counters_agree_with_a_model_after_every_transaction(
        transactions in prop::collection::vec(prop::collection::vec(ops(), 1..4), 1..8)
    ) {
        let (engine, store) = store();
        let mut model = BTreeMap::new();
        for ops in transactions {
            // A refused operation is refused alone: the body goes on, and the others count.
            let outcomes = store.transact(PowerLoss, |txn| {
                Ok(ops.iter().map(|op| apply(txn, op).map_err(|error| error.kind())).collect::<Vec<_>>())
            });
            let expected: Vec<_> = ops.iter().map(|op| apply_to_model(&mut model, op)).collect();
            prop_assert_eq!(outcomes.unwrap(), expected);
            compare_with_model(&store, &engine, &model);
        }
    }
}

#[test]
fn only_what_changed_is_written() {
    let (engine, store) = store();
    let first = Tag { kind: Some("k".into()), slug: Some("s".into()), holder: Some("h".into()), ..tag("a") };
    insert(&store, &first).unwrap();
    assert_eq!(engine.last_writes().len(), 2 + 3 + 1, "two parts, three entries, one counter that is not 0");
    change(&store, "a", |tag| tag.note = Bytes(vec![1])).unwrap();
    let places: Vec<_> = engine.last_writes().into_keys().collect();
    assert_eq!(places, [(Tree::Records, b"a".to_vec())]);
    change(&store, "a", |tag| tag.weight = 4).unwrap();
    let count = |tree| engine.last_writes().keys().filter(|(of, _)| *of == tree).count();
    assert_eq!((count(Tree::Records), count(Tree::Index), count(Tree::Counter)), (1, 2, 1));
}

#[test]
fn a_taken_place_in_a_unique_index_names_index_and_holder() {
    let (_, store) = store();
    insert(&store, &Tag { slug: Some("s".into()), ..tag("holder-1") }).unwrap();
    let error = insert(&store, &Tag { slug: Some("s".into()), ..tag("late") }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("holder-1") && error.to_string().contains("tags by slug"), "{error}");
    // Saving the holder over itself is fine, and a place given up is free in the same transaction.
    change(&store, "holder-1", |tag| tag.weight = 1).unwrap();
    let moved = store.transact(PowerLoss, |txn| {
        let old = txn.get::<Tag>(b"holder-1")?.unwrap();
        txn.delete(&old)?;
        txn.insert(Tag { slug: Some("s".into()), ..tag("late") })
    });
    assert_eq!(moved.unwrap().revision, 1);
    assert_eq!(verify(&store).violations, []);
}

#[test]
fn an_old_record_that_this_transaction_did_not_read_is_refused() {
    let (_, store) = store();
    let stale = insert(&store, &tag("a")).unwrap();
    change(&store, "a", |tag| tag.weight = 9).unwrap();
    let unread = store.transact(PowerLoss, |txn| txn.update(&stale, stale.clone()));
    assert_eq!(kind_of(unread), ErrorKind::Internal);
    let outdated = store.transact(PowerLoss, |txn| {
        txn.get::<Tag>(b"a")?;
        txn.delete(&stale)
    });
    assert_eq!(kind_of(outdated), ErrorKind::Internal);
    let twice = store.transact(PowerLoss, |txn| {
        let old = txn.get::<Tag>(b"a")?.unwrap();
        txn.delete(&old)?;
        txn.delete(&old)
    });
    assert_eq!(kind_of(twice), ErrorKind::Internal);
    assert_eq!(verify(&store).violations, []);
}

#[test]
fn a_write_that_fails_half_way_fails_the_commit_even_if_the_body_swallows_it() {
    let (engine, store) = store();
    // The record's key fits, that of its lease does not, which only its removal names.
    let long = tag(&"n".repeat(1_020));
    insert(&store, &long).unwrap();
    let before = engine.entries(Tree::Records);
    let outcome = store.transact(PowerLoss, |txn| {
        let old = txn.get::<Tag>(&long.key())?.expect("it was inserted");
        assert_eq!(kind_of(txn.delete(&old)), ErrorKind::Invalid);
        Ok(())
    });
    assert_eq!(kind_of(outcome), ErrorKind::Invalid);
    assert_eq!(engine.entries(Tree::Records), before);
}

#[test]
fn values_that_leave_no_room_in_an_index_or_a_counter_are_refused_alone_and_by_name() {
    let (_, store) = store();
    let refused = |tag: Tag| {
        let outcome = store.transact(PowerLoss, |txn| {
            let error = txn.insert(tag.clone()).unwrap_err();
            txn.insert(self::tag("beside"))?;
            Ok(error)
        });
        change(&store, "beside", |_| {}).unwrap();
        store.transact(PowerLoss, |txn| txn.get::<Tag>(b"beside")?.map_or(Ok(()), |old| txn.delete(&old))).unwrap();
        outcome.unwrap()
    };
    let error = refused(Tag { kind: Some("k".repeat(600)), ..tag(&"n".repeat(600)) });
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("index tags by kind"), "{error}");
    let error = refused(Tag { slug: Some("s".repeat(1_100)), ..tag("a") });
    assert!(error.to_string().contains("index tags by slug"), "{error}");
    assert_eq!(verify(&store).records, 0);
}

#[test]
fn sums_that_cancel_out_are_not_written_and_one_beyond_64_bits_fails_the_commit() {
    let (engine, store) = store();
    store
        .transact(PowerLoss, |txn| {
            txn.add(30, KeyWriter::new().str("n"), 5);
            txn.add(30, KeyWriter::new().str("n"), -5);
            txn.add(30, KeyWriter::new().str("m"), 2);
            Ok(())
        })
        .unwrap();
    assert_eq!(engine.last_writes().len(), 1);
    assert_eq!(store.read(|view| view.sum(30, KeyWriter::new().str("m"))).unwrap(), 2);
    let over = store.transact(PowerLoss, |txn| {
        txn.add(30, KeyWriter::new(), i64::MAX);
        txn.add(30, KeyWriter::new(), 1);
        Ok(())
    });
    assert_eq!(kind_of(over), ErrorKind::Invalid);
}

#[test]
fn a_body_that_runs_twice_gets_the_same_time_and_the_same_distinct_ids() {
    let (_, store) = store();
    let mut runs = Vec::new();
    store
        .transact(PowerLoss, |txn| {
            runs.push((txn.now_ms(), (0..100).map(|_| txn.fresh_id()).collect::<Vec<_>>()));
            Ok(())
        })
        .unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0], runs[1]);
    let later = store.transact(PowerLoss, |txn| Ok((0..100).map(|_| txn.fresh_id()).collect::<Vec<_>>())).unwrap();
    let all: std::collections::HashSet<u128> = runs[0].1.iter().chain(&later).copied().collect();
    assert_eq!(all.len(), 200);
}
