//! Every stored value is spelled here: an envelope around a payload of bincode 1.3.3. No other file names bincode.
//!
//! ```text
//! offset  bytes  all little-endian
//! 0       2      record tag, given out in record/catalog.rs
//! 2       2      schema version of the payload, from 1
//! 4       1      codec of the payload: 1 = bincode 1.3.3, fixed-width integers, little-endian
//! 5       1      flags: bit 0 = the payload is a head (below); the others are 0
//! 6       4      length of the payload
//! 10      n      payload
//! 10 + n  4      CRC32C over tree number (1 byte), key, and bytes 0..10 + n
//! ```
//!
//! A value that is too large for one entry lies in pieces in `blob`: its whole envelope, cut. In its place stands an
//! envelope of the tag "piece head" whose payload is the head:
//!
//! ```text
//! 0    16    value id, the first part of the pieces' keys
//! 16   8     length of the whole envelope
//! 24   4     how many pieces
//! 28   4     CRC32C of the envelope without its last 4 bytes, its own checksum: the CRC of anything that ends in its
//!            own CRC depends on nothing but its length and place, and would tie the head to no value in particular
//! ```
//!
//! A flipped bit anywhere, and a value that turns up under another key or in another tree, are `Corrupt`. An older
//! schema version is handed to the type that reads it; a newer one, or an unknown codec, is `Unsupported`. A length is
//! believed only once the bytes it promises are there.

use std::fmt;

use bincode::Options;
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::Tree;
use crate::error::{Error, ErrorKind, Result};

/// Largest value that a host can store, in bytes.
pub const VALUE_TOTAL_MAX: usize = 16 << 20;
/// Largest payload: the largest value and what frames it.
const PAYLOAD_BYTES_MAX: usize = VALUE_TOTAL_MAX + 1024;

const BINCODE: u8 = 1;
const FLAG_HEAD: u8 = 1;
const HEADER_BYTES: usize = 10;
const CHECKSUM_BYTES: usize = 4;
/// Tag and version of a head, whatever the value behind it.
const HEAD_TAG: u16 = 7;
const HEAD_VERSION: u16 = 1;

/// What a stored value is: constants of `record/catalog.rs` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The tree it lives in.
    pub tree: Tree,
    /// Its record tag, given out once.
    pub tag: u16,
    /// The schema version that is written now.
    pub version: u16,
}

/// Stands in the place of a value that was cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The first part of the pieces' keys.
    pub value_id: u128,
    /// Length of the whole envelope, in bytes.
    pub bytes: u64,
    /// How many pieces it was cut into.
    pub pieces: u32,
    /// CRC32C of the envelope without its own checksum at the end.
    pub checksum: u32,
}

/// Bytes that are stored as one run instead of element by element, and JSON as a list of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// The one spelling of payloads.
fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .with_limit(PAYLOAD_BYTES_MAX as u64)
        .reject_trailing_bytes()
}

/// The envelope of `value` at this place.
///
/// # Errors
/// `Invalid` for a value beyond 16 MiB, or one that its type can't serialize.
pub fn encode<T: Serialize + ?Sized>(part: Part, key: &[u8], value: &T) -> Result<Vec<u8>> {
    let mut bytes = header(part.tag, part.version, 0);
    options().serialize_into(&mut bytes, value).map_err(|source| {
        let message = match *source {
            bincode::ErrorKind::SizeLimit => format!("value: at most {VALUE_TOTAL_MAX} bytes"),
            _ => format!("value: {source}"),
        };
        Error::with_source(ErrorKind::Invalid, message, source)
    })?;
    seal(part.tree, key, bytes)
}

/// The value in the envelope at this place.
///
/// # Errors
/// `Corrupt` for bytes that [`encode`] did not write for this part, tree and key; `Unsupported` for a newer schema
/// version or codec; `Internal` for a value that was cut: that is what `View` and `Transaction` put together.
pub fn decode<T: DeserializeOwned>(part: Part, key: &[u8], bytes: &[u8]) -> Result<T> {
    decode_versioned(part, key, bytes).map(|(_, value)| value)
}

