//! `mlp models …`: the models of the registry.

use std::collections::BTreeMap;

use ml_persistence::registry::{Model, ModelUpdate, NewModel, Property};
use ml_persistence::{Error, MlPersistence, Result};
use serde_json::json;

use super::agree::{Plan, YES};
use super::change::{CHANGE, SAID, Said, UNSAID, asked_for, update};
use super::pages::PAGES;
use super::search::{SEARCH, Search, below};
use super::{Ask, COMMON, Command, Destroy, Does, Noun};
use crate::line::{Flag, Line, Shape, Wrong};
use crate::table::{facts, optional, pairs};
use crate::time;

pub const NOUN: Noun = Noun {
    title: "models",
    commands: &[
        Command {
            shape: Shape {
                words: "models list",
                operands: "",
                about: "models, by name or in another order",
                flags: &[SEARCH, PAGES, COMMON],
            },
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
        Command {
            shape: Shape {
                words: "models rename",
                operands: "MODEL NEW_NAME",
                about: "give a model another name, with its versions, aliases and history",
                flags: &[CHANGE, COMMON],
            },
            does: Does::Writes(rename),
        },
        Command {
            shape: Shape {
                words: "models delete",
                operands: "MODEL",
                about: "delete a model with all its versions, for good",
                flags: &[CHANGE, YES, COMMON],
            },
            does: Does::Destroys(delete),
        },
    ],
};

/// The model of this name.
pub fn existing(db: &MlPersistence, name: &str) -> Result<Model> {
    db.registry().get_model(name)?.ok_or_else(|| Error::not_found(format!("model {name:?}: there is no such model")))
}

fn list(line: &mut Line) -> Result<Ask, Wrong> {
    let search = Search::read(line)?;
    Ok(Box::new(move |db, out| {
        search.pages.walk(|after, limit| {
            let page = db.registry().search_models(&search.page(after, limit))?;
            if out.json {
                out.object(&page)?;
                return Ok(page.next_page_token);
            }
            let header = ["model", "versions", "archived", "active", "aliases", "updated at", "note"];
            let rows = page.models.iter().map(row).collect();
            search.pages.table(out, header, rows, page.next_page_token.as_deref(), "no such models")?;
            below(out, &page.damaged, page.plan.as_ref())?;
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

fn rename(line: &mut Line) -> Result<Ask, Wrong> {
    let (name, new_name) = (line.operand("MODEL")?, line.operand("NEW_NAME")?);
    let change = super::change::change(line)?;
    Ok(Box::new(move |db, out| {
        let model = db.registry().rename_model(&name, &new_name, &change)?;
        let words = || format!("model {name}: now {}, with its {} versions", model.name, model.versions);
        out.answer(&model, words).map(|()| true)
    }))
}

fn delete(line: &mut Line) -> Result<Destroy, Wrong> {
    let name = line.operand("MODEL")?;
    let change = super::change::change(line)?;
    let of = name.clone();
    Ok(Destroy {
        plan: Box::new(move |db| {
            let model = existing(db, &of)?;
            Ok(Plan { words: what_goes(&model), revision: Some(model.revision) })
        }),
        act: Box::new(move |db, plan, out| {
            let versions = db.registry().delete_model(&name, &plan.agreed(&change))?;
            let answer = json!({"deleted": {"model": name, "versions": versions}});
            out.answer(&answer, || format!("model {name}: deleted with {versions} versions"))
        }),
    })
}

fn what_goes(model: &Model) -> String {
    let mut lines = vec![format!("model {}, of {}, will go", model.name, time::shown(model.created_at))];
    if model.versions > 0 {
        let active = model.active_version.map_or_else(String::new, |number| format!("; version {number} is active"));
        lines.push(format!(
            "  with its {} versions, and their artifacts that no other version holds{active}",
            model.versions
        ));
    }
    if !model.aliases.is_empty() {
        lines.push(format!("  with its aliases: {}", pairs(&model.aliases)));
    }
    lines.join("\n")
}
