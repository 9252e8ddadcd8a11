//! Every key of every tree is spelled here, and taken apart here.
//!
//! ```text
//! models           the name, as it is                                          spam
//! model_versions   the name, @v and the number in canonical decimal            spam@v12
//! jobs             the id, 32 lower-case hex digits; its claim behind it       0…07   0…07:claim
//! kv               namespace escaped and terminated, then the key as it is
//! index            index number u32 | parts [ | primary key | its length u16 ] the bracket for plain indexes only
//! counter          counter number u32 | group
//! history          part tag u16 | parts
//! records          part tag u16 | SHA-256, for what is kept under its hash; | a text, for what is kept under one
//!                  collection escaped and terminated | key parts, for what hosts keep
//! blob             value id u128 | piece u32, from 0
//! meta             a name, escaped and terminated | parts
//! ```
//!
//! Numbers are big-endian. Composite keys are made of the parts of [`KeyWriter`], so their order is the order of
//! their parts. The length at the end of a plain index entry says where the primary key begins without knowing the
//! types in front of it. Entries with equal parts follow their primary keys, except that where one key continues
//! another with zero bytes the two may change places; the order is total all the same.
//!
//! A model may itself be called `a@v1`, so a version's key splits at its last `@v`, and versions are listed through
//! an index, never by key prefix.

mod parts;

pub use parts::{KeyReader, KeyWriter};

use crate::error::{Error, Result};

/// Longest namespace of the plain contract, in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 255;
/// Longest key of the plain contract, in bytes. With the longest namespace, escaped, it just fits an engine's key.
pub const KV_KEY_BYTES_MAX: usize = 512;

const CLAIM: &str = ":claim";
const JOB_DIGITS: usize = 32;

/// A model's key: its name.
#[must_use]
pub fn model(name: &str) -> Vec<u8> {
    name.as_bytes().to_vec()
}

/// The name in a model's key.
///
/// # Errors
/// `Corrupt` for what is no text.
pub fn parse_model(key: &[u8]) -> Result<&str> {
    std::str::from_utf8(key).map_err(|_| Error::corrupt(format!("model key `{}`: expected UTF-8", key.escape_ascii())))
}

/// A version's key: `name@vN`.
#[must_use]
pub fn version(model: &str, number: u32) -> Vec<u8> {
    format!("{model}@v{number}").into_bytes()
}

/// The model and the number in a version's key.
///
/// # Errors
/// `Corrupt` for anything that [`version`] would not have written: an empty name, no `@v`, a number that is 0, signed,
/// with leading zeros, digits that are not ASCII, or beyond `u32`.
pub fn parse_version(key: &[u8]) -> Result<(&str, u32)> {
    let wrong = || Error::corrupt(format!("version key `{}`: expected name@vN", key.escape_ascii()));
    let text = std::str::from_utf8(key).map_err(|_| wrong())?;
    let (name, digits) = text.rsplit_once("@v").ok_or_else(wrong)?;
    let canonical = digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.starts_with('0');
    match digits.parse() {
        Ok(number) if canonical && !name.is_empty() => Ok((name, number)),
        _ => Err(wrong()),
    }
}

/// A job's key: its id as 32 lower-case hex digits.
#[must_use]
pub fn job(id: u128) -> Vec<u8> {
    job_and(id, "")
}

/// An id's digits and what follows them. Written by hand: a claim spells a dozen of these, and `format!` was a tenth of
/// its instructions.
fn job_and(id: u128, behind: &str) -> Vec<u8> {
    let mut digits = [0; JOB_DIGITS];
    for (place, digit) in digits.iter_mut().enumerate() {
        let digit_value = (id >> (4 * (JOB_DIGITS - 1 - place))) as u8 & 0xf;
        *digit = if digit_value < 10 { b'0' + digit_value } else { b'a' + digit_value - 10 };
    }
    let mut key = Vec::with_capacity(JOB_DIGITS + behind.len());
    key.extend_from_slice(&digits);
    key.extend_from_slice(behind.as_bytes());
    key
}

/// The key of a job's claim, right behind the job's.
#[must_use]
pub fn claim(id: u128) -> Vec<u8> {
    job_and(id, CLAIM)
}

/// Whether this key of `jobs` is a job's and not a claim's.
#[must_use]
pub fn is_job(key: &[u8]) -> bool {
    key.len() == JOB_DIGITS
}

