//! The bytes of a journal segment: a header, then chained frames.
//!
//! All numbers little-endian. The header fills one 512-byte sector, which is assumed not to tear.
//!
//! ```text
//! segment header                                   frame header
//! 0   8  magic "MLPJRNL1"                          0   4  magic "MLFR"
//! 8   4  format version, 2                         4   4  payload length
//! 12 16  store uuid                                8   8  sequence, +1 from frame to frame
//! 28  8  generation of the folder                  16  8  committed at, ms since the Unix epoch
//! 36  8  segment id, +1 from segment to segment    24  8  sequence that the store held durably by then
//! 44  8  sequence of the first frame               32  4  header CRC of the frame before (chain)
//! 52  8  salt, random                              36  4  CRC32C of the payload
//! 60  4  header CRC of the frame before the first  40 32  chain hash with this frame
//! 64 32  chain hash before the first frame         72  4  CRC32C over salt, segment id and bytes 0..72
//! 96  4  CRC32C of bytes 0..96                     76     payload, see `batch.rs`
//! 100    zeros up to 512
//! ```
//!
//! The chain of CRCs makes splices and gaps fail; salt and segment id make the old frames of a recycled segment fail, and
//! keep a value that looks like a frame from passing for one. The chain hash depends on nothing but what was committed:
//! it is what other stores know this history by, and stands in each frame so that it can be had at any cursor without
//! reading what came before.

use crate::engine::ChainHash;
use crate::error::{Error, Result};

/// Where the first frame starts.
pub(super) const SEGMENT_HEADER: usize = 512;
/// Bytes of a frame before its payload.
pub(super) const FRAME_HEADER: usize = 76;
/// Version of the segment format. Version 1 had no chain hashes; it was never released.
pub(super) const SEGMENT_FORMAT: u32 = 2;

const SEGMENT_MAGIC: &[u8; 8] = b"MLPJRNL1";
const FRAME_MAGIC: &[u8; 4] = b"MLFR";
const HEADER_USED: usize = 100;
/// Bytes that the search for a stranded frame looks at together.
const SCAN_BLOCK: usize = 4096;

/// Which store a journal belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uuid: u128,
    pub(super) generation: u64,
}

/// What a frame is chained to: the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    /// CRC of its header.
    pub(super) crc: u32,
    /// The chain hash with it.
    pub(super) hash: ChainHash,
}

impl Link {
    /// Before the first frame of a journal that goes on behind a history with this hash.
    pub(super) fn first(hash: ChainHash) -> Self {
        Link { crc: 0, hash }
    }
}

impl Default for Link {
    fn default() -> Self {
        Link::first(ChainHash::START)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) identity: Identity,
    pub(super) id: u64,
    pub(super) first_sequence: u64,
    pub(super) salt: u64,
    pub(super) chain: Link,
}

