//! The plain contract: a map a namespace.

use std::collections::BTreeMap;

use ml_persistence::kv::{KeyValue, KvWrite};
use ml_persistence::{Durability, Json, MlPersistence};
use proptest::prelude::*;

use super::state::{Agreement, agree};

/// One is called like a tree, and one key like a version.
const NAMESPACES: [&str; 2] = ["jobs", "ü"];
const KEYS: [&str; 4] = ["a", "ab", "spam@v1", "\u{10ffff}"];

pub type Values = BTreeMap<(&'static str, &'static str), String>;

#[derive(Debug, Clone)]
pub enum Op {
    Put(Write),
    Delete(usize, usize),
    Batch(Vec<Write>),
    Clear(usize),
}

/// `None` removes the key.
#[derive(Debug, Clone)]
pub struct Write {
    namespace: usize,
    key: usize,
    value: Option<u32>,
}

impl Write {
    fn place(&self) -> (&'static str, &'static str) {
        (NAMESPACES[self.namespace], KEYS[self.key])
    }

    /// Every fifth value is too large for one entry.
    pub fn json(&self) -> Option<Json> {
        let pad = |number: u32| if number.is_multiple_of(5) { 20_000 } else { number as usize % 7 };
        self.value.map(|number| Json::from(serde_json::json!({"n": number, "pad": "x".repeat(pad(number))})))
    }

    pub fn apply(&self, values: &mut Values) {
        match self.json() {
            Some(json) => values.insert(self.place(), json.as_str().to_owned()),
            None => values.remove(&self.place()),
        };
    }

    fn as_kv(&self) -> KvWrite {
        let (namespace, key) = self.place();
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        match self.json() {
            Some(value) => KvWrite::Put { namespace, key, value },
            None => KvWrite::Delete { namespace, key },
        }
    }

    pub fn run(&self, txn: &mut ml_persistence::Transaction<'_>) -> ml_persistence::Result<()> {
        let (namespace, key) = self.place();
        match self.json() {
            Some(value) => txn.kv().put(namespace, key, &value),
            None => txn.kv().delete(namespace, key),
        }
    }
}

pub fn write() -> impl Strategy<Value = Write> {
    let value = prop_oneof![4 => any::<u32>().prop_map(|number| Some(number % 50)), 1 => Just(None)];
    (0..NAMESPACES.len(), 0..KEYS.len(), value).prop_map(|(namespace, key, value)| Write { namespace, key, value })
}

pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => write().prop_map(Op::Put),
        2 => (0..NAMESPACES.len(), 0..KEYS.len()).prop_map(|(namespace, key)| Op::Delete(namespace, key)),
        2 => prop::collection::vec(write(), 1..4).prop_map(Op::Batch),
        1 => (0..NAMESPACES.len()).prop_map(Op::Clear),
    ]
}

pub fn step(db: &MlPersistence, values: &mut Values, op: &Op, durability: Durability) -> Agreement {
    let kv = db.kv().with_durability(durability);
    let told = |outcome: ml_persistence::Result<()>| outcome.map_err(|error| error.to_string());
    match op {
        Op::Put(write) => {
            let (namespace, key) = write.place();
            match write.json() {
                Some(json) => told(kv.put(namespace, key, &json))?,
                None => told(kv.delete(namespace, key))?,
            }
            write.apply(values);
        }
        Op::Delete(namespace, key) => {
            told(kv.delete(NAMESPACES[*namespace], KEYS[*key]))?;
            values.remove(&(NAMESPACES[*namespace], KEYS[*key]));
        }
        Op::Batch(writes) => {
            told(kv.batch(&writes.iter().map(Write::as_kv).collect::<Vec<_>>()))?;
            writes.iter().for_each(|write| write.apply(values));
        }
        Op::Clear(namespace) => {
            let removed = kv.clear(NAMESPACES[*namespace]).map_err(|error| error.to_string())?;
            let before = values.len();
            values.retain(|(in_namespace, _), _| *in_namespace != NAMESPACES[*namespace]);
            agree("removed", &removed, &((before - values.len()) as u64))?;
        }
    }
    Ok(())
}

/// Every way to read.
pub fn compare(db: &MlPersistence, values: &Values) -> Agreement {
    let kv = db.kv();
    for namespace in NAMESPACES {
        let wanted: Vec<(String, String)> = values
            .iter()
            .filter(|((in_namespace, _), _)| *in_namespace == namespace)
            .map(|((_, key), value)| ((*key).to_owned(), value.clone()))
            .collect();
        for prefix in ["", "a"] {
            let wanted: Vec<_> = wanted.iter().filter(|(key, _)| key.starts_with(prefix)).cloned().collect();
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = kv.list(namespace, prefix, after.as_deref(), 2).map_err(|error| error.to_string())?;
                found.extend(page.entries.into_iter().map(|(key, value)| (key, value.as_str().to_owned())));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            agree("kv.list", &found, &wanted)?;
        }
        for key in KEYS {
            let found = kv.get(namespace, key).map_err(|error| error.to_string())?;
            agree("kv.get", &found.as_ref().map(Json::as_str), &values.get(&(namespace, key)).map(String::as_str))?;
        }
        agree("kv.count", &kv.count(namespace).map_err(|error| error.to_string())?, &(wanted.len() as u64))?;
    }
    Ok(())
}
