//! The record layer against a small engine: upkeep compared with a model, large values, staging, and a scrub that
//! finds each kind of planted damage.

use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::scrub::{self, Report, ViolationKind};
use super::testing::{TestEngine, store};
use super::*;
use crate::clock::Ids;
use crate::codec::{Bytes, Part};
use crate::config::Durability::{Buffered, PowerLoss};
use crate::engine::{Direction, KeyRange, Tree, counter_value};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyReader, KeyWriter};

const TAG: Part = Part { tree: Tree::Records, tag: 901, version: 1 };
const LEASE: Part = Part { tree: Tree::Records, tag: 902, version: 1 };

/// A record of two parts: the tag itself, and who holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tag {
    name: String,
    kind: Option<String>,
    weight: i64,
    slug: Option<String>,
    note: Bytes,
    revision: u64,
    #[serde(skip)]
    holder: Option<String>,
}

fn tag(name: &str) -> Tag {
    Tag { name: name.to_owned(), kind: None, weight: 0, slug: None, note: Bytes::default(), revision: 0, holder: None }
}

fn lease_key(key: &[u8]) -> Vec<u8> {
    [key, b":lease"].concat()
}

impl Record for Tag {
    fn schema() -> &'static Schema<Self> {
        &SCHEMA
    }

    fn key(&self) -> Vec<u8> {
        self.name.as_bytes().to_vec()
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn load(key: &[u8], parts: &mut PartReader<'_>) -> Result<Option<Self>> {
        let Some(mut tag) = parts.get::<Tag>(TAG, key)? else { return Ok(None) };
        tag.holder = parts.get(LEASE, &lease_key(key))?;
        Ok(Some(tag))
    }

    fn save(&self, old: Option<&Self>, parts: &mut PartWriter<'_>) -> Result<()> {
        parts.put(TAG, &self.key(), self)?;
        match (&self.holder, old.and_then(|old| old.holder.as_ref())) {
            (new, old) if new.as_ref() == old => Ok(()),
            (Some(holder), _) => parts.put(LEASE, &lease_key(&self.key()), holder),
            (None, _) => parts.delete(LEASE, &lease_key(&self.key())),
        }
    }

    fn erase(&self, parts: &mut PartWriter<'_>) -> Result<()> {
        parts.delete(TAG, &self.key())?;
        parts.delete(LEASE, &lease_key(&self.key()))
    }
}

static SCHEMA: Schema<Tag> = Schema {
    name: "tag",
    primary: TAG,
    owns: |key| !key.ends_with(b":lease"),
    indexes: &[BY_KIND, BY_SLUG, BY_HOLDER],
    counters: &[BY_KIND_COUNT, WEIGHTS],
};
const BY_KIND: Index<Tag> = Index {
    number: 901,
    name: "tags by kind",
    unique: false,
    entries: |tag, entries| {
        if let Some(kind) = &tag.kind {
            entries.push(KeyWriter::new().str(kind).descending().i64(tag.weight));
        }
    },
};
const BY_SLUG: Index<Tag> = Index {
    number: 902,
    name: "tags by slug",
    unique: true,
    entries: |tag, entries| {
        if let Some(slug) = &tag.slug {
            entries.push(KeyWriter::new().str(slug));
        }
    },
};
const BY_HOLDER: Index<Tag> = Index {
    number: 903,
    name: "tags by holder",
    unique: false,
    entries: |tag, entries| {
        if let Some(holder) = &tag.holder {
            entries.push(KeyWriter::new().str(holder));
        }
    },
};
const BY_KIND_COUNT: Counter<Tag> = Counter {
    number: 901,
    name: "tags by kind",
    sums: |tag, sums| sums.add(KeyWriter::new().str(tag.kind.as_deref().unwrap_or("")), 1),
};
const WEIGHTS: Counter<Tag> =
    Counter { number: 902, name: "weights", sums: |tag, sums| sums.add(KeyWriter::new(), tag.weight) };

fn kind_of<T>(outcome: Result<T>) -> ErrorKind {
    outcome.err().expect("an error").kind()
}

fn verify(store: &RecordStore) -> Report {
    let verified = store.read(|view| {
        let mut report = Report::default();
        scrub::verify::<Tag>(view, &mut report)?;
        scrub::verify_pieces(view, &mut report)?;
        Ok(report)
    });
    verified.unwrap()
}

fn insert(store: &RecordStore, tag: &Tag) -> Result<Tag> {
    store.transact(PowerLoss, |txn| txn.insert(tag.clone()))
}

fn change(store: &RecordStore, name: &str, how: impl Fn(&mut Tag)) -> Result<Tag> {
    store.transact(PowerLoss, |txn| {
        let old = txn.get::<Tag>(name.as_bytes())?.ok_or_else(|| Error::not_found(name))?;
        let mut new = old.clone();
        how(&mut new);
        txn.update(&old, new)
    })
}

// ---- upkeep ----

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
    assert_eq!(verify(&store).violations, []);
}

