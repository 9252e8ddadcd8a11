//! What hosts keep, as far as it can be judged without knowing their types: that every stored value is whole.
//!
//! ```text
//!   definitions, constructions, marks, numbers     of every collection
//!   records                                        of the collections that this process has not opened
//! ```
//!
//! Whether a whole record belongs where an index says is for those to tell who have opened its collection. That its
//! bytes are damaged is seen here, so that a verify without the host's types calls no damaged record well.

use crate::codec::Part;
use crate::engine::{KeyRange, Tree};
use crate::error::{Error, Result};
use crate::keys::{self, KeyWriter};

use super::super::catalog;
use super::super::value::PartReader;
use super::super::view::{View, for_each};
use super::strays::gaps;
use super::{Report, ViolationKind, damage};

/// Names in `meta` under which the collections of hosts keep what they are and how far their indexes are built.
pub(super) const NAMES: [(&str, Part); 4] = [
    ("collection", catalog::COLLECTION),
    ("collection.build", catalog::COLLECTION_BUILD),
    ("collection.late", catalog::COLLECTION_LATE),
    ("collection.numbers", catalog::COLLECTION_NUMBERS),
];

/// The ranges to look at, each with what belongs there, when the collections in `opened` look after their own records.
pub(crate) fn ranges(opened: &[&str]) -> Vec<(Part, KeyRange)> {
    let upkeep = NAMES.iter().map(|(name, part)| (*part, KeyRange::prefix(&keys::meta(name, KeyWriter::new()))));
    let mut others = Report::default();
    // The records of this build begin with a zero byte; a name that does has it escaped.
    (0..u8::MAX).for_each(|byte| others.claim(Tree::Records, &[0, byte]));
    opened.iter().for_each(|name| others.claim(Tree::Records, &keys::collection_prefix(name)));
    // A host's version of its record may be any.
    let record = Part { version: u16::MAX, ..catalog::HOST_RECORD };
    upkeep.chain(gaps(&others, Tree::Records).into_iter().map(|gap| (record, gap))).collect()
}

/// What is wrong with the value of `part` that is stored at `key`.
pub(crate) fn fault(parts: &mut PartReader<'_>, part: Part, key: &[u8], stored: &[u8]) -> Result<Option<Error>> {
    Ok(damage(parts.check(part, key, stored))?.err())
}

/// Checks that what hosts keep is whole. The records of the collections in `opened` are left to those.
///
/// # Errors
/// As [`verify`](super::verify).
pub(crate) fn verify_collections(view: &View<'_>, opened: &[&str], report: &mut Report) -> Result<()> {
    let mut parts = PartReader::in_view(view.reader());
    for (part, range) in ranges(opened) {
        for_each(view.reader(), part.tree, range, |key, stored| {
            report.records += u64::from(part.tree == Tree::Records);
            if let Some(error) = fault(&mut parts, part, key, stored)? {
                report.violation(ViolationKind::Unreadable, part.tree, key, error.to_string());
            }
            Ok(())
        })?;
    }
    Ok(())
}
