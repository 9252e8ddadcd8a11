//! One number for the whole logical state: BLAKE3 over every record, in order.
//!
//! ```text
//! for each of models, model_versions, jobs, kv, records, history, blob (by tree number), for each entry in key order:
//!   tree number u8 | key length u32 | key | value length u32 | value          little-endian
//! ```
//!
//! Indexes and counters are left out, since they are rebuilt and compared; so is `meta`, the state of the process and
//! not of the data, and so are staged pieces, which are no data yet. Every field carries its length, so that no two states give the same stream.

use std::collections::HashSet;

use crate::engine::{KeyRange, Reader, Tree};
use crate::error::{Error, Result};
use crate::keys;

use super::stage::for_each_staged;
use super::view::for_each;

const TREES: [Tree; 7] =
    [Tree::Models, Tree::ModelVersions, Tree::Jobs, Tree::Kv, Tree::Records, Tree::History, Tree::Blob];

/// The digest of everything that `reader` sees, in hex: equal on every engine that holds the same data.
///
/// # Errors
/// `Closed`; `Corrupt` where the engine itself finds damage. Values are not opened: damaged ones have a digest too.
pub fn digest(reader: &dyn Reader) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut staged = HashSet::new();
    for_each_staged(reader, |value_id, _| {
        staged.insert(value_id);
    })?;
    for tree in TREES {
        for_each(reader, tree, KeyRange::all(), |key, stored| {
            if tree == Tree::Blob && keys::parse_blob(key).is_ok_and(|(value_id, _)| staged.contains(&value_id)) {
                return Ok(());
            }
            hasher.update(&[tree.number()]);
            for field in [key, stored] {
                let length = u32::try_from(field.len()).map_err(|_| Error::internal("an entry beyond the limits"))?;
                hasher.update(&length.to_le_bytes());
                hasher.update(field);
            }
            Ok(())
        })?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}
