//! Sabotage of what hosts keep: the same kinds, through the same repair.

use serde::{Deserialize, Serialize};

use super::*;
use crate::record::catalog::COLLECTION_NUMBER_FIRST;
use crate::{Record, Schema};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Post {
    slug: String,
    kind: String,
    short: Option<String>,
    uses: i64,
    body: String,
}

impl Record for Post {
    const COLLECTION: &'static str = "posts";
    type Key = String;

    fn key(&self) -> String {
        self.slug.clone()
    }

    fn schema() -> Schema<Self> {
        Schema::new()
            .field("kind", |post: &Post| post.kind.clone())
            .field("short", |post: &Post| post.short.clone())
            .field("uses", |post: &Post| post.uses)
            .index("by_kind", ["kind", "uses"])
            .unique_sparse("by_short", ["short"])
            .count_by("kinds", ["kind"])
    }
}

fn post(slug: &str) -> Post {
    let (kind, short) = (slug[..1].to_owned(), Some(format!("s-{slug}")));
    Post { slug: slug.to_owned(), kind, short, uses: slug.len() as i64, body: slug.repeat(20_000) }
}

fn with_posts(slugs: &[&str]) -> MlPersistence {
    let db = open(MlPersistence::in_memory());
    let posts = db.collection::<Post>().unwrap();
    slugs.iter().for_each(|slug| drop(posts.save(post(slug)).unwrap()));
    db
}

/// Each number that the store has given out, with what it is for found by trying: entries lie in `index`, sums in
/// `counter`.
fn numbers(db: &MlPersistence, tree: Tree) -> Vec<u32> {
    let with_entries = |number: &u32| Raw(db).first(tree, &keys::index_prefix(*number, &[])).is_some();
    (COLLECTION_NUMBER_FIRST..COLLECTION_NUMBER_FIRST + 8).filter(with_entries).collect()
}

#[test]
fn sabotage_of_a_collection_is_named_and_put_right() {
    type Plant = fn(&Raw<'_>);
    let damages: [(&str, Plant, &[ViolationKind], &[&str]); 7] = [
        (
            "forgotten entries",
            |raw| numbers(raw.0, Tree::Index).iter().for_each(|number| raw.forget(*number)),
            &[EntryMissing],
            &["aa", "ab", "b"],
        ),
        (
            "surplus entries",
            |raw| {
                numbers(raw.0, Tree::Index)
                    .iter()
                    .for_each(|number| raw.surplus(*number, KeyWriter::new().str("zz"), b"b\0\0"));
            },
            &[EntryUnexpected],
            &["aa", "ab", "b"],
        ),
        (
            "drifted counters",
            |raw| numbers(raw.0, Tree::Counter).iter().for_each(|number| raw.drift(*number)),
            &[CounterWrong],
            &["aa", "ab", "b"],
        ),
        (
            "damaged counters",
            |raw| {
                let numbers = numbers(raw.0, Tree::Counter);
                numbers.iter().for_each(|number| raw.flip_first(Tree::Counter, &keys::counter(*number, &[])));
            },
            &[CounterWrong],
            &["aa", "ab", "b"],
        ),
        (
            "a flipped byte",
            |raw| raw.flip(Tree::Records, &keys::collected("posts", &KeyWriter::new().str("b").finish())),
            &[Unreadable, CounterWrong],
            &["aa", "ab"],
        ),
        ("a lost piece", |raw| raw.put(Tree::Blob, &raw.first(Tree::Blob, &[]).unwrap(), None), &[Unreadable], &[]),
        (
            "a row under another key",
            |raw| {
                let of = |slug: &str| keys::collected("posts", &KeyWriter::new().str(slug).finish());
                raw.put(Tree::Records, &of("c"), Some(&raw.get(Tree::Records, &of("b"))));
            },
            &[Unreadable],
            &["aa", "ab", "b"],
        ),
    ];
    for (name, plant, kinds, left) in damages {
        let db = with_posts(&["aa", "ab", "b"]);
        assert_eq!(db.verify().unwrap().violations, [], "{name}: clean before");
        plant(&Raw(&db));
        let found = db.verify().unwrap();
        for kind in kinds {
            assert!(found.violations.iter().any(|violation| violation.kind == *kind), "{name}: {kind:?} in {found:#?}");
        }
        let report = db.repair().unwrap();
        assert_eq!(report.unresolved, [], "{name}");
        assert_eq!(db.verify().unwrap().violations, [], "{name}");
        assert!(db.repair().unwrap().is_clean(), "{name}");
        let posts = db.collection::<Post>().unwrap();
        if left.is_empty() {
            assert_eq!(posts.count().unwrap(), 2, "{name}");
        } else {
            let twin = with_posts(left);
            for tree in [Tree::Index, Tree::Counter] {
                assert_eq!(entries(&db, tree), entries(&twin, tree), "{name}: {}", tree.name());
            }
            assert_eq!(db.digest().unwrap(), twin.digest().unwrap(), "{name}");
        }
        posts.save(post("b")).unwrap();
        posts.save(Post { uses: 9, ..post("aa") }).unwrap();
        assert_eq!(db.verify().unwrap().violations, [], "{name}");
    }
}

#[test]
fn index_entries_of_a_collection_that_nobody_has_opened_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let open_again = || open(MlPersistence::builder(folder.path()).engine(EngineKind::Memory));
    let db = open_again();
    db.collection::<Post>().unwrap().save(post("b")).unwrap();
    let before = entries(&db, Tree::Index);
    drop(db);
    let db = open_again();
    assert_eq!(db.verify().unwrap().violations, []);
    assert!(db.repair().unwrap().is_clean());
    assert_eq!(entries(&db, Tree::Index), before);
    db.collection::<Post>().unwrap();
    assert_eq!(db.verify().unwrap().violations, []);
}

