//! Puts right what verify finds wrong in the registry.

use super::record::{ModelRecord, VersionRecord};
use crate::engine::Tree;
use crate::error::Result;
use crate::keys::{self, KeyWriter};
use crate::record::catalog;
use crate::record::repair::{self, Repairer};
use crate::record::scrub::{self, Report};

/// Claims every key that belongs to the registry.
pub(crate) fn claim(report: &mut Report) {
    scrub::claim::<ModelRecord>(report);
    scrub::claim::<VersionRecord>(report);
    report.claim(Tree::Models, &[]);
    report.claim(Tree::ModelVersions, &[]);
    report.claim(Tree::Records, &keys::content_prefix(catalog::ARTIFACT.tag));
    report.claim(Tree::Records, &keys::content_prefix(catalog::ARTIFACT_REFERENCES.tag));
    report.claim(Tree::History, &keys::history(catalog::POINTER_HISTORY.tag, KeyWriter::new()));
}

/// Rebuilds what is kept about models and versions.
pub(crate) fn repair(run: &mut Repairer<'_>) -> Result<()> {
    repair::records::<ModelRecord>(run, |key| vec![(Tree::Models, key.to_vec())])?;
    repair::records::<VersionRecord>(run, |key| vec![(Tree::ModelVersions, key.to_vec())])
}
