//! The change feed: what was committed after a cursor, read straight from the journal.
//!
//! Frames are served whole and only once they are durable; per key and batch there is the final value. The journal
//! keeps frames up to `journal_retention_bytes`; a reader behind the oldest one needs a full snapshot. The segment that
//! is being read is pinned, so that it is neither removed nor recycled under the reader.

use std::path::PathBuf;
use std::sync::Arc;

use super::batch;
use super::core::Core;
use super::disk::DiskFile;
use super::epoch::EpochEntry;
use super::journal::ClosedSegment;
use super::segment::{Frame, FrameHeader, Frames, HeaderState, Link, SEGMENT_HEADER, SegmentHeader};
use super::sync::{Mutex, Ordering};
use super::txn::check_outside_body;
use crate::engine::{
    ChainHash, Change, Changes, Cursor, EpochStart, FeedHold, POSITION_EPOCHS_MAX, Position, Value, check_limit,
};
use crate::error::{Error, ErrorKind, Result};

/// Bytes read at once, unless a frame is longer.
const READ_BYTES: u64 = 1 << 20;

/// Between two frames, so that the next reader need not walk the segment from its start.
#[derive(Debug, Clone, Copy)]
struct Place {
    segment: SegmentHeader,
    /// Sequence of the frame that starts at `offset`, and what it is chained to.
    sequence: u64,
    offset: u64,
    chain: Link,
}

/// What the feed keeps between two calls.
#[derive(Debug, Default)]
pub(super) struct Feed {
    place: Mutex<Option<Place>>,
    epochs: Mutex<Option<Arc<[EpochEntry]>>>,
}

/// Keeps a segment in place while this lives.
struct Pin<'c> {
    core: &'c Core,
    id: u64,
}

/// A segment that stays in place while this lives, open.
struct Pinned<'c> {
    _pin: Pin<'c>,
    id: u64,
    first_sequence: u64,
    last_sequence: u64,
    file: Box<dyn DiskFile>,
    path: PathBuf,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        // Only a journal that could be pinned has anything to let go.
        self.core.journal(|journal| journal.unpin(self.id)).unwrap_or_default();
    }
}

impl Core {
    /// See [`Engine::changes`](crate::engine::Engine::changes).
    pub(super) fn changes(&self, after: &Cursor, limit: usize) -> Result<Changes> {
        check_outside_body()?;
        check_limit(limit)?;
        self.check_open()?;
        self.check_writable()?;
        if let Some(position) = self.origin.position().filter(|position| position.cursor.lineage == after.lineage) {
            // A state that was taken over has no feed of its own below the point where it stands.
            return match position.cursor == *after {
                true => Ok(Changes { changes: Vec::new(), cursor: *after, chain: Vec::new() }),
                false if position.came_through(after) => Err(needs_full(after.sequence + 1)),
                false => Err(Error::invalid("cursor: it belongs to commits that this history does not have")),
            };
        }
        let durable = self.durable.load(Ordering::Acquire);
        let epochs = self.epochs()?;
        check_cursor(after, self.lineage, durable, &epochs)?;
        let mut page = Changes { changes: Vec::new(), cursor: *after, chain: Vec::new() };
        let mut sequence = after.sequence;
        while page.changes.len() < limit && sequence < durable {
            sequence = self.read_segment(sequence, durable, limit, &epochs, &mut page)?;
        }
        page.cursor = self.cursor_in(sequence, &epochs);
        Ok(page)
    }

    fn cursor_in(&self, sequence: u64, epochs: &[EpochEntry]) -> Cursor {
        let epoch = epochs.iter().rev().find(|entry| entry.after_sequence < sequence).or(epochs.first());
        Cursor { lineage: self.lineage, epoch: epoch.map_or(self.epoch, |entry| entry.epoch), sequence }
    }

    pub(super) fn epochs(&self) -> Result<Arc<[EpochEntry]>> {
        if let Some(known) = &*self.feed.epochs.lock() {
            return Ok(Arc::clone(known));
        }
        // They do not change while the engine is open.
        let epochs: Arc<[EpochEntry]> = EpochEntry::all(self)?.into();
        *self.feed.epochs.lock() = Some(Arc::clone(&epochs));
        Ok(epochs)
    }