/// The id in a job's text form.
///
/// # Errors
/// `Invalid` for anything but 32 lower-case hex digits.
pub fn parse_job_id(text: &str) -> Result<u128> {
    let digit = |byte| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let id = text.bytes().try_fold(0, |id: u128, byte| digit(byte).map(|digit| id << 4 | u128::from(digit)));
    id.filter(|_| text.len() == JOB_DIGITS).ok_or_else(|| {
        Error::invalid(format!("job: {JOB_DIGITS} lower-case hex digits, got `{}`", text.escape_debug()))
    })
}

/// The key of an entry of the plain contract. Its limits are checked by [`check_kv`].
#[must_use]
pub fn kv(namespace: &str, key: &str) -> Vec<u8> {
    kv_prefix(namespace, key)
}

/// What the keys of a namespace that begin with `prefix` have in common.
#[must_use]
pub fn kv_prefix(namespace: &str, prefix: &str) -> Vec<u8> {
    KeyWriter::new().str(namespace).raw(prefix.as_bytes()).finish()
}

/// Refuses a namespace outside 1..=[`NAMESPACE_BYTES_MAX`] bytes and a key outside 1..=[`KV_KEY_BYTES_MAX`].
///
/// # Errors
/// `Invalid`, naming the field.
pub fn check_kv(namespace: &str, key: &str) -> Result<()> {
    for (field, text, most) in [("namespace", namespace, NAMESPACE_BYTES_MAX), ("key", key, KV_KEY_BYTES_MAX)] {
        if text.is_empty() || text.len() > most {
            return Err(Error::invalid(format!("{field}: 1..={most} bytes, got {}", text.len())));
        }
    }
    Ok(())
}

/// The namespace and the key in a key of `kv`.
///
/// # Errors
/// `Corrupt` for what [`kv`] would not have written.
pub fn parse_kv(key: &[u8]) -> Result<(String, String)> {
    let mut reader = KeyReader::new(key);
    let namespace = reader.str()?;
    let key = std::str::from_utf8(reader.rest()).map_err(|_| Error::corrupt("kv key: expected UTF-8"))?;
    Ok((namespace, key.to_owned()))
}

/// The key of one piece of a large value.
#[must_use]
pub fn blob(value_id: u128, piece: u32) -> Vec<u8> {
    KeyWriter::new().u128(value_id).u32(piece).finish()
}

/// The value id and the piece's place in a key of `blob`.
///
/// # Errors
/// `Corrupt` for what [`blob`] would not have written.
pub fn parse_blob(key: &[u8]) -> Result<(u128, u32)> {
    let mut reader = KeyReader::new(key);
    let parsed = (reader.u128()?, reader.u32()?);
    reader.end()?;
    Ok(parsed)
}

/// The key of an index entry: with the primary key for a plain index, without for a unique one.
///
/// # Errors
/// `Invalid` for a primary key longer than an engine's keys can be.
pub fn index_entry(index: u32, parts: &[u8], primary: Option<&[u8]>) -> Result<Vec<u8>> {
    let mut entry = Vec::with_capacity(size_of::<u32>() + parts.len() + primary.map_or(0, |key| key.len() + 2));
    entry.extend_from_slice(&index.to_be_bytes());
    entry.extend_from_slice(parts);
    if let Some(primary) = primary {
        let length = u16::try_from(primary.len())
            .map_err(|_| Error::invalid(format!("key: at most 1024 bytes, got {}", primary.len())))?;
        entry.extend_from_slice(primary);
        entry.extend_from_slice(&length.to_be_bytes());
    }
    Ok(entry)
}

/// What the entries of an index whose parts begin with `parts` have in common.
#[must_use]
pub fn index_prefix(index: u32, parts: &[u8]) -> Vec<u8> {
    KeyWriter::new().u32(index).raw(parts).finish()
}