/// What the first sector of a segment file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderState {
    /// Never used: zeros.
    Blank,
    /// A header of this format, its CRC in order.
    Valid(SegmentHeader),
    /// Something else. A sector does not tear, so this is damage.
    Damaged,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut used = Vec::with_capacity(HEADER_USED);
        used.extend_from_slice(SEGMENT_MAGIC);
        used.extend_from_slice(&SEGMENT_FORMAT.to_le_bytes());
        used.extend_from_slice(&self.identity.uuid.to_le_bytes());
        used.extend_from_slice(&self.identity.generation.to_le_bytes());
        used.extend_from_slice(&self.id.to_le_bytes());
        used.extend_from_slice(&self.first_sequence.to_le_bytes());
        used.extend_from_slice(&self.salt.to_le_bytes());
        used.extend_from_slice(&self.chain.crc.to_le_bytes());
        used.extend_from_slice(&self.chain.hash.to_bytes());
        let crc = crc32c::crc32c(&used);
        used.extend_from_slice(&crc.to_le_bytes());
        let mut sector = [0; SEGMENT_HEADER];
        for (place, byte) in sector.iter_mut().zip(used) {
            *place = byte;
        }
        sector
    }

    /// Reads the first sector of a segment file.
    ///
    /// # Errors
    /// `Unsupported` for a newer format, and for the first one.
    pub(super) fn decode(sector: &[u8]) -> Result<HeaderState> {
        if sector.iter().all(|byte| *byte == 0) {
            return Ok(HeaderState::Blank);
        }
        // No single flipped bit makes the one of the other.
        if sector.starts_with(SEGMENT_MAGIC) && sector.get(8..12) == Some(&1u32.to_le_bytes()) {
            return Err(Error::unsupported(
                "journal segment format 1: it has no chain hashes; export the store with the build that wrote it",
            ));
        }
        let mut fields = Fields(sector);
        let header = (|| {
            if fields.take::<8>()? != *SEGMENT_MAGIC {
                return None;
            }
            let format = u32::from_le_bytes(fields.take()?);
            let header = SegmentHeader {
                identity: Identity {
                    uuid: u128::from_le_bytes(fields.take()?),
                    generation: u64::from_le_bytes(fields.take()?),
                },
                id: u64::from_le_bytes(fields.take()?),
                first_sequence: u64::from_le_bytes(fields.take()?),
                salt: u64::from_le_bytes(fields.take()?),
                chain: Link { crc: u32::from_le_bytes(fields.take()?), hash: ChainHash::from_bytes(fields.take()?)? },
            };
            let crc = u32::from_le_bytes(fields.take()?);
            (crc == crc32c::crc32c(sector.get(..HEADER_USED - 4)?)).then_some((format, header))
        })();
        match header {
            None => Ok(HeaderState::Damaged),
            Some((format, _)) if format > SEGMENT_FORMAT => Err(Error::unsupported(format!(
                "journal segment format {format}: this version reads up to {SEGMENT_FORMAT}"
            ))),
            Some((_, header)) => Ok(HeaderState::Valid(header)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) payload_bytes: u32,
    pub(super) sequence: u64,
    pub(super) committed_ms: u64,
    pub(super) checkpoint: u64,
    pub(super) chain: u32,
    pub(super) payload_crc: u32,
    /// The chain hash with this frame.
    pub(super) hash: ChainHash,
    /// CRC of this header: what the next frame chains to.
    pub(super) crc: u32,
}

impl FrameHeader {
    /// A header for `payload` in the segment `of`; its CRC is filled in.
    pub(super) fn new(
        of: &SegmentHeader,
        sequence: u64,
        committed_ms: u64,
        checkpoint: u64,
        before: Link,
        payload: &[u8],
    ) -> Self {
        let mut header = FrameHeader {
            payload_bytes: payload.len() as u32,
            sequence,
            committed_ms,
            checkpoint,
            chain: before.crc,
            payload_crc: crc32c::crc32c(payload),
            hash: before.hash.after(sequence, payload),
            crc: 0,
        };
        header.crc = header_crc(of, &header.encode()[..FRAME_HEADER - 4]);
        header
    }

    pub(super) fn encode(&self) -> [u8; FRAME_HEADER] {
        let mut bytes = [0; FRAME_HEADER];
        let fields: [&[u8]; 9] = [
            FRAME_MAGIC,
            &self.payload_bytes.to_le_bytes(),
            &self.sequence.to_le_bytes(),
            &self.committed_ms.to_le_bytes(),
            &self.checkpoint.to_le_bytes(),
            &self.chain.to_le_bytes(),
            &self.payload_crc.to_le_bytes(),
            &self.hash.to_bytes(),
            &self.crc.to_le_bytes(),
        ];
        for (place, byte) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *place = *byte;
        }
        bytes
    }

    /// The frame header at the start of `bytes`, when there is one of segment `of` with its CRC in order.
    pub(super) fn decode(of: &SegmentHeader, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.take::<4>()? != *FRAME_MAGIC {
            return None;
        }
        let header = FrameHeader {
            payload_bytes: u32::from_le_bytes(fields.take()?),
            sequence: u64::from_le_bytes(fields.take()?),
            committed_ms: u64::from_le_bytes(fields.take()?),
            checkpoint: u64::from_le_bytes(fields.take()?),
            chain: u32::from_le_bytes(fields.take()?),
            payload_crc: u32::from_le_bytes(fields.take()?),
            hash: ChainHash::from_bytes(fields.take()?)?,
            crc: u32::from_le_bytes(fields.take()?),
        };
        (header.crc == header_crc(of, bytes.get(..FRAME_HEADER - 4)?)).then_some(header)
    }

    /// What the next frame is chained to.
    pub(super) fn link(&self) -> Link {
        Link { crc: self.crc, hash: self.hash }
    }
}

fn header_crc(of: &SegmentHeader, bytes: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&of.salt.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &of.id.to_le_bytes()), bytes)
}

/// Takes fixed fields off the front of a slice.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}

/// A valid frame inside a segment's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) header: FrameHeader,
    pub(super) payload: &'a [u8],
}

/// Walks the frames of a segment in order, each checked against its CRCs and chained to the one before.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    segment: SegmentHeader,
    bytes: &'a [u8],
    offset: usize,
    sequence: u64,
    chain: Link,
}

impl<'a> Frames<'a> {
    /// Over the whole bytes of a segment, header included.
    pub(super) fn new(segment: SegmentHeader, bytes: &'a [u8]) -> Self {
        let (sequence, chain) = (segment.first_sequence, segment.chain);
        Frames { segment, bytes, offset: SEGMENT_HEADER, sequence, chain }
    }

    /// Over bytes that begin with frame `sequence`, which is chained to this.
    pub(super) fn resume(segment: SegmentHeader, bytes: &'a [u8], sequence: u64, chain: Link) -> Self {
        Frames { segment, bytes, offset: 0, sequence, chain }
    }