#[test]
fn damage_in_a_collection_that_nobody_has_opened_is_reported_and_mended_once_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let open_again = || open(MlPersistence::builder(folder.path()).engine(EngineKind::Memory));
    let db = open_again();
    let small = |slug: &str| Post { body: String::new(), ..post(slug) };
    ["a", "b", "c"].iter().for_each(|slug| drop(db.collection::<Post>().unwrap().save(small(slug)).unwrap()));
    let key = keys::collected("posts", &KeyWriter::new().str("b").finish());
    Raw(&db).flip(Tree::Records, &key);
    drop(db);
    let db = open_again();
    let kinds = |db: &MlPersistence| -> Vec<_> {
        db.verify().unwrap().violations.iter().map(|found| (found.kind, found.tree)).collect()
    };
    assert_eq!(kinds(&db), [(ViolationKind::Unreadable, "records")]);
    let repaired = db.repair().unwrap();
    assert_eq!((repaired.unresolved_found, repaired.quarantined_found), (1, 0));
    assert_eq!(kinds(&db), [(ViolationKind::Unreadable, "records")], "left where it lies");
    let posts = db.collection::<Post>().unwrap();
    assert_eq!(db.repair().unwrap().quarantined_found, 1);
    assert_eq!(kinds(&db), []);
    assert_eq!(posts.count().unwrap(), 2);
}

#[test]
fn a_damaged_definition_of_one_collection_stops_neither_verify_nor_repair_of_the_rest() {
    let db = with_posts(&["a", "b"]);
    populate(&db, true);
    Raw(&db).flip_first(Tree::Meta, &keys::meta("collection", KeyWriter::new()));
    let jobs_entries = entries(&db, Tree::Jobs).len();
    let found = db.verify().unwrap();
    assert!(found.violations.iter().any(|found| found.kind == ViolationKind::Unreadable && found.tree == "meta"));
    let records_seen = found.records;
    assert!(records_seen as usize >= jobs_entries);
    // Something else is wrong beside it, and is put right all the same.
    Raw(&db).put(Tree::Index, &keys::index_entry(9_999, &[1], Some(b"x")).unwrap(), Some(b""));
    let repaired = db.repair().unwrap();
    assert!(repaired.unresolved_found >= 1);
    assert_eq!(repaired.entries_removed, 1);
}

#[test]
fn a_hundred_thousand_records_are_repaired_page_by_page() {
    let records = 100_000u32;
    let db = open(MlPersistence::in_memory());
    let kv = db.kv().with_durability(Durability::Buffered);
    let value = Json::from(json!(1));
    for batch in 0..records / 1_000 {
        let put = |n: u32| crate::kv::KvWrite::Put {
            namespace: "n".to_owned(),
            key: format!("{:06}", batch * 1_000 + n),
            value: value.clone(),
        };
        kv.batch(&(0..1_000).map(put).collect::<Vec<_>>()).unwrap();
    }
    let raw = Raw(&db);
    for n in (0..records).step_by(10_000) {
        raw.flip(Tree::Kv, &keys::kv("n", &format!("{n:06}")));
    }
    let (mut calls, mut last) = (0u64, 0);
    let report = db.repair_with(|progress| {
        assert!(progress.looked_at - last <= 256, "never more than a page between two calls");
        (calls, last) = (calls + 1, progress.looked_at);
        ControlFlow::Continue(())
    });
    let report = report.unwrap();
    assert_eq!((report.quarantined_found, report.counters), (10, 0));
    assert!(calls > u64::from(records) / 256, "{calls}");
    assert_eq!(db.kv().count("n").unwrap(), u64::from(records) - 10);
    assert_eq!(db.verify().unwrap().violations, []);
}
