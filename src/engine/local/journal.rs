//! The journal: what makes a commit durable before the store has heard of it.
//!
//! ```text
//!   closed … closed   current            spare
//!   [hdr|frames 000]  [hdr|frames|000]   [000000]        <id as 16 hex digits>.seg, see `segment.rs`
//!    retained ──────┘  append + fdatasync  prepared by the keeper thread
//! ```
//!
//! Promises: [`Journal::append`] returns after the `fdatasync` of the frame; a file is written with zeros and synced,
//! folder included, before its first frame, so that no append has to grow it; a frame never straddles two segments.
//! It refuses to try anything twice: after a failed append the caller closes the engine.
//!
//! Segments start at 256 KiB and double to 16 MiB. Whether the next batch has room is known before its commits are
//! admitted ([`Room`]), so a full disk refuses new commits and leaves accepted ones alone.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::Batch;
use super::disk::{Disk, DiskFile};
use super::replay::KeptFrame;
use super::reserve::DiskRoom;
use super::segment::{FRAME_HEADER, FrameHeader, Identity, Link, SEGMENT_HEADER, SegmentHeader};
use super::sync::Mutex;
use crate::clock::Ids;
use crate::engine::ChainHash;
use crate::error::{Error, ErrorKind, Result};

// Small in a model, so that a few commits fill one.
const SEGMENT_BYTES_MIN: u64 = if cfg!(shuttle) { 8 << 10 } else { 256 << 10 };
const SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// More than an opening adds to the journal before it lets anybody commit.
const OPENING_BYTES: u64 = 4 << 10;
const ZEROS_BYTES: usize = 64 << 10;

/// The file of segment `id`.
pub(super) fn segment_path(folder: &Path, id: u64) -> PathBuf {
    folder.join(format!("{id:016x}.seg"))
}

/// A segment that takes no more frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClosedSegment {
    pub(super) id: u64,
    pub(super) first_sequence: u64,
    pub(super) last_sequence: u64,
    pub(super) bytes: u64,
}

/// A file ready to take frames: zeros (or frames of an earlier life) on disk, its folder entry synced.
#[derive(Debug)]
pub(super) struct Prepared {
    id: u64,
    salt: u64,
    bytes: u64,
    file: Box<dyn DiskFile>,
}

impl Prepared {
    /// Bytes of frames that fit.
    pub(super) fn capacity(&self) -> u64 {
        self.bytes - SEGMENT_HEADER as u64
    }
}

/// Prepared segments between the keeper, who makes them, and the journal, which uses them up. They have a lock of
/// their own: that of the journal is held across a sync, and the keeper hands over under the body mutex.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<SpareState>);

#[derive(Debug, Default)]
struct SpareState {
    /// Oldest first; all but the last may be claimed by a batch that is sealed and not yet appended.
    ready: VecDeque<Prepared>,
    /// Replaced by a larger one before they were used.
    unused: Vec<ClosedSegment>,
}

impl Spares {
    /// Adds a segment, in place of the last one when `replace` says that that is too small.
    pub(super) fn add(&self, prepared: Prepared, replace: bool) {
        if replace {
            self.give_up_last();
        }
        self.0.lock().ready.push_back(prepared);
    }

    fn take(&self) -> Option<Prepared> {
        self.0.lock().ready.pop_front()
    }

    fn take_unused(&self) -> Vec<ClosedSegment> {
        std::mem::take(&mut self.0.lock().unused)
    }

    fn capacity(&self) -> Option<u64> {
        self.0.lock().ready.back().map(Prepared::capacity)
    }

    /// Bytes of the last one's file.
    pub(super) fn last_bytes(&self) -> u64 {
        self.0.lock().ready.back().map_or(0, |last| last.bytes)
    }

    /// Gives the last one up. The caller knows, from under the body mutex, that nothing has claimed it.
    pub(super) fn give_up_last(&self) {
        let mut state = self.0.lock();
        if let Some(last) = state.ready.pop_back() {
            state.unused.push(ClosedSegment { id: last.id, first_sequence: 1, last_sequence: 0, bytes: last.bytes });
        }
    }

    fn bytes(&self) -> u64 {
        let state = self.0.lock();
        let ready: u64 = state.ready.iter().map(|spare| spare.bytes).sum();
        ready + state.unused.iter().map(|segment| segment.bytes).sum::<u64>()
    }
}

#[derive(Debug)]
struct Current {
    header: SegmentHeader,
    /// The header is on disk, or goes there with the first frame.
    begun: bool,
    bytes: u64,
    offset: u64,
    file: Box<dyn DiskFile>,
}

