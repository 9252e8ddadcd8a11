//! `mlp versions alias …`: the names that point at versions, and where they pointed before.

use ml_persistence::Result;
use ml_persistence::registry::{MoveFilter, Pointer, PointerMove};

use super::named::Named;
use crate::line::{Flag, Line, Shape, Wrong};
use crate::people::change::{CHANGE, change};
use crate::people::models::existing;
use crate::people::{Ask, COMMON, Command, Does, Noun};
use crate::table::{optional, table};
use crate::time;

pub const NOUN: Noun = Noun {
    title: super::NOUN.title,
    commands: &[
        Command {
            shape: Shape {
                words: "versions alias list",
                operands: "MODEL",
                about: "the aliases of a model",
                flags: &[COMMON],
            },
            does: Does::Reads(list),
        },
        Command {
            shape: Shape {
                words: "versions alias set",
                operands: "MODEL ALIAS VERSION",
                about: "point an alias at a version, wherever it pointed before",
                flags: &[CHANGE, COMMON],
            },
            does: Does::Writes(set),
        },
        Command {
            shape: Shape {
                words: "versions alias delete",
                operands: "MODEL ALIAS",
                about: "delete an alias; the version stays",
                flags: &[CHANGE, COMMON],
            },
            does: Does::Writes(delete),
        },
        Command {
            shape: Shape {
                words: "versions alias history",
                operands: "MODEL [ALIAS]",
                about: "where the active version and the aliases pointed, newest first",
                flags: &[
                    &[Flag::of("at", "TIME", "how it stood then: 2026-11-21, 2026-11-21T12:43:13Z, or milliseconds")],
                    COMMON,
                ],
            },
            does: Does::Reads(history),
        },
    ],
};

fn list(line: &mut Line) -> Result<Ask, Wrong> {
    let name = line.operand("MODEL")?;
    Ok(Box::new(move |db, out| {
        let model = existing(db, &name)?;
        let words = || match model.aliases.is_empty() {
            true => format!("model {name}: no aliases"),
            false => {
                let rows = model.aliases.iter().map(|(alias, version)| [alias.clone(), version.to_string()]);
                table(["alias", "version"], rows)
            }
        };
        out.answer(&model.aliases, words).map(|()| true)
    }))
}

fn set(line: &mut Line) -> Result<Ask, Wrong> {
    let (model, alias) = (line.operand("MODEL")?, line.operand("ALIAS")?);
    let named = Named::of(model, &line.operand("VERSION")?)?;
    let change = change(line)?;
    Ok(Box::new(move |db, out| {
        let number = named.number(db)?;
        let before = existing(db, &named.model)?.aliases.get(&alias).copied();
        let model = db.registry().set_alias(&named.model, &alias, number, &change)?;
        let words = || {
            let before = before.filter(|before| *before != number);
            let before = before.map_or_else(String::new, |before| format!(", no longer {before}"));
            format!("model {}: {alias} is version {number}{before}", model.name)
        };
        out.answer(&model, words).map(|()| true)
    }))
}

fn delete(line: &mut Line) -> Result<Ask, Wrong> {
    let (name, alias) = (line.operand("MODEL")?, line.operand("ALIAS")?);
    let change = change(line)?;
    Ok(Box::new(move |db, out| {
        let before = existing(db, &name)?.aliases.get(&alias).copied();
        let model = db.registry().delete_alias(&name, &alias, &change)?;
        let words = || match before {
            Some(before) => format!("model {name}: {alias} deleted; it was version {before}"),
            None => format!("model {name}: there was no alias {alias}; nothing was changed"),
        };
        out.answer(&model, words).map(|()| true)
    }))
}

fn history(line: &mut Line) -> Result<Ask, Wrong> {
    let name = line.operand("MODEL")?;
    let mut filter = MoveFilter::new();
    if let Some(alias) = line.operand_opt() {
        filter = filter.pointer(Pointer::Alias(alias));
    }
    if let Some(at) = line.text("at")? {
        filter = filter.at(time::parse(&at).ok_or_else(|| format!("--at {at}: a time such as 2026-11-21T12:43:13Z"))?);
    }
    Ok(Box::new(move |db, out| {
        let moves = db.registry().alias_history(&name, &filter)?;
        let words = || match moves.is_empty() {
            true if filter.at.is_some() => "nothing was pointed at then".to_owned(),
            true => "nothing was ever pointed at".to_owned(),
            false => table(["at", "pointer", "from", "to", "by"], moves.iter().map(row)),
        };
        out.answer(&moves, words).map(|()| true)
    }))
}

fn row(moved: &PointerMove) -> [String; 5] {
    [
        time::shown(moved.at),
        moved.alias.clone().unwrap_or_else(|| "(active)".to_owned()),
        optional(moved.from),
        optional(moved.to),
        optional(moved.by.as_ref()),
    ]
}
