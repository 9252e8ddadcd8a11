//! The end of a list of versions: always through an ordered index, never by key prefix.
//!
//! `a@v10` sorts before `a@v2`, and `a@v1` may itself be a model's name, so the order of keys is not the order of
//! versions and a prefix of a key is not a model. Whole lists are searches without a filter.

use super::record::{ModelRecord, VersionRecord};
use crate::engine::Direction;
use crate::error::Result;
use crate::keys::KeyWriter;
use crate::record::scrub::damage;
use crate::record::{Index, View};

/// The highest version that is not archived and that `holds`. A row that can't be read does not hide those below it:
/// listings and verify name it, and repair would take it away just so.
pub(crate) fn latest(
    view: &View<'_>,
    index: &Index<VersionRecord>,
    prefix: impl Fn() -> KeyWriter,
    holder: &ModelRecord,
    holds: impl Fn(&VersionRecord) -> bool,
) -> Result<Option<VersionRecord>> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = view.index_page(index, prefix(), Direction::Descending, after.as_deref(), 1)?;
        for entry in page.entries {
            // The entry of a row that went to quarantine may lead to a later row of another kind.
            if let Ok(Some(record)) = damage(view.get::<VersionRecord>(&entry.primary))?
                && record.is_of(holder)
                && !record.archived
                && holds(&record)
            {
                return Ok(Some(record));
            }
        }
        match page.resume {
            Some(resume) => after = Some(resume),
            None => return Ok(None),
        }
    }
}
