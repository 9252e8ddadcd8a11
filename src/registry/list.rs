//! The end of a list of versions: always through an ordered index, never by key prefix.
//!
//! `a@v10` sorts before `a@v2`, and `a@v1` may itself be a model's name, so the order of keys is not the order of
//! versions and a prefix of a key is not a model. Whole lists are searches without a filter.

use super::record::{ModelRecord, VersionRecord};
use super::search::present;
use crate::engine::Direction;
use crate::error::Result;
use crate::keys::KeyWriter;
use crate::record::{Index, View};

/// The highest version that is not archived.
pub(crate) fn latest(
    view: &View<'_>,
    index: &Index<VersionRecord>,
    prefix: impl Fn() -> KeyWriter,
    holder: &ModelRecord,
) -> Result<Option<VersionRecord>> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = view.index_page(index, prefix(), Direction::Descending, after.as_deref(), 1)?;
        for entry in page.entries {
            let record = present(view.get::<VersionRecord>(&entry.primary)?)?;
            if record.incarnation == holder.incarnation {
                return Ok(Some(record));
            }
        }
        match page.resume {
            Some(resume) => after = Some(resume),
            None => return Ok(None),
        }
    }
}
