//! Reading a journal back: which segments are live, where the tail ends, and what lies above the checkpoint.
//!
//! - A segment whose first sequence is not below that of a later one is superseded: a recovery wrote its frames again
//!   and was cut off before it removed the file.
//! - The last segment may end in a torn frame; a whole later frame behind it is damage, and so is any invalid frame
//!   of an earlier segment, a gap, a segment of another store, and a header that is neither blank nor valid.
//! - Stated limit: damage to the very last frame after an unclean stop looks like a torn tail. A clean stop appends
//!   an empty frame, so that then it does not.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::journal::ClosedSegment;
use super::segment::{Frame, Frames, HeaderState, Identity, Link, SEGMENT_HEADER, SegmentHeader};
use crate::engine::ChainHash;
use crate::error::{Error, ErrorKind, Result};

/// The live segments of a journal folder.
#[derive(Debug)]
pub(super) struct Survey {
    /// Oldest first, sequences contiguous; each takes frames up to the next one's first.
    segments: Vec<(SegmentHeader, PathBuf)>,
    /// Unused, superseded and half-made files.
    pub(super) leftovers: Vec<PathBuf>,
    /// Above every id seen.
    pub(super) next_id: u64,
    /// The bytes of the last segment: its end is looked for first, then its frames are read.
    last: OnceCell<Vec<u8>>,
}

/// What the newest frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// Sequence of the last valid frame.
    pub(super) end: u64,
    /// The newest checkpoint that a frame carries.
    pub(super) checkpoint: u64,
}

/// The frames above a base.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// What the frame behind the base is chained to.
    pub(super) chain: Link,
    /// In order.
    pub(super) frames: Vec<KeptFrame>,
    /// Segments that hold frames up to the base.
    pub(super) closed: Vec<ClosedSegment>,
    /// Segments with nothing but frames above the base: superseded once these are written again.
    pub(super) superseded: Vec<PathBuf>,
}

/// A frame above the base, as it is written again.
#[derive(Debug)]
pub(super) struct KeptFrame {
    pub(super) committed_ms: u64,
    pub(super) payload: Vec<u8>,
    /// The chain hash with it: compared with what follows from the payload when it is written again.
    pub(super) hash: ChainHash,
}

