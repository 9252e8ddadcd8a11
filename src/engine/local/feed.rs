//! The change feed: what was committed after a cursor, read straight from the journal.
//!
//! Frames are served whole and only once they are durable; per key and batch there is the final value. The journal
//! keeps frames up to `journal_retention_bytes`; a reader behind the oldest one needs a full snapshot. The segment that
//! is being read is pinned, so that it is neither removed nor recycled under the reader.

use std::path::PathBuf;
use std::sync::Arc;

use super::batch;
use super::core::Core;
use super::disk::Disk;
use super::epoch::EpochEntry;
use super::segment::{Frames, HeaderState, SEGMENT_HEADER, SegmentHeader};
use super::sync::{Mutex, Ordering};
use super::txn::check_outside_body;
use crate::engine::{Change, Changes, Cursor, EpochStart, FeedHold, POSITION_EPOCHS_MAX, Position, Value, check_limit};
use crate::error::{Error, ErrorKind, Result};

/// Bytes read at once, unless a frame is longer.
const READ_BYTES: u64 = 1 << 20;

/// Where a reader stopped, so that the next page need not walk the segment from its start.
#[derive(Debug, Clone, Copy)]
struct Place {
    segment: SegmentHeader,
    /// Sequence of the frame that starts at `offset`, and header CRC of the one before.
    sequence: u64,
    offset: u64,
    crc: u32,
}

/// What the feed keeps between two calls.
#[derive(Debug, Default)]
pub(super) struct Feed {
    place: Mutex<Option<Place>>,
    epochs: Mutex<Option<Arc<[EpochEntry]>>>,
}

/// A segment that stays in place while this lives.
struct Pinned<'c> {
    core: &'c Core,
    id: u64,
    first_sequence: u64,
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Drop for Pinned<'_> {
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
                true => Ok(Changes { changes: Vec::new(), cursor: *after }),
                false if position.came_through(after) => Err(needs_full(after.sequence + 1)),
                false => Err(Error::invalid("cursor: it belongs to commits that this history does not have")),
            };
        }
        let durable = self.durable.load(Ordering::Acquire);
        let epochs = self.epochs()?;
        check_cursor(after, self.lineage, durable, &epochs)?;
        let mut served = Vec::new();
        let mut sequence = after.sequence;
        while served.len() < limit && sequence < durable {
            sequence = self.read_segment(sequence, durable, limit, &epochs, &mut served)?;
        }
        Ok(Changes { changes: served, cursor: self.cursor_in(sequence, &epochs) })
    }

    fn cursor_in(&self, sequence: u64, epochs: &[EpochEntry]) -> Cursor {
        let epoch = epochs.iter().rev().find(|entry| entry.after_sequence < sequence).or(epochs.first());
        Cursor { lineage: self.lineage, epoch: epoch.map_or(self.epoch, |entry| entry.epoch), sequence }
    }

    fn epochs(&self) -> Result<Arc<[EpochEntry]>> {
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
        served: &mut Vec<Change>,
    ) -> Result<u64> {
        let pinned = self.pin(after + 1)?;
        let file = pinned.disk.open(&pinned.path, false)?;
        let known = *self.feed.place.lock();
        let place = match known {
            Some(place) if place.segment.id == pinned.id && place.sequence == after + 1 => place,
            _ => {
                let mut sector = [0; SEGMENT_HEADER];
                file.read_at(0, &mut sector)?;
                let HeaderState::Valid(segment) = SegmentHeader::decode(&sector)? else {
                    return Err(damaged(&pinned, after + 1));
                };
                Place { segment, sequence: segment.first_sequence, offset: SEGMENT_HEADER as u64, crc: segment.chain }
            }
        };
        let rest = file.len()?.saturating_sub(place.offset);
        let mut window = READ_BYTES.min(rest);
        loop {
            let mut bytes = vec![0; window as usize];
            let read = file.read_at(place.offset, &mut bytes)?;
            bytes.truncate(read);
            let mut frames = Frames::resume(place.segment, &bytes, place.sequence, place.crc);
            let mut last = after;
            // A frame that is being appended right now may be whole already, but is not durable yet.
            while served.len() < limit && frames.next_sequence() <= durable {
                let Some(frame) = frames.next() else { break };
                if frame.header.sequence <= after {
                    continue;
                }
                last = frame.header.sequence;
                let cursor = self.cursor_in(last, epochs);
                let committed_ms = frame.header.committed_ms;
                batch::decode(frame.payload, |tree, key, value| {
                    served.push(Change {
                        cursor,
                        committed_ms,
                        tree,
                        key: key.to_vec(),
                        value: value.map(Value::from),
                    });
                })?;
            }
            if last > after {
                *self.feed.place.lock() = Some(Place {
                    segment: place.segment,
                    sequence: frames.next_sequence(),
                    offset: place.offset + frames.offset() as u64,
                    crc: frames.last_crc(),
                });
                return Ok(last);
            }
            if window == rest {
                return Err(damaged(&pinned, after + 1));
            }
            // The frame is longer than the window, or lies behind it.
            window = (window * 4).min(rest);
        }
    }

    /// Pins the segment that holds `sequence`.
    fn pin(&self, sequence: u64) -> Result<Pinned<'_>> {
        let found = self.journal(|journal| journal.pin(sequence).map(|segment| (segment, journal.disk())))?;
        let ((id, first_sequence, path), (disk, _)) = found.ok_or_else(|| needs_full(sequence))?;
        Ok(Pinned { core: self, id, first_sequence, disk, path })
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
        Ok(Position { cursor: *at, epochs: starts.into_iter().skip(newest).collect() })
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
fn check_cursor(after: &Cursor, lineage: u128, durable: u64, epochs: &[EpochEntry]) -> Result<()> {
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
