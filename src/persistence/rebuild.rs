//! Where a state comes from when the store can't be opened: snapshots of this very store.
//!
//! ```text
//! the file that was given, or else the store's own, newest first
//!   ─ ends where the journal leads on from? ─ whole, every byte of it? ─> loaded
//!   └ no: the next one, and when there is none, what was wrong with each
//! ```
//!
//! Each is read whole before anything of it is used, so that a damaged newest one costs time and nothing else.

use std::path::{Path, PathBuf};

use crate::engine::local::rescue::{Gap, Rescue};
use crate::engine::{Fresh, Position};
use crate::error::{Error, ErrorKind, Result};
use crate::snapshot::{self, SnapshotKind, shelf};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct FromSnapshots {
    /// Whether the store is rebuilt even when it could be opened.
    pub(super) wanted: bool,
    /// In the place of the store's own.
    pub(super) given: Option<PathBuf>,
    /// Whether a policy sees to it that there is always a snapshot which the journal reaches back to. Without one the journal
    /// is not kept for the sake of snapshots that only grow older.
    pub(super) kept: bool,
}

impl FromSnapshots {
    /// Only where it must be, from the store's own.
    pub(super) const OWN: Self = FromSnapshots { wanted: false, given: None, kept: false };
}

impl Rescue for FromSnapshots {
    fn is_wanted(&self) -> bool {
        self.wanted
    }

    fn has_source(&self) -> bool {
        self.given.is_some()
    }

    fn newest(&self, annex: &Path) -> Result<Option<u64>> {
        if self.kept { shelf::newest(annex) } else { Ok(None) }
    }

    fn fill(&self, gap: &Gap, fresh: &mut dyn Fresh) -> Result<Position> {
        let candidates = match &self.given {
            Some(given) => vec![given.clone()],
            None => shelf::list(&gap.annex)?.into_iter().map(|shelved| shelved.path).collect(),
        };
        let mut wrong = Vec::new();
        for path in &candidates {
            match usable(path, gap)? {
                None => return snapshot::load(path, fresh),
                Some(why) => wrong.push(format!("{} {why}", path.display())),
            }
        }
        let found = match wrong.is_empty() {
            true => "there is no snapshot of this store beside it".to_owned(),
            false => wrong.join("; "),
        };
        Err(Error::corrupt(format!(
            "what is missing is a full snapshot of this store at a commit from {} to {} ({found}); bring one with \
             `mlp snapshot rebuild FILE` or `Builder::rebuild`, or restore the folder from a copy, or import an older \
             snapshot into another folder",
            gap.least, gap.most
        )))
    }
}

/// What keeps a file from being used.
fn usable(path: &Path, gap: &Gap) -> Result<Option<String>> {
    let info = match snapshot::inspect(path, &mut |_| ()) {
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::NotFound) => {
            return Ok(Some(format!("is no use: {error}")));
        }
        info => info?,
    };
    let sequence = info.cursor.sequence;
    Ok(match info.kind {
        SnapshotKind::Delta => Some("is a delta".to_owned()),
        SnapshotKind::Full if sequence < gap.least => {
            Some(format!("stands at commit {sequence}, so commits {} to {} are missing", sequence + 1, gap.least))
        }
        SnapshotKind::Full if sequence > gap.most => {
            Some(format!("stands at commit {sequence}, and the journal ends at {} already", gap.most))
        }
        SnapshotKind::Full => None,
    })
}
