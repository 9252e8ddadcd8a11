//! Exports: the whole state, or what changed since a cursor, into one file.
//!
//! ```text
//! full    hold the feed at A ─> scan page by page, commits go on ─> sync: B ─> what the feed tells of (A, B]: overlay
//!         ─> digest of both, merged, read back from the file ─> manifest, trailer, rename
//! delta   sync: B ─> what the feed tells of (since, B], last words only ─> file
//! ```
//!
//! No commit ever waits for an export. A page of the scan may show a key as it was anywhere between A and B; whatever was
//! written in between is in the overlay, so base and overlay together are the state at B exactly. What the journal would
//! have to keep past `journal_max_bytes` ends a full export with `Full`.
//!
//! Everything in the trees is carried, indexes, counters and pieces of large values included, so that an import is only
//! loading; what the engine keeps of its own in `meta` is not. Memory: one page, one chunk, 8 MiB of changes, and about
//! a hundred bytes for each chunk.

use std::path::Path;

use super::APPLYING_KEY;
use super::file::Unfinished;
use super::info::SnapshotInfo;
use super::layout::{Header, Record, Section, is_engines_own};
use super::overlay::Overlay;
use super::progress::{Watch, WatchedOut};
use super::trail::{Steps, Trail};
use super::view::FileView;
use super::write::{Writer, Written};
use crate::engine::{Cursor, Direction, Engine, KeyRange, ORIGIN_KEY, Position, Tree};
use crate::error::{Error, ErrorKind, Result};
use crate::record;

/// Entries in a page of the scan: with the largest values 8 MiB.
const PAGE: usize = 512;

/// Writes the state of `engine` to a file at `path`, or what changed `since` a cursor. A file there is replaced once the
/// new one is whole.
///
/// # Errors
/// `NeedsFull` when the feed no longer reaches back to `since`; `Diverged` for a cursor of another store or branch;
/// `Conflict` in the middle of an import; `Full`; `Unavailable`; `Unsupported` without a feed; `Closed`; `Corrupt`.
pub fn export(engine: &dyn Engine, path: &Path, since: Option<&Cursor>, watch: &mut Watch<'_>) -> Result<SnapshotInfo> {
    match since {
        None => full(engine, path, watch),
        Some(since) => delta(engine, path, since, None, watch),
    }
}

/// As [`export`] of what changed since a cursor, but only up to a later one: together with the state at the first this is
/// the state at the second.
///
/// # Errors
/// As [`export`]; `Invalid` when `until` does not lie between `since` and now.
pub fn export_between(engine: &dyn Engine, path: &Path, since: &Cursor, until: &Cursor) -> Result<SnapshotInfo> {
    if until.lineage != since.lineage || until.sequence < since.sequence {
        return Err(Error::invalid("until: a cursor of the same store that does not lie before `since`"));
    }
    delta(engine, path, since, Some(until), &mut |_| ())
}

/// The cursor of the last commit after `since` that was made at `at_ms` or before, by the store's clock in milliseconds since
/// the Unix epoch; `since` itself when there is none.
///
/// # Errors
/// `NeedsFull` when the feed no longer reaches back to `since`; `Invalid` for a cursor of another store; `Unsupported`;
/// `Closed`; `Corrupt`.
pub fn cursor_at(engine: &dyn Engine, since: &Cursor, at_ms: u64) -> Result<Cursor> {
    let mut reached = *since;
    loop {
        let page = engine.changes(&reached, PAGE)?;
        let ended = page.cursor == reached;
        for change in &page.changes {
            if change.committed_ms > at_ms {
                return Ok(reached);
            }
            reached = change.cursor;
        }
        if ended {
            return Ok(reached);
        }
        // Behind batches without writes, too.
        reached = reached.max(page.cursor);
    }
}

fn full(engine: &dyn Engine, path: &Path, watch: &mut Watch<'_>) -> Result<SnapshotInfo> {
    let hold = engine.hold_changes()?;
    let start = hold.start();
    let unfinished = Unfinished::begin(path)?;
    let header = Header { between: None };
    let mut writer = Writer::new(WatchedOut::new(&unfinished.file, watch), &header)?;
    let mut notes = Notes::default();
    for tree in Tree::ALL {
        let mut rest = KeyRange::all();
        loop {
            let page = engine.scan(*tree, &rest, Direction::Ascending, PAGE)?;
            for (key, value) in &page.entries {
                if is_engines_own(*tree, key) {
                    notes.see(key, Some(value))?;
                } else {
                    writer.record(Section::Base, &Record { tree: *tree, key, value: Some(value) })?;
                }
            }
            match page.resume {
                Some(resume) => rest = rest.behind(&resume, Direction::Ascending),
                None => break,
            }
        }
    }
    let end = hold.sync()?;
    let overlay = changes(engine, path, &start, &end, &mut notes, &mut Steps::new()).map_err(|error| match error.kind() {
        ErrorKind::NeedsFull => Error::with_source(
            ErrorKind::Full,
            "export: more was committed meanwhile than journal_max_bytes lets the journal keep; raise it, or export at a \
             quieter time",
            error,
        ),
        _ => error,
    })?;
    drop(hold);
    let position = notes.position(engine, &end)?;
    overlay.merge(|record| writer.record(Section::Overlay, record))?;
    writer.end_records()?;
    let digest = record::digest_bytes(&FileView::new(&unfinished.file, writer.chunks())?)?;
    let (_, written) = writer.finish(digest, &position, Trail::full(position.chain))?;
    finish(unfinished, &header, &position, Some(digest), &written)
}

