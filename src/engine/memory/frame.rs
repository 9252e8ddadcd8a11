//! The form that both files of the memory store share: a header, then chained frames.
//!
//! Numbers are little-endian.
//!
//! ```text
//! file header                                      frame
//! 0   8  magic "MLPMSNP1" or "MLPMLOG1"            0   4  magic "MLMF"
//! 8   4  format version, 1                         4   4  payload length
//! 12  8  generation of the file, from its name     8   8  sequence in the file, from 1
//! 20  8  salt, random, of the generation           16  4  CRC of the frame before; of the file header for the first
//! 28  4  CRC32C of bytes 0..28                     20  4  CRC32C of the payload
//!                                                  24  4  CRC32C over the file header's CRC and bytes 0..24
//!                                                  28     payload, see `item.rs`
//! ```
//!
//! The chain makes gaps and splices fail. The salt keeps frames of another file, or a value that looks like a frame,
//! from passing for one. A length is believed only under its CRC, and no further than the file and
//! [`PAYLOAD_BYTES_MAX`] reach.

use std::fmt;
use std::path::Path;

use super::item::Payload;
use crate::engine::local::disk::{Disk, DiskFile};
use crate::error::{Error, Result};

/// Bytes of a file before its first frame.
pub(super) const FILE_HEADER: usize = 32;
/// Bytes of a frame before its payload.
pub(super) const FRAME_HEADER: usize = 28;
/// Most bytes in one payload.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// Version of both files' format.
pub(super) const FORMAT: u32 = 1;

const FRAME_MAGIC: &[u8; 4] = b"MLMF";
/// Bytes that are read, and looked through, together.
const WINDOW_BYTES: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Snapshot,
    Log,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Kind::Snapshot => b"MLPMSNP1",
            Kind::Log => b"MLPMLOG1",
        }
    }

    /// The name of the file of this kind and generation.
    pub(super) fn file_name(self, generation: u64) -> String {
        match self {
            Kind::Snapshot => format!("snapshot-{generation:016x}"),
            Kind::Log => format!("log-{generation:016x}"),
        }
    }

    /// The generation of a file of this kind with this name.
    pub(super) fn generation_of(self, name: &str) -> Option<u64> {
        let prefix = match self {
            Kind::Snapshot => "snapshot-",
            Kind::Log => "log-",
        };
        let generation = u64::from_str_radix(name.strip_prefix(prefix)?, 16).ok()?;
        // Only the one spelling, so that no two names mean the same file.
        (self.file_name(generation) == name).then_some(generation)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) kind: Kind,
    pub(super) generation: u64,
    pub(super) salt: u64,
}

impl FileHeader {
    fn encode(&self) -> ([u8; FILE_HEADER], u32) {
        let mut bytes = [0; FILE_HEADER];
        let fields: [&[u8]; 4] =
            [self.kind.magic(), &FORMAT.to_le_bytes(), &self.generation.to_le_bytes(), &self.salt.to_le_bytes()];
        let crc = fields.iter().fold(0, |crc, field| crc32c::crc32c_append(crc, field));
        fill(&mut bytes, fields.into_iter().flatten().chain(&crc.to_le_bytes()));
        (bytes, crc)
    }

    /// Reads the header of `file`, which is to be of this kind and generation; answers it with its CRC.
    fn read(file: &dyn DiskFile, kind: Kind, generation: u64, path: &Path) -> Result<(Self, u32)> {
        let mut bytes = [0; FILE_HEADER];
        file.read_at(0, &mut bytes)?;
        let damaged = || Error::corrupt(format!("{}: its header is damaged", path.display()));
        let mut fields = Fields(&bytes);
        let (format, header, crc) = (|| {
            let magic_fits = fields.take::<8>()? == *kind.magic();
            let format = u32::from_le_bytes(fields.take()?);
            let generation = u64::from_le_bytes(fields.take()?);
            let salt = u64::from_le_bytes(fields.take()?);
            let crc = u32::from_le_bytes(fields.take()?);
            let sound = magic_fits && crc == crc32c::crc32c(bytes.get(..FILE_HEADER - 4)?);
            sound.then_some((format, FileHeader { kind, generation, salt }, crc))
        })()
        .ok_or_else(damaged)?;
        if format > FORMAT {
            return Err(Error::unsupported(format!(
                "{}: format {format}; this version reads up to {FORMAT}",
                path.display()
            )));
        }
        if header.generation != generation {
            return Err(Error::corrupt(format!("{}: a file of generation {}", path.display(), header.generation)));
        }
        Ok((header, crc))
    }
}

