//! Base64 (RFC 4648): the standard alphabet with padding for bytes in JSON, the URL alphabet without for page tokens.
//!
//! Decoding is strict: no white space, no missing padding, no bits left over, so that every byte string has exactly
//! one spelling.

use crate::error::{Error, Result};

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Bytes in the standard alphabet, padded.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = spell(bytes, STANDARD);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// Bytes in the URL alphabet, without padding.
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    spell(bytes, URL)
}

/// What [`encode`] spelt. `Invalid` for anything that it never spells.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>> {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return Err(Error::invalid("base64: a length that is a multiple of 4, with at most two = at the end"));
    }
    read(body, STANDARD)
}

/// What [`encode_url`] spelt. `Invalid` for anything that it never spells.
pub(crate) fn decode_url(text: &str) -> Result<Vec<u8>> {
    read(text, URL)
}

fn spell(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0u8; 4];
        for (place, byte) in group.iter_mut().skip(1).zip(chunk) {
            *place = *byte;
        }
        let bits = u32::from_be_bytes(group);
        for digit in 0..=chunk.len() {
            let sextet = (bits >> (18 - 6 * digit)) & 63;
            text.extend(alphabet.get(sextet as usize).map(|letter| char::from(*letter)));
        }
    }
    text
}

fn read(body: &str, alphabet: &[u8; 64]) -> Result<Vec<u8>> {
    let refused = |why: &str| Error::invalid(format!("base64: {why}"));
    let mut values = [0xff_u8; 256];
    for (value, letter) in (0u8..).zip(alphabet) {
        if let Some(place) = values.get_mut(usize::from(*letter)) {
            *place = value;
        }
    }
    let mut bytes = Vec::with_capacity(body.len() / 4 * 3 + 2);
    for chunk in body.as_bytes().chunks(4) {
        if chunk.len() == 1 {
            return Err(refused("one digit is left over"));
        }
        let mut bits = 0u32;
        for letter in chunk {
            let value = values.get(usize::from(*letter)).copied().unwrap_or(0xff);
            if value == 0xff {
                return Err(refused("a character outside the alphabet"));
            }
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - chunk.len());
        let [_, group @ ..] = bits.to_be_bytes();
        let (kept, spare) = group.split_at(chunk.len() - 1);
        if spare.iter().any(|byte| *byte != 0) {
            return Err(refused("bits are left over in the last digit"));
        }
        bytes.extend_from_slice(kept);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_rfc_hold() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), plain.as_bytes());
        }
    }

    #[test]
    fn all_bytes_come_back_in_both_alphabets_and_at_every_length() {
        for length in 0..300usize {
            let bytes: Vec<u8> = (0..length).map(|place| (place * 37 + length) as u8).collect();
            assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
            assert_eq!(decode_url(&encode_url(&bytes)).unwrap(), bytes);
        }
    }

    #[test]
    fn a_second_spelling_of_the_same_bytes_is_refused() {
        for text in ["Zg", "Zg=", "Zh==", "Zm9=", "Zm 9v", "Zm9v\n", "====", "Z===", "Zm-_"] {
            assert_eq!(decode(text).unwrap_err().kind(), crate::ErrorKind::Invalid, "{text:?}");
        }
        assert!(decode_url("A").is_err());
        assert!(decode_url("Zm+/").is_err());
    }
}