fn delta(
    engine: &dyn Engine,
    path: &Path,
    since: &Cursor,
    until: Option<&Cursor>,
    watch: &mut Watch<'_>,
) -> Result<SnapshotInfo> {
    let hold = engine.hold_changes()?;
    let newest = hold.sync()?;
    let end = until.copied().unwrap_or(newest);
    let mut notes = Notes::default();
    for key in [ORIGIN_KEY, APPLYING_KEY] {
        if let Some(value) = engine.get(Tree::Meta, key)? {
            notes.see(key, Some(&value))?;
        }
    }
    let foreign = |error: Error| match error.kind() {
        ErrorKind::Invalid => Error::with_source(ErrorKind::Diverged, format!("since: {error}"), error),
        _ => error,
    };
    // Before the feed is asked: it has nothing to say about a cursor that is not behind the end.
    let before = engine.position(since).map_err(foreign)?.chain;
    let mut steps = Steps::new();
    let (overlay, position) = match notes.position(engine, &end)? {
        // A state that was taken over has no history of its own: the feed says whether it stands where it is asked from.
        position if position.cursor.lineage != end.lineage => {
            engine.changes(since, 1).map_err(foreign)?;
            (Overlay::new(path), position)
        }
        position => (changes(engine, path, since, &end, &mut notes, &mut steps).map_err(foreign)?, position),
    };
    let unfinished = Unfinished::begin(path)?;
    let header = Header { between: Some((*since, position.cursor)) };
    let mut writer = Writer::new(WatchedOut::new(&unfinished.file, watch), &header)?;
    let mut changed_bytes = 0;
    overlay.merge(|record| {
        changed_bytes += (record.key.len() + record.value.map_or(0, <[u8]>::len)) as u64;
        writer.record(Section::Base, record)
    })?;
    let trail = steps.trail(before, (position.chain, &position.cursor), changed_bytes);
    let (_, written) = writer.finish([0; 32], &position, trail)?;
    finish(unfinished, &header, &position, None, &written)
}

fn finish(
    unfinished: Unfinished,
    header: &Header,
    position: &Position,
    digest: Option<[u8; 32]>,
    written: &Written,
) -> Result<SnapshotInfo> {
    unfinished.finish()?;
    Ok(SnapshotInfo::new(header, position.cursor, digest, &written.totals, written.bytes))
}

/// What the feed tells of (after, end], the engine's own keys apart.
fn changes(
    engine: &dyn Engine,
    path: &Path,
    after: &Cursor,
    end: &Cursor,
    notes: &mut Notes,
    steps: &mut Steps,
) -> Result<Overlay> {
    let mut overlay = Overlay::new(path);
    let mut cursor = *after;
    while cursor.sequence < end.sequence {
        let page = engine.changes(&cursor, PAGE)?;
        if page.cursor.sequence <= cursor.sequence {
            return Err(Error::internal("export: the feed ended before a commit that was synced"));
        }
        cursor = page.cursor;
        page.chain.iter().for_each(|(sequence, hash)| steps.see(*sequence, hash));
        for change in page.changes.into_iter().filter(|change| change.cursor.sequence <= end.sequence) {
            if is_engines_own(change.tree, &change.key) {
                notes.see(&change.key, change.value.as_deref())?;
            } else {
                overlay.write(change.tree, change.key, change.value)?;
            }
        }
    }
    Ok(overlay)
}

/// What the engine's own keys say about the state.
#[derive(Default)]
struct Notes {
    origin: Option<Position>,
    applying: bool,
}

impl Notes {
    fn see(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if key == ORIGIN_KEY {
            self.origin = value.map(Position::decode).transpose()?;
        }
        if key == APPLYING_KEY {
            self.applying = value.is_some();
        }
        Ok(())
    }

    /// Where the state at `end` stands: in the history of the store that it comes from, or in this one's.
    fn position(&self, engine: &dyn Engine, end: &Cursor) -> Result<Position> {
        if self.applying {
            return Err(Error::conflict("export: a delta was imported in part; import it again first"));
        }
        match &self.origin {
            Some(position) => Ok(position.clone()),
            None => engine.position(end),
        }
    }
}
