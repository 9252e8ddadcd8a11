//! Keys that no check has answered for: of an unknown tag, an unknown index number, an unknown counter number.
//!
//! Who keeps something in a tree claims its keys before this check runs. It seeks from one claim to the next, so it costs what
//! the strays cost and not what the store holds.

use std::ops::Bound;

use crate::engine::{Direction, KeyRange, Tree};
use crate::error::Result;
use crate::keys::{self, KeyWriter};

use super::super::view::{PAGE, View};
use super::super::{quarantine, repair, stage};
use super::{Report, ViolationKind, collections};

/// Keys of `meta` that begin so are the engine's own.
const ENGINE: &[u8] = &[0];

/// Claims what this layer keeps: pieces, quarantine, and the marks of repairs and of staged values; and for the engine,
/// what it keeps for itself.
pub(crate) fn claim_own(report: &mut Report) {
    report.claim(Tree::Meta, ENGINE);
    report.claim(Tree::Blob, &[]);
    claim_collections(report);
    stage::claim(report);
    repair::claim_mark(report);
    quarantine::claim(report);
}

/// Claims what hosts keep in collections as a whole: only who has opened a collection knows what belongs in it, and
/// checks it himself. Their records begin with a name and not with a tag, whose first byte is zero (a name escapes its
/// own); the numbers of their indexes and counters are those beyond 16 bits.
fn claim_collections(report: &mut Report) {
    for byte in 1..=u8::MAX {
        report.claim(Tree::Records, &[byte]);
        for tree in [Tree::Index, Tree::Counter] {
            report.claim(tree, &[byte]);
            report.claim(tree, &[0, byte]);
        }
    }
    report.claim(Tree::Records, &[0, u8::MAX]);
    for (name, _) in collections::NAMES {
        report.claim(Tree::Meta, &keys::meta(name, KeyWriter::new()));
    }
}

/// Reports every key that nobody has claimed.
///
/// # Errors
/// As [`verify`](super::verify).
pub fn verify_strays(view: &View<'_>, report: &mut Report) -> Result<()> {
    for &tree in Tree::ALL {
        for gap in gaps(report, tree) {
            let mut rest = gap;
            loop {
                let page = view.reader().scan(tree, &rest, Direction::Ascending, PAGE)?;
                for (key, _) in &page.entries {
                    report.violation(ViolationKind::Stray, tree, key, "nothing in this build knows this key");
                }
                match page.resume {
                    Some(resume) => rest = rest.behind(&resume, Direction::Ascending),
                    None => break,
                }
            }
        }
    }
    Ok(())
}

/// The ranges of `tree` that nobody has claimed, in order.
pub(crate) fn gaps(report: &Report, tree: Tree) -> Vec<KeyRange> {
    let mut gaps = Vec::new();
    let mut start = Bound::Unbounded;
    for (_, prefix) in report.claimed.iter().filter(|(of, _)| *of == tree) {
        let claimed = KeyRange::prefix(prefix);
        let gap = KeyRange { start: start.clone(), end: Bound::Excluded(prefix.clone()) };
        // A claim inside the one before it ends no later than that.
        let inside = matches!(&start, Bound::Included(from) if from > prefix);
        if inside {
            continue;
        }
        if !gap.is_empty() && !prefix.is_empty() {
            gaps.push(gap);
        }
        match claimed.end {
            Bound::Excluded(end) => start = Bound::Included(end),
            // The claim reaches to the end of the tree.
            _ => return gaps,
        }
    }
    gaps.push(KeyRange { start, end: Bound::Unbounded });
    gaps
}
