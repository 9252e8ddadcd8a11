//! Back to an earlier point: a full snapshot, and of the journal what came after it up to that point.

use std::path::{Path, PathBuf};

use super::{Builder, MlPersistence};
use crate::clock::Ids;
use crate::engine::Cursor;
use crate::error::{Error, Result};
use crate::snapshot;

/// Up to where a state is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestorePoint {
    /// The commit batch at this cursor, as an answer, an export or the change feed told it.
    Cursor(Cursor),
    /// The last commit at or before this moment, in milliseconds since the Unix epoch, by the store's own clock.
    AtMs(u64),
}

impl MlPersistence {
    /// Puts this store's state at an earlier point into an empty folder: the full snapshot at `snapshot`, exported before
    /// that point, and from the journal what was committed after it up to the point. The journal must reach back to the
    /// snapshot ([`Builder::journal_retention_bytes`](crate::Builder)). What is restored is a primary of its own; this
    /// store stays as it is.
    ///
    /// ```
    /// # fn main() -> ml_persistence::Result<()> {
    /// # let scratch = tempfile::tempdir().unwrap();
    /// # let file = scratch.path().join("nightly.mlsnap");
    /// use ml_persistence::{MlPersistence, RestorePoint};
    /// let db = MlPersistence::open(scratch.path().join("db"))?;
    /// db.export_snapshot(&file, None)?;
    /// db.namespace("cache")?.put("k", "good")?;
    /// let good = db.sync()?;
    /// db.namespace("cache")?.clear()?; // a mistake
    ///
    /// let target = MlPersistence::builder(scratch.path().join("restored"));
    /// let restored = db.restore_into(target, &file, RestorePoint::Cursor(good))?;
    /// assert_eq!(restored.namespace("cache")?.get_as::<String>("k")?.as_deref(), Some("good"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NeedsFull` when the journal no longer reaches back to the snapshot: take a newer one; `Diverged` for the snapshot of
    /// another store; `Invalid` for a point before the snapshot or ahead of this store, or a target without a folder;
    /// `Conflict` when that folder holds data; `Corrupt`; `Full`; `Unavailable`; `Closed`.
    pub fn restore_into(
        &self,
        target: Builder,
        snapshot: impl AsRef<Path>,
        until: RestorePoint,
    ) -> Result<MlPersistence> {
        let folder = target.folder().ok_or_else(|| Error::invalid("target: a restored state needs a folder"))?;
        let since = Self::inspect_snapshot(&snapshot)?.cursor;
        let until = match until {
            RestorePoint::Cursor(cursor) => cursor,
            RestorePoint::AtMs(at_ms) => snapshot::cursor_at(&**self.engine(), &since, at_ms)?,
        };
        let delta = Scratch::beside(folder)?;
        snapshot::export_between(&**self.engine(), &delta.0, &since, &until)?;
        let replica = target.open_replica()?;
        replica.apply(snapshot)?;
        replica.apply(&delta.0)?;
        replica.promote()
    }
}

/// A file that is removed when it has served.
struct Scratch(PathBuf);

impl Scratch {
    /// Under a name that tells what it is and that no other restore has: each must apply its own.
    fn beside(folder: &Path) -> Result<Self> {
        let name = folder.file_name().ok_or_else(|| Error::invalid("target: its folder has no name"))?;
        let mut name = name.to_os_string();
        name.push(format!(".{:016x}.restore.mlsnap", Ids::random()?.next_u64()));
        Ok(Scratch(folder.with_file_name(name)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // One that can't be removed is in nobody's way.
        std::fs::remove_file(&self.0).unwrap_or_default();
    }
}
