//! `mlp versions …`: the versions of models.
//!
//! Where a command takes a VERSION it is a number, `3` or `v3`, or an alias; no alias looks like a number. `latest` is the
//! highest version that is not archived. Only one process has the store open, so what an alias means does not change
//! between looking it up and the change itself.

pub mod aliases;
mod named;
mod sheet;

use ml_persistence::Result;
use ml_persistence::registry::VersionUpdate;
use serde_json::json;

use super::agree::{Plan, YES};
use super::change::{CHANGE, SAID, UNSAID, change, update};
use super::models::existing;
use super::pages::PAGES;
use super::search::{SEARCH, Search, below};
use super::{Ask, COMMON, Command, Destroy, Does, Noun};
use crate::line::{Flag, Line, Shape, Wrong};
use crate::table::optional;
use named::Named;
use sheet::{active_of, pointers, row, sheet, what_goes};

pub const NOUN: Noun = Noun {
    title: "versions; a VERSION is 3, v3 or an alias, `latest` among them",
    commands: &[
        Command {
            shape: Shape {
                words: "versions list",
                operands: "[MODEL]",
                about: "versions of one model or of all, by number or in another order",
                flags: &[SEARCH, PAGES, COMMON],
            },
            does: Does::Reads(list),
        },
        Command {
            shape: Shape { words: "versions show", operands: "MODEL VERSION", about: "one version", flags: &[COMMON] },
            does: Does::Reads(show),
        },
        Command {
            shape: Shape {
                words: "versions update",
                operands: "MODEL VERSION",
                about: "change what is said about a version; what is not named stays",
                flags: &[
                    SAID,
                    UNSAID,
                    &[
                        Flag::of("stage", "STAGE", "move it to a stage, such as staging"),
                        Flag::bare("clear-stage", "take it out of its stage"),
                    ],
                    CHANGE,
                    COMMON,
                ],
            },
            does: Does::Writes(say),
        },
        Command {
            shape: Shape {
                words: "versions activate",
                operands: "MODEL VERSION",
                about: "make it the active version of its model",
                flags: &[CHANGE, COMMON],
            },
            does: Does::Writes(activate),
        },
        Command {
            shape: Shape {
                words: "versions deactivate",
                operands: "MODEL",
                about: "leave the model without an active version",
                flags: &[CHANGE, COMMON],
            },
            does: Does::Writes(deactivate),
        },
        Command {
            shape: Shape {
                words: "versions archive",
                operands: "MODEL VERSION",
                about: "put it away; it loses its aliases, and is no longer active",
                flags: &[CHANGE, COMMON],
            },
            does: Does::Writes(archive),
        },
        Command {
            shape: Shape {
                words: "versions unarchive",
                operands: "MODEL VERSION",
                about: "take it out again; it gets no alias back",
                flags: &[CHANGE, COMMON],
            },
            does: Does::Writes(unarchive),
        },
        Command {
            shape: Shape {
                words: "versions delete",
                operands: "MODEL VERSION",
                about: "delete it for good; its number is not given out again",
                flags: &[CHANGE, YES, COMMON],
            },
            does: Does::Destroys(delete),
        },
    ],
};

fn list(line: &mut Line) -> Result<Ask, Wrong> {
    let model = line.operand_opt();
    let search = Search::read(line)?.in_model(model);
    Ok(Box::new(move |db, out| {
        search.pages.walk(|after, limit| {
            let page = db.registry().search_versions(&search.page(after, limit))?;
            if out.json {
                out.object(&page)?;
                return Ok(page.next_page_token);
            }
            let header = ["model", "version", "state", "stage", "aliases", "metrics", "created at", "by"];
            let active = active_of(db, &page.versions)?;
            let rows = page.versions.iter().map(|version| row(version, &active)).collect();
            search.pages.table(out, header, rows, page.next_page_token.as_deref(), "no such versions")?;
            below(out, &page.damaged, page.plan.as_ref())?;
            Ok(page.next_page_token)
        })
    }))
}

