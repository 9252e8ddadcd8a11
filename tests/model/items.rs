//! A host's collection with an index of every kind and with counters: a map by key.

use std::collections::BTreeMap;

use ml_persistence::{Collection, Durability, ErrorKind, MlPersistence, Query, Record, Schema, Transaction, desc};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::state::{Agreement, agree, same};

const KINDS: [&str; 3] = ["", "a", "b"];
const LABELS: [&str; 3] = ["x", "xy", "z"];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub id: u8,
    pub kind: String,
    pub slot: Option<u8>,
    pub labels: Vec<String>,
    pub score: i16,
    pub pad: String,
}

impl Record for Item {
    const COLLECTION: &'static str = "items";
    type Key = u8;

    fn key(&self) -> u8 {
        self.id
    }

    fn schema() -> Schema<Self> {
        Schema::new()
            .field("kind", |item: &Item| item.kind.clone())
            .field("slot", |item: &Item| item.slot)
            .field("score", |item: &Item| item.score)
            .list_field("labels", |item: &Item| item.labels.clone())
            .index("by_kind", [ml_persistence::asc("kind"), desc("score")])
            .unique_sparse("by_slot", ["slot"])
            .index("by_label", ["labels"])
            .count_by("kinds", ["kind"])
            .count_by("labelled", ["labels"])
            .sum("scores", ["kind"], |item: &Item| i64::from(item.score))
    }
}

/// The records with their revisions.
pub type Items = BTreeMap<u8, (Item, u64)>;

#[derive(Debug, Clone)]
pub enum Op {
    Save(Item),
    Insert(Item),
    /// Over the revision that is there, or over the one before it.
    Update(Item, bool),
    Delete(u8),
    DeleteWhere(usize),
}

pub fn item() -> impl Strategy<Value = Item> {
    let labels = prop::collection::vec(0..LABELS.len(), 0..3);
    let pad = prop_oneof![8 => Just(0usize), 1 => Just(17_000)];
    (0..5u8, 0..KINDS.len(), prop::option::of(0..3u8), labels, -2..3i16, pad).prop_map(
        |(id, kind, slot, labels, score, pad)| Item {
            id,
            kind: KINDS[kind].to_owned(),
            slot,
            labels: labels.into_iter().map(|label| LABELS[label].to_owned()).collect(),
            score,
            pad: "p".repeat(pad),
        },
    )
}

pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => item().prop_map(Op::Save),
        1 => item().prop_map(Op::Insert),
        2 => (item(), any::<bool>()).prop_map(|(item, right)| Op::Update(item, right)),
        2 => (0..5u8).prop_map(Op::Delete),
        1 => (0..KINDS.len()).prop_map(Op::DeleteWhere),
    ]
}

/// Writes a record; answers its new revision.
fn write(items: &mut Items, item: &Item) -> Result<u64, ErrorKind> {
    let taken =
        |(id, (other, _)): (&u8, &(Item, u64))| *id != item.id && item.slot.is_some() && other.slot == item.slot;
    if items.iter().any(taken) {
        return Err(ErrorKind::AlreadyExists);
    }
    let revision = items.get(&item.id).map_or(1, |(_, revision)| revision + 1);
    items.insert(item.id, (item.clone(), revision));
    Ok(revision)
}

/// What saving inside a transaction comes to.
pub fn save(items: &mut Items, item: &Item) -> Result<(), ErrorKind> {
    write(items, item).map(drop)
}

pub fn run_save(txn: &mut Transaction<'_>, item: &Item) -> ml_persistence::Result<()> {
    txn.collection::<Item>()?.save(item.clone()).map(drop)
}

