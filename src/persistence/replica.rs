//! A replica: a read-only copy that follows its source by snapshot files, and can take its place.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::{Builder, MlPersistence};
use crate::engine::{ORIGIN_KEY, Tree, TxnOptions};
use crate::error::{Error, Result};
use crate::keys::{self, KeyWriter};
use crate::snapshot::{self, ReplicaStatus, SnapshotInfo, Watch};

/// A store that takes no writes but those of its source: full snapshots and deltas, as files.
///
/// It reads like any store (it dereferences to one); every write, a claim included, is `Unsupported`: a replica never runs
/// jobs. Reads during the import of a delta that is too large for one transaction (16 k keys or 8 MiB) may meet some of
/// its writes and not others; [`ReplicaStatus::applying`] tells of one that was interrupted.
///
/// ```
/// # fn main() -> ml_persistence::Result<()> {
/// # let scratch = tempfile::tempdir().unwrap();
/// # let (full, delta, folder) = (scratch.path().join("0.mlsnap"), scratch.path().join("1.mlsnap"), scratch.path().join("r"));
/// use ml_persistence::MlPersistence;
/// let primary = MlPersistence::open(scratch.path().join("primary"))?;
/// let first = primary.export_snapshot(&full, None)?;
///
/// let replica = MlPersistence::builder(&folder).open_replica()?;
/// replica.apply(&full)?;
/// primary.namespace("cache")?.put("k", "v")?;
/// primary.export_snapshot(&delta, Some(first.cursor))?;
/// replica.apply(&delta)?;
/// assert_eq!(replica.namespace("cache")?.get_as::<String>("k")?.as_deref(), Some("v"));
/// assert_eq!(replica.digest()?, primary.digest()?);
///
/// // The primary is gone for good: the replica takes its place.
/// let primary = replica.promote()?;
/// primary.namespace("cache")?.put("k", "w")?;
/// # Ok(())
/// # }
/// ```
pub struct Replica {
    db: MlPersistence,
    builder: Builder,
}

impl Replica {
    pub(super) fn new(db: MlPersistence, builder: Builder) -> Self {
        Replica { db, builder }
    }

    /// Applies one snapshot file. One that holds nothing new changes nothing, so that applying again after any
    /// interruption is right.
    ///
    /// # Errors
    /// `NeedsFull` for a delta that begins behind this replica, or before any full snapshot; `Diverged` for a file of
    /// another store or branch of history (a primary of before a promotion, say); `Conflict` in a folder with data of its
    /// own; `Corrupt` naming what is damaged; `Unsupported`; `NotFound`; `Full`; `Unavailable`; `Closed`.
    pub fn apply(&self, path: impl AsRef<Path>) -> Result<SnapshotInfo> {
        self.apply_with(path, &mut |_| ())
    }

    /// As [`apply`](Self::apply), and tells `watch` now and then how far it has come.
    ///
    /// # Errors
    /// As there.
    pub fn apply_with(&self, path: impl AsRef<Path>, watch: &mut Watch<'_>) -> Result<SnapshotInfo> {
        snapshot::apply(&**self.db.engine(), path.as_ref(), watch)
    }

    /// Applies what leads on from here among the files `*.mlsnap` in a folder, as far as they lead; answers those that
    /// were taken. Files of other stores, and such as are not whole yet, are left alone.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), for a file that should have led on.
    pub fn follow(&self, folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
        self.follow_with(folder, &mut |_| ())
    }

    /// As [`follow`](Self::follow), and tells `watch` now and then how far it has come in the file at hand.
    ///
    /// # Errors
    /// As there.
    pub fn follow_with(&self, folder: impl AsRef<Path>, watch: &mut Watch<'_>) -> Result<Vec<PathBuf>> {
        snapshot::follow(&**self.db.engine(), folder.as_ref(), watch)
    }

    /// Where it stands in its source's history.
    ///
    /// # Errors
    /// `Closed`; `Corrupt`.
    pub fn status(&self) -> Result<ReplicaStatus> {
        snapshot::status(&**self.db.engine())
    }

    /// Makes this the primary: reopens the folder for writing, sweeps the leases that its source had granted, and begins a
    /// history of its own, so that no delta of the old primary fits from here on.
    ///
    /// It can't stop an old primary that still runs: make sure that it does not. Jobs that were completed there after this
    /// replica's cursor may run again here.
    ///
    /// # Errors
    /// `Conflict` in the middle of a delta ([`ReplicaStatus::applying`]): apply it again first; those of an opening.
    pub fn promote(self) -> Result<MlPersistence> {
        if let Some(end) = self.status()?.applying {
            return Err(Error::conflict(format!(
                "promote: a delta that leads to {end:?} was applied in part; apply it again first"
            )));
        }
        let Replica { db, builder } = self;
        db.close()?;
        drop(db);
        let primary = builder.open()?;
        let engine = primary.engine();
        if engine.get(Tree::Meta, ORIGIN_KEY)?.is_some() {
            // Any write of its own begins its own history. There is nothing under this name to remove.
            let nothing = keys::meta("promoted", KeyWriter::new());
            engine.transact(&TxnOptions::default(), &mut |txn| txn.delete(Tree::Meta, &nothing))?;
        }
        Ok(primary)
    }
}

impl Deref for Replica {
    type Target = MlPersistence;

    fn deref(&self) -> &MlPersistence {
        &self.db
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("db", &self.db).finish_non_exhaustive()
    }
}
