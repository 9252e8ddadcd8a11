//! Damage that sled would pass over in silence: a segment of its log whose first bytes are not what was written there.
//!
//! ```text
//! db:  every 512 KiB  │ CRC-32 │ log position │ stable position │ messages: CRC-32, kind, length, segment number, page, bytes
//!                      4 bytes   8              8                 the first one at byte 20
//! ```
//!
//! sled takes a segment with a wrong header for one that was never used, leaves its messages out of the replay, and answers
//! with older values from then on. A header is written in one piece within one sector, over zeros or over an older header,
//! so no crash leaves a third thing: whatever is neither zeros nor whole is damage.
//!
//! Only what comes behind sled's newest `snap.*` is replayed; pages before it are read by their own checksums. So a segment
//! whose first message is whole and says that it comes before does no harm, and does not keep a store from being opened.
//! Refuses to judge anything else: what is wrong with messages, sled or the engine's checksums find, or nobody.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::io_error;
use crate::error::{Error, Result};

/// sled's own default, which its `conf` repeats.
const SEGMENT: u64 = 512 << 10;
const HEADER: usize = 20;

/// Looks at the header of every segment; nothing is changed.
///
/// # Errors
/// `Corrupt` naming the first damaged one that would be missed; `Unavailable` when a file can't be read.
pub(super) fn check(folder: &Path) -> Result<()> {
    let path = folder.join("db");
    let failed = |error| io_error("read", &path, error);
    let file = match File::open(&path) {
        // A new database, or one that sled will find wanting.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(failed)?,
    };
    let length = file.metadata().map_err(failed)?.len();
    let mut replayed_from = None;
    for number in 0..length.div_ceil(SEGMENT) {
        let at = number * SEGMENT;
        if length - at < HEADER as u64 {
            // sled leaves such a rest aside.
            break;
        }
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, at).map_err(failed)?;
        if is_sound(&header) {
            continue;
        }
        let from = match replayed_from {
            Some(from) => from,
            None => *replayed_from.insert(replay_start(folder)?),
        };
        let mut segment = vec![0; (length - at).min(SEGMENT) as usize];
        file.read_exact_at(&mut segment, at).map_err(failed)?;
        if first_message(segment.get(HEADER..).unwrap_or_default()).is_none_or(|number| number >= from) {
            return Err(Error::corrupt(format!(
                "{}: the header of the segment at byte {at} is damaged",
                path.display()
            )));
        }
    }
    Ok(())
}

/// The number of the first segment that sled replays: what its newest snapshot has by name.
fn replay_start(folder: &Path) -> Result<u64> {
    let failed = |error| io_error("list", folder, error);
    let mut newest = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let position = name.to_str().and_then(|name| u64::from_str_radix(name.strip_prefix("snap.")?, 16).ok());
        newest = newest.max(position.unwrap_or(0));
    }
    Ok(newest / SEGMENT)
}

fn is_sound(header: &[u8; HEADER]) -> bool {
    let (sum, positions) = header.split_at(4);
    *header == [0; HEADER] || sum == (crc32([positions]) ^ u32::MAX).to_le_bytes()
}

/// The segment number in the first message, when that is whole.
fn first_message(messages: &[u8]) -> Option<u64> {
    let (sum, rest) = messages.split_at_checked(4)?;
    let (_kind, mut fields) = rest.split_first()?;
    let (length, number, _page) = (number(&mut fields)?, number(&mut fields)?, number(&mut fields)?);
    let body = fields.get(..usize::try_from(length).ok()?)?;
    let head = rest.get(..rest.len() - fields.len())?;
    (sum == (crc32([body, head]) ^ u32::MAX).to_le_bytes()).then_some(number)
}

/// A number as sled spells it: one byte up to 240, else more.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let first = u64::from(*first);
    let more = match first {
        0..=240 => 0,
        241..=248 => 1,
        249 => 2,
        _ => (first - 247) as usize,
    };
    let (tail, rest) = rest.split_at_checked(more)?;
    *bytes = rest;
    let at = |place: usize| tail.get(place).copied().map(u64::from);
    match first {
        0..=240 => Some(first),
        241..=248 => Some(240 + 256 * (first - 241) + at(0)?),
        249 => Some(2_288 + 256 * at(0)? + at(1)?),
        _ => Some(tail.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))),
    }
}