fn read_file(disk: &dyn Disk, path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let file = disk.open(path, false)?;
    let len = file.len()?.min(bytes_max) as usize;
    let mut bytes = vec![0; len];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

impl Survey {
    /// Reads the first sector of every segment file in `folder`.
    ///
    /// # Errors
    /// `Corrupt` naming the file; `Unsupported` for a newer format; `Unavailable`.
    pub(super) fn read(disk: &dyn Disk, folder: &Path, identity: Identity) -> Result<Self> {
        Self::read_as(disk, folder, Some(identity))
    }

    /// The same for a folder whose identity is not known: that of the first segment found counts.
    ///
    /// # Errors
    /// As [`Survey::read`].
    pub(super) fn read_any(disk: &dyn Disk, folder: &Path) -> Result<Self> {
        Self::read_as(disk, folder, None)
    }

    fn read_as(disk: &dyn Disk, folder: &Path, mut identity: Option<Identity>) -> Result<Self> {
        let mut survey = Survey { segments: Vec::new(), leftovers: Vec::new(), next_id: 1, last: OnceCell::new() };
        let mut found = Vec::new();
        let names = match disk.list(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::with_source(
                    ErrorKind::Corrupt,
                    format!("{}: the journal is gone; restore the folder from a copy or a snapshot", folder.display()),
                    error,
                ));
            }
            names => names?,
        };
        for name in names {
            let path = folder.join(&name);
            let id = name.strip_suffix(".seg").filter(|hex| hex.len() == 16);
            let Some(id) = id.and_then(|hex| u64::from_str_radix(hex, 16).ok()) else {
                if name.ends_with(".new") {
                    survey.leftovers.push(path);
                }
                continue;
            };
            survey.next_id = survey.next_id.max(id + 1);
            let state = SegmentHeader::decode(&read_file(disk, &path, SEGMENT_HEADER as u64)?)?;
            if let (None, HeaderState::Valid(header)) = (identity, &state) {
                identity = Some(header.identity);
            }
            match state {
                HeaderState::Blank => survey.leftovers.push(path),
                // Prepared from an old segment and not begun: the header is still that of its earlier life.
                HeaderState::Valid(header) if header.id != id && Some(header.identity) == identity => {
                    survey.leftovers.push(path);
                }
                HeaderState::Valid(header) if Some(header.identity) == identity => found.push((header, path)),
                HeaderState::Valid(_) => {
                    return Err(Error::corrupt(format!("{}: a segment of another store", path.display())));
                }
                HeaderState::Damaged => {
                    return Err(Error::corrupt(format!("{}: its header is damaged", path.display())));
                }
            }
        }
        found.sort_by_key(|(header, _)| header.id);
        let mut first = u64::MAX;
        for (header, path) in found.into_iter().rev() {
            if header.first_sequence >= first {
                survey.leftovers.push(path);
            } else {
                first = header.first_sequence;
                survey.segments.push((header, path));
            }
        }
        survey.segments.reverse();
        Ok(survey)
    }

    /// The oldest sequence that can still be read; `None` without segments.
    pub(super) fn first_sequence(&self) -> Option<u64> {
        self.segments.first().map(|(header, _)| header.first_sequence)
    }

    /// Finds the end of the journal, reading from the back until a frame tells the checkpoint.
    ///
    /// # Errors
    /// `Corrupt`, `Unavailable`.
    pub(super) fn tail(&self, disk: &dyn Disk) -> Result<Tail> {
        let mut tail: Option<Tail> = None;
        for place in (0..self.segments.len()).rev() {
            let mut checkpoint = None;
            let end = self.walk(disk, place, |frame| checkpoint = Some(frame.header.checkpoint))?.end;
            let known = tail.get_or_insert(Tail { end, checkpoint: 0 });
            if let Some(checkpoint) = checkpoint {
                known.checkpoint = checkpoint;
                break;
            }
        }
        Ok(tail.unwrap_or(Tail { end: 0, checkpoint: 0 }))
    }

    /// Every frame above `base`.
    ///
    /// # Errors
    /// `Corrupt` when one is missing or damaged; `Unavailable`.
    pub(super) fn replay(&self, disk: &dyn Disk, base: u64) -> Result<Replay> {
        let mut replay = Replay::default();
        let mut expected_chain = None;
        for (place, (header, path)) in self.segments.iter().enumerate() {
            let next_first = self.segments.get(place + 1).map(|(next, _)| next.first_sequence);
            let wholly_below = next_first.is_some_and(|next| next <= base + 1);
            if wholly_below {
                replay.closed.push(ClosedSegment {
                    id: header.id,
                    first_sequence: header.first_sequence,
                    last_sequence: next_first.map_or(base, |next| next - 1),
                    bytes: disk.open(path, false)?.len()?,
                });
                continue;
            }
            if expected_chain.is_some_and(|chain| chain != header.chain) {
                return Err(Error::corrupt(format!("{}: does not continue the segment before it", path.display())));
            }
            if header.first_sequence == base + 1 {
                replay.chain = header.chain;
            }
            let Replay { chain, frames, .. } = &mut replay;
            let walked = self.walk(disk, place, |Frame { header, payload }| {
                if header.sequence == base {
                    *chain = header.link();
                }
                if header.sequence > base {
                    let (committed_ms, hash) = (header.committed_ms, header.hash);
                    frames.push(KeptFrame { committed_ms, payload: payload.to_vec(), hash });
                }
            })?;
            expected_chain = Some(walked.chain);
            if header.first_sequence <= base {
                replay.closed.push(ClosedSegment {
                    id: header.id,
                    first_sequence: header.first_sequence,
                    last_sequence: base,
                    bytes: disk.open(path, false)?.len()?,
                });
            } else {
                replay.superseded.push(path.clone());
            }
        }
        Ok(replay)
    }

    /// The chain hash before the oldest frame.
    pub(super) fn first_hash(&self) -> Option<ChainHash> {
        self.segments.first().map(|(header, _)| header.chain.hash)
    }

    /// Hands on every frame above `base`, in order, with no more than a segment in memory; `false` ends that.
    ///
    /// # Errors
    /// `Corrupt` when one is missing or damaged; `Unavailable`; what `each` answers.
    pub(super) fn each_above(
        &self,
        disk: &dyn Disk,
        base: u64,
        mut each: impl FnMut(&Frame<'_>) -> Result<bool>,
    ) -> Result<()> {
        let mut expected_chain = None;
        for (place, (header, path)) in self.segments.iter().enumerate() {
            let next_first = self.segments.get(place + 1).map(|(next, _)| next.first_sequence);
            if next_first.is_some_and(|next| next <= base + 1) {
                continue;
            }
            if expected_chain.is_some_and(|chain| chain != header.chain) {
                return Err(Error::corrupt(format!("{}: does not continue the segment before it", path.display())));
            }
            let mut goes_on = Ok(true);
            let walked = self.walk(disk, place, |frame| {
                if matches!(goes_on, Ok(true)) && frame.header.sequence > base {
                    goes_on = each(&frame);
                }
            })?;
            if !goes_on? {
                return Ok(());
            }
            expected_chain = Some(walked.chain);
        }
        Ok(())
    }

    /// Walks one segment up to where the next one takes over.
    fn walk(&self, disk: &dyn Disk, place: usize, mut each: impl FnMut(Frame<'_>)) -> Result<Walked> {
        let (header, path) = self.segments.get(place).ok_or_else(|| Error::internal("journal: no such segment"))?;
        let next_first = self.segments.get(place + 1).map(|(next, _)| next.first_sequence);
        let read;
        let bytes = match (next_first, self.last.get()) {
            (None, Some(bytes)) => bytes,
            (None, None) => {
                read = read_file(disk, path, u64::MAX)?;
                self.last.get_or_init(|| read)
            }
            (Some(_), _) => {
                read = read_file(disk, path, u64::MAX)?;
                &read
            }
        };
        let mut frames = Frames::new(*header, bytes);
        while next_first.is_none_or(|next| frames.next_sequence() < next) {
            let Some(frame) = frames.next() else { break };
            each(frame);
        }
        match next_first {
            Some(next) if frames.next_sequence() != next => Err(Error::corrupt(format!(
                "{}: frame {} is damaged or missing, and the journal goes on at {next}",
                path.display(),
                frames.next_sequence()
            ))),
            None => match frames.stranded() {
                Some(later) => Err(Error::corrupt(format!(
                    "{}: frame {} is damaged, but frame {later} behind it is whole",
                    path.display(),
                    frames.next_sequence()
                ))),
                None => Ok(Walked { end: frames.next_sequence() - 1, chain: frames.link() }),
            },
            Some(_) => Ok(Walked { end: frames.next_sequence() - 1, chain: frames.link() }),
        }
    }
}

struct Walked {
    end: u64,
    chain: Link,
}