/// Bytes of frames that are sure to find a place, kept beside the open batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Left in the current segment, once the sealed batch is in.
    pub(super) left: u64,
    /// Capacity of the spare, while nothing has claimed it.
    pub(super) spare: Option<u64>,
}

impl Room {
    /// Whether a batch with this payload would fit.
    pub(super) fn fits(&self, payload_bytes: usize) -> bool {
        let frame = (FRAME_HEADER + payload_bytes) as u64;
        frame <= self.left || self.spare.is_some_and(|capacity| frame <= capacity)
    }

    /// Takes the place of a batch, exactly as [`Journal::append`] will; answers whether that used up the spare.
    pub(super) fn place(&mut self, payload_bytes: usize) -> bool {
        let frame = (FRAME_HEADER + payload_bytes) as u64;
        if frame <= self.left {
            self.left -= frame;
            return false;
        }
        self.left = self.spare.take().map_or(0, |capacity| capacity.saturating_sub(frame));
        true
    }
}

/// What the keeper is asked to make.
#[derive(Debug)]
pub(super) struct Plan {
    id: u64,
    salt: u64,
    bytes: u64,
    recycle: Option<ClosedSegment>,
    /// Segments older than the recycled one. They go first: no crash may leave a gap among those that stay.
    pub(super) remove_first: Vec<ClosedSegment>,
}

/// Bounds on the journal's size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) cap: u64,
    pub(super) retention: u64,
    /// `None` where nobody knows the room on the disk.
    pub(super) disk: Option<DiskRoom>,
}

/// What a new segment may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// Twice as large as the one before, with the retained ones left alone.
    Usual,
    /// As small as will do, in the place of all that the store holds durably.
    Modest,
}

/// Where the journal is appended to.
#[derive(Debug)]
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    identity: Identity,
    current: Current,
    /// Oldest first; all but the last may be claimed by a batch that is sealed and not yet appended.
    spares: Arc<Spares>,
    closed: VecDeque<ClosedSegment>,
    /// Closed segments that nobody needs: to be recycled or removed by the keeper.
    free: Vec<ClosedSegment>,
    /// Segments that a reader is in, with how many are.
    pinned: BTreeMap<u64, usize>,
    /// Sequences from which on somebody wants the feed kept, with how many do. Broken rather than pass the cap.
    held: BTreeMap<u64, usize>,
    /// The one of these that lasts until another takes its place.
    kept: Option<u64>,
    next_id: u64,
    next_sequence: u64,
    chain: Link,
    scratch: Vec<u8>,
    appended_bytes: u64,
}

/// What a journal starts from: the state behind the frames that recovery kept.
pub(super) struct Start<'a> {
    pub(super) identity: Identity,
    pub(super) id: u64,
    /// Sequence of the last frame before `frames`, and what the next one is chained to.
    pub(super) base: (u64, Link),
    /// Frames above the checkpoint.
    pub(super) frames: &'a [KeptFrame],
    pub(super) closed: Vec<ClosedSegment>,
    pub(super) checkpoint: u64,
}

impl Journal {
    /// Begins a fresh segment that holds `start.frames` again: recovery trusts no page cache, so what it will answer
    /// from is written and synced once more, file and folder, before this returns.
    ///
    /// # Errors
    /// `Full`, `Unavailable`; the segments from before are untouched.
    pub(super) fn begin(disk: Arc<dyn Disk>, folder: &Path, ids: &Ids, start: Start<'_>) -> Result<Self> {
        let (base_sequence, base_chain) = start.base;
        let header = SegmentHeader {
            identity: start.identity,
            id: start.id,
            first_sequence: base_sequence + 1,
            salt: ids.next_u64(),
            chain: base_chain,
        };
        let mut image = header.encode().to_vec();
        let (mut sequence, mut chain) = start.base;
        for KeptFrame { committed_ms, payload, hash } in start.frames {
            sequence += 1;
            let frame = FrameHeader::new(&header, sequence, *committed_ms, start.checkpoint, chain, payload);
            if frame.hash != *hash {
                return Err(Error::corrupt(format!(
                    "journal: frame {sequence} has a chain hash that does not follow from what was committed"
                )));
            }
            chain = frame.link();
            image.extend_from_slice(&frame.encode());
            image.extend_from_slice(payload);
        }
        let offset = image.len() as u64;
        let temporary = folder.join(format!("{:016x}.new", start.id));
        // Room for as much again, so that a store opened with a full memtable can go on at once; on a full disk for
        // what an opening itself writes.
        let generous = (offset + offset.min(SEGMENT_BYTES_MAX)).next_multiple_of(SEGMENT_BYTES_MIN);
        let modest = (offset + OPENING_BYTES).next_multiple_of(OPENING_BYTES);
        let (file, bytes) = match write_whole(&*disk, &temporary, &image, generous) {
            Err(error) if error.kind() == ErrorKind::Full => (write_whole(&*disk, &temporary, &image, modest)?, modest),
            file => (file?, generous),
        };
        disk.rename(&temporary, &segment_path(folder, start.id))?;
        disk.sync_dir(folder)?;
        Ok(Journal {
            disk,
            folder: folder.to_path_buf(),
            identity: start.identity,
            current: Current { header, begun: true, bytes, offset, file },
            spares: Arc::default(),
            closed: start.closed.into(),
            free: Vec::new(),
            pinned: BTreeMap::new(),
            held: BTreeMap::new(),
            kept: None,
            next_id: start.id + 1,
            next_sequence: sequence + 1,
            chain,
            scratch: Vec::new(),
            appended_bytes: 0,
        })
    }

