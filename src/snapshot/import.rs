//! Imports: a full snapshot becomes the state, a delta brings a state further. All or nothing.
//!
//! ```text
//! full    file ─> chunk by chunk into a new generation ─> manifest, trailer, digest of what was loaded ─> takes the place
//! delta   file walked once, nothing written ─> does it continue this very state? ─> its writes, the last with the cursor
//! ```
//!
//! A delta holds the last word on every key that changed since its base, so it also fits a state anywhere between base and
//! end on the same branch of history, and applying it again changes nothing. One that goes past what a transaction takes
//! is applied in several; until the last is in, the state is neither the old nor the new one, a note in `meta` says so
//! from the first of them on, and only this delta or a later one of the same history can be imported.

use std::path::Path;

use super::APPLYING_KEY;
use super::file;
use super::info::SnapshotInfo;
use super::layout::{Manifest, SnapshotKind};
use super::progress::{Watch, WatchedSource};
use super::read::{self, Source, Walked};
use super::trail::Compared;
use crate::engine::{ChainHash, Cursor, Engine, Fresh, Position, Tree, TxnOptions, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::record;

/// Writes of a delta in one transaction; few in tests, so that small deltas take several.
const STEP_WRITES: usize = if cfg!(test) { 1 << 10 } else { 16 << 10 };
/// Bytes of these.
const STEP_BYTES: usize = 8 << 20;

/// Makes the snapshot at `path` the state of `engine`, or brings that further by a delta. With `replace` a full snapshot
/// takes the place of whatever the store holds.
///
/// # Errors
/// `Corrupt` naming what is damaged; `Unsupported` for a newer format; `Conflict` for a full snapshot when the store has
/// data and `replace` was not asked; `NeedsFull` for a delta that begins behind this state; `Diverged` for one of another
/// store or branch; `NotFound`; `Full`; `Unavailable`; `Closed`. Nothing has changed then.
pub fn import(engine: &dyn Engine, path: &Path, replace: bool, watch: &mut Watch<'_>) -> Result<SnapshotInfo> {
    import_from(engine, &WatchedSource::new(file::open(path)?, watch)?, replace)
}

pub(super) fn import_from(engine: &dyn Engine, source: &(impl Source + ?Sized), replace: bool) -> Result<SnapshotInfo> {
    match read::header(source)?.kind() {
        SnapshotKind::Full => full(engine, source, replace),
        SnapshotKind::Delta => delta(engine, source),
    }
}

fn full(engine: &dyn Engine, source: &(impl Source + ?Sized), replace: bool) -> Result<SnapshotInfo> {
    let mut info = None;
    engine.replace(!replace, &mut |fresh| {
        let walked = fill(source, fresh)?;
        info = Some(walked.info());
        Ok(walked.position())
    })?;
    info.ok_or_else(|| Error::internal("the engine replaced its state without having filled it"))
}

/// Writes the state of the full snapshot at `path`, and answers where it stands.
///
/// # Errors
/// `Invalid` for a delta; `Corrupt`; `Unsupported`; `NotFound`; those of `fresh`. What was written is of no use then.
pub fn load(path: &Path, fresh: &mut dyn Fresh) -> Result<Position> {
    let source = file::open(path)?;
    if read::header(&source)?.kind() != SnapshotKind::Full {
        return Err(Error::invalid(format!("snapshot: {} is a delta; this takes a full one", path.display())));
    }
    fill(&source, fresh).map(|walked| walked.position())
}

fn fill(source: &(impl Source + ?Sized), fresh: &mut dyn Fresh) -> Result<Walked> {
    let walked = read::walk(source, false, |_, record| fresh.write(record.tree, record.key, record.value))?;
    let mut digest = [0; 32];
    fresh.read(&mut |reader| {
        digest = record::digest_bytes(reader)?;
        Ok(())
    })?;
    if digest != walked.manifest.digest {
        return Err(Error::corrupt("snapshot: its content has another digest than it says"));
    }
    Ok(walked)
}

fn delta(engine: &dyn Engine, source: &(impl Source + ?Sized)) -> Result<SnapshotInfo> {
    let walked = read::walk(source, false, |_, _| Ok(()))?;
    let Some((base, end)) = walked.header.between else {
        return Err(Error::internal("a delta without a base"));
    };
    let here = engine.position(&engine.sync()?)?;
    let there = walked.position();
    let diverged = |what: &str| Err(Error::new(ErrorKind::Diverged, format!("snapshot: {what}")));
    if end.lineage != here.cursor.lineage {
        return diverged("a delta of another store, or this one has written since it took that one's state over");
    }
    let begun = begun(engine)?;
    if here.came_through(&end) && begun.is_none() {
        // Behind its end this state has left the way that the delta tells of; nothing is applied then.
        if end.sequence == here.cursor.sequence {
            check_past(&walked, (&base, &end), end.sequence, here.chain)?;
        }
        return Ok(walked.info());
    }
    let too_old = there.epochs.first().is_some_and(|first| here.cursor.epoch.number < first.epoch.number);
    if base.sequence > here.cursor.sequence || too_old {
        return Err(Error::new(
            ErrorKind::NeedsFull,
            format!(
                "snapshot: a delta from commit {}, and this state stands at {}; import what lies between, or a full one",
                base.sequence, here.cursor.sequence
            ),
        ));
    }
    if !there.came_through(&here.cursor) {
        return diverged("a delta of another branch of this state's history");
    }
    check_past(&walked, (&base, &end), here.cursor.sequence, here.chain)?;
    if let Some(begun) = &begun {
        let other = || {
            Error::conflict(format!(
                "snapshot: a delta that leads to commit {} was imported in part; import that one again, or a later one",
                begun.end.sequence
            ))
        };
        if !there.came_through(&begun.end) {
            return Err(other());
        }
        // Some of its writes are in: only the same history may go over them.
        check_past(&walked, (&base, &end), begun.end.sequence, begun.chain).map_err(|error| match error.kind() {
            ErrorKind::NeedsFull => other(),
            _ => error,
        })?;
    }
    let mut step =
        Step { engine, here, end: Begun { end, chain: there.chain }, writes: Vec::new(), bytes: 0, begun: false };
    let again = read::walk(source, false, |_, record| step.write(record.tree, record.key, record.value))?;
    if again != walked {
        return Err(Error::corrupt("snapshot: the file changed while it was read"));
    }
    step.finish(there)?;
    Ok(walked.info())
}

/// Refuses a delta of another past than that of a state at `sequence`, whose history comes to `hash`.
fn check_past(walked: &Walked, (base, end): (&Cursor, &Cursor), sequence: u64, hash: Option<ChainHash>) -> Result<()> {
    match walked.manifest.trail.compare((base, end), sequence, hash) {
        Compared::Same | Compared::Untold => Ok(()),
        Compared::Other => Err(Error::new(
            ErrorKind::Diverged,
            format!("snapshot: a delta of another branch: what was committed up to {sequence} is not the same there"),
        )),
        Compared::Unmarked => Err(Error::new(
            ErrorKind::NeedsFull,
            format!(
                "snapshot: a delta from commit {} that is too long to tell its history at {sequence}, where this state \
                 stands; import one that begins there, or a full one",
                base.sequence
            ),
        )),
    }
}

/// A delta that was imported in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    /// Where it leads.
    pub(super) end: Cursor,
    /// What its history comes to there, if it told.
    pub(super) chain: Option<ChainHash>,
}

