//! Pieces that no value refers to go to quarantine, all of one value together. They may be all that is left of a value
//! whose head was damaged, so they are kept; they lie where they lay, and an entry in quarantine holds them.
//!
//! They need not be looked at again inside the transaction: a piece that nothing refers to is never referred to later.

use std::collections::BTreeMap;

use crate::error::{ErrorKind, Result};
use crate::keys;

use super::super::quarantine;
use super::super::scrub::pieces::for_each_orphan;
use super::{Repairer, Tree};

/// Puts pieces of nobody into quarantine. Memory: one entry for each value in pieces.
pub(crate) fn pieces(run: &mut Repairer<'_>) -> Result<()> {
    run.stage("pieces");
    run.tick(0)?;
    let store = run.store();
    let found = store.read(|view| {
        let mut orphans: BTreeMap<u128, (u32, u64)> = BTreeMap::new();
        let mut strays = Vec::new();
        for_each_orphan(view, |key| {
            match keys::parse_blob(key) {
                Ok((value_id, piece)) => {
                    let bytes = view.reader().get(Tree::Blob, key)?.map_or(0, |stored| stored.len() as u64);
                    let orphan = orphans.entry(value_id).or_default();
                    *orphan = (orphan.0.max(piece.saturating_add(1)), orphan.1 + bytes);
                }
                Err(_) => strays.push((key.to_vec(), ())),
            }
            Ok(())
        })?;
        Ok((orphans, strays))
    });
    let (orphans, strays) = match found {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            run.leave(Tree::Blob, &[], error.to_string());
            return Ok(());
        }
        found => found?,
    };
    let orphans: Vec<_> = orphans.into_iter().map(|(id, orphan)| (keys::blob(id, 0), (id, orphan))).collect();
    run.mend_all(Tree::Blob, &orphans, |txn, _, (value_id, (pieces, bytes)), changes| {
        let kept = quarantine::set_pieces_aside(txn, *value_id, *pieces, *bytes, "no value refers to these pieces")?;
        changes.quarantined.push(kept);
        Ok(())
    })?;
    run.mend_all(Tree::Blob, &strays, |txn, key, (), changes| {
        changes.set_aside(txn, Tree::Blob, key, "the key of no piece")
    })?;
    run.tick((orphans.len() + strays.len()) as u64)
}
