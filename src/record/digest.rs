//! One number for the whole logical state: BLAKE3 over every record, in order.
//!
//! ```text
//! for each of models, model_versions, jobs, kv, records, history (by tree number), for each entry in key order:
//!   tree number u8 | key length u32 | key | value length u32 | value          little-endian
//! ```
//!
//! A value that is kept in pieces counts as the whole: how it is cut, and under which random id, is no part of the
//! state. Indexes and counters are left out, since they are rebuilt and compared; so is `meta`, the state of the
//! process and not of the data. Every field carries its length, so that no two states give the same stream.

use crate::engine::{KeyRange, Reader, Tree};
use crate::error::{Error, Result};

use super::value::PartReader;
use super::view::for_each;

const TREES: [Tree; 6] = [Tree::Models, Tree::ModelVersions, Tree::Jobs, Tree::Kv, Tree::Records, Tree::History];

/// The digest of everything that `reader` sees, in hex: equal on every engine that holds the same data.
///
/// # Errors
/// `Closed`; `Corrupt` where a piece of a value is missing or damaged. Other values are not opened.
pub fn digest(reader: &dyn Reader) -> Result<String> {
    Ok(blake3::Hash::from_bytes(digest_bytes(reader)?).to_hex().to_string())
}

/// As [`digest`], as bytes.
///
/// # Errors
/// As there.
pub fn digest_bytes(reader: &dyn Reader) -> Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    for tree in TREES {
        for_each(reader, tree, KeyRange::all(), |key, stored| {
            let whole = PartReader::in_view(reader).whole(tree, key, stored)?;
            hasher.update(&[tree.number()]);
            for field in [key, &*whole] {
                let length = u32::try_from(field.len()).map_err(|_| Error::internal("an entry beyond the limits"))?;
                hasher.update(&length.to_le_bytes());
                hasher.update(field);
            }
            Ok(())
        })?;
    }
    Ok(*hasher.finalize().as_bytes())
}