#[test]
fn a_write_that_fails_half_way_fails_the_commit_even_if_the_body_swallows_it() {
    let (engine, store) = store();
    // The record's key fits, its index entry does not.
    let long = Tag { kind: Some("k".repeat(600)), ..tag(&"n".repeat(600)) };
    let outcome = store.transact(PowerLoss, |txn| {
        assert_eq!(kind_of(txn.insert(long.clone())), ErrorKind::Invalid);
        Ok(())
    });
    assert_eq!(kind_of(outcome), ErrorKind::Invalid);
    assert_eq!(engine.entries(Tree::Records), []);
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

// ---- pages ----

#[test]
fn pages_of_an_index_meet_without_gap_or_overlap_in_both_directions() {
    let (_, store) = store();
    for number in 0..20 {
        let kind = if number % 2 == 0 { "even" } else { "odd" };
        insert(&store, &Tag { kind: Some(kind.into()), weight: number / 4, ..tag(&format!("t{number:02}")) }).unwrap();
    }
    for direction in [Direction::Ascending, Direction::Descending] {
        for limit in [1, 2, 3, 7, 10, 50] {
            let names = store.read(|view| {
                let (mut names, mut after) = (Vec::new(), None);
                loop {
                    let odd = KeyWriter::new().str("odd");
                    let page = view.index_page(&BY_KIND, odd, direction, after.as_deref(), limit)?;
                    assert!(page.entries.len() <= limit);
                    names.extend(page.entries.into_iter().map(|entry| String::from_utf8(entry.primary).unwrap()));
                    after = page.resume;
                    if after.is_none() {
                        return Ok(names);
                    }
                }
            });
            let mut expected = ["t17", "t19", "t13", "t15", "t09", "t11", "t05", "t07", "t01", "t03"];
            if direction == Direction::Descending {
                expected.reverse();
            }
            assert_eq!(names.unwrap(), expected);
        }
    }
}

#[test]
fn bounds_of_a_range_take_in_or_leave_out_every_entry_that_begins_with_them() {
    let (_, store) = store();
    for (name, kind, weight) in [("1", "a", 0), ("2", "a", 7), ("3", "b", 0), ("4", "c", 0), ("5", "c", 1)] {
        insert(&store, &Tag { kind: Some(kind.into()), weight, ..tag(name) }).unwrap();
    }
    let names = |start: Bound<&str>, end: Bound<&str>| {
        let at = |kind: &str| KeyWriter::new().str(kind).finish();
        let range = KeyRange { start: start.map(at), end: end.map(at) };
        let page = store.read(|view| view.index_range(&BY_KIND, range.clone(), Direction::Ascending, None, 100));
        page.unwrap().entries.iter().map(|entry| String::from_utf8(entry.primary.clone()).unwrap()).collect::<String>()
    };
    use Bound::*;
    assert_eq!(names(Unbounded, Unbounded), "21354");
    assert_eq!(names(Included("a"), Included("b")), "213");
    assert_eq!(names(Excluded("a"), Excluded("c")), "3");
    assert_eq!(names(Excluded("a"), Included("c")), "354");
    assert_eq!(names(Included("c"), Unbounded), "54");
    assert_eq!(names(Excluded("c"), Excluded("a")), "");
}

#[test]
fn an_entry_of_another_query_does_not_continue_this_one() {
    let (_, store) = store();
    insert(&store, &Tag { kind: Some("a".into()), ..tag("1") }).unwrap();
    let outcome = store.read(|view| {
        let page = view.index_page(&BY_KIND, KeyWriter::new(), Direction::Ascending, None, 1)?;
        let parts = &page.entries[0].parts;
        assert_eq!(KeyReader::new(parts).str()?, "a");
        let b = KeyWriter::new().str("b");
        view.index_page(&BY_KIND, b, Direction::Ascending, Some(&page.entries[0].entry), 1)
    });
    assert_eq!(kind_of(outcome), ErrorKind::Invalid);
}

// ---- large values ----

#[test]
fn a_large_value_comes_back_whole_and_its_pieces_go_with_it() {
    let (engine, store) = store();
    let large = |byte, length| Bytes((0..length).map(|place| byte ^ place as u8).collect());
    for (value, pieces) in [(large(1, 16_000), 0), (large(2, 16_384), 2), (large(3, 1 << 20), 65), (large(4, 5), 0)] {
        store.transact(PowerLoss, |txn| txn.put_part(TAG, b"k", &value)).unwrap();
        assert_eq!(engine.entries(Tree::Blob).len(), pieces);
        assert!(store.read(|view| view.get_part::<Bytes>(TAG, b"k")).unwrap() == Some(value.clone()));
        assert!(store.transact(PowerLoss, |txn| txn.get_part::<Bytes>(TAG, b"k")).unwrap() == Some(value));
    }
    store.transact(PowerLoss, |txn| txn.put_part(TAG, b"k", &large(5, 100_000))).unwrap();
    store.transact(PowerLoss, |txn| txn.delete_part(TAG, b"k")).unwrap();
    assert_eq!((engine.entries(Tree::Blob), engine.entries(Tree::Records)), (vec![], vec![]));
    let too_large = Bytes(vec![0; (16 << 20) + 2_000]);
    assert_eq!(kind_of(store.transact(PowerLoss, |txn| txn.put_part(TAG, b"k", &too_large))), ErrorKind::Invalid);
}

#[test]
fn a_piece_that_is_missing_damaged_swapped_or_too_many_is_corrupt() {
    let (engine, store) = store();
    let value = Bytes((0..60_000u32).map(|place| (place / 256) as u8).collect());
    store.transact(PowerLoss, |txn| txn.put_part(TAG, b"k", &value)).unwrap();
    let pieces = engine.entries(Tree::Blob);
    assert_eq!(pieces.len(), 4);
    let read = || store.read(|view| view.get_part::<Bytes>(TAG, b"k"));
    let mut damaged = pieces[2].1.to_vec();
    damaged[100] ^= 1;
    for planted in [None, Some(&damaged[..]), Some(&pieces[1].1[..]), Some(b""), Some(&[0; 20_000][..])] {
        engine.plant(Tree::Blob, &pieces[2].0, planted);
        assert_eq!(kind_of(read()), ErrorKind::Corrupt);
        assert_eq!(kind_of(store.transact(PowerLoss, |txn| txn.get_part::<Bytes>(TAG, b"k"))), ErrorKind::Corrupt);
        engine.plant(Tree::Blob, &pieces[2].0, Some(&pieces[2].1));
    }
    assert!(read().unwrap() == Some(value));
}

// ---- staging ----

#[test]
fn a_staged_value_is_nowhere_until_its_commit_and_everywhere_behind_it() {
    let (engine, store) = store();
    let digest_of = || digest(&*engine).unwrap();
    let empty = digest_of();
    for length in [10usize, 3 << 20] {
        let value = Bytes(vec![6; length]);
        let staged = store.stage(TAG, b"k", &value).unwrap();
        assert_eq!((digest_of(), verify(&store).violations), (empty.clone(), vec![]));
        let failed = store.transact(PowerLoss, |txn| {
            txn.put_staged(&staged)?;
            Err::<(), _>(Error::conflict("no"))
        });
        assert_eq!(kind_of(failed), ErrorKind::Conflict);
        assert!(store.read(|view| view.get_part::<Bytes>(TAG, b"k")).unwrap().is_none());
        store.transact(PowerLoss, |txn| txn.put_staged(&staged)).unwrap();
        assert!(engine.last_writes().len() <= 2, "the commit itself is small");
        assert!(store.read(|view| view.get_part::<Bytes>(TAG, b"k")).unwrap() == Some(value));
        assert_eq!(store.sweep_staged().unwrap(), 0, "what was put is not staged any more");
        assert_ne!(digest_of(), empty);
        store.transact(PowerLoss, |txn| txn.delete_part(TAG, b"k")).unwrap();
        assert_eq!(digest_of(), empty);
    }
}

#[test]
fn staged_values_that_were_never_put_are_swept_and_then_refused() {
    let (engine, store) = store();
    let stage = |name: &[u8]| store.stage(TAG, name, &Bytes(vec![1; 50_000])).unwrap();
    let (lost, given_up) = (stage(b"a"), stage(b"b"));
    assert_eq!(store.read(|view| view.staged_values()).unwrap(), 2);
    store.discard_staged(given_up).unwrap();
    assert_eq!(engine.entries(Tree::Blob).len(), 4);
    assert_eq!(store.sweep_staged().unwrap(), 1);
    assert_eq!((engine.entries(Tree::Blob), engine.entries(Tree::Meta)), (vec![], vec![]));
    assert_eq!(kind_of(store.transact(Buffered, |txn| txn.put_staged(&lost))), ErrorKind::Internal);
}

// ---- scrub ----

#[test]
fn each_kind_of_planted_damage_is_found_and_nothing_is_changed() {
    use ViolationKind::*;
    type Damage = fn(&TestEngine);
    let entry = |index: u32, engine: &TestEngine| {
        let prefix = keys::index_prefix(index, &[]);
        engine.entries(Tree::Index).into_iter().find(|(key, _)| key.starts_with(&prefix)).unwrap()
    };
    let _ = entry;
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
    let group: fn(&[u8]) -> Result<KeyWriter> = |key| Ok(KeyWriter::new().str(&keys::parse_kv(key)?.0));
    let check = || {
        let report = store.read(|view| {
            let mut report = Report::default();
            scrub::verify_values(view, kv, |_| true, Some((30, "kv entries", group)), &mut report)?;
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
fn the_digest_is_of_the_data_and_not_of_indexes_counters_or_the_ids_source() {
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
    assert_ne!(Ids::seeded(1).next_u128(), Ids::seeded(2).next_u128());
}
