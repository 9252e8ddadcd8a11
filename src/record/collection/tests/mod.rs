//! Collections on the record layer alone, where a test can stand between two steps. Here: the record that they keep,
//! under whichever schema a test chooses.

mod build;
mod crash;
mod definition;
mod ordered;

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use super::*;
use crate::config::Durability::Buffered;
use crate::error::{Error, ErrorKind, Result};
use crate::record::RecordStore;
use crate::record::scrub::{self, Report};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tag {
    name: String,
    kind: u8,
    weight: i64,
    slug: Option<String>,
    labels: Vec<String>,
}

thread_local! {
    /// What [`Tag::schema`] declares: one bit each for three indexes and three counters.
    static MASK: Cell<u8> = const { Cell::new(0) };
}

const INDEXES: [&str; 3] = ["by_kind", "by_slug", "by_label"];
const ALL: u8 = 0b11_1111;

fn tag(name: &str) -> Tag {
    Tag { name: name.to_owned(), kind: 1, weight: 1, slug: None, labels: Vec::new() }
}

impl Record for Tag {
    const COLLECTION: &'static str = "tags";
    type Key = String;

    fn key(&self) -> String {
        self.name.clone()
    }

    fn schema() -> Schema<Self> {
        let mask = MASK.get();
        let mut schema = Schema::new()
            .field("name", |tag: &Tag| tag.name.clone())
            .field("kind", |tag| tag.kind)
            .field("weight", |tag| tag.weight)
            .field("slug", |tag| tag.slug.clone())
            .list_field("labels", |tag| tag.labels.clone());
        let has = |bit: u8| mask & 1 << bit != 0;
        if has(0) {
            schema = schema.index("by_kind", [asc("kind"), desc("weight")]);
        }
        if has(1) {
            schema = schema.unique_sparse("by_slug", ["slug"]);
        }
        if has(2) {
            schema = schema.index("by_label", ["labels", "kind"]);
        }
        if has(3) {
            schema = schema.count_by("kinds", ["kind"]);
        }
        if has(4) {
            schema = schema.sum("weights", ["kind"], |tag| tag.weight);
        }
        if has(5) {
            schema = schema.count_by("labels", ["labels"]);
        }
        schema
    }
}

fn open(store: &RecordStore, mask: u8) -> Collection<Tag> {
    MASK.set(mask);
    store.open_collection::<Tag>(Buffered).unwrap()
}

fn verify(store: &RecordStore) -> Report {
    let verified = store.read(|view| {
        let mut report = Report::default();
        store.collections().iter().try_for_each(|collection| collection.verify(view, &mut report))?;
        scrub::verify_pieces(view, &mut report)?;
        Ok(report)
    });
    verified.unwrap()
}

/// Every row of a query.
fn all(tags: &Collection<Tag>, query: Query) -> Result<Vec<Tag>> {
    let page = tags.list(&query.limit(1_000))?;
    assert!(page.next.is_none() && page.damaged.is_empty());
    Ok(page.rows.into_iter().map(|row| row.record).collect())
}

/// Compares what indexes and counters say with the records themselves; what is under construction says nothing.
fn compare(tags: &Collection<Tag>, mask: u8) {
    let ready = tags.progress().unwrap().ready;
    let records = all(tags, Query::new()).unwrap();
    assert_eq!(tags.count().unwrap(), records.len() as u64);
    let in_use = |bit: u8| mask & 1 << bit != 0;
    let mut expected: [Vec<Tag>; 3] = [records.clone(), records.clone(), records.clone()];
    expected[0].sort_by_key(|tag| (tag.kind, -tag.weight, tag.name.clone()));
    expected[1].retain(|tag| tag.slug.is_some());
    expected[1].sort_by_key(|tag| tag.slug.clone());
    expected[2].retain(|tag| !tag.labels.is_empty());
    expected[2].sort_by_key(|tag| (tag.labels.iter().min().cloned(), tag.kind, tag.name.clone()));
    for (bit, expected) in (0..).zip(expected).filter(|(bit, _)| in_use(*bit)) {
        match all(tags, Query::index(INDEXES[usize::from(bit)])) {
            Ok(found) => assert_eq!(found, expected),
            Err(error) => assert!(!ready && error.kind() == ErrorKind::Unavailable, "{error}"),
        }
    }
    if ready && in_use(4) {
        let mut sums = std::collections::BTreeMap::<u8, i64>::new();
        records.iter().for_each(|tag| *sums.entry(tag.kind).or_default() += tag.weight);
        sums.retain(|_, sum| *sum != 0);
        assert_eq!(tags.counts::<u8>("weights").unwrap(), sums.into_iter().collect::<Vec<_>>());
    }
}

/// Choices that repeat from the same seed.
struct Dice(crate::clock::Ids);

impl Dice {
    fn new(seed: u64) -> Self {
        Dice(crate::clock::Ids::seeded(seed))
    }

    fn below(&self, end: u64) -> u64 {
        self.0.next_u64() % end
    }

    fn tag(&self) -> Tag {
        let name = format!("t{:02}", self.below(30));
        let labels = (0..self.below(3)).map(|_| format!("l{}", self.below(3))).collect();
        let slug = (self.below(2) == 0).then(|| format!("s{name}"));
        Tag { name, kind: self.below(3) as u8, weight: self.below(7) as i64 - 3, slug, labels }
    }

    /// One write of any kind.
    fn write(&self, tags: &Collection<Tag>) {
        let tag = self.tag();
        let written = match self.below(4) {
            0 => tags.delete(tag.name.as_str()).map(|_| ()),
            1 => tags.insert(tag).map(|_| ()),
            _ => tags.save(tag).map(|_| ()),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            written => written.unwrap(),
        }
    }
}

fn kind_of<T>(outcome: Result<T>) -> ErrorKind {
    outcome.err().expect("an error").kind()
}

fn message_of<T>(outcome: Result<T, Error>) -> String {
    outcome.err().expect("an error").to_string()
}