/// The checksum that zip files have, too, over these bytes one after another. Only a few headers are summed at an opening.
fn crc32<const PARTS: usize>(parts: [&[u8]; PARTS]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    };
    !parts.into_iter().flatten().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::engine::sled::SledStore;
    use crate::engine::{KvStore, Tree, Value, WriteBatch};
    use crate::error::ErrorKind;

    const CACHE_BYTES: usize = 8 << 20;

    /// A database that was opened so many times, with several segments written at each.
    fn written(openings: u32) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for opening in 0..openings {
            let store = SledStore::open(temp.path(), CACHE_BYTES).unwrap();
            for round in 0..40u8 {
                let key = format!("{opening} {round}");
                let writes = (0..8u8).map(|part| {
                    (Tree::Kv, Box::from(format!("{key} {part}").as_bytes()), Some(Value::from(vec![round; 9_000])))
                });
                store.apply(&WriteBatch { writes: writes.collect(), mark: None }).unwrap();
                store.sync().unwrap();
            }
        }
        temp
    }

    fn segments(folder: &Path) -> u64 {
        fs::metadata(folder.join("db")).unwrap().len() / SEGMENT
    }

    fn flip(folder: &Path, at: u64) {
        let file = File::options().read(true).write(true).open(folder.join("db")).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
    }

    #[test]
    fn the_checksum_is_the_usual_one_and_numbers_read_as_they_are_spelled() {
        assert_eq!(crc32([b"1234", b"56789"]), 0xcbf4_3926);
        let spelled: [(&[u8], u64); 7] = [
            (&[0], 0),
            (&[240], 240),
            (&[241, 0], 240),
            (&[248, 255], 2_287),
            (&[249, 255, 255], 67_823),
            (&[250, 1, 2, 3], 0x0003_0201),
            (&[255, 1, 0, 0, 0, 0, 0, 0, 0x80], 0x8000_0000_0000_0001),
        ];
        for (mut bytes, value) in spelled {
            let whole = bytes;
            assert_eq!(number(&mut bytes), Some(value), "{whole:?}");
            assert!(bytes.is_empty());
            assert_eq!((1..whole.len()).find_map(|cut| number(&mut &whole[..cut])), None, "{whole:?}");
        }
        assert_eq!(number(&mut &[][..]), None);
    }

    #[test]
    fn any_flipped_bit_in_a_header_that_is_replayed_is_damage_and_a_refused_database_stays_as_it_is() {
        let temp = written(1);
        let count = segments(temp.path());
        assert!(count >= 4, "{count} segments");
        check(temp.path()).unwrap();
        for at in (0..count).flat_map(|segment| (0..HEADER as u64).map(move |byte| segment * SEGMENT + byte)) {
            flip(temp.path(), at);
            let refused = check(temp.path()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "byte {at}");
            flip(temp.path(), at);
        }
        let before = fs::read(temp.path().join("db")).unwrap();
        flip(temp.path(), SEGMENT);
        assert_eq!(SledStore::open(temp.path(), CACHE_BYTES).unwrap_err().kind(), ErrorKind::Corrupt);
        flip(temp.path(), SEGMENT);
        assert_eq!(fs::read(temp.path().join("db")).unwrap(), before, "a refused database stays as it is");
        SledStore::open(temp.path(), CACHE_BYTES).unwrap();
    }

    #[test]
    fn a_damaged_header_of_what_is_not_replayed_keeps_nobody_out_and_all_values_are_read() {
        // Opening the third time has a snapshot made of what the second one wrote.
        let temp = written(2);
        drop(SledStore::open(temp.path(), CACHE_BYTES).unwrap());
        flip(temp.path(), 0);
        check(temp.path()).unwrap();
        let store = SledStore::open(temp.path(), CACHE_BYTES).unwrap();
        for (opening, round, part) in (0..2).flat_map(|o| (0..40u8).flat_map(move |r| (0..8).map(move |p| (o, r, p)))) {
            let key = format!("{opening} {round} {part}");
            let value = store.get(Tree::Kv, key.as_bytes()).unwrap();
            assert_eq!(value.as_deref(), Some([round; 9_000].as_slice()), "{key}");
        }
        drop(store);
        // The first message gone as well, nobody knows what is missing.
        flip(temp.path(), HEADER as u64 + 9);
        assert_eq!(check(temp.path()).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_new_folder_and_any_rest_of_a_file_are_passed_over() {
        let temp = tempfile::tempdir().unwrap();
        check(temp.path()).unwrap();
        for length in [0, 1, HEADER - 1] {
            fs::write(temp.path().join("db"), vec![7; length]).unwrap();
            check(temp.path()).unwrap();
        }
        for length in HEADER..HEADER + 60 {
            fs::write(temp.path().join("db"), vec![7; length]).unwrap();
            assert!(check(temp.path()).is_err());
            fs::write(temp.path().join("db"), vec![0; length]).unwrap();
            check(temp.path()).unwrap();
        }
    }
}