fn show(line: &mut Line) -> Result<Ask, Wrong> {
    let named = Named::read(line)?;
    Ok(Box::new(move |db, out| {
        let version = named.existing(db)?;
        let active = existing(db, &named.model)?.active_version;
        out.answer(&version, || sheet(&version, active)).map(|()| true)
    }))
}

fn say(line: &mut Line) -> Result<Ask, Wrong> {
    let named = Named::read(line)?;
    let mut update = update!(line, VersionUpdate::new());
    let (stage, clear) = (line.text("stage")?, line.flag("clear-stage")?);
    update = match (stage, clear) {
        (Some(_), true) => return Err("--stage and --clear-stage: either, not both".into()),
        (Some(stage), false) => update.stage(stage),
        (None, true) => update.clear_stage(),
        (None, false) => update,
    };
    Ok(Box::new(move |db, out| {
        let version = db.registry().update_version(&named.model, named.number(db)?, update.clone())?;
        let words =
            || format!("model {}, version {}: changed, revision {}", named.model, version.version, version.revision);
        out.answer(&version, words).map(|()| true)
    }))
}

fn activate(line: &mut Line) -> Result<Ask, Wrong> {
    let (named, change) = (Named::read(line)?, change(line)?);
    Ok(Box::new(move |db, out| {
        let before = existing(db, &named.model)?.active_version;
        let model = db.registry().activate(&named.model, named.number(db)?, &change)?;
        let now = optional(model.active_version);
        let words = || match before {
            Some(before) if Some(before) == model.active_version => {
                format!("model {}: version {now} stays active", model.name)
            }
            Some(before) => format!("model {}: version {now} is active, no longer {before}", model.name),
            None => format!("model {}: version {now} is active", model.name),
        };
        out.answer(&model, words).map(|()| true)
    }))
}

fn deactivate(line: &mut Line) -> Result<Ask, Wrong> {
    let (name, change) = (line.operand("MODEL")?, change(line)?);
    Ok(Box::new(move |db, out| {
        let model = db.registry().deactivate(&name, &change)?;
        out.answer(&model, || format!("model {name}: no version is active")).map(|()| true)
    }))
}

fn archive(line: &mut Line) -> Result<Ask, Wrong> {
    let (named, change) = (Named::read(line)?, change(line)?);
    Ok(Box::new(move |db, out| {
        let number = named.number(db)?;
        let before = Named { model: named.model.clone(), version: number.into() }.existing(db)?;
        let was_active = existing(db, &named.model)?.active_version == Some(number);
        let version = db.registry().archive(&named.model, number, &change)?;
        let words = || {
            let lost = pointers(&before.aliases, was_active);
            let lost = lost.map_or_else(String::new, |lost| format!("; it was {lost}"));
            format!("model {}, version {number}: archived{lost}", named.model)
        };
        out.answer(&version, words).map(|()| true)
    }))
}

fn unarchive(line: &mut Line) -> Result<Ask, Wrong> {
    let (named, change) = (Named::read(line)?, change(line)?);
    Ok(Box::new(move |db, out| {
        let number = named.number(db)?;
        let version = db.registry().unarchive(&named.model, number, &change)?;
        out.answer(&version, || format!("model {}, version {number}: taken out again", named.model)).map(|()| true)
    }))
}

fn delete(line: &mut Line) -> Result<Destroy, Wrong> {
    let (named, change) = (Named::read(line)?, change(line)?);
    let of = Named { model: named.model.clone(), version: named.version.clone() };
    Ok(Destroy {
        plan: Box::new(move |db| {
            let version = of.existing(db)?;
            let active = existing(db, &of.model)?.active_version == Some(version.version);
            Ok(Plan { words: what_goes(&version, active), revision: Some(version.revision) })
        }),
        act: Box::new(move |db, plan, out| {
            let number = named.number(db)?;
            db.registry().delete_version(&named.model, number, &plan.agreed(&change))?;
            let answer = json!({"deleted": {"model": named.model, "version": number}});
            out.answer(&answer, || format!("model {}, version {number}: deleted", named.model))
        }),
    })
}
