//! Listings: always through an ordered index, never by key prefix.
//!
//! `a@v10` sorts before `a@v2`, and `a@v1` may itself be a model's name, so the order of keys is not the order of
//! versions and a prefix of a key is not a model. A page is one point in time; the next page is another.

use super::page::{self, DamagedRow, ModelPage, PageRequest, VersionPage};
use super::record::{MODEL_NAMES, ModelRecord, VERSION_NUMBERS, VersionRecord};
use super::txn::no_such_model;
use super::{Model, Version};
use crate::engine::Direction;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, KeyWriter};
use crate::record::{Entity, Index, PAGE_BYTES, View};

/// Models by name.
pub(crate) fn models(view: &View<'_>, request: &PageRequest) -> Result<ModelPage> {
    let rows = rows(view, &MODEL_NAMES, KeyWriter::new(), b"models", request, |key| {
        let record = present(view.get::<ModelRecord>(key)?)?;
        Ok(Some((record.weight(), Model::of(record))))
    })?;
    Ok(ModelPage { models: rows.rows, next_page_token: rows.token, damaged: rows.damaged })
}

/// The versions of one model by number. `NotFound` for a missing model.
pub(crate) fn versions(view: &View<'_>, model: &str, request: &PageRequest) -> Result<VersionPage> {
    let holder = view.get::<ModelRecord>(&keys::model(model))?.ok_or_else(|| no_such_model(model))?;
    let listing = [b"versions of ", model.as_bytes()].concat();
    let rows = rows(view, &VERSION_NUMBERS, KeyWriter::new().str(model), &listing, request, |key| {
        let record = present(view.get::<VersionRecord>(key)?)?;
        Ok((record.incarnation == holder.incarnation).then(|| (record.weight(), Version::of(record, &holder))))
    })?;
    Ok(VersionPage { versions: rows.rows, next_page_token: rows.token, damaged: rows.damaged })
}

/// The versions of all models, by model and number.
pub(crate) fn all_versions(view: &View<'_>, request: &PageRequest) -> Result<VersionPage> {
    // Versions of one model come one after the other, so the last model read is nearly always the next one needed.
    let mut holder: Option<ModelRecord> = None;
    let rows = rows(view, &VERSION_NUMBERS, KeyWriter::new(), b"versions", request, |key| {
        let record = present(view.get::<VersionRecord>(key)?)?;
        let holder = match holder.take() {
            Some(same) if same.name == record.model => holder.insert(same),
            _ => match view.get::<ModelRecord>(&keys::model(&record.model))? {
                Some(other) => holder.insert(other),
                // A leftover of a deleted model, which is being swept away.
                None => return Ok(None),
            },
        };
        Ok((record.incarnation == holder.incarnation).then(|| (record.weight(), Version::of(record, holder))))
    })?;
    Ok(VersionPage { versions: rows.rows, next_page_token: rows.token, damaged: rows.damaged })
}

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

struct Rows<T> {
    rows: Vec<T>,
    token: Option<String>,
    damaged: Vec<DamagedRow>,
}

/// One page of an index, row by row. A row comes with its weight in bytes: the page ends early once its rows weigh
/// [`PAGE_BYTES`]. A row that answers `None` is left out, one that is damaged is reported.
fn rows<R: Entity, T>(
    view: &View<'_>,
    index: &Index<R>,
    prefix: KeyWriter,
    listing: &[u8],
    request: &PageRequest,
    mut row: impl FnMut(&[u8]) -> Result<Option<(usize, T)>>,
) -> Result<Rows<T>> {
    let size = request.checked_size()?;
    let after = request.after(listing)?;
    // One entry more than asked for tells whether there is a next page.
    let page = view.index_page(index, prefix, Direction::Ascending, after.as_deref(), size + 1)?;
    let mut found = Rows { rows: Vec::new(), token: None, damaged: Vec::new() };
    let (mut bytes, mut last) = (0, None);
    for (place, entry) in page.entries.iter().enumerate() {
        if place == size || bytes >= PAGE_BYTES {
            found.token = last.map(|last| page::token(listing, last));
            break;
        }
        last = Some(&entry.entry);
        match row(&entry.primary) {
            Ok(Some((weight, shown))) => {
                bytes += weight;
                found.rows.push(shown);
            }
            Ok(None) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
                let key = String::from_utf8_lossy(&entry.primary).into_owned();
                found.damaged.push(DamagedRow { key, error: error.to_string() });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// An index entry whose record is gone is damage: both are written in one transaction.
fn present<R: Entity>(record: Option<R>) -> Result<R> {
    record.ok_or_else(|| Error::corrupt(format!("{}: in an index, but not there", R::schema().name)))
}
