//! `mlp verify`: checks every record, index entry, counter and reference. Reads only.

use std::collections::BTreeMap;

use ml_persistence::{Error, Result};
use serde::Serialize;

use super::{Ask, COMMON, Command, Does, Noun};
use crate::line::{Flag, Line, Shape, Wrong};
use crate::table::table;

pub const NOUN: Noun = Noun {
    title: "the store",
    commands: &[Command {
        shape: Shape {
            words: "verify",
            operands: "",
            about: "check every index, counter and reference; reads only",
            flags: &[COMMON, &[Flag::of("limit", "N", "describe at most N violations, 1..=1000, default 100")]],
        },
        does: Does::Reads(verify),
    }],
};

/// Answers in full in JSON; in words it counts the violations by kind and describes the first of them.
fn verify(line: &mut Line) -> Result<Ask, Wrong> {
    let limit = line.number("limit", 1..=1000)?.map_or(100, |limit| limit as usize);
    Ok(Box::new(move |db, out| {
        let report = db.verify()?;
        let good = report.violations_found == 0;
        if out.json {
            out.object(&report)?;
            return Ok(good);
        }
        if report.quarantined > 0 {
            out.note(&format!("in quarantine: {} values; see `mlp quarantine list`", report.quarantined));
        }
        if good {
            out.say(format!(
                "sound: {} records, their index entries, counters and references checked",
                report.records
            ))?;
            return Ok(true);
        }
        let mut kinds: BTreeMap<(String, &str), u64> = BTreeMap::new();
        let mut rows = Vec::new();
        for violation in &report.violations {
            let kind = name(&violation.kind)?;
            rows.push([kind.clone(), violation.tree.to_owned(), violation.key.clone(), violation.detail.clone()]);
            *kinds.entry((kind, violation.tree)).or_default() += 1;
        }
        let described = rows.len();
        rows.truncate(limit);
        let shown = rows.len() as u64;
        out.say(format!("{} violations in {} records", report.violations_found, report.records))?;
        let counts = kinds.into_iter().map(|((kind, tree), count)| [kind, tree.to_owned(), count.to_string()]);
        out.say(format!("\n{}", table(["violation", "tree", "count"], counts)))?;
        if report.violations_found > described as u64 {
            out.say(format!("(the first {described} are counted here)"))?;
        }
        out.say(format!("\n{}", table(["violation", "tree", "key", "detail"], rows)))?;
        if report.violations_found > shown {
            out.say(format!("and {} more", report.violations_found - shown))?;
        }
        out.note("`mlp repair` puts right what it can");
        Ok(false)
    }))
}

/// The kind's name, as JSON spells it.
fn name(kind: &impl Serialize) -> Result<String> {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        other => Err(Error::internal(format!("violation kind: {other:?}"))),
    }
}
