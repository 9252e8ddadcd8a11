//! `mlp repair`: puts right what `mlp verify` finds wrong, and says what it did.

use ml_persistence::{RepairReport, Result};

use super::{Ask, COMMON, Command, Does, Noun};
use crate::line::{Line, Shape, Wrong};
use crate::table::table;

pub const NOUN: Noun = Noun {
    title: "the store",
    commands: &[Command {
        shape: Shape {
            words: "repair",
            operands: "",
            about: "put right what verify finds; what can't be read is kept in quarantine",
            flags: &[COMMON],
        },
        does: Does::Writes(repair),
    }],
};

/// All is well unless something is left that only a person can decide about.
fn repair(_: &mut Line) -> Result<Ask, Wrong> {
    Ok(Box::new(|db, out| {
        let report = db.repair()?;
        out.answer(&report, || words(&report))?;
        Ok(report.unresolved_found == 0)
    }))
}

fn words(report: &RepairReport) -> String {
    if report.is_clean() {
        return format!("nothing to repair: {} records, entries and pieces looked at", report.looked_at);
    }
    let counts = [
        ("index entries written", report.entries_written),
        ("index entries removed", report.entries_removed),
        ("counters put right", report.counters),
        ("references put right", report.references),
        ("moved to quarantine", report.quarantined_found),
        ("left as they are", report.unresolved_found),
    ];
    let did = counts.into_iter().filter(|(_, count)| *count > 0);
    let mut text = table(["repaired", "count"], did.map(|(what, count)| [what.to_owned(), count.to_string()]));
    if !report.quarantined.is_empty() {
        let rows = report
            .quarantined
            .iter()
            .map(|value| [value.tree.to_owned(), value.key.clone(), value.bytes.to_string(), value.reason.clone()]);
        let moved = table(["tree", "key", "bytes", "why"], rows);
        text.push_str(&format!("\n\nmoved to quarantine; see `mlp quarantine list`\n{moved}"));
    }
    if !report.unresolved.is_empty() {
        let rows = report.unresolved.iter();
        let rows = rows.map(|left| [left.tree.to_owned(), left.key.clone(), left.detail.clone()]);
        let left = table(["tree", "key", "why"], rows);
        text.push_str(&format!("\n\nleft as they are, for a person to decide\n{left}"));
    }
    text
}