pub fn step(db: &MlPersistence, items: &mut Items, op: &Op, durability: Durability) -> Agreement {
    let collection = db.collection::<Item>().map_err(|error| error.to_string())?.with_durability(durability);
    match op {
        Op::Save(item) => {
            let wanted = write(items, item);
            same("save", collection.save(item.clone()).map(|row| row.revision), &wanted)
        }
        Op::Insert(item) => {
            let wanted = match items.contains_key(&item.id) {
                true => Err(ErrorKind::AlreadyExists),
                false => write(items, item),
            };
            same("insert", collection.insert(item.clone()).map(|row| row.revision), &wanted)
        }
        Op::Update(item, right) => {
            let there = items.get(&item.id).map(|(_, revision)| *revision);
            let expected = there.unwrap_or(1) - u64::from(!right);
            let wanted = match there {
                None => Err(ErrorKind::NotFound),
                Some(_) if !right => Err(ErrorKind::Conflict),
                Some(_) => write(items, item),
            };
            same("update", collection.update(item.clone(), expected).map(|row| row.revision), &wanted)
        }
        Op::Delete(id) => same("delete", collection.delete(id), &Ok(items.remove(id).is_some())),
        Op::DeleteWhere(kind) => {
            let removed = collection.delete_where(&Query::new().eq("kind", KINDS[*kind]).any_index());
            let before = items.len();
            items.retain(|_, (item, _)| item.kind != KINDS[*kind]);
            same("delete_where", removed, &Ok((before - items.len()) as u64))
        }
    }
}

/// All that a query answers, by pages of two.
fn all(collection: &Collection<Item>, query: &Query) -> Result<Vec<(Item, u64)>, String> {
    let (mut rows, mut query) = (Vec::new(), query.clone().limit(2));
    loop {
        let page = collection.list(&query).map_err(|error| error.to_string())?;
        agree("damaged", &page.damaged.len(), &0)?;
        rows.extend(page.rows.into_iter().map(|row| (row.record, row.revision)));
        match page.next {
            Some(next) => query = query.after(next),
            None => return Ok(rows),
        }
    }
}

/// The rows in the order of a key, ties by primary key; backwards all of it turns round.
fn ordered<K: Ord>(items: &Items, keep: impl Fn(&Item) -> bool, key: impl Fn(&Item) -> K) -> Vec<(Item, u64)> {
    let mut rows: Vec<_> = items.values().filter(|(item, _)| keep(item)).cloned().collect();
    rows.sort_by_key(|(item, _)| (key(item), item.id));
    rows
}

/// Every way to read.
pub fn compare(db: &MlPersistence, items: &Items) -> Agreement {
    let collection = db.collection::<Item>().map_err(|error| error.to_string())?;
    let told = |error: ml_persistence::Error| error.to_string();
    agree("items", &all(&collection, &Query::new())?, &items.values().cloned().collect())?;
    agree("items counted", &collection.count().map_err(told)?, &(items.len() as u64))?;
    for id in 0..5u8 {
        let found = collection.get(&id).map_err(told)?.map(|row| (row.record, row.revision));
        agree("item", &found.as_ref(), &items.get(&id))?;
    }
    for kind in KINDS {
        let of_kind = |item: &Item| item.kind == kind;
        let mut wanted = ordered(items, of_kind, |item| std::cmp::Reverse(item.score));
        let query = Query::index("by_kind").eq("kind", kind);
        agree("by_kind", &all(&collection, &query)?, &wanted)?;
        wanted.reverse();
        agree("by_kind, descending", &all(&collection, &query.descending())?, &wanted)?;
        let count = wanted.len() as u64;
        agree("kinds", &collection.count_by("kinds", kind).map_err(told)?, &count)?;
        let sum: i64 = wanted.iter().map(|(item, _)| i64::from(item.score)).sum();
        agree("scores", &collection.sum("scores", kind).map_err(told)?, &sum)?;
    }
    let slots = ordered(items, |item| item.slot.is_some(), |item| item.slot);
    agree("by_slot", &all(&collection, &Query::index("by_slot"))?, &slots)?;
    let mut labelled: BTreeMap<String, i64> = BTreeMap::new();
    for label in LABELS {
        let with = |item: &Item| item.labels.iter().any(|one| one == label);
        let wanted = ordered(items, with, |_| ());
        agree("by_label", &all(&collection, &Query::new().eq("labels", label))?, &wanted)?;
        if !wanted.is_empty() {
            labelled.insert(label.to_owned(), wanted.len() as i64);
        }
    }
    let found = collection.counts::<String>("labelled").map_err(told)?;
    agree("labelled", &found, &labelled.into_iter().collect())?;
    Ok(())
}
