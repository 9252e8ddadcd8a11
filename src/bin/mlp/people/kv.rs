//! `mlp kv …`, and in short `mlp get` and `mlp list`: values of the plain contract.

use ml_persistence::kv::KeyValue;
use ml_persistence::{Error, Json, Result};
use serde::Serialize;

use super::pages::{PAGES, Pages};
use super::{Ask, COMMON, Command, Does, Noun};
use crate::line::{Line, Shape, Wrong};

const GET: Shape = Shape { words: "kv get", operands: "NAMESPACE KEY", about: "one value", flags: &[COMMON] };
const LIST: Shape = Shape {
    words: "kv list",
    operands: "NAMESPACE [PREFIX]",
    about: "keys and values, in key order",
    flags: &[COMMON, PAGES],
};

pub const NOUN: Noun = Noun {
    title: "keys and values",
    commands: &[
        Command { shape: GET, does: Does::Reads(get) },
        Command { shape: LIST, does: Does::Reads(list) },
        Command {
            shape: Shape {
                words: "kv count",
                operands: "NAMESPACE",
                about: "how many keys there are, from a counter",
                flags: &[COMMON],
            },
            does: Does::Reads(count),
        },
        Command { shape: Shape { words: "get", about: "short for kv get", ..GET }, does: Does::Reads(get) },
        Command { shape: Shape { words: "list", about: "short for kv list", ..LIST }, does: Does::Reads(list) },
    ],
};

fn get(line: &mut Line) -> Result<Ask, Wrong> {
    let (namespace, key) = (line.operand("NAMESPACE")?, line.operand("KEY")?);
    #[derive(Serialize)]
    struct OneValue {
        value: Json,
    }
    Ok(Box::new(move |db, out| {
        let value = db.kv().get(&namespace, &key)?;
        let value = value.ok_or_else(|| Error::not_found(format!("namespace {namespace:?}: no key {key:?}")))?;
        let words = value.to_string();
        out.answer(&OneValue { value }, || words).map(|()| true)
    }))
}

fn list(line: &mut Line) -> Result<Ask, Wrong> {
    let (namespace, prefix) = (line.operand("NAMESPACE")?, line.operand_opt().unwrap_or_default());
    let pages = Pages::read(line)?;
    #[derive(Serialize)]
    struct Page {
        entries: Vec<(String, Json)>,
        next: Option<String>,
    }
    Ok(Box::new(move |db, out| {
        pages.walk(|after, limit| {
            let page = db.kv().list(&namespace, &prefix, after, limit)?;
            let next = page.next.clone();
            if out.json {
                out.object(&Page { entries: page.entries, next: page.next })?;
                return Ok(next);
            }
            let rows = page.entries.into_iter().map(|(key, value)| [key, value.to_string()]).collect();
            let nothing = format!("nothing in namespace {namespace:?} begins with {prefix:?}");
            pages.table(out, ["key", "value"], rows, next.as_deref(), &nothing)?;
            Ok(next)
        })
    }))
}

fn count(line: &mut Line) -> Result<Ask, Wrong> {
    let namespace = line.operand("NAMESPACE")?;
    Ok(Box::new(move |db, out| {
        let keys = db.kv().count(&namespace)?;
        out.answer(&serde_json::json!({"keys": keys}), || keys.to_string()).map(|()| true)
    }))
}