    /// Serves frames behind `after` from one segment; answers the sequence of the last one.
    fn read_segment(
        &self,
        after: u64,
        durable: u64,
        limit: usize,
        epochs: &[EpochEntry],
        page: &mut Changes,
    ) -> Result<u64> {
        let pinned = self.pin(after + 1)?;
        let place = self.stand_before(&pinned, after + 1)?;
        let last = pinned.last_sequence.min(durable);
        let place = self.walk(&pinned, place, last, |frame| {
            let FrameHeader { sequence, committed_ms, hash, .. } = frame.header;
            let cursor = self.cursor_in(sequence, epochs);
            page.chain.push((sequence, hash));
            batch::decode(frame.payload, |tree, key, value| {
                let (key, value) = (key.to_vec(), value.map(Value::from));
                page.changes.push(Change { cursor, committed_ms, tree, key, value });
            })?;
            Ok(page.changes.len() < limit)
        })?;
        Ok(place.sequence - 1)
    }

    /// The place before frame `sequence` of a segment that holds it.
    fn stand_before(&self, pinned: &Pinned<'_>, sequence: u64) -> Result<Place> {
        let known = *self.feed.place.lock();
        let place = match known {
            Some(place) if place.segment.id == pinned.id && place.sequence <= sequence => place,
            _ => {
                let mut sector = [0; SEGMENT_HEADER];
                pinned.file.read_at(0, &mut sector)?;
                let HeaderState::Valid(segment) = SegmentHeader::decode(&sector)? else {
                    return Err(damaged(pinned, sequence));
                };
                let (offset, chain) = (SEGMENT_HEADER as u64, segment.chain);
                Place { segment, sequence: segment.first_sequence, offset, chain }
            }
        };
        self.walk(pinned, place, sequence - 1, |_| Ok(true))
    }

