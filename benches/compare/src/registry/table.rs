//! Medians over the rounds beside their least and most, and the ratio to ours.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ENTRANTS;
use crate::options::Options;
use crate::report::spread;

/// What was measured, in the order in which it first was.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    unit: &'static str,
    /// By store; each in the order of rounds.
    rounds: BTreeMap<&'static str, Vec<f64>>,
}

impl Table {
    pub(super) fn add(&mut self, name: &'static str, what: String, unit: &'static str, value: f64) {
        match self.rows.iter_mut().find(|row| row.what == what) {
            Some(row) => row.rounds.entry(name).or_default().push(value),
            None => self.rows.push(Row { what, unit, rounds: BTreeMap::from([(name, vec![value])]) }),
        }
    }

    pub(super) fn print(&self) {
        println!("An answered registration survives a power loss; reads come from one caller.\n");
        println!("| what | store | unit | median | min .. max | ours is better by |");
        println!("|---|---|---|--:|--:|--:|");
        for row in &self.rows {
            let of = |name: &str| row.rounds.get(name).map(|rounds| spread(rounds.iter().copied()));
            let ours = ENTRANTS.first().and_then(|ours| Some((ours.name, of(ours.name)?.median)));
            for entrant in &ENTRANTS {
                let Some(values) = of(entrant.name) else { continue };
                let better = match ours {
                    Some((name, _)) if name == entrant.name => String::new(),
                    Some((_, ours)) if row.unit == "per s" => format!("{:.2}", ours / values.median),
                    Some((_, ours)) => format!("{:.2}", values.median / ours),
                    None => String::new(),
                };
                println!(
                    "| {} | {} | {} | {:.1} | {:.1} .. {:.1} | {better} |",
                    row.what, entrant.name, row.unit, values.median, values.min, values.max
                );
            }
        }
    }

    /// Everything, round by round.
    pub(super) fn json(&self, options: &Options) -> Value {
        let rows = self.rows.iter().flat_map(|row| {
            let stores = row.rounds.iter();
            stores.map(|(name, rounds)| json!({ "what": row.what, "system": name, "unit": row.unit, "rounds": rounds }))
        });
        json!({ "mode": format!("{:?}", options.mode), "rounds": options.rounds, "rows": rows.collect::<Vec<_>>() })
    }
}
