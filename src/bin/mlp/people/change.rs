//! The options of changes in the registry: who asks, what must still stand, and what is said about a record.

use ml_persistence::registry::{Change, Property};

use crate::line::{Flag, Line, Wrong};

/// The options of every change.
pub const CHANGE: &[Flag] = &[
    Flag::of("by", "WHO", "who asks for it; kept with the record"),
    Flag::of("expected-revision", "N", "only if the revision is still this one"),
];

/// The options that say something about a record.
pub const SAID: &[Flag] = &[
    Flag::of("description", "TEXT", "what it is, in words"),
    Flag::of("tag", "KEY=VALUE", "set a tag; may be given many times"),
    Flag::of("property", "KEY=JSON", "set a typed property, such as depth=6 or owner='\"ann\"'; many times"),
];

/// The options that take back what was said.
pub const UNSAID: &[Flag] = &[
    Flag::of("untag", "KEY", "delete a tag; may be given many times"),
    Flag::of("unset", "KEY", "delete a property; may be given many times"),
];

/// Reads `--by` and `--expected-revision`.
pub fn change(line: &mut Line) -> Result<Change, Wrong> {
    let mut change = Change::new();
    change.by = line.text("by")?;
    change.expected_revision = line.number("expected-revision", 0..=u64::MAX)?;
    Ok(change)
}

/// What is said about a model or a version.
pub struct Said {
    pub description: Option<String>,
    pub tags: Vec<(String, String)>,
    pub properties: Vec<(String, Property)>,
}

impl Said {
    pub fn read(line: &mut Line) -> Result<Self, Wrong> {
        let typed = |(key, value)| match Property::from_json(&value) {
            Ok(property) => Ok((key, property)),
            Err(error) => Err(format!("--property {key}: {error}").into()),
        };
        Ok(Said {
            description: line.text("description")?,
            tags: line.pairs("tag")?,
            properties: line.json_pairs("property")?.into_iter().map(typed).collect::<Result<_, Wrong>>()?,
        })
    }
}

/// The update of a model or a version that the line asks for: the verbs have the same names on both.
macro_rules! update {
    ($line:expr, $update:expr) => {{
        let said = $crate::people::change::Said::read($line)?;
        let mut update = $update;
        if let Some(description) = said.description {
            update = update.description(description);
        }
        for (key, value) in said.tags {
            update = update.set_tag(key, value);
        }
        for (key, value) in said.properties {
            update = update.set_property(key, value);
        }
        for key in $line.texts("untag")? {
            update = update.delete_tag(key);
        }
        for key in $line.texts("unset")? {
            update = update.delete_property(key);
        }
        $crate::people::change::asked_for!($line, update)
    }};
}

/// The update with who asks for it and what must still stand, as the line says.
macro_rules! asked_for {
    ($line:expr, $update:expr) => {{
        let change = $crate::people::change::change($line)?;
        let mut update = $update;
        if let Some(by) = change.by {
            update = update.by(by);
        }
        if let Some(revision) = change.expected_revision {
            update = update.expected_revision(revision);
        }
        update
    }};
}
pub(super) use {asked_for, update};