    /// Calls `each` with the frames from `place` up to `last`, all of which the segment holds, while it wants more.
    /// Answers the place behind the last one that it saw, which is kept for the next reader.
    fn walk(
        &self,
        pinned: &Pinned<'_>,
        mut place: Place,
        last: u64,
        mut each: impl FnMut(Frame<'_>) -> Result<bool>,
    ) -> Result<Place> {
        let (mut window, mut goes_on) = (READ_BYTES, true);
        while goes_on && place.sequence <= last {
            let rest = pinned.file.len()?.saturating_sub(place.offset);
            let mut bytes = vec![0; window.min(rest) as usize];
            let read = pinned.file.read_at(place.offset, &mut bytes)?;
            bytes.truncate(read);
            let mut frames = Frames::resume(place.segment, &bytes, place.sequence, place.chain);
            // A frame that is being appended right now may be whole already, but is not durable yet.
            while goes_on && frames.next_sequence() <= last {
                let Some(frame) = frames.next() else { break };
                goes_on = each(frame)?;
            }
            if frames.offset() > 0 {
                let offset = place.offset + frames.offset() as u64;
                place = Place { sequence: frames.next_sequence(), offset, chain: frames.link(), ..place };
                window = READ_BYTES;
            } else if window < rest {
                // The frame is longer than the window.
                window *= 4;
            } else {
                return Err(damaged(pinned, place.sequence));
            }
        }
        *self.feed.place.lock() = Some(place);
        Ok(place)
    }

    /// The chain hash with batch `sequence`, as long as the journal tells it.
    fn chain_at(&self, sequence: u64) -> Result<Option<ChainHash>> {
        if self.check_writable().is_err() {
            return Ok(None);
        }
        let (end, hash) = self.journal(|journal| journal.end())?;
        if sequence == end {
            return Ok(Some(hash));
        }
        match self.pin(sequence + 1) {
            Ok(pinned) => Ok(Some(self.stand_before(&pinned, sequence + 1)?.chain.hash)),
            Err(error) if error.kind() == ErrorKind::NeedsFull => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Pins the segment that holds `sequence`.
    fn pin(&self, sequence: u64) -> Result<Pinned<'_>> {
        let found = self.journal(|journal| journal.pin(sequence).map(|segment| (segment, journal.disk())))?;
        let ((segment, path), (disk, _)) = found.ok_or_else(|| needs_full(sequence))?;
        let ClosedSegment { id, first_sequence, last_sequence, .. } = segment;
        let pin = Pin { core: self, id };
        let file = disk.open(&path, false)?;
        Ok(Pinned { id, first_sequence, last_sequence, file, path, _pin: pin })
    }
}

impl Core {
    /// See [`Engine::position`](crate::engine::Engine::position).
    pub(super) fn position(&self, at: &Cursor) -> Result<Position> {
        check_outside_body()?;
        self.check_open()?;
        if let Some(position) = self.origin.position().filter(|position| position.cursor == *at) {
            return Ok(Position::clone(&position));
        }
        let epochs = self.epochs()?;
        check_cursor(at, self.lineage, self.durable.load(Ordering::Acquire), &epochs)?;
        let led_here = epochs.iter().filter(|entry| entry.epoch.number <= at.epoch.number);
        let starts = led_here.map(|entry| EpochStart { epoch: entry.epoch, after_sequence: entry.after_sequence });
        let starts: Vec<EpochStart> = starts.collect();
        let newest = starts.len().saturating_sub(POSITION_EPOCHS_MAX);
        let epochs = starts.into_iter().skip(newest).collect();
        Ok(Position { cursor: *at, chain: self.chain_at(at.sequence)?, epochs })
    }
}

/// See [`FeedHold`].
pub(super) struct Hold {
    core: Arc<Core>,
    start: u64,
}

impl Hold {
    pub(super) fn new(core: &Arc<Core>) -> Result<Self> {
        check_outside_body()?;
        core.check_open()?;
        let core = Arc::clone(core);
        let start = {
            let pipeline = core.pipeline.lock();
            // A batch that is on its way may be visible in part; all before it are there as a whole.
            pipeline.sealed.as_ref().map_or(pipeline.open.sequence, |sealed| sealed.sequence) - 1
        };
        core.journal(|journal| journal.hold(start + 1))?;
        Ok(Hold { core, start })
    }
}

impl FeedHold for Hold {
    fn start(&self) -> Cursor {
        match self.core.epochs() {
            Ok(epochs) => self.core.cursor_in(self.start, &epochs),
            // The feed itself will say what is wrong.
            Err(_) => self.core.cursor_at(self.start),
        }
    }

    fn sync(&self) -> Result<Cursor> {
        check_outside_body()?;
        self.core.sync_returned()?;
        Ok(self.core.cursor_at(self.core.durable.load(Ordering::Acquire)))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Only a journal that could be held has anything to let go.
        self.core.journal(|journal| journal.let_go(self.start + 1)).unwrap_or_default();
        self.core.keeper.tidy();
    }
}

fn needs_full(sequence: u64) -> Error {
    Error::new(
        ErrorKind::NeedsFull,
        format!(
            "the journal no longer holds commit {sequence}; start from a full snapshot, or raise journal_retention_bytes"
        ),
    )
}

fn damaged(pinned: &Pinned<'_>, sequence: u64) -> Error {
    Error::corrupt(format!(
        "{}: frame {sequence} of a segment that begins at {} can't be read",
        pinned.path.display(),
        pinned.first_sequence
    ))
}

/// Refuses a cursor of another store, of another branch of this one's history, and one that lies ahead.
pub(super) fn check_cursor(after: &Cursor, lineage: u128, durable: u64, epochs: &[EpochEntry]) -> Result<()> {
    if after.lineage != lineage {
        return Err(Error::invalid("cursor: it belongs to another store"));
    }
    if after.sequence > durable {
        return Err(Error::invalid("cursor: it lies ahead of what is durable here"));
    }
    let place = epochs.iter().position(|entry| entry.epoch.number == after.epoch.number);
    let known = place.and_then(|place| epochs.get(place)).is_some_and(|entry| entry.epoch.id == after.epoch.id);
    let ended = place.and_then(|place| epochs.get(place + 1)).is_some_and(|next| after.sequence > next.after_sequence);
    if !known || ended {
        return Err(Error::invalid("cursor: it belongs to commits that this history does not have"));
    }
    Ok(())
}