fn fill<'a>(target: &mut [u8], bytes: impl Iterator<Item = &'a u8>) {
    for (place, byte) in target.iter_mut().zip(bytes) {
        *place = *byte;
    }
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

#[derive(Debug, Clone, Copy)]
struct FrameHeader {
    payload_bytes: usize,
    sequence: u64,
    chain: u32,
    payload_crc: u32,
    /// Of this header: what the next frame chains to.
    crc: u32,
}

impl FrameHeader {
    /// The frame header at the start of `bytes`, when it is one of the file with this header CRC.
    fn decode(file_crc: u32, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.take::<4>()? != *FRAME_MAGIC {
            return None;
        }
        let header = FrameHeader {
            payload_bytes: u32::from_le_bytes(fields.take()?) as usize,
            sequence: u64::from_le_bytes(fields.take()?),
            chain: u32::from_le_bytes(fields.take()?),
            payload_crc: u32::from_le_bytes(fields.take()?),
            crc: u32::from_le_bytes(fields.take()?),
        };
        let sound = header.crc == crc32c::crc32c_append(file_crc, bytes.get(..FRAME_HEADER - 4)?);
        (sound && header.payload_bytes <= PAYLOAD_BYTES_MAX).then_some(header)
    }
}

/// A file that frames are appended to. Nothing is durable before [`sync`](FrameFile::sync).
pub(super) struct FrameFile {
    file: Box<dyn DiskFile>,
    file_crc: u32,
    /// Where the next frame goes.
    end: u64,
    sequence: u64,
    chain: u32,
}

impl FrameFile {
    /// Creates the file with its header.
    ///
    /// # Errors
    /// `AlreadyExists`, `Full`, `Unavailable`.
    pub(super) fn create(disk: &dyn Disk, path: &Path, header: FileHeader) -> Result<Self> {
        let (bytes, crc) = header.encode();
        let file = disk.create(path)?;
        file.write_at(0, &bytes)?;
        Ok(FrameFile { file, file_crc: crc, end: FILE_HEADER as u64, sequence: 1, chain: crc })
    }

    /// Bytes up to the end of the last frame.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Appends one frame, in one write, and empties the payload.
    ///
    /// # Errors
    /// `Full`, `Unavailable`; some of the frame may have been written. `Internal` past [`PAYLOAD_BYTES_MAX`].
    pub(super) fn append(&mut self, payload: &mut Payload) -> Result<()> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Error::internal(format!("a frame of {} bytes could not be read back", payload.len())));
        }
        let payload_bytes = (payload.len() as u32).to_le_bytes();
        let bytes = payload.framed();
        let payload_crc = crc32c::crc32c(bytes.get(FRAME_HEADER..).unwrap_or_default());
        let fields: [&[u8]; 5] = [
            FRAME_MAGIC,
            &payload_bytes,
            &self.sequence.to_le_bytes(),
            &self.chain.to_le_bytes(),
            &payload_crc.to_le_bytes(),
        ];
        let crc = fields.iter().fold(self.file_crc, |crc, field| crc32c::crc32c_append(crc, field));
        fill(bytes, fields.into_iter().flatten().chain(&crc.to_le_bytes()));
        self.file.write_at(self.end, bytes)?;
        self.end += bytes.len() as u64;
        self.sequence += 1;
        self.chain = crc;
        payload.clear();
        Ok(())
    }

    /// Everything appended survives power loss when it returns.
    ///
    /// # Errors
    /// `Full`, `Unavailable`.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data()
    }
}

impl fmt::Debug for FrameFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameFile").field("file", &self.file).field("end", &self.end).finish_non_exhaustive()
    }
}

/// Walks the frames of a file in order, each checked against its CRCs and chained to the one before.
#[derive(Debug)]
pub(super) struct Frames {
    window: Window,
    header: FileHeader,
    file_crc: u32,
    /// Where the next frame begins.
    offset: u64,
    /// Where the last one began.
    last: Option<u64>,
    sequence: u64,
    chain: u32,
}

impl Frames {
    /// Over the file of this kind and generation, opened for writing where `write` says so.
    ///
    /// # Errors
    /// `Corrupt` for a header that is not what it should be; `Unsupported` for a newer format; `Unavailable`.
    pub(super) fn open(disk: &dyn Disk, path: &Path, kind: Kind, generation: u64, write: bool) -> Result<Self> {
        let file = disk.open(path, write)?;
        let (header, file_crc) = FileHeader::read(&*file, kind, generation, path)?;
        let window = Window { len: file.len()?, file, start: 0, bytes: Vec::new() };
        Ok(Frames { window, header, file_crc, offset: FILE_HEADER as u64, last: None, sequence: 1, chain: file_crc })
    }