/// The value and the schema version that it was written with, at most the part's own.
///
/// # Errors
/// As [`decode`].
pub fn decode_versioned<T: DeserializeOwned>(part: Part, key: &[u8], bytes: &[u8]) -> Result<(u16, T)> {
    let envelope = open(part.tree, key, bytes)?;
    let place = || format!("{} `{}`", part.tree.name(), key.escape_ascii());
    if envelope.flags & FLAG_HEAD != 0 {
        return Err(Error::internal(format!("{}: the value lies in pieces and was read as if it did not", place())));
    }
    if envelope.tag != part.tag {
        return Err(Error::corrupt(format!("{}: expected record tag {}, found {}", place(), part.tag, envelope.tag)));
    }
    if envelope.version > part.version {
        return Err(Error::unsupported(format!(
            "{}: schema version {} of record tag {} is newer than {}, which this build reads",
            place(),
            envelope.version,
            part.tag,
            part.version
        )));
    }
    let value = options().deserialize(envelope.payload).map_err(|source| {
        let message = format!("{}: payload of record tag {}: {source}", place(), part.tag);
        Error::with_source(ErrorKind::Corrupt, message, source)
    })?;
    Ok((envelope.version, value))
}

/// The schema version that the value at this place was written with.
///
/// # Errors
/// As [`check`]; `Unsupported` for a newer version.
pub fn schema_version(part: Part, key: &[u8], bytes: &[u8]) -> Result<u16> {
    let envelope = open(part.tree, key, bytes)?;
    let place = || format!("{} `{}`", part.tree.name(), key.escape_ascii());
    if envelope.tag != part.tag {
        return Err(Error::corrupt(format!("{}: expected record tag {}, found {}", place(), part.tag, envelope.tag)));
    }
    if envelope.version > part.version {
        let (found, known) = (envelope.version, part.version);
        return Err(Error::unsupported(format!("{}: schema version {found} is newer than {known}", place())));
    }
    Ok(envelope.version)
}

/// The first field of the value at this place, whatever follows it.
///
/// # Errors
/// As [`decode`].
pub fn decode_start<T: DeserializeOwned>(part: Part, key: &[u8], bytes: &[u8]) -> Result<T> {
    let envelope = open(part.tree, key, bytes)?;
    options().allow_trailing_bytes().deserialize(envelope.payload).map_err(|source| {
        let message = format!("{} `{}`: payload of record tag {}", part.tree.name(), key.escape_ascii(), part.tag);
        Error::with_source(ErrorKind::Corrupt, message, source)
    })
}

/// The envelope that stands in the place of a value in pieces.
///
/// # Errors
/// None in practice: a head is far below every limit.
pub fn encode_head(tree: Tree, key: &[u8], head: &Head) -> Result<Vec<u8>> {
    let mut bytes = header(HEAD_TAG, HEAD_VERSION, FLAG_HEAD);
    options()
        .serialize_into(&mut bytes, head)
        .map_err(|source| Error::with_source(ErrorKind::Internal, "piece head", source))?;
    seal(tree, key, bytes)
}

/// The head at this place, or `None` when the value itself stands there.
///
/// # Errors
/// `Corrupt` for bytes that no function here wrote for this tree and key; `Unsupported` for a newer head or codec.
pub fn read_head(tree: Tree, key: &[u8], bytes: &[u8]) -> Result<Option<Head>> {
    let envelope = open(tree, key, bytes)?;
    if envelope.flags & FLAG_HEAD == 0 {
        return Ok(None);
    }
    let place = || format!("{} `{}`", tree.name(), key.escape_ascii());
    if envelope.tag != HEAD_TAG {
        return Err(Error::corrupt(format!("{}: flagged as a piece head, but tagged {}", place(), envelope.tag)));
    }
    if envelope.version > HEAD_VERSION {
        return Err(Error::unsupported(format!("{}: piece head of version {}", place(), envelope.version)));
    }
    let head = options().deserialize(envelope.payload).map_err(|source| {
        Error::with_source(ErrorKind::Corrupt, format!("{}: piece head: {source}", place()), source)
    })?;
    Ok(Some(head))
}

