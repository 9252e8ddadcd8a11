//! A recount against the counters: which groups hold something else than the records add up to.

use std::collections::BTreeMap;

use crate::engine::{KeyRange, Tree, Value, read_counter};
use crate::error::{Error, Result};
use crate::keys::{self, KeyWriter};

use super::super::view::{View, for_each};
use super::{Report, ViolationKind, damage};

/// A counter of single values, by key: how many there are in each group.
pub struct KeyCounter {
    /// Given out once, in `record/catalog.rs`.
    pub number: u32,
    /// Its name in messages.
    pub name: &'static str,
    /// The group that a key counts in.
    pub group: fn(&[u8]) -> Result<KeyWriter>,
}

impl KeyCounter {
    /// Counts the value at `key`, whether or not it can be read: a value counts by its key.
    pub(crate) fn count(&self, key: &[u8], sums: &mut BTreeMap<Vec<u8>, i128>) -> Result<()> {
        let group = (self.group)(key)?;
        *sums.entry(keys::counter(self.number, &group.finish())).or_default() += 1;
        Ok(())
    }
}

/// One group of a counter that is not what the records add up to, at one point in time.
pub(crate) struct WrongSum {
    /// The counter's key.
    pub(crate) key: Vec<u8>,
    /// What is stored there.
    pub(crate) stored: Option<Value>,
    /// What that says.
    pub(crate) found: Result<i64, Error>,
    /// What the records add up to.
    pub(crate) expected: i128,
}

/// Calls `visit` with every group of the counter `number` that differs from `sums`; takes the groups of this counter
/// out of `sums`.
pub(crate) fn for_each_wrong(
    view: &View<'_>,
    number: u32,
    sums: &mut BTreeMap<Vec<u8>, i128>,
    mut visit: impl FnMut(WrongSum),
) -> Result<()> {
    let prefix = keys::counter(number, &[]);
    for_each(view.reader(), Tree::Counter, KeyRange::prefix(&prefix), |key, stored| {
        let expected = sums.remove(key).unwrap_or(0);
        let found = damage(read_counter(Tree::Counter, key, Some(stored)))?;
        if !found.as_ref().is_ok_and(|found| i128::from(*found) == expected) {
            visit(WrongSum { key: key.to_vec(), stored: Some(Value::from(stored)), found, expected });
        }
        Ok(())
    })?;
    sums.retain(|key, expected| {
        if !key.starts_with(&prefix) {
            return true;
        }
        if *expected != 0 {
            visit(WrongSum { key: key.clone(), stored: None, found: Ok(0), expected: *expected });
        }
        false
    });
    Ok(())
}

/// Reports every group of a counter that differs from a recount; takes its groups out of `sums`.
pub(super) fn verify_sums(
    view: &View<'_>,
    number: u32,
    name: &str,
    sums: &mut BTreeMap<Vec<u8>, i128>,
    unreadable: u64,
    report: &mut Report,
) -> Result<()> {
    let but = if unreadable == 0 { String::new() } else { format!(", {unreadable} unreadable not counted") };
    for_each_wrong(view, number, sums, |wrong| {
        let expected = wrong.expected;
        let detail = match (&wrong.found, &wrong.stored) {
            (_, None) => format!("counter {name}: absent, the records add up to {expected}{but}"),
            (Ok(found), _) => format!("counter {name}: holds {found}, the records add up to {expected}{but}"),
            (Err(error), _) => format!("counter {name}: {error}; the records add up to {expected}{but}"),
        };
        report.violation(ViolationKind::CounterWrong, Tree::Counter, &wrong.key, detail);
    })
}