    pub(super) fn salt(&self) -> u64 {
        self.header.salt
    }

    /// Bytes up to the end of the last frame.
    pub(super) fn bytes(&self) -> u64 {
        self.offset
    }

    /// How many frames have been read.
    pub(super) fn count(&self) -> u64 {
        self.sequence - 1
    }

    /// Whether the file ends where the last frame does.
    pub(super) fn is_at_end(&self) -> bool {
        self.offset == self.window.len
    }

    /// The next frame's payload; `None` where there is no valid one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>> {
        match self.whole_at(self.offset)? {
            Some(frame) if frame.sequence == self.sequence && frame.chain == self.chain => {
                let payload = self.offset + FRAME_HEADER as u64;
                self.last = Some(self.offset);
                self.offset = payload + frame.payload_bytes as u64;
                self.sequence += 1;
                self.chain = frame.crc;
                self.window.bytes(payload, frame.payload_bytes)
            }
            _ => Ok(None),
        }
    }

    /// Behind the last valid frame: the sequence of a whole frame that should have come later. It proves that
    /// something before it was damaged, for a torn tail has nothing behind it.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) fn stranded(&mut self) -> Result<Option<u64>> {
        let mut offset = self.offset;
        while offset < self.window.len {
            let left = usize::try_from(self.window.len - offset).unwrap_or(usize::MAX);
            let Some(block) = self.window.bytes(offset, left.min(WINDOW_BYTES))? else { break };
            let begins: Vec<usize> = (0..block.len())
                .filter(|place| block.get(*place..).is_some_and(|rest| rest.starts_with(FRAME_MAGIC)))
                .collect();
            // A magic may lie across the end of the block: the next one begins before that.
            let step = if block.len() == left { left } else { block.len() - (FRAME_MAGIC.len() - 1) };
            for place in begins {
                if let Some(frame) =
                    self.whole_at(offset + place as u64)?.filter(|frame| frame.sequence > self.sequence)
                {
                    return Ok(Some(frame.sequence));
                }
            }
            offset += step as u64;
        }
        Ok(None)
    }

    /// The header at `offset` when header and payload are in order.
    fn whole_at(&mut self, offset: u64) -> Result<Option<FrameHeader>> {
        let Some(bytes) = self.window.bytes(offset, FRAME_HEADER)? else { return Ok(None) };
        let Some(header) = FrameHeader::decode(self.file_crc, bytes) else { return Ok(None) };
        let payload = self.window.bytes(offset + FRAME_HEADER as u64, header.payload_bytes)?;
        Ok(payload.filter(|payload| crc32c::crc32c(payload) == header.payload_crc).map(|_| header))
    }

    /// The file, to append behind the last valid frame. That frame may stand in the page cache alone, after a sync that
    /// failed or never came: it is written again, and synced. Those before it were synced before it was written.
    ///
    /// # Errors
    /// `Full`, `Unavailable`.
    pub(super) fn into_file(mut self) -> Result<FrameFile> {
        if let Some(last) = self.last {
            let len = usize::try_from(self.offset - last).unwrap_or(usize::MAX);
            let bytes = self.window.bytes(last, len)?.map(<[u8]>::to_vec);
            let bytes = bytes.ok_or_else(|| Error::unavailable("a file became shorter while it was read"))?;
            self.window.file.write_at(last, &bytes)?;
            self.window.file.sync_data()?;
        }
        let Frames { window, file_crc, offset, sequence, chain, .. } = self;
        Ok(FrameFile { file: window.file, file_crc, end: offset, sequence, chain })
    }
}

