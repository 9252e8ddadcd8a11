//! `mlp versions …`: the versions of models.
//!
//! Where a command takes a VERSION it is a number, `3` or `v3`, or an alias; no alias looks like a number. `latest` is the
//! highest version that is not archived. Only one process has the store open, so what an alias means does not change
//! between looking it up and the change itself.

use std::collections::BTreeMap;

use ml_persistence::registry::{Version, VersionRef, VersionUpdate};
use ml_persistence::{Error, MlPersistence, Result};
use serde_json::json;

use super::agree::{Plan, YES};
use super::change::{CHANGE, SAID, UNSAID, change, update};
use super::models::{existing, request, tell_damaged, typed};
use super::pages::{PAGES, Pages};
use super::{Ask, COMMON, Command, Destroy, Does, Noun};
use crate::line::{Flag, Line, Shape, Wrong};
use crate::table::{facts, optional, pairs, time_or_none};
use crate::time;

pub const NOUN: Noun = Noun {
    title: "versions; a VERSION is 3, v3 or an alias, `latest` among them",
    commands: &[
        Command {
            shape: Shape {
                words: "versions list",
                operands: "[MODEL]",
                about: "versions by number, of one model or of all",
                flags: &[PAGES, COMMON],
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

/// A model and one of its versions, as the line names them.
pub struct Named {
    pub model: String,
    pub version: VersionRef,
}

impl Named {
    pub fn read(line: &mut Line) -> Result<Self, Wrong> {
        let model = line.operand("MODEL")?;
        Self::of(model, &line.operand("VERSION")?)
    }

    pub fn of(model: String, version: &str) -> Result<Self, Wrong> {
        Ok(Named { model, version: version_ref(version)? })
    }

    /// The number, looked up if it was given as an alias.
    pub fn number(&self, db: &MlPersistence) -> Result<u32> {
        match self.version {
            VersionRef::Number(number) => Ok(number),
            _ => Ok(self.existing(db)?.version),
        }
    }

    fn existing(&self, db: &MlPersistence) -> Result<Version> {
        let found = db.registry().get(&self.model, self.version.clone())?;
        found.ok_or_else(|| {
            let wanted = match &self.version {
                VersionRef::Number(number) => format!("version {number}"),
                VersionRef::Alias(name) | VersionRef::Label(name) => format!("version with the alias {name:?}"),
                other => format!("{other:?}"),
            };
            Error::not_found(format!("model {:?}: there is no {wanted}", self.model))
        })
    }
}

/// `3` and `v3` are numbers, everything else is an alias.
fn version_ref(text: &str) -> Result<VersionRef, Wrong> {
    let digits = text.strip_prefix('v').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(VersionRef::Alias(text.to_owned()));
    }
    digits
        .parse()
        .map(VersionRef::Number)
        .map_err(|_| format!("{text}: versions are numbered up to {}", u32::MAX).into())
}

fn list(line: &mut Line) -> Result<Ask, Wrong> {
    let model = line.operand_opt();
    let pages = Pages::read(line)?;
    Ok(Box::new(move |db, out| {
        pages.walk(|after, limit| {
            let request = request(after, limit);
            let page = match &model {
                Some(model) => db.registry().list_versions(model, &request)?,
                None => db.registry().list_all_versions(&request)?,
            };
            if out.json {
                out.object(&page)?;
                return Ok(page.next_page_token);
            }
            let header = ["model", "version", "state", "stage", "aliases", "metrics", "created at", "by"];
            let active = active_of(db, &page.versions)?;
            let rows = page.versions.iter().map(|version| row(version, &active)).collect();
            pages.table(out, header, rows, page.next_page_token.as_deref(), "no versions")?;
            tell_damaged(out, &page.damaged)?;
            Ok(page.next_page_token)
        })
    }))
}

/// The active versions of the models that these versions belong to.
fn active_of(db: &MlPersistence, versions: &[Version]) -> Result<BTreeMap<String, u32>> {
    let mut active = BTreeMap::new();
    let mut last = None;
    for version in versions {
        // Versions of one model stand together.
        if last != Some(&version.model)
            && let Some(number) = db.registry().get_model(&version.model)?.and_then(|model| model.active_version)
        {
            active.insert(version.model.clone(), number);
        }
        last = Some(&version.model);
    }
    Ok(active)
}

fn row(version: &Version, active: &BTreeMap<String, u32>) -> [String; 8] {
    [
        version.model.clone(),
        version.version.to_string(),
        state(version, active.get(&version.model).copied()).to_owned(),
        optional(version.stage.as_ref()),
        version.aliases.join(", "),
        pairs(&version.metrics),
        time::shown(version.created_at),
        optional(version.created_by.as_ref()),
    ]
}

fn state(version: &Version, active: Option<u32>) -> &'static str {
    if active == Some(version.version) {
        "active"
    } else if version.archived {
        "archived"
    } else {
        ""
    }
}

fn show(line: &mut Line) -> Result<Ask, Wrong> {
    let named = Named::read(line)?;
    Ok(Box::new(move |db, out| {
        let version = named.existing(db)?;
        let active = existing(db, &named.model)?.active_version;
        out.answer(&version, || sheet(&version, active)).map(|()| true)
    }))
}

fn sheet(version: &Version, active: Option<u32>) -> String {
    facts([
        ("model", version.model.clone()),
        ("version", version.version.to_string()),
        ("state", state(version, active).to_owned()),
        ("stage", optional(version.stage.as_ref())),
        ("aliases", version.aliases.join(", ")),
        ("description", optional(version.description.as_ref())),
        ("metrics", pairs(&version.metrics)),
        ("hyperparameters", pairs(&version.hyperparams)),
        ("tags", pairs(&version.tags)),
        ("properties", typed(&version.properties)),
        ("artifact", artifact(version)),
        ("source", optional(version.source.as_ref())),
        ("run", optional(version.run_id.as_ref())),
        ("parent version", optional(version.parent_version)),
        ("training data", optional(version.training_data_hash.as_ref())),
        ("label", optional(version.label.as_ref())),
        ("created at", time::shown(version.created_at)),
        ("created by", optional(version.created_by.as_ref())),
        ("updated at", time::shown(version.updated_at)),
        ("changed by", optional(version.changed_by.as_ref())),
        ("last used at", time_or_none(version.last_used_at)),
        ("revision", version.revision.to_string()),
    ])
}

/// What the version is made of, in a cell.
fn artifact(version: &Version) -> String {
    let words = version.artifact.as_ref().map(|artifact| {
        let place = artifact.uri.as_deref().map_or_else(|| "kept here".to_owned(), |uri| format!("at {uri}"));
        format!("{} bytes {place}, sha256 {}", artifact.bytes, artifact.sha256)
    });
    optional(words)
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
            // What was shown is what goes, unless the line says what to go by.
            let mut change = change.clone();
            change.expected_revision = change.expected_revision.or(plan.revision);
            db.registry().delete_version(&named.model, number, &change)?;
            let answer = json!({"deleted": {"model": named.model, "version": number}});
            out.answer(&answer, || format!("model {}, version {number}: deleted", named.model))
        }),
    })
}

