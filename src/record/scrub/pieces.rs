//! Pieces that no value refers to. Missing ones are found where their value is read.
//!
//! A piece belongs to a value that stands in its place, to one that is staged for a commit, or to one in quarantine,
//! whose pieces stay with it. A value id is given out once, and its pieces are written with the head that refers to
//! them or behind a mark. So a piece that nothing refers to at one point in time is never referred to later.

use std::collections::BTreeMap;

use crate::codec;
use crate::engine::{KeyRange, Tree};
use crate::error::{ErrorKind, Result};
use crate::keys;

use super::super::quarantine;
use super::super::stage::for_each_staged;
use super::super::view::{View, for_each};
use super::{Report, ViolationKind};

/// Finds pieces that no value refers to. Memory: 20 bytes and their overhead for each value in pieces.
///
/// # Errors
/// As [`verify`](super::verify).
pub fn verify_pieces(view: &View<'_>, report: &mut Report) -> Result<()> {
    for_each_orphan(view, |key| {
        report.violation(ViolationKind::PieceOrphaned, Tree::Blob, key, "no value refers to this piece");
        Ok(())
    })
}

/// Calls `visit` with the key of every piece that nothing refers to.
///
/// # Errors
/// `Unsupported` when a newer build wrote a value that this one can't read: its pieces are not to be told from others.
pub(crate) fn for_each_orphan(view: &View<'_>, mut visit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut pieces_of = BTreeMap::new();
    let mut hold = |value_id: u128, pieces: u32| {
        let held: &mut u32 = pieces_of.entry(value_id).or_default();
        *held = pieces.max(*held);
    };
    for_each_staged(view.reader(), &mut hold)?;
    quarantine::for_each_in_pieces(view, &mut hold)?;
    for &tree in Tree::ALL.iter().filter(|tree| !matches!(tree, Tree::Index | Tree::Counter | Tree::Blob)) {
        for_each(view.reader(), tree, KeyRange::all(), |key, stored| {
            match codec::read_head(tree, key, stored) {
                Ok(Some(head)) => hold(head.value_id, head.pieces),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Unsupported => return Err(error),
                // What can't be read is reported by the check of its own kind.
                Err(_) => {}
            }
            Ok(())
        })?;
    }
    for_each(view.reader(), Tree::Blob, KeyRange::all(), |key, _| {
        let held = keys::parse_blob(key)
            .is_ok_and(|(value_id, piece)| pieces_of.get(&value_id).is_some_and(|pieces| piece < *pieces));
        if held { Ok(()) } else { visit(key) }
    })
}
