//! `mlp stats`: the store in plain numbers.

use ml_persistence::{Error, Result};
use serde_json::Value;

use super::{Ask, COMMON, Command, Does, Noun};
use crate::line::{Line, Shape, Wrong};
use crate::table::table;

pub const NOUN: Noun = Noun {
    title: "the store",
    commands: &[Command {
        shape: Shape { words: "stats", operands: "", about: "sizes, counts, syncs, queues", flags: &[COMMON] },
        does: Does::Reads(stats),
    }],
};

fn stats(_: &mut Line) -> Result<Ask, Wrong> {
    Ok(Box::new(|db, out| {
        let stats = db.stats()?;
        let value = serde_json::to_value(&stats).map_err(|error| Error::internal(format!("stats: {error}")))?;
        out.answer(&stats, || numbers(&value)).map(|()| true)
    }))
}

/// Nested numbers as a table of dotted names. Lists, which are histograms, are for JSON.
fn numbers(stats: &Value) -> String {
    let mut rows = Vec::new();
    flatten("", stats, &mut rows);
    table(["what", "value"], rows)
}

fn flatten(name: &str, value: &Value, rows: &mut Vec<[String; 2]>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{dot}{field}"), value, rows);
            }
        }
        Value::Array(_) => {}
        Value::Null => rows.push([name.to_owned(), String::new()]),
        Value::Bool(yes) => rows.push([name.to_owned(), if *yes { "yes" } else { "no" }.to_owned()]),
        Value::String(text) => rows.push([name.to_owned(), text.clone()]),
        other => rows.push([name.to_owned(), other.to_string()]),
    }
}