/// Whether the envelope at this place is whole and of this part, without reading the payload.
///
/// # Errors
/// As [`decode`], except for what only the payload's type can tell.
pub fn check(part: Part, key: &[u8], bytes: &[u8]) -> Result<()> {
    let envelope = open(part.tree, key, bytes)?;
    if envelope.tag == part.tag && envelope.version <= part.version {
        return Ok(());
    }
    let place = format!("{} `{}`", part.tree.name(), key.escape_ascii());
    let found = format!("found tag {} version {}", envelope.tag, envelope.version);
    let message = format!("{place}: expected record tag {} version {}, {found}", part.tag, part.version);
    // What a newer build wrote is not damaged: repair must leave it where it is.
    Err(if envelope.tag == part.tag { Error::unsupported(message) } else { Error::corrupt(message) })
}

/// The checksum that a head keeps of the whole envelope.
#[must_use]
pub fn head_checksum(envelope: &[u8]) -> u32 {
    let body = envelope.split_last_chunk::<CHECKSUM_BYTES>().map_or(envelope, |(body, _)| body);
    crc32c::crc32c(body)
}

/// A checked envelope, taken apart.
struct Envelope<'a> {
    tag: u16,
    version: u16,
    flags: u8,
    payload: &'a [u8],
}

fn header(tag: u16, version: u16, flags: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&tag.to_le_bytes());
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&[BINCODE, flags]);
    // The payload's length, filled in by `seal`.
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// Fills in the payload's length and closes the envelope with its checksum.
fn seal(tree: Tree, key: &[u8], mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    let length = u32::try_from(bytes.len().saturating_sub(HEADER_BYTES))
        .map_err(|_| Error::internal("a payload beyond its own limit"))?;
    if let Some(place) = bytes.get_mut(HEADER_BYTES - 4..HEADER_BYTES) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let checksum = place_checksum(tree, key, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

fn place_checksum(tree: Tree, key: &[u8], envelope: &[u8]) -> u32 {
    let checksum = crc32c::crc32c(&[tree.number()]);
    crc32c::crc32c_append(crc32c::crc32c_append(checksum, key), envelope)
}

fn open<'a>(tree: Tree, key: &[u8], bytes: &'a [u8]) -> Result<Envelope<'a>> {
    let damaged = |what: &str| Error::corrupt(format!("{} `{}`: {what}", tree.name(), key.escape_ascii()));
    let (body, stored) =
        bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| damaged("too short for an envelope"))?;
    let (header, payload) =
        body.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| damaged("too short for an envelope"))?;
    // Before any field is believed: a flipped bit in the version must not be called a newer version.
    if place_checksum(tree, key, body) != u32::from_le_bytes(*stored) {
        return Err(damaged("checksum does not match: damaged, or moved here from another place"));
    }
    let [tag_low, tag_high, version_low, version_high, codec, flags, length @ ..] = *header;
    if u32::from_le_bytes(length) as usize != payload.len() {
        return Err(damaged("length does not match"));
    }
    if codec != BINCODE || flags & !FLAG_HEAD != 0 {
        return Err(Error::unsupported(format!(
            "{} `{}`: codec {codec} with flags {flags:#x} is newer than this build",
            tree.name(),
            key.escape_ascii()
        )));
    }
    let tag = u16::from_le_bytes([tag_low, tag_high]);
    let version = u16::from_le_bytes([version_low, version_high]);
    Ok(Envelope { tag, version, flags, payload })
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct BytesVisitor;

        impl<'de> Visitor<'de> for BytesVisitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> std::result::Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> std::result::Result<Bytes, E> {
                Ok(Bytes(bytes))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = items.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Part = Part { tree: Tree::Kv, tag: 0x0102, version: 3 };
    const KEY: &[u8] = b"key";

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Sample {
        number: u32,
        signed: i64,
        float: f64,
        text: String,
        option: Option<bool>,
        list: Vec<u16>,
        bytes: Bytes,
    }

    fn sample() -> Sample {
        Sample {
            number: 7,
            signed: -2,
            float: 1.5,
            text: "é".to_owned(),
            option: Some(true),
            list: vec![1, 0x0203],
            bytes: Bytes(vec![9, 8]),
        }
    }

    /// [`sample`] under [`PART`] and [`KEY`]. These bytes lie in folders: if this test fails, the change is wrong, not
    /// the test.
    const GOLDEN: &[u8] = b"\x02\x01\x03\x00\x01\x00\x36\x00\x00\x00\
        \x07\x00\x00\x00\
        \xfe\xff\xff\xff\xff\xff\xff\xff\
        \x00\x00\x00\x00\x00\x00\xf8\x3f\
        \x02\x00\x00\x00\x00\x00\x00\x00\xc3\xa9\
        \x01\x01\
        \x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x03\x02\
        \x02\x00\x00\x00\x00\x00\x00\x00\x09\x08\
        \x61\xa5\x59\x2f";

    const GOLDEN_HEAD: &[u8] = b"\x07\x00\x01\x00\x01\x01\x20\x00\x00\x00\
        \x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\
        \x00\x00\x01\x00\x00\x00\x00\x00\
        \x04\x00\x00\x00\
        \xef\xbe\xad\xde\
        \xc8\x5a\x63\xe5";

    fn head() -> Head {
        Head { value_id: 1 << 120 | 5, bytes: 65_536, pieces: 4, checksum: 0xdead_beef }
    }

    fn kind<T>(outcome: Result<T>) -> ErrorKind {
        outcome.err().expect("an error").kind()
    }

    #[test]
    fn the_stored_bytes_of_a_value_and_of_a_piece_head_stay_what_they_are() {
        assert_eq!(encode(PART, KEY, &sample()).unwrap().escape_ascii().to_string(), GOLDEN.escape_ascii().to_string());
        assert_eq!(decode::<Sample>(PART, KEY, GOLDEN).unwrap(), sample());
        let encoded = encode_head(Tree::Kv, KEY, &head()).unwrap();
        assert_eq!(encoded.escape_ascii().to_string(), GOLDEN_HEAD.escape_ascii().to_string());
        assert_eq!(read_head(Tree::Kv, KEY, GOLDEN_HEAD).unwrap(), Some(head()));
        assert_eq!(read_head(Tree::Kv, KEY, GOLDEN).unwrap(), None);
    }

    #[test]
    fn any_single_flipped_bit_is_corrupt() {
        for golden in [GOLDEN, GOLDEN_HEAD] {
            for bit in 0..golden.len() * 8 {
                let mut bytes = golden.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(kind(decode::<Sample>(PART, KEY, &bytes)), ErrorKind::Corrupt, "bit {bit}");
                assert_eq!(kind(read_head(Tree::Kv, KEY, &bytes)), ErrorKind::Corrupt, "bit {bit}");
                assert_eq!(kind(check(PART, KEY, &bytes)), ErrorKind::Corrupt, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_value_cut_short_or_made_longer_is_corrupt() {
        for length in 0..GOLDEN.len() {
            assert_eq!(kind(decode::<Sample>(PART, KEY, &GOLDEN[..length])), ErrorKind::Corrupt, "{length} bytes");
        }
        assert_eq!(kind(decode::<Sample>(PART, KEY, &[GOLDEN, b"\0"].concat())), ErrorKind::Corrupt);
    }

    #[test]
    fn a_value_under_another_key_or_in_another_tree_is_corrupt() {
        for key in [&b"kex"[..], b"ke", b"", b"key\0"] {
            assert_eq!(kind(decode::<Sample>(PART, key, GOLDEN)), ErrorKind::Corrupt);
        }
        for &tree in Tree::ALL.iter().filter(|tree| **tree != PART.tree) {
            assert_eq!(kind(decode::<Sample>(Part { tree, ..PART }, KEY, GOLDEN)), ErrorKind::Corrupt);
        }
        assert_eq!(kind(decode::<Sample>(Part { tag: 9, ..PART }, KEY, GOLDEN)), ErrorKind::Corrupt);
    }

    #[test]
    fn an_older_schema_version_is_read_and_a_newer_one_or_another_codec_is_unsupported() {
        let newer = Part { version: 4, ..PART };
        assert_eq!(decode_versioned::<Sample>(newer, KEY, GOLDEN).unwrap(), (3, sample()));
        assert_eq!(kind(decode::<Sample>(Part { version: 2, ..PART }, KEY, GOLDEN)), ErrorKind::Unsupported);
        for (offset, value) in [(4, 2u8), (5, 2), (5, 0x81)] {
            let mut body = GOLDEN[..GOLDEN.len() - CHECKSUM_BYTES].to_vec();
            body[offset] = value;
            let sealed = seal(PART.tree, KEY, body).unwrap();
            assert_eq!(kind(decode::<Sample>(PART, KEY, &sealed)), ErrorKind::Unsupported);
        }
    }

    #[test]
    fn a_payload_that_promises_more_than_it_brings_is_corrupt_and_takes_no_memory() {
        for length in [u64::MAX, 1 << 63, 1 << 40, 17 << 20, 3] {
            let mut body = header(PART.tag, PART.version, 0);
            body.extend_from_slice(&length.to_le_bytes());
            body.extend_from_slice(b"ab");
            let sealed = seal(PART.tree, KEY, body).unwrap();
            assert_eq!(kind(decode::<String>(PART, KEY, &sealed)), ErrorKind::Corrupt);
            assert_eq!(kind(decode::<Vec<u64>>(PART, KEY, &sealed)), ErrorKind::Corrupt);
            assert_eq!(kind(decode::<Bytes>(PART, KEY, &sealed)), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn bytes_behind_the_value_inside_the_payload_are_corrupt() {
        let two = encode(PART, KEY, &(1u8, 2u8)).unwrap();
        assert_eq!(kind(decode::<u8>(PART, KEY, &two)), ErrorKind::Corrupt);
    }

    #[test]
    fn a_value_of_the_largest_size_is_taken_and_one_beyond_is_invalid() {
        let largest = Bytes(vec![7; VALUE_TOTAL_MAX]);
        let bytes = encode(PART, KEY, &largest).unwrap();
        assert!(decode::<Bytes>(PART, KEY, &bytes).unwrap() == largest);
        let error = encode(PART, KEY, &Bytes(vec![7; PAYLOAD_BYTES_MAX])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with("value:"), "{error}");
    }

    #[test]
    fn a_value_in_pieces_is_never_decoded_from_its_head() {
        assert_eq!(kind(decode::<Sample>(PART, KEY, GOLDEN_HEAD)), ErrorKind::Internal);
    }

    #[test]
    fn json_is_stored_as_its_text() {
        let json = crate::json::Json::parse("{\"a\":7.0}").unwrap();
        let bytes = encode(PART, KEY, &json).unwrap();
        assert!(bytes.windows(9).any(|window| window == b"{\"a\":7.0}"));
        assert_eq!(decode::<crate::json::Json>(PART, KEY, &bytes).unwrap(), json);
        let not_json = encode(PART, KEY, "{").unwrap();
        assert_eq!(kind(decode::<crate::json::Json>(PART, KEY, &not_json)), ErrorKind::Corrupt);
    }
}