fn what_goes(version: &Version, active: bool) -> String {
    let mut lines = vec![format!(
        "model {}, version {}, of {}, will go",
        version.model,
        version.version,
        time::shown(version.created_at)
    )];
    lines.extend(pointers(&version.aliases, active).map(|pointers| format!("  it is {pointers}")));
    if version.artifact.is_some() {
        lines.push(format!("  with its artifact, unless another version holds the same: {}", artifact(version)));
    }
    lines.join("\n")
}

/// What points at a version.
fn pointers(aliases: &[String], active: bool) -> Option<String> {
    match (active, aliases) {
        (false, []) => None,
        (true, []) => Some("the active one".to_owned()),
        (true, aliases) => Some(format!("the active one, and {}", aliases.join(", "))),
        (false, aliases) => Some(aliases.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_or_an_alias_and_never_guessed_at() {
        for (text, expected) in [
            ("3", VersionRef::Number(3)),
            ("v3", VersionRef::Number(3)),
            ("4294967295", VersionRef::Number(u32::MAX)),
            ("latest", VersionRef::latest()),
            ("v", VersionRef::Alias("v".to_owned())),
            ("+3", VersionRef::Alias("+3".to_owned())),
            ("3rd", VersionRef::Alias("3rd".to_owned())),
        ] {
            assert_eq!(version_ref(text).expect(text), expected, "{text}");
        }
        assert!(version_ref("4294967296").is_err());
    }
}
