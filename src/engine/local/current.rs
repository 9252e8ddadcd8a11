//! `CURRENT`: which generation of the folder is the live one. Read before anything else, replaced by rename.
//!
//! Plain text, so that a person can read what a folder is:
//!
//! ```text
//! ml-persistence
//! format 1
//! engine sled
//! uuid 6a30f1c2…              32 hex digits
//! generation 1
//! crc32c 0badcafe             of every byte before this line
//! ```

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::segment::Identity;
use crate::error::{Error, ErrorKind, Result};

/// Version of the folder's layout.
pub const FOLDER_FORMAT: u32 = 1;

const NAME: &str = "CURRENT";
const BYTES_MAX: usize = 4096;

/// The folder of a generation.
pub(super) fn generation_folder(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("gen-{generation:08}"))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Current {
    pub(super) engine: String,
    pub(super) identity: Identity,
}

impl Current {
    /// The folder of the live generation.
    pub(super) fn generation_folder(&self, folder: &Path) -> PathBuf {
        generation_folder(folder, self.identity.generation)
    }

    fn encode(&self) -> String {
        let Identity { uuid, generation } = self.identity;
        let body = format!(
            "ml-persistence\nformat {FOLDER_FORMAT}\nengine {}\nuuid {uuid:032x}\ngeneration {generation}\n",
            self.engine
        );
        let crc = crc32c::crc32c(body.as_bytes());
        format!("{body}crc32c {crc:08x}\n")
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = |what: &str| Error::corrupt(format!("CURRENT: {what}; restore it from a copy of the folder"));
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("not text"))?;
        let mut fields = text.lines();
        if fields.next() != Some("ml-persistence") {
            return Err(damaged("not a file of ml-persistence"));
        }
        let mut field =
            |name: &str| fields.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned);
        // The format comes before the checksum: a newer one may be checked in another way.
        let format: u32 =
            field("format").and_then(|text| text.parse().ok()).ok_or_else(|| damaged("no format line"))?;
        if format != FOLDER_FORMAT {
            return Err(Error::unsupported(format!(
                "CURRENT: folder format {format}; this version reads and writes {FOLDER_FORMAT}"
            )));
        }
        let parsed = (|| {
            let engine = field("engine")?;
            let uuid = u128::from_str_radix(&field("uuid")?, 16).ok()?;
            let generation = field("generation")?.parse().ok()?;
            Some((Current { engine, identity: Identity { uuid, generation } }, field("crc32c")?))
        })();
        let (current, _) = parsed.ok_or_else(|| damaged("a line is missing or unreadable"))?;
        if current.encode() != text {
            return Err(damaged("checksum mismatch"));
        }
        Ok(current)
    }

    /// What the folder says, or `None` where there is no `CURRENT`.
    pub(super) fn read(disk: &dyn Disk, folder: &Path) -> Result<Option<Self>> {
        let file = match disk.open(&folder.join(NAME), false) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; BYTES_MAX];
        let len = file.read_at(0, &mut bytes)?;
        bytes.truncate(len);
        Self::decode(&bytes).map(Some)
    }

    /// Makes this the folder's `CURRENT` in one durable step.
    pub(super) fn write(&self, disk: &dyn Disk, folder: &Path) -> Result<()> {
        let temporary = folder.join("CURRENT.new");
        disk.remove(&temporary)?;
        let file = disk.create(&temporary)?;
        file.write_at(0, self.encode().as_bytes())?;
        file.sync_data()?;
        disk.rename(&temporary, &folder.join(NAME))?;
        disk.sync_dir(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_reads_back_and_damage_or_a_newer_format_is_told_apart() {
        let current = Current { engine: "sled".to_owned(), identity: Identity { uuid: 1 << 100, generation: 3 } };
        let text = current.encode();
        assert_eq!(Current::decode(text.as_bytes()).unwrap(), current);
        let newer = text.replace("format 1", "format 2");
        assert_eq!(Current::decode(newer.as_bytes()).unwrap_err().kind(), ErrorKind::Unsupported);
        let moved = text.replace("generation 3", "generation 4");
        assert_eq!(Current::decode(moved.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt);
        for cut in 0..text.len() {
            assert!(Current::decode(&text.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
    }
}