/// A file read in large pieces.
#[derive(Debug)]
struct Window {
    file: Box<dyn DiskFile>,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// `len` bytes at `offset`; `None` when the file ends before.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<Option<&[u8]>> {
        let left = self.len.saturating_sub(offset);
        if left < len as u64 {
            return Ok(None);
        }
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + len as u64 > end {
            // `len` is below the file's own length, and no frame asks for more than a payload's limit.
            let want = len.max(WINDOW_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.bytes.resize(want, 0);
            let read = self.file.read_at(offset, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(self.bytes.get(from..from + len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Tree;
    use crate::engine::local::sim::SimDisk;

    const PATH: &str = "/log";

    fn header(salt: u64) -> FileHeader {
        FileHeader { kind: Kind::Log, generation: 3, salt }
    }

    fn payload(bytes: usize) -> Payload {
        let mut payload = Payload::new();
        payload.put(Tree::Kv, b"", &vec![7; bytes - 8]);
        assert_eq!(payload.len(), bytes);
        payload
    }

    /// A disk with a file of frames whose payloads have these lengths.
    fn frames_of(salt: u64, payloads: &[usize]) -> SimDisk {
        let disk = SimDisk::new();
        let mut file = FrameFile::create(&disk, Path::new(PATH), header(salt)).unwrap();
        for bytes in payloads {
            file.append(&mut payload(*bytes)).unwrap();
        }
        disk
    }

    fn walk(disk: &SimDisk) -> Frames {
        let mut frames = Frames::open(disk, Path::new(PATH), Kind::Log, 3, true).unwrap();
        while frames.next().unwrap().is_some() {}
        frames
    }

    #[test]
    fn a_file_that_is_reopened_goes_on_with_the_chain() {
        let disk = frames_of(1, &[10, 20]);
        let mut file = walk(&disk).into_file().unwrap();
        file.append(&mut payload(30)).unwrap();
        let mut frames = walk(&disk);
        assert_eq!((frames.count(), frames.is_at_end(), frames.bytes()), (3, true, file.bytes()));
        assert_eq!(frames.stranded().unwrap(), None);
    }

    #[test]
    fn a_stranded_frame_is_found_wherever_its_magic_lies_in_the_blocks_that_are_looked_through() {
        for shift in 0..8 {
            let second = WINDOW_BYTES - FRAME_HEADER - 4 + shift;
            let disk = frames_of(1, &[10, second, 10]);
            disk.damage(Path::new(PATH), |bytes| bytes[FILE_HEADER + 2 * FRAME_HEADER + 10] ^= 1).unwrap();
            let mut frames = walk(&disk);
            assert_eq!((frames.count(), frames.stranded().unwrap()), (1, Some(3)), "shift {shift}");
        }
    }

    #[test]
    fn a_length_under_a_sound_checksum_is_believed_no_further_than_the_file_and_the_limit() {
        for (length, room) in [(u32::MAX, 0), (PAYLOAD_BYTES_MAX as u32 + 1, PAYLOAD_BYTES_MAX + 1), (11, 10)] {
            let disk = frames_of(1, &[]);
            disk.damage(Path::new(PATH), |bytes| {
                let (_, file_crc) = header(1).encode();
                let zeros = vec![0; room];
                let fields: [&[u8]; 5] = [
                    FRAME_MAGIC,
                    &length.to_le_bytes(),
                    &1u64.to_le_bytes(),
                    &file_crc.to_le_bytes(),
                    &crc32c::crc32c(&zeros).to_le_bytes(),
                ];
                let crc = fields.iter().fold(file_crc, |crc, field| crc32c::crc32c_append(crc, field));
                bytes.extend(fields.into_iter().flatten().chain(&crc.to_le_bytes()).chain(&zeros));
            })
            .unwrap();
            assert_eq!(walk(&disk).count(), 0, "{length}");
        }
    }

    #[test]
    fn frames_of_another_file_and_gaps_never_pass() {
        let ours = frames_of(1, &[10, 10, 10]);
        let bytes = |disk: &SimDisk| {
            let file = disk.open(Path::new(PATH), false).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_at(0, &mut bytes).unwrap();
            bytes
        };
        let second = FILE_HEADER + FRAME_HEADER + 10;
        let theirs = bytes(&frames_of(2, &[10, 10, 10]));
        let spliced = ours.kill();
        spliced.damage(Path::new(PATH), |bytes| bytes[second..].copy_from_slice(&theirs[second..])).unwrap();
        let mut frames = walk(&spliced);
        assert_eq!((frames.count(), frames.stranded().unwrap()), (1, None));
        let gap = ours.kill();
        gap.damage(Path::new(PATH), |bytes| drop(bytes.drain(second..second + FRAME_HEADER + 10))).unwrap();
        let mut frames = walk(&gap);
        assert_eq!((frames.count(), frames.stranded().unwrap()), (1, Some(3)));
    }

    #[test]
    fn only_names_spelled_as_files_are_named_are_theirs() {
        assert_eq!(Kind::Log.generation_of(&Kind::Log.file_name(0xab)), Some(0xab));
        for name in ["log-ab", "log-00000000000000AB", "log-+0000000000000ab", "snapshot-00000000000000ab", "LOCK"] {
            assert_eq!(Kind::Log.generation_of(name), None, "{name}");
        }
    }
}
