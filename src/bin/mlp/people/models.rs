//! `mlp models …`: the models of the registry.

use std::collections::BTreeMap;

use ml_persistence::registry::{DamagedRow, Model, ModelUpdate, NewModel, PageRequest, Property};
use ml_persistence::{Error, MlPersistence, Result};

use super::change::{CHANGE, SAID, Said, UNSAID, asked_for, update};
use super::pages::{PAGES, Pages};
use super::{Ask, COMMON, Command, Does, Noun};
use crate::line::{Flag, Line, Shape, Wrong};
use crate::out::Out;
use crate::table::{facts, optional, pairs, table};
use crate::time;

pub const NOUN: Noun = Noun {
    title: "models",
    commands: &[
        Command {
            shape: Shape { words: "models list", operands: "", about: "models, by name", flags: &[PAGES, COMMON] },
            does: Does::Reads(list),
        },
        Command {
            shape: Shape { words: "models show", operands: "MODEL", about: "one model", flags: &[COMMON] },
            does: Does::Reads(show),
        },
        Command {
            shape: Shape {
                words: "models create",
                operands: "MODEL",
                about: "create a model without versions",
                flags: &[SAID, &[Flag::of("by", "WHO", "who creates it; kept with the model")], COMMON],
            },
            does: Does::Writes(create),
        },
        Command {
            shape: Shape {
                words: "models update",
                operands: "MODEL",
                about: "change what is said about a model; what is not named stays",
                flags: &[SAID, UNSAID, CHANGE, COMMON],
            },
            does: Does::Writes(change),
        },
        Command {
            shape: Shape {
                words: "models archive",
                operands: "MODEL",
                about: "mark a model as put away",
                flags: &[CHANGE, COMMON],
            },
            does: Does::Writes(|line| archived(line, true)),
        },
        Command {
            shape: Shape {
                words: "models unarchive",
                operands: "MODEL",
                about: "take the mark away again",
                flags: &[CHANGE, COMMON],
            },
            does: Does::Writes(|line| archived(line, false)),
        },
    ],
};

/// The model of this name.
pub fn existing(db: &MlPersistence, name: &str) -> Result<Model> {
    db.registry().get_model(name)?.ok_or_else(|| Error::not_found(format!("model {name:?}: there is no such model")))
}

/// The page of the registry behind `after`.
pub fn request(after: Option<&str>, limit: usize) -> PageRequest {
    let page = PageRequest::new().size(limit);
    match after {
        Some(token) => page.token(token),
        None => page,
    }
}

/// Rows that can't be shown do not vanish: each is named with what is wrong with it.
pub fn tell_damaged(out: &mut Out, damaged: &[DamagedRow]) -> Result<()> {
    if damaged.is_empty() {
        return Ok(());
    }
    let rows = damaged.iter().map(|row| [row.key.clone(), row.error.clone()]);
    out.say(format!("\ncannot be read; see `mlp verify`\n{}", table(["record", "what is wrong"], rows)))
}

fn list(line: &mut Line) -> Result<Ask, Wrong> {
    let pages = Pages::read(line)?;
    Ok(Box::new(move |db, out| {
        pages.walk(|after, limit| {
            let page = db.registry().list_models(&request(after, limit))?;
            if out.json {
                out.object(&page)?;
                return Ok(page.next_page_token);
            }
            let header = ["model", "versions", "archived", "active", "aliases", "updated at", "note"];
            let rows = page.models.iter().map(row).collect();
            pages.table(out, header, rows, page.next_page_token.as_deref(), "no models")?;
            tell_damaged(out, &page.damaged)?;
            Ok(page.next_page_token)
        })
    }))
}

fn row(model: &Model) -> [String; 7] {
    [
        model.name.clone(),
        model.versions.to_string(),
        model.archived_versions.to_string(),
        optional(model.active_version),
        pairs(&model.aliases),
        time::shown(model.updated_at),
        if model.archived { "put away".to_owned() } else { model.description.clone().unwrap_or_default() },
    ]
}

fn show(line: &mut Line) -> Result<Ask, Wrong> {
    let name = line.operand("MODEL")?;
    Ok(Box::new(move |db, out| {
        let model = existing(db, &name)?;
        out.answer(&model, || sheet(&model)).map(|()| true)
    }))
}

fn sheet(model: &Model) -> String {
    facts([
        ("model", model.name.clone()),
        ("description", optional(model.description.as_ref())),
        ("active version", optional(model.active_version)),
        ("aliases", pairs(&model.aliases)),
        ("versions", format!("{}, {} of them archived", model.versions, model.archived_versions)),
        ("last number", model.last_version.to_string()),
        ("put away", if model.archived { "yes" } else { "no" }.to_owned()),
        ("tags", pairs(&model.tags)),
        ("properties", typed(&model.properties)),
        ("created at", time::shown(model.created_at)),
        ("created by", optional(model.created_by.as_ref())),
        ("updated at", time::shown(model.updated_at)),
        ("changed by", optional(model.changed_by.as_ref())),
        ("revision", model.revision.to_string()),
    ])
}

/// The cell of typed properties: each as JSON spells it.
pub fn typed(properties: &BTreeMap<String, Property>) -> String {
    // What has no JSON was refused when it was stored; should it be there all the same, it shows as missing.
    pairs(properties.iter().map(|(key, value)| (key, optional(serde_json::to_string(value).ok()))))
}

fn create(line: &mut Line) -> Result<Ask, Wrong> {
    let name = line.operand("MODEL")?;
    let said = Said::read(line)?;
    let mut new = NewModel::new();
    if let Some(description) = said.description {
        new = new.description(description);
    }
    for (key, value) in said.tags {
        new = new.tag(key, value);
    }
    for (key, value) in said.properties {
        new = new.property(key, value);
    }
    if let Some(by) = line.text("by")? {
        new = new.by(by);
    }
    Ok(Box::new(move |db, out| {
        let model = db.registry().create_model(&name, new.clone())?;
        out.answer(&model, || format!("model {name}: created")).map(|()| true)
    }))
}

fn change(line: &mut Line) -> Result<Ask, Wrong> {
    let name = line.operand("MODEL")?;
    let update = update!(line, ModelUpdate::new());
    Ok(updated(name, update, "changed"))
}

fn archived(line: &mut Line, archived: bool) -> Result<Ask, Wrong> {
    let name = line.operand("MODEL")?;
    let update = asked_for!(line, ModelUpdate::new().archived(archived));
    Ok(updated(name, update, if archived { "put away" } else { "taken out again" }))
}

fn updated(name: String, update: ModelUpdate, done: &'static str) -> Ask {
    Box::new(move |db, out| {
        let model = db.registry().update_model(&name, update.clone())?;
        out.answer(&model, || format!("model {name}: {done}, revision {}", model.revision)).map(|()| true)
    })
}