/// The parts and the primary key in an entry of a plain index.
///
/// # Errors
/// `Corrupt` when the entry is shorter than its own length says.
pub fn split_entry(entry: &[u8]) -> Result<(&[u8], &[u8])> {
    let wrong =
        || Error::corrupt(format!("index entry `{}`: expected a primary key and its length", entry.escape_ascii()));
    let (rest, length) = entry.split_last_chunk::<2>().ok_or_else(wrong)?;
    let (_, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
    let parts = rest.len().checked_sub(usize::from(u16::from_be_bytes(*length))).ok_or_else(wrong)?;
    rest.split_at_checked(parts).ok_or_else(wrong)
}

/// The parts in an entry of a unique index.
///
/// # Errors
/// `Corrupt` when the entry is shorter than an index number.
pub fn split_unique_entry(entry: &[u8]) -> Result<&[u8]> {
    let mut reader = KeyReader::new(entry);
    reader.u32()?;
    Ok(reader.rest())
}

/// The key of one group of a counter, or what the groups that begin with `group` have in common.
#[must_use]
pub fn counter(counter: u32, group: &[u8]) -> Vec<u8> {
    KeyWriter::new().u32(counter).raw(group).finish()
}

/// The group in a key of `counter`.
///
/// # Errors
/// `Corrupt` when the key is shorter than a counter number.
pub fn split_counter(key: &[u8]) -> Result<&[u8]> {
    split_unique_entry(key)
}

/// A key of `history`: the tag of the part that is kept there, so that histories never mix, then its parts.
#[must_use]
pub fn history(tag: u16, parts: KeyWriter) -> Vec<u8> {
    KeyWriter::new().u16(tag).raw(&parts.finish()).finish()
}

/// The key of the n-th move of a model's pointers, in `history`. The incarnation keeps the moves of an earlier model
/// of the same name apart.
#[must_use]
pub fn pointer_move(tag: u16, model: &str, incarnation: u32, number: u64) -> Vec<u8> {
    history(tag, KeyWriter::new().str(model).u32(incarnation).u64(number))
}

/// The key of a move of one alias of a model, in `history`.
#[must_use]
pub fn alias_move(tag: u16, model: &str, incarnation: u32, alias: &str, number: u64) -> Vec<u8> {
    history(tag, KeyWriter::new().str(model).u32(incarnation).str(alias).u64(number))
}

/// The key, in `records`, of what is kept under a hash: the part's tag, then the hash. The tag's first byte is zero,
/// and a name that is escaped begins with a zero byte only when 0xff follows.
#[must_use]
pub fn content(tag: u16, sha256: &[u8; 32]) -> Vec<u8> {
    KeyWriter::new().u16(tag).raw(sha256).finish()
}

/// What the keys of one part that are made by [`content`] have in common.
#[must_use]
pub fn content_prefix(tag: u16) -> Vec<u8> {
    KeyWriter::new().u16(tag).finish()
}

/// The key, in `records`, of a record of a host's collection.
#[must_use]
pub fn collected(collection: &str, key: &[u8]) -> Vec<u8> {
    KeyWriter::new().str(collection).raw(key).finish()
}

/// What the stored keys of a collection have in common; its records' own keys follow.
#[must_use]
pub fn collection_prefix(collection: &str) -> Vec<u8> {
    collected(collection, &[])
}

/// The key, in `records`, of what is kept under a text: the part's tag, then the text, escaped and terminated.
#[must_use]
pub fn named(tag: u16, text: &str) -> Vec<u8> {
    KeyWriter::new().u16(tag).str(text).finish()
}

/// The text in a key that [`named`] made.
///
/// # Errors
/// `Corrupt` for what it would not have written.
pub fn parse_named(key: &[u8]) -> Result<String> {
    let mut reader = KeyReader::new(key);
    reader.u16()?;
    let text = reader.str()?;
    reader.end()?;
    Ok(text)
}

/// What the keys, in `history`, of all pointer moves of one life of a model's name have in common.
#[must_use]
pub fn pointer_moves(tag: u16, model: &str, incarnation: u32) -> Vec<u8> {
    history(tag, KeyWriter::new().str(model).u32(incarnation))
}

/// A key of `meta`: a name, then parts.
#[must_use]
pub fn meta(name: &str, parts: KeyWriter) -> Vec<u8> {
    KeyWriter::new().str(name).raw(&parts.finish()).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::KEY_BYTES_MAX;
    use proptest::prelude::*;

    #[test]
    fn a_version_key_splits_at_its_last_mark_and_takes_canonical_numbers_only() {
        assert_eq!(parse_version(b"spam@v12").unwrap(), ("spam", 12));
        assert_eq!(parse_version(b"a@v1@v2").unwrap(), ("a@v1", 2));
        assert_eq!(parse_version(b"a@v4294967295").unwrap(), ("a", u32::MAX));
        let bad = ["@v1", "a@v", "a@v0", "a@v01", "a@v+1", "a@v-1", "a@v 1", "a@v1 ", "a@v\u{661}", "a@V1", "a", ""];
        for key in bad.iter().map(|text| text.as_bytes()).chain([&b"a@v4294967296"[..], b"\xff@v1"]) {
            assert!(parse_version(key).is_err(), "{}", key.escape_ascii());
        }
    }

    #[test]
    fn the_stored_bytes_of_composite_keys_stay_what_they_are() {
        assert_eq!(kv("n\0", "k"), b"n\0\xff\0\0k");
        assert_eq!(blob(0x0102, 3), b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\0\0\0\x03");
        assert_eq!(parse_blob(&blob(u128::MAX, u32::MAX)).unwrap(), (u128::MAX, u32::MAX));
        assert_eq!(index_entry(20, b"parts", Some(b"key")).unwrap(), b"\0\0\0\x14partskey\0\x03");
        assert_eq!(index_entry(20, b"parts", None).unwrap(), b"\0\0\0\x14parts");
        assert_eq!(counter(30, b"group"), b"\0\0\0\x1egroup");
        assert_eq!(history(11, KeyWriter::new().str("m").descending().u8(1)), b"\0\x0bm\0\0\xfe");
        assert_eq!(meta("staged", KeyWriter::new().u16(1)), b"staged\0\0\0\x01");
        let numbers = KeyWriter::new().i64(-1).f64(-0.0).f64(0.0).bool(true).finish();
        assert_eq!(numbers, b"\x7f\xff\xff\xff\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x80\0\0\0\0\0\0\0\x01");
    }

    #[test]
    fn a_job_id_has_one_spelling() {
        assert_eq!(job(7), b"00000000000000000000000000000007");
        assert_eq!(claim(7), b"00000000000000000000000000000007:claim");
        assert!(is_job(&job(7)) && !is_job(&claim(7)));
        let digits = "00000000000000000000000000000A07";
        let long = "0".repeat(33);
        for text in [digits, "7", "", "+0000000000000000000000000000007", &long] {
            assert_eq!(parse_job_id(text).unwrap_err().kind(), crate::ErrorKind::Invalid);
        }
    }

    #[test]
    fn the_longest_namespace_of_zero_bytes_and_the_longest_key_fit_an_engine() {
        let (namespace, key) = ("\0".repeat(NAMESPACE_BYTES_MAX), "k".repeat(KV_KEY_BYTES_MAX));
        check_kv(&namespace, &key).unwrap();
        assert_eq!(kv(&namespace, &key).len(), KEY_BYTES_MAX);
        for (namespace, key) in [("", "k"), ("n", ""), (&"n".repeat(256), "k"), ("n", &"k".repeat(513))] {
            assert_eq!(check_kv(namespace, key).unwrap_err().kind(), crate::ErrorKind::Invalid);
        }
    }

    #[test]
    fn an_entry_too_short_for_its_own_length_is_corrupt() {
        assert_eq!(
            split_entry(&index_entry(3, b"parts", Some(b"key")).unwrap()).unwrap(),
            (&b"parts"[..], &b"key"[..])
        );
        for entry in [&b""[..], b"\0\0\0\x01", b"\0\0\0\x01\0\x01", b"\0\0\0\x01ab\xff\xff"] {
            assert_eq!(split_entry(entry).unwrap_err().kind(), crate::ErrorKind::Corrupt);
        }
    }

    proptest! {
        #[test]
        fn job_ids_and_version_keys_survive_their_text_form(id: u128, number in 1u32.., name in ".+") {
            let text = String::from_utf8(job(id)).unwrap();
            prop_assert_eq!(parse_job_id(&text).unwrap(), id);
            let key = version(&name, number);
            prop_assert_eq!(parse_version(&key).unwrap(), (name.as_str(), number));
        }

        #[test]
        fn no_namespace_reaches_into_another(a in "[\0ab]{1,3}", b in "[\0ab]{1,3}", key in "[\0ab]{0,3}") {
            prop_assert_eq!(parse_kv(&kv(&a, &key)).unwrap(), (a.clone(), key.clone()));
            prop_assert_eq!(kv(&b, &key).starts_with(&kv_prefix(&a, "")), a == b);
        }

        #[test]
        fn any_key_is_taken_apart_or_refused_without_a_panic(key: Vec<u8>) {
            let outcomes =
                [parse_version(&key).is_ok(), parse_kv(&key).is_ok(), parse_blob(&key).is_ok(), split_entry(&key).is_ok()];
            prop_assert!(key.len() == 20 || !outcomes[2]);
        }
    }
}
