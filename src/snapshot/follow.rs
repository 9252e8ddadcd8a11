//! Following another store by its snapshot files.
//!
//! ```text
//! empty ── full ──> stands at a cursor of its source ── delta ──> further on ── full ──> further on
//!                     └── promote (the façade): its own history from here on, and no delta fits any more
//! ```
//!
//! Which files there are, and in which order they come, does not matter: each is taken if it leads on from here, has no
//! effect if the state is there already, and is refused if it belongs elsewhere.

use std::path::{Path, PathBuf};

use super::file;
use super::import::{begun, import_from};
use super::info::SnapshotInfo;
use super::layout::SnapshotKind;
use super::progress::{Watch, WatchedSource};
use super::read;
use crate::engine::{Cursor, Engine, ORIGIN_KEY, Position, Tree};
use crate::error::{Error, ErrorKind, Result};

/// The ending of the files that [`follow`] looks at.
pub const FILE_ENDING: &str = "mlsnap";

/// Where a follower stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// The cursor of its source that it has reached; `None` before the first snapshot.
    pub cursor: Option<Cursor>,
    /// Where a delta leads that is being applied in several transactions, or was when it was interrupted: apply it again
    /// then. As long as this is set, reads may meet some of its writes and not others; one that sees any of them sees
    /// this set, too.
    pub applying: Option<Cursor>,
}

impl ReplicaStatus {
    /// How many commit batches of the source lie between here and `source`, its cursor.
    ///
    /// # Errors
    /// `NeedsFull` before the first snapshot; `Diverged` for the cursor of another store.
    pub fn lag(&self, source: &Cursor) -> Result<u64> {
        let here = self.cursor.ok_or_else(|| Error::new(ErrorKind::NeedsFull, "replica: nothing was applied yet"))?;
        if here.lineage != source.lineage {
            return Err(Error::new(ErrorKind::Diverged, "cursor: it belongs to another store than the one followed"));
        }
        Ok(source.sequence.saturating_sub(here.sequence))
    }
}

/// Where `engine` stands in the history of the store that it follows.
///
/// # Errors
/// `Corrupt`; those of the engine.
pub fn status(engine: &dyn Engine) -> Result<ReplicaStatus> {
    Ok(ReplicaStatus {
        cursor: standing(engine)?.map(|position| position.cursor),
        applying: begun(engine)?.map(|begun| begun.end),
    })
}

fn standing(engine: &dyn Engine) -> Result<Option<Position>> {
    engine.get(Tree::Meta, ORIGIN_KEY)?.map(|value| Position::decode(&value)).transpose()
}

/// Applies one snapshot file. One that holds nothing new changes nothing.
///
/// # Errors
/// As [`import`](super::import()); `Conflict` when the store holds data of its own.
pub fn apply(engine: &dyn Engine, path: &Path, watch: &mut Watch<'_>) -> Result<SnapshotInfo> {
    let source = WatchedSource::new(file::open(path)?, watch)?;
    let here = standing(engine)?;
    let kind = read::header(&source)?.kind();
    if kind == SnapshotKind::Delta && here.is_none() {
        return Err(Error::new(
            ErrorKind::NeedsFull,
            "snapshot: a delta before any full snapshot; apply one of those first",
        ));
    }
    if kind == SnapshotKind::Full
        && let Some(here) = &here
    {
        let walked = read::walk(&source, false, |_, _| Ok(()))?;
        if begun(engine)?.is_none() && here.came_through(&walked.manifest.end) {
            let chain = walked.manifest.trail.after.zip(here.chain).filter(|_| walked.manifest.end == here.cursor);
            if chain.is_some_and(|(theirs, ours)| theirs != ours) {
                return Err(Error::new(
                    ErrorKind::Diverged,
                    "snapshot: what was committed up to its cursor is not what this replica holds; to follow that one, \
                     begin with an empty folder",
                ));
            }
            return Ok(walked.info());
        }
        if walked.manifest.end.lineage != here.cursor.lineage || !walked.position().came_through(&here.cursor) {
            return Err(Error::new(
                ErrorKind::Diverged,
                "snapshot: the state of another store, or of another branch of the one followed; to follow that one, \
                 begin with an empty folder",
            ));
        }
    }
    import_from(engine, &source, here.is_some())
}

/// Applies what leads on from here among the files `*.mlsnap` in a folder, as far as they lead. Answers the files that were
/// taken, in order. Files that hold nothing new, and those of other stores, are left alone.
///
/// # Errors
/// As [`apply`], for a file that should have led on; `Unavailable` for the folder.
pub fn follow(engine: &dyn Engine, folder: &Path, watch: &mut Watch<'_>) -> Result<Vec<PathBuf>> {
    let mut taken: Vec<PathBuf> = Vec::new();
    loop {
        let here = standing(engine)?.map(|position| position.cursor);
        let begun = begun(engine)?.is_some();
        let mut candidates: Vec<(u64, PathBuf)> = Vec::new();
        for path in file::list(folder, FILE_ENDING)?.into_iter().filter(|path| !taken.contains(path)) {
            let source = match file::open(&path) {
                // Removed since the folder was listed, a name that leads nowhere, or a folder.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => continue,
                source => source?,
            };
            // One that is being copied here may not be whole yet: the next round sees it again.
            let Ok((header, end)) = read::outline(&source) else { continue };
            let leads_on = match (&here, header.between) {
                (None, between) => between.is_none(),
                (Some(here), _) if end.lineage != here.lineage => false,
                (Some(here), _) if end.sequence < here.sequence || (end == *here && !begun) => false,
                (Some(here), Some((base, _))) => base.sequence <= here.sequence,
                (Some(_), None) => true,
            };
            if leads_on {
                candidates.push((end.sequence, path));
            }
        }
        // The one that leads furthest; of the same reach the first by name.
        candidates.sort_by(|(a, _), (b, _)| b.cmp(a));
        let mut refused = None;
        let mut next = None;
        for (_, path) in candidates {
            match apply(engine, &path, watch) {
                Ok(_) => {
                    next = Some(path);
                    break;
                }
                // Removed meanwhile: whatever else is there is looked at again.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // A long delta that does not tell where this replica stands: a shorter one may begin just there.
                Err(error) if error.kind() == ErrorKind::NeedsFull => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match (next, refused) {
            (Some(path), _) => taken.push(path),
            (None, Some(error)) => return Err(error),
            (None, None) => return Ok(taken),
        }
    }
}