impl Begun {
    fn encode(&self) -> Value {
        [self.end.to_bytes().as_slice(), &ChainHash::option_to_bytes(self.chain)].concat().into()
    }

    fn decode(note: &[u8]) -> Option<Self> {
        let (end, chain) = note.split_first_chunk::<40>()?;
        Some(Begun { end: Cursor::from_bytes(end), chain: ChainHash::from_bytes(chain.try_into().ok()?) })
    }
}

/// The delta that was imported in part, if one was.
///
/// # Errors
/// `Corrupt`; those of the engine.
pub(super) fn begun(engine: &dyn Engine) -> Result<Option<Begun>> {
    let note = engine.get(Tree::Meta, APPLYING_KEY)?;
    let damaged = || Error::corrupt("meta: the note of a delta in part is damaged");
    note.map(|note| Begun::decode(&note).ok_or_else(damaged)).transpose()
}

/// A delta on its way into the store.
struct Step<'e> {
    engine: &'e dyn Engine,
    here: Position,
    end: Begun,
    writes: Vec<(Tree, Vec<u8>, Option<Value>)>,
    bytes: usize,
    begun: bool,
}

impl Step<'_> {
    fn write(&mut self, tree: Tree, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if self.writes.len() >= STEP_WRITES || self.bytes >= STEP_BYTES {
            self.begun = true;
            let here = self.here.clone();
            self.commit(here, Some(self.end.encode()))?;
        }
        self.bytes += key.len() + value.map_or(0, <[u8]>::len);
        self.writes.push((tree, key.to_vec(), value.map(Value::from)));
        Ok(())
    }

    fn finish(mut self, there: Position) -> Result<()> {
        self.commit(there, None)
    }

    fn commit(&mut self, position: Position, applying: Option<Value>) -> Result<()> {
        let writes = std::mem::take(&mut self.writes);
        self.bytes = 0;
        let options = TxnOptions { adopt: Some(position), ..TxnOptions::default() };
        let begun = self.begun || self.engine.get(Tree::Meta, APPLYING_KEY)?.is_some();
        self.engine.transact(&options, &mut |txn| {
            for (tree, key, value) in &writes {
                match value {
                    Some(value) => txn.put(*tree, key, value.clone())?,
                    None => txn.delete(*tree, key)?,
                }
            }
            match &applying {
                Some(end) => txn.put(Tree::Meta, APPLYING_KEY, end.clone()),
                None if begun => txn.delete(Tree::Meta, APPLYING_KEY),
                None => Ok(()),
            }
        })?;
        Ok(())
    }
}

impl Walked {
    pub(super) fn position(&self) -> Position {
        let Manifest { end, epochs, trail, .. } = &self.manifest;
        Position { cursor: *end, chain: trail.after, epochs: epochs.clone() }
    }

    pub(super) fn info(&self) -> SnapshotInfo {
        let digest = (self.header.kind() == SnapshotKind::Full).then_some(self.manifest.digest);
        SnapshotInfo::new(&self.header, self.manifest.end, digest, &self.manifest.totals, self.bytes)
    }
}
