//! The record layer against a small engine. Here: the record that the tests keep, and its schema.

mod damage;
mod large;
mod pages;
mod repair;
mod upkeep;

use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::scrub::{self, Report, ViolationKind};
use super::testing::{TestEngine, store};
use super::*;
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

impl Entity for Tag {
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
        quarantine::verify(view, &mut report)?;
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
