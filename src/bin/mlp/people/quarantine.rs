//! `mlp quarantine …`: what repair has set aside because it could not be read, byte for byte.

use std::fmt::Write;

use ml_persistence::{Error, MlPersistence, Quarantined, QuarantinedValue, Result};
use serde::Serialize;
use serde_json::json;

use super::agree::{Plan, YES};
use super::pages::{PAGES, Pages};
use super::{Ask, COMMON, Command, Destroy, Does, Noun};
use crate::line::{Line, Shape, Wrong};
use crate::table::facts;
use crate::time;

/// How many of its bytes a person is shown.
const BYTES_SHOWN: usize = 40;

pub const NOUN: Noun = Noun {
    title: "what repair has set aside",
    commands: &[
        Command {
            shape: Shape {
                words: "quarantine list",
                operands: "",
                about: "values that could not be read, by tree and time",
                flags: &[PAGES, COMMON],
            },
            does: Does::Reads(list),
        },
        Command {
            shape: Shape {
                words: "quarantine show",
                operands: "ID",
                about: "one of them; with --json all of its bytes, in hexadecimal",
                flags: &[COMMON],
            },
            does: Does::Reads(show),
        },
        Command {
            shape: Shape {
                words: "quarantine discard",
                operands: "ID",
                about: "remove one of them for good",
                flags: &[YES, COMMON],
            },
            does: Does::Destroys(discard),
        },
    ],
};

fn list(line: &mut Line) -> Result<Ask, Wrong> {
    let pages = Pages::read(line)?;
    Ok(Box::new(move |db, out| {
        pages.walk(|after, limit| {
            let page = db.quarantine(after, limit)?;
            if out.json {
                out.object(&page)?;
                return Ok(page.next);
            }
            let rows = page.entries.iter().map(row).collect();
            let header = ["id", "tree", "key", "bytes", "set aside at", "why"];
            pages.table(out, header, rows, page.next.as_deref(), "nothing is in quarantine")?;
            Ok(page.next)
        })
    }))
}

fn row(value: &Quarantined) -> [String; 6] {
    [
        value.id.clone(),
        value.tree.to_owned(),
        value.key.clone(),
        value.bytes.to_string(),
        time::shown(value.at),
        value.reason.clone(),
    ]
}

fn existing(db: &MlPersistence, id: &str) -> Result<QuarantinedValue> {
    db.quarantined(id)?.ok_or_else(|| Error::not_found(format!("quarantine: there is no {id}")))
}

fn show(line: &mut Line) -> Result<Ask, Wrong> {
    let id = line.operand("ID")?;
    #[derive(Serialize)]
    struct Shown<'a> {
        #[serde(flatten)]
        entry: &'a Quarantined,
        stored: String,
        pieces: Vec<Option<String>>,
    }
    Ok(Box::new(move |db, out| {
        let value = existing(db, &id)?;
        if out.json {
            let pieces = value.pieces.iter().map(|piece| piece.as_deref().map(hexadecimal)).collect();
            out.object(&Shown { entry: &value.entry, stored: hexadecimal(&value.stored), pieces })?;
        } else {
            out.say(sheet(&value))?;
        }
        Ok(true)
    }))
}

fn sheet(value: &QuarantinedValue) -> String {
    let entry = &value.entry;
    let begins = value.stored.get(..BYTES_SHOWN).unwrap_or(&value.stored);
    let missing = value.pieces.iter().filter(|piece| piece.is_none()).count();
    facts([
        ("id", entry.id.clone()),
        ("tree", entry.tree.to_owned()),
        ("key", entry.key.clone()),
        ("why", entry.reason.clone()),
        ("set aside at", time::shown(entry.at)),
        ("bytes", entry.bytes.to_string()),
        ("begins", hexadecimal(begins)),
        ("pieces", format!("{}, {missing} of them missing", value.pieces.len())),
    ])
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").expect("a string takes what it is given");
        text
    })
}

fn discard(line: &mut Line) -> Result<Destroy, Wrong> {
    let id = line.operand("ID")?;
    let of = id.clone();
    Ok(Destroy {
        plan: Box::new(move |db| {
            let entry = existing(db, &of)?.entry;
            let words = format!(
                "the {} bytes that lay at {} in {}, set aside {}, will go",
                entry.bytes,
                entry.key,
                entry.tree,
                time::shown(entry.at)
            );
            Ok(Plan { words, revision: None })
        }),
        act: Box::new(move |db, _, out| {
            if !db.discard_quarantined(&id)? {
                return Err(Error::not_found(format!("quarantine: there is no {id}")));
            }
            out.answer(&json!({"discarded": id}), || format!("{id}: discarded"))
        }),
    })
}
