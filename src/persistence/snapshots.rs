//! Snapshots as users hold them: out of a store, into a store.

use std::path::Path;

use super::{MlPersistence, RecoveryReport, recover};
use crate::engine::Cursor;
use crate::error::Result;
use crate::snapshot::{self, SnapshotInfo, SnapshotKind, Watch};

impl MlPersistence {
    /// Writes the whole state to a file at `path`, or with `since` only what changed after that cursor: the last word on
    /// every key, so its size follows the change and not the store. Commits go on meanwhile and wait for nothing; the file
    /// holds the state at one point, with everything that was acknowledged before the call. A file at `path` is replaced
    /// once the new one is whole and durable.
    ///
    /// A delta needs the journal back to its cursor: [`Builder::journal_retention_bytes`](crate::Builder).
    ///
    /// ```
    /// # fn main() -> ml_persistence::Result<()> {
    /// # let scratch = tempfile::tempdir().unwrap();
    /// # let file = scratch.path().join("full.mlsnap");
    /// let db = ml_persistence::MlPersistence::in_memory().open()?;
    /// db.namespace("cache")?.put("k", "v")?;
    /// let exported = db.export_snapshot(&file, None)?;
    ///
    /// let copy = ml_persistence::MlPersistence::in_memory().open()?;
    /// copy.import_snapshot(&file, false)?;
    /// assert_eq!(exported.digest, Some(copy.digest()?));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NeedsFull` when the journal no longer reaches back to `since`; `Diverged` for a cursor of another store; `Full`
    /// when the disk, or `journal_max_bytes` under many writers, has no room; `Unsupported` on a store that was opened for
    /// reading; `Unavailable`; `Closed`; `Corrupt`.
    pub fn export_snapshot(&self, path: impl AsRef<Path>, since: Option<Cursor>) -> Result<SnapshotInfo> {
        self.export_snapshot_with(path, since, &mut |_| ())
    }

    /// As [`export_snapshot`](Self::export_snapshot), and tells `watch` now and then how far it has come.
    ///
    /// # Errors
    /// As there.
    pub fn export_snapshot_with(
        &self,
        path: impl AsRef<Path>,
        since: Option<Cursor>,
        watch: &mut Watch<'_>,
    ) -> Result<SnapshotInfo> {
        snapshot::export(&**self.engine(), path.as_ref(), since.as_ref(), watch)
    }

    /// Makes the full snapshot at `path` the state of this store, or brings a state that was imported further by a delta.
    /// All or nothing, a crash included. A store with data keeps it unless `replace` says that it shall go; then commits
    /// that were acknowledged while the import was at work are gone, too, and tokens of before are over.
    ///
    /// A job that was executing when the snapshot was made goes back to its place in line, and no crash of it is counted:
    /// its worker is elsewhere. That sweep, and any other write, begins a history of this store's own, which no further delta fits; a copy that is to follow
    /// its source is a [`Replica`](crate::Replica).
    ///
    /// # Errors
    /// `Conflict` for a full snapshot when the store has data and `replace` is false; `Corrupt` naming what is damaged in
    /// the file; `Unsupported` for a newer format; `NeedsFull` for a delta that begins behind this state; `Diverged` for
    /// one of another store or branch; `NotFound`; `Full`; `Unavailable`; `Closed`. The store is as before then, unless
    /// the message says otherwise.
    pub fn import_snapshot(&self, path: impl AsRef<Path>, replace: bool) -> Result<SnapshotInfo> {
        self.import_snapshot_with(path, replace, &mut |_| ())
    }

    /// As [`import_snapshot`](Self::import_snapshot), and tells `watch` now and then how far it has come.
    ///
    /// # Errors
    /// As there.
    pub fn import_snapshot_with(
        &self,
        path: impl AsRef<Path>,
        replace: bool,
        watch: &mut Watch<'_>,
    ) -> Result<SnapshotInfo> {
        let info = snapshot::import(&**self.engine(), path.as_ref(), replace, watch)?;
        if info.kind == SnapshotKind::Full {
            recover::recover(&self.0.records, &mut RecoveryReport::default())?;
        }
        Ok(info)
    }

    /// Reads a whole snapshot file, checks all that can be checked without a store, and says what it holds.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` naming what is damaged; `Unsupported` for a newer format; `Unavailable`.
    pub fn inspect_snapshot(path: impl AsRef<Path>) -> Result<SnapshotInfo> {
        Self::inspect_snapshot_with(path, &mut |_| ())
    }

    /// As [`inspect_snapshot`](Self::inspect_snapshot), and tells `watch` now and then how far it has come.
    ///
    /// # Errors
    /// As there.
    pub fn inspect_snapshot_with(path: impl AsRef<Path>, watch: &mut Watch<'_>) -> Result<SnapshotInfo> {
        snapshot::inspect(path.as_ref(), watch)
    }
}
