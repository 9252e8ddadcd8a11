//! Puts right what verify finds wrong in the registry.
//!
//! ```text
//!   rebuild     a model's row that can't be read, or is gone: written anew from what its versions and moves tell
//!   records     models and versions: counters, quarantine, index entries                             (record layer)
//!   references  each model against its versions: pointers, counts, the high-water mark, its moves
//!   artifacts   how many versions hold which bytes; bytes that can't be read, or that nobody holds
//!   moves       pointer moves of no model
//! ```
//!
//! A version that goes to quarantine leaves its model as a deleted one would: without the pointers to it, counted no
//! more, its number never given out again.

mod artifacts;
mod moves;
mod rebuild;
mod references;

use super::record::{ModelRecord, VersionRecord};
use crate::engine::Tree;
use crate::error::Result;
use crate::keys;
use crate::record::catalog;
use crate::record::repair::{self, Repairer};
use crate::record::scrub::{self, Report};

pub(crate) use artifacts::lost;
pub(crate) use moves::{broken_moves, moves_prefixes, stray_move};

/// Who is said to have moved a pointer that repair removed.
const BY: &str = "repair";

/// Claims every key that belongs to the registry.
pub(crate) fn claim(report: &mut Report) {
    scrub::claim::<ModelRecord>(report);
    scrub::claim::<VersionRecord>(report);
    report.claim(Tree::Models, &[]);
    report.claim(Tree::ModelVersions, &[]);
    report.claim(Tree::Records, &keys::content_prefix(catalog::ARTIFACT.tag));
    report.claim(Tree::Records, &keys::content_prefix(catalog::ARTIFACT_REFERENCES.tag));
    report.claim(Tree::Records, &keys::content_prefix(catalog::LEFTOVERS.tag));
    for prefix in moves_prefixes() {
        report.claim(Tree::History, &prefix);
    }
}

/// Rebuilds what is kept about models and versions.
pub(crate) fn repair(run: &mut Repairer<'_>) -> Result<()> {
    let facts = rebuild::damaged_models(run)?;
    repair::records_with::<ModelRecord>(run, |txn, key, reason, changes| {
        rebuild::bury(txn, key, reason, &facts, changes)
    })?;
    repair::records::<VersionRecord>(run, |key| vec![(Tree::ModelVersions, key.to_vec())])?;
    rebuild::missing_models(run)?;
    references::references(run)?;
    references::copies(run)?;
    artifacts::artifacts(run)?;
    moves::moves(run)
}
