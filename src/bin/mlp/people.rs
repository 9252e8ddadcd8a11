//! `mlp stats`, `verify`, `get` and `list`: questions that people ask, answered in plain words or as JSON.
//!
//! They open the folder for reading: nothing is created or changed, no epoch is counted.

use std::path::Path;
use std::process::ExitCode;

use ml_persistence::kv::KeyValue;
use ml_persistence::{EngineKind, Error, Json, MlPersistence, Result};
use serde::Serialize;
use serde_json::Value;

use crate::args::{PeopleOptions, Question};
use crate::table::table;
use crate::{engine_kind, say};

/// Answers one question about the store in a folder.
pub fn run(options: &PeopleOptions) -> ExitCode {
    match answer(options) {
        Ok(answer) => match say(&answer.text) {
            ExitCode::SUCCESS if answer.good => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        Err(error) => {
            eprintln!("mlp: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What to print, and whether the exit code should say that all is well.
struct Shown {
    text: String,
    good: bool,
}

fn answer(options: &PeopleOptions) -> Result<Shown> {
    let db = open(&options.data, engine_kind(&options.engine)?)?;
    let shown = ask(&db, options)?;
    db.close()?;
    Ok(shown)
}

fn open(folder: &Path, engine: EngineKind) -> Result<MlPersistence> {
    let shown = folder.display();
    if !folder.exists() {
        return Err(Error::not_found(format!(
            "{shown}: no such folder; `mlp exec --data {shown}` would create a store"
        )));
    }
    if !folder.is_dir() {
        return Err(Error::invalid(format!("{shown}: a file; --data takes the store's folder")));
    }
    if !folder.join("CURRENT").exists() {
        return Err(Error::not_found(format!("{shown}: holds no store (there is no file CURRENT in it)")));
    }
    MlPersistence::builder(folder).engine(engine).read_only(true).open()
}

fn ask(db: &MlPersistence, options: &PeopleOptions) -> Result<Shown> {
    match &options.question {
        Question::Stats => {
            let stats = to_value(&db.stats()?)?;
            let text = if options.json { stats.to_string() } else { numbers(&stats) };
            Ok(Shown { text, good: true })
        }
        Question::Verify => verify(db, options.json),
        Question::Get { namespace, key } => {
            let value = db.kv().get(namespace, key)?;
            let found = value.ok_or_else(|| Error::not_found(format!("namespace {namespace:?}: no key {key:?}")))?;
            let text = if options.json { to_text(&OneValue { value: found })? } else { found.to_string() };
            Ok(Shown { text, good: true })
        }
        Question::List { namespace, prefix, limit } => list(db, namespace, prefix, *limit, options.json),
    }
}

#[derive(Serialize)]
struct OneValue {
    value: Json,
}

fn verify(db: &MlPersistence, json: bool) -> Result<Shown> {
    let report = db.verify()?;
    let good = report.violations_found == 0;
    let text = if json {
        to_text(&report)?
    } else if good {
        format!("sound: {} records, their index entries and counters checked", report.records)
    } else {
        let rows = report.violations.iter().map(|violation| {
            [
                format!("{:?}", violation.kind),
                violation.tree.to_owned(),
                violation.key.clone(),
                violation.detail.clone(),
            ]
        });
        let shown = table(["violation", "tree", "key", "detail"], rows);
        format!("{} violations in {} records\n{shown}", report.violations_found, report.records)
    };
    Ok(Shown { text, good })
}

fn list(db: &MlPersistence, namespace: &str, prefix: &str, limit: usize, json: bool) -> Result<Shown> {
    #[derive(Serialize)]
    struct Page {
        entries: Vec<(String, Json)>,
        next: Option<String>,
    }
    let page = db.kv().list(namespace, prefix, None, limit)?;
    let text = if json {
        to_text(&Page { entries: page.entries, next: page.next })?
    } else if page.entries.is_empty() {
        format!("nothing in namespace {namespace:?} begins with {prefix:?}")
    } else {
        let rows = page.entries.into_iter().map(|(key, value)| [key, value.to_string()]);
        let more = if page.next.is_some() { "\nand more; see --limit" } else { "" };
        format!("{}{more}", table(["key", "value"], rows))
    };
    Ok(Shown { text, good: true })
}

/// Nested numbers as a table of dotted names.
fn numbers(stats: &Value) -> String {
    let mut rows = Vec::new();
    flatten("", stats, &mut rows);
    table(["what", "value"], rows.into_iter())
}

fn flatten(name: &str, value: &Value, rows: &mut Vec<[String; 2]>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{dot}{field}"), value, rows);
            }
        }
        Value::String(text) => rows.push([name.to_owned(), text.clone()]),
        other => rows.push([name.to_owned(), other.to_string()]),
    }
}

fn to_value(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::internal(format!("reply: {error}")))
}

fn to_text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(format!("reply: {error}")))
}