    /// Where the next frame starts.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The sequence that the next frame must have.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence
    }

    /// What the next frame is chained to.
    pub(super) fn link(&self) -> Link {
        self.chain
    }

    fn at(&self, offset: usize) -> Option<Frame<'a>> {
        let rest = self.bytes.get(offset..)?;
        let header = FrameHeader::decode(&self.segment, rest)?;
        let payload = rest.get(FRAME_HEADER..FRAME_HEADER.checked_add(header.payload_bytes as usize)?)?;
        (crc32c::crc32c(payload) == header.payload_crc).then_some(Frame { header, payload })
    }

    /// Behind the last valid frame: a whole frame of this segment that should have come later. It proves that
    /// something before it was damaged, for a torn tail has nothing behind it.
    pub(super) fn stranded(&self) -> Option<u64> {
        let mut offset = self.offset;
        while let Some(tail) = self.bytes.get(offset..).filter(|tail| !tail.is_empty()) {
            let block = tail.get(..SCAN_BLOCK).unwrap_or(tail);
            // Nearly all of a segment's rest is zeros; this check is as fast as memory.
            if block.iter().fold(0, |any, byte| any | byte) != 0 {
                let later = (offset..offset + block.len())
                    .filter_map(|place| self.at(place))
                    .map(|frame| frame.header.sequence)
                    .find(|sequence| *sequence > self.sequence);
                if later.is_some() {
                    return later;
                }
            }
            offset += block.len();
        }
        None
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let frame = self.at(self.offset)?;
        if frame.header.sequence != self.sequence || frame.header.chain != self.chain.crc {
            return None;
        }
        self.offset += FRAME_HEADER + frame.payload.len();
        self.sequence += 1;
        self.chain = frame.header.link();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(crc: u32) -> Link {
        Link { crc, ..Link::default() }
    }

    fn header(id: u64, salt: u64) -> SegmentHeader {
        SegmentHeader { identity: Identity { uuid: 9, generation: 1 }, id, first_sequence: 10, salt, chain: chain(77) }
    }

    fn segment(header: SegmentHeader, payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = header.encode().to_vec();
        let mut chain = header.chain;
        for (sequence, payload) in (header.first_sequence..).zip(payloads) {
            let frame = FrameHeader::new(&header, sequence, 0, 0, chain, payload);
            chain = frame.link();
            bytes.extend_from_slice(&frame.encode());
            bytes.extend_from_slice(payload);
        }
        bytes.resize(bytes.len() + 300, 0);
        bytes
    }

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_damage() {
        let sector = header(3, 4).encode();
        assert_eq!(SegmentHeader::decode(&sector).unwrap(), HeaderState::Valid(header(3, 4)));
        assert_eq!(SegmentHeader::decode(&[0; 512]).unwrap(), HeaderState::Blank);
        for bit in 0..HEADER_USED * 8 {
            let mut damaged = sector;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged).unwrap(), HeaderState::Damaged, "bit {bit}");
        }
    }

    #[test]
    fn a_segment_of_the_first_format_is_unsupported_and_not_damage() {
        let mut sector = header(3, 4).encode();
        sector[8] = 1;
        assert_eq!(SegmentHeader::decode(&sector).unwrap_err().kind(), crate::error::ErrorKind::Unsupported);
    }

    #[test]
    fn every_flipped_bit_of_a_frame_stops_the_walk_there() {
        let bytes = segment(header(3, 4), &[b"one", b"two"]);
        let second = SEGMENT_HEADER + FRAME_HEADER + 3;
        for bit in second * 8..(second + FRAME_HEADER + 3) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frames::new(header(3, 4), &damaged).count(), 1, "bit {bit}");
        }
    }

    #[test]
    fn frames_of_another_life_of_the_segment_never_pass() {
        let old = segment(header(3, 4), &[b"one", b"two"]);
        for now in [header(4, 4), header(3, 5)] {
            let frames = Frames::new(now, &old);
            assert!(frames.stranded().is_none());
            assert_eq!(frames.count(), 0);
        }
    }

    #[test]
    fn a_whole_frame_behind_a_broken_one_is_told_from_a_torn_tail() {
        let mut bytes = segment(header(3, 4), &[b"one", b"two", b"three"]);
        bytes[SEGMENT_HEADER + FRAME_HEADER + 3 + 5] ^= 1;
        let mut frames = Frames::new(header(3, 4), &bytes);
        assert_eq!(frames.by_ref().count(), 1);
        assert_eq!(frames.stranded(), Some(12));

        let mut torn = segment(header(3, 4), &[b"one", b"two"]);
        torn[SEGMENT_HEADER + FRAME_HEADER + 3 + 5] ^= 1;
        let mut frames = Frames::new(header(3, 4), &torn);
        assert_eq!(frames.by_ref().count(), 1);
        assert_eq!(frames.stranded(), None);
    }

    #[test]
    fn a_spliced_frame_breaks_the_chain() {
        let (ours, mut other) = (segment(header(3, 4), &[b"one", b"two"]), header(3, 4));
        other.chain = chain(78);
        let theirs = segment(other, &[b"uno", b"dos"]);
        let cut = SEGMENT_HEADER + FRAME_HEADER + 3;
        let spliced = [&ours[..cut], &theirs[cut..]].concat();
        assert_eq!(Frames::new(header(3, 4), &spliced).count(), 1);
    }
}