    /// Appends one frame and returns after its `fdatasync`.
    ///
    /// # Errors
    /// Any: whether the frame is on disk is unknown, and the caller must close the engine.
    pub(super) fn append(&mut self, batch: &Batch, committed_ms: u64, checkpoint: u64) -> Result<()> {
        if batch.sequence != self.next_sequence {
            return Err(Error::internal(format!(
                "journal: batch {} came where {} was due",
                batch.sequence, self.next_sequence
            )));
        }
        if (FRAME_HEADER + batch.payload_bytes) as u64 > self.current.bytes - self.current.offset {
            self.rotate()?;
        }
        let mut buffer = std::mem::take(&mut self.scratch);
        buffer.clear();
        if !self.current.begun {
            buffer.extend_from_slice(&self.current.header.encode());
        }
        let head = buffer.len();
        buffer.resize(head + FRAME_HEADER, 0);
        batch.encode(&mut buffer);
        let (before, payload) = buffer.split_at_mut(head + FRAME_HEADER);
        let frame =
            FrameHeader::new(&self.current.header, batch.sequence, committed_ms, checkpoint, self.chain, payload);
        if let Some(place) = before.last_chunk_mut::<FRAME_HEADER>() {
            *place = frame.encode();
        }
        // A segment that has not begun gets its header and first frame in one write.
        let at = self.current.offset - head as u64;
        self.current.file.write_at(at, &buffer)?;
        self.current.file.sync_data()?;
        self.current.begun = true;
        self.current.offset = at + buffer.len() as u64;
        self.appended_bytes += buffer.len() as u64;
        self.next_sequence += 1;
        self.chain = frame.link();
        // A batch of 24 MiB must not hold its memory for ever.
        if buffer.capacity() <= SEGMENT_BYTES_MAX as usize {
            self.scratch = buffer;
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<()> {
        let spare =
            self.spares.take().ok_or_else(|| Error::internal("journal: a batch was sealed without room for it"))?;
        let header = SegmentHeader {
            identity: self.identity,
            id: spare.id,
            first_sequence: self.next_sequence,
            salt: spare.salt,
            chain: self.chain,
        };
        let next =
            Current { header, begun: false, bytes: spare.bytes, offset: SEGMENT_HEADER as u64, file: spare.file };
        let last = std::mem::replace(&mut self.current, next);
        let closed = ClosedSegment {
            id: last.header.id,
            first_sequence: last.header.first_sequence,
            last_sequence: self.next_sequence - 1,
            bytes: last.bytes,
        };
        if closed.first_sequence > closed.last_sequence {
            self.free.push(closed);
        } else {
            self.closed.push_back(closed);
        }
        Ok(())
    }

    /// Room for frames, before anything was placed.
    pub(super) fn room(&self) -> Room {
        Room { left: self.current.bytes - self.current.offset, spare: self.spares.capacity() }
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        let spares = self.spares.bytes();
        let closed: u64 = self.closed.iter().chain(&self.free).map(|segment| segment.bytes).sum();
        self.current.bytes + spares + closed
    }

    /// Sequence of the last frame, and the chain hash with it.
    pub(super) fn end(&self) -> (u64, ChainHash) {
        (self.next_sequence - 1, self.chain.hash)
    }

    pub(super) fn appended_bytes(&self) -> u64 {
        self.appended_bytes
    }

    /// Gives up the oldest segments whose frames the store holds durably (`checkpoint`), down to `retention` bytes.
    pub(super) fn trim(&mut self, retention: u64, checkpoint: u64) {
        let mut bytes = self.bytes() - self.free.iter().map(|segment| segment.bytes).sum::<u64>();
        while bytes > retention {
            // Until the current segment has its header on disk, the last closed one is all that a recovery can find.
            if self.closed.len() == 1 && !self.current.begun {
                return;
            }
            match self.closed.front() {
                Some(oldest)
                    if oldest.last_sequence <= checkpoint
                        && !self.pinned.contains_key(&oldest.id)
                        && self.held.first_key_value().is_none_or(|(held, _)| oldest.last_sequence < *held) =>
                {
                    bytes -= oldest.bytes;
                    self.free.extend(self.closed.pop_front());
                }
                _ => return,
            }
        }
    }

    /// Keeps the segment that holds `sequence` in place; answers what it holds by now and its file. `None` when it is gone
    /// or not written yet.
    pub(super) fn pin(&mut self, sequence: u64) -> Option<(ClosedSegment, PathBuf)> {
        let current = ClosedSegment {
            id: self.current.header.id,
            first_sequence: self.current.header.first_sequence,
            last_sequence: self.next_sequence - 1,
            bytes: self.current.bytes,
        };
        let holds = |segment: &ClosedSegment| (segment.first_sequence..=segment.last_sequence).contains(&sequence);
        let segment = self.closed.iter().copied().chain([current]).find(holds)?;
        *self.pinned.entry(segment.id).or_default() += 1;
        Some((segment, segment_path(&self.folder, segment.id)))
    }

    /// Keeps every frame from `sequence` on, written or still to come.
    pub(super) fn hold(&mut self, sequence: u64) {
        *self.held.entry(sequence).or_default() += 1;
    }

    /// Ends a hold, if it was not broken before.
    pub(super) fn let_go(&mut self, sequence: u64) {
        if let Some(holders) = self.held.get_mut(&sequence) {
            *holders -= 1;
            if *holders == 0 {
                self.held.remove(&sequence);
            }
        }
    }

    /// Keeps every frame from `sequence` on until this is called again. What is gone already stays gone.
    pub(super) fn keep(&mut self, sequence: u64) {
        self.hold(sequence);
        if let Some(earlier) = self.kept.replace(sequence) {
            self.let_go(earlier);
        }
    }

    /// The oldest sequence that can still be read.
    pub(super) fn first_sequence(&self) -> u64 {
        self.closed.front().map_or(self.current.header.first_sequence, |segment| segment.first_sequence)
    }

    /// Lets go of a segment.
    pub(super) fn unpin(&mut self, id: u64) {
        if let Some(readers) = self.pinned.get_mut(&id) {
            *readers -= 1;
            if *readers == 0 {
                self.pinned.remove(&id);
            }
        }
    }

    /// Bytes of closed segments that only readers keep from being given up.
    pub(super) fn pinned_bytes(&self) -> u64 {
        let held = self.held.first_key_value().map_or(u64::MAX, |(sequence, _)| *sequence);
        let kept = |segment: &&ClosedSegment| segment.last_sequence >= held || self.pinned.contains_key(&segment.id);
        self.closed.iter().filter(kept).map(|segment| segment.bytes).sum()
    }

    /// Plans a segment with room for a frame of `payload_bytes`.
    ///
    /// # Errors
    /// `Full` when cap or disk leave no room for it.
    pub(super) fn plan(
        &mut self,
        ids: &Ids,
        payload_bytes: usize,
        checkpoint: u64,
        limits: &Limits,
        effort: Effort,
    ) -> Result<Plan> {
        let needed = (SEGMENT_HEADER + FRAME_HEADER + payload_bytes) as u64;
        let doubled = (self.current.bytes * 2).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let (wanted, retention) = match effort {
            Effort::Usual => (doubled.min((limits.cap / 4).max(SEGMENT_BYTES_MIN)), limits.retention),
            Effort::Modest => (SEGMENT_BYTES_MIN, 0),
        };
        let bytes = wanted.max(needed).next_multiple_of(SEGMENT_BYTES_MIN);
        self.trim(retention.min(limits.cap.saturating_sub(bytes)), checkpoint);
        let lying_free = |free: &[ClosedSegment]| free.iter().map(|segment| segment.bytes).sum::<u64>();
        if !self.held.is_empty() && self.bytes() - lying_free(&self.free) + bytes > limits.cap {
            // Commits go before readers, however long those were promised the feed.
            self.held.clear();
            self.kept = None;
            self.trim(retention.min(limits.cap.saturating_sub(bytes)), checkpoint);
        }
        self.free.append(&mut self.spares.take_unused());
        self.free.sort_by_key(|segment| segment.id);
        let given_up = lying_free(&self.free);
        let fits = |bytes: u64| limits.disk.is_none_or(|disk| disk.fits(bytes, given_up));
        // One that lies free is room for the store, too: on a small disk a smaller new one may be the better use of it.
        let usable = |free: &ClosedSegment| free.bytes >= needed && free.bytes >= wanted / 2 && fits(free.bytes);
        let recycled = self.free.iter().enumerate().find(|(_, free)| usable(free)).map(|(place, free)| (place, *free));
        let bytes = recycled.map_or(bytes, |(_, segment)| segment.bytes);
        let refusal = if self.bytes() - given_up + bytes > limits.cap {
            Some(format!(
                "journal: another segment of {bytes} bytes would pass journal_max_bytes ({}); raise it",
                limits.cap
            ))
        } else if !fits(bytes) {
            Some(format!("journal: the disk has no room for another segment of {bytes} bytes; make some"))
        } else {
            None
        };
        if let Some(message) = refusal {
            return Err(Error::new(ErrorKind::Full, message));
        }
        let (remove_first, recycle) = match recycled {
            Some((place, segment)) => {
                let older = self.free.drain(..=place).take(place).collect();
                (older, Some(segment))
            }
            // All that lies free goes first: the disk may have no room beside it.
            None => (std::mem::take(&mut self.free), None),
        };
        let id = self.next_id;
        self.next_id += 1;
        Ok(Plan { id, salt: ids.next_u64(), bytes, recycle, remove_first })
    }

    /// Files that nobody needs any more.
    pub(super) fn take_free(&mut self) -> Vec<ClosedSegment> {
        let mut free = std::mem::take(&mut self.free);
        free.append(&mut self.spares.take_unused());
        free.sort_by_key(|segment| segment.id);
        free
    }

    /// Where the keeper hands over what it has prepared.
    pub(super) fn spares(&self) -> Arc<Spares> {
        Arc::clone(&self.spares)
    }

    pub(super) fn disk(&self) -> (Arc<dyn Disk>, PathBuf) {
        (Arc::clone(&self.disk), self.folder.clone())
    }
}

/// Makes a planned segment: called without any lock, by the keeper. A failure leaves nothing behind but perhaps a
/// file that the next open removes.
///
/// # Errors
/// `Full`, `Unavailable`.
pub(super) fn prepare(disk: &dyn Disk, folder: &Path, plan: Plan) -> Result<Prepared> {
    let path = segment_path(folder, plan.id);
    let Plan { id, salt, bytes, recycle, remove_first } = plan;
    remove(disk, folder, &remove_first)?;
    let file = match recycle {
        Some(old) => {
            disk.rename(&segment_path(folder, old.id), &path)?;
            disk.open(&path, true)?
        }
        None => {
            let file = disk.create(&path)?;
            let written = write_zeros(&*file, 0, bytes).and_then(|()| file.sync_data());
            if let Err(error) = written {
                // The half-made file would keep a full disk full. What matters is the first error.
                drop(file);
                return Err(match disk.remove(&path) {
                    Ok(()) => error,
                    Err(removal) => Error::with_source(error.kind(), format!("{error}; and {removal}"), removal),
                });
            }
            file
        }
    };
    disk.sync_dir(folder)?;
    Ok(Prepared { id, salt, bytes, file })
}

/// Removes the files of segments, oldest first, each made durable: a power cut leaves no gap among those that stay.
///
/// # Errors
/// `Unavailable`.
pub(super) fn remove(disk: &dyn Disk, folder: &Path, segments: &[ClosedSegment]) -> Result<()> {
    for segment in segments {
        disk.remove(&segment_path(folder, segment.id))?;
        disk.sync_dir(folder)?;
    }
    Ok(())
}

/// Makes a file of `bytes` that begins with `image` and goes on with zeros, its content synced.
fn write_whole(disk: &dyn Disk, path: &Path, image: &[u8], bytes: u64) -> Result<Box<dyn DiskFile>> {
    disk.remove(path)?;
    let file = disk.create(path)?;
    write_zeros(&*file, image.len() as u64, bytes)?;
    file.write_at(0, image)?;
    file.sync_data()?;
    Ok(file)
}

fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut offset = from;
    while offset < to {
        let len = (to - offset).min(ZEROS_BYTES as u64) as usize;
        file.write_at(offset, zeros.get(..len).unwrap_or(&zeros))?;
        offset += len as u64;
    }
    Ok(())
}
