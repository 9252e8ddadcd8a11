//! What a version is made of: a reference to bytes kept elsewhere, or the bytes themselves.
//!
//! Inline bytes are content-addressed: they are stored once under their SHA-256, however many versions hold them.
//!
//! ```text
//! records  12 u16 | sha256   part ARTIFACT             the bytes, cut by the record layer when large
//! records  13 u16 | sha256   part ARTIFACT_REFERENCES  u64, how many versions hold them; never 0
//! ```
//!
//! Both are written and freed in the transaction that registers or deletes the version, so neither an orphan nor a
//! dangling reference can be left behind. Bytes are hashed when they are handed over, outside of any transaction, and
//! again on every read: a difference is `Corrupt`. Nothing here fetches a URI or checks what lies behind it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{self, Deserializer};
use serde::ser::{SerializeMap, SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::property::Bytes;
use super::{base64, name};
use crate::codec::VALUE_TOTAL_MAX;
use crate::error::{Error, Result};
use crate::json::Json;
use crate::keys;
use crate::record::catalog;
use crate::record::{Transaction, View};

/// Largest inline artifact, in bytes. Larger ones belong elsewhere, with a reference here.
pub const ARTIFACT_BYTES_MAX: usize = VALUE_TOTAL_MAX;

/// A SHA-256 hash; 64 lower-case hex digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Sha256(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl FromStr for Sha256 {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || Error::invalid("sha256: 64 lower-case hex digits");
        let digit = |letter: &u8| match letter {
            b'0'..=b'9' => Ok(letter - b'0'),
            b'a'..=b'f' => Ok(letter - b'a' + 10),
            _ => Err(refused()),
        };
        let mut hash = [0u8; 32];
        if text.len() != 64 {
            return Err(refused());
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            for letter in pair {
                *byte = *byte << 4 | digit(letter)?;
            }
        }
        Ok(Sha256(hash))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(de::Error::custom);
        }
        <[u8; 32]>::deserialize(deserializer).map(Sha256)
    }
}

/// What a version says about its artifact. The bytes of an inline one are fetched apart, with
/// [`Registry::artifact`](super::Registry::artifact).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Artifact {
    /// Where the bytes are; `None` when they are kept here.
    pub uri: Option<String>,
    /// Their hash.
    pub sha256: Sha256,
    /// How many they are.
    pub bytes: u64,
}

/// An artifact with what can be had of it. In JSON `{"base64": "…"}` or `{"uri", "sha256", "bytes"}`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArtifactContent {
    /// The bytes themselves.
    Inline {
        /// The bytes.
        content: Arc<[u8]>,
        /// Their hash.
        sha256: Sha256,
    },
    /// Where they are.
    Reference {
        /// Any text of 1..=4096 bytes that the host understands.
        uri: String,
        /// The hash that the bytes must have. Kept for the host, which alone can check it.
        sha256: Sha256,
        /// How many bytes they must be.
        bytes: u64,
    },
}

impl ArtifactContent {
    /// An inline artifact. The bytes are hashed here.
    ///
    /// # Errors
    /// `Invalid` for more than [`ARTIFACT_BYTES_MAX`].
    pub fn inline(content: impl Into<Arc<[u8]>>) -> Result<Self> {
        let content = content.into();
        if content.len() > ARTIFACT_BYTES_MAX {
            let length = content.len();
            return Err(Error::invalid(format!(
                "artifact: at most {ARTIFACT_BYTES_MAX} bytes inline, got {length}; keep it elsewhere and give its uri"
            )));
        }
        Ok(ArtifactContent::Inline { sha256: Sha256::of(&content), content })
    }

    /// A reference to bytes kept elsewhere.
    ///
    /// # Errors
    /// `Invalid` for a URI outside 1..=4096 bytes.
    pub fn reference(uri: impl Into<String>, sha256: Sha256, bytes: u64) -> Result<Self> {
        let uri = uri.into();
        name::check_bytes("artifact.uri", &uri, 1, name::URI_BYTES_MAX)?;
        Ok(ArtifactContent::Reference { uri, sha256, bytes })
    }

    /// The artifact that this JSON spells: `{"base64"}` or `{"uri", "sha256", "bytes"}`.
    ///
    /// # Errors
    /// `Invalid` for any other JSON, and past a limit.
    pub fn from_json(json: &Json) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(untagged, deny_unknown_fields)]
        enum Spelling {
            Inline { base64: String },
            Reference { uri: String, sha256: String, bytes: u64 },
        }
        let within = |error: Error| Error::invalid(format!("artifact.{error}"));
        match serde_json::from_str(json.as_str()) {
            Ok(Spelling::Inline { base64 }) => Self::inline(base64::decode(&base64).map_err(within)?),
            Ok(Spelling::Reference { uri, sha256, bytes }) => {
                Self::reference(uri, sha256.parse::<Sha256>().map_err(within)?, bytes)
            }
            Err(_) => Err(Error::invalid("artifact: {\"base64\"} or {\"uri\", \"sha256\", \"bytes\"}")),
        }
    }

    /// What the version's record keeps of it.
    pub(crate) fn describe(&self) -> Artifact {
        match self {
            ArtifactContent::Inline { content, sha256 } => {
                Artifact { uri: None, sha256: *sha256, bytes: content.len() as u64 }
            }
            ArtifactContent::Reference { uri, sha256, bytes } => {
                Artifact { uri: Some(uri.clone()), sha256: *sha256, bytes: *bytes }
            }
        }
    }
}

impl fmt::Debug for ArtifactContent {
    /// Without the bytes, which may be millions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe().fmt(f)
    }
}

impl Serialize for ArtifactContent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ArtifactContent::Inline { content, .. } => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &base64::encode(content))?;
                map.end()
            }
            ArtifactContent::Reference { uri, sha256, bytes } => {
                let mut object = serializer.serialize_struct("ArtifactContent", 3)?;
                object.serialize_field("uri", uri)?;
                object.serialize_field("sha256", sha256)?;
                object.serialize_field("bytes", bytes)?;
                object.end()
            }
        }
    }
}

/// How many versions hold an inline artifact, as this transaction sees it; 0 for a reference to elsewhere. Reading it
/// comes before the first write of a verb, so that damage is found while there is nothing to undo.
pub(crate) fn holders(txn: &mut Transaction<'_>, artifact: &Artifact) -> Result<u64> {
    if artifact.uri.is_some() {
        return Ok(0);
    }
    let key = keys::content(catalog::ARTIFACT_REFERENCES.tag, &artifact.sha256.0);
    Ok(txn.get_part(catalog::ARTIFACT_REFERENCES, &key)?.unwrap_or(0))
}

/// Counts one more holder than the `holders` there were, and keeps the bytes for the first. Bytes that are missing
/// though they are held, because repair had to set them aside, are there again for all.
pub(crate) fn hold(txn: &mut Transaction<'_>, artifact: &ArtifactContent, holders: u64) -> Result<()> {
    let ArtifactContent::Inline { content, sha256 } = artifact else { return Ok(()) };
    let key = keys::content(catalog::ARTIFACT.tag, &sha256.0);
    if holders == 0 || !txn.holds_part(catalog::ARTIFACT, &key)? {
        txn.put_part(catalog::ARTIFACT, &key, &Bytes(content))?;
    }
    txn.put_part(
        catalog::ARTIFACT_REFERENCES,
        &keys::content(catalog::ARTIFACT_REFERENCES.tag, &sha256.0),
        &(holders + 1),
    )
}

/// Counts one holder less than the `holders` there were, and frees the bytes with the last.
pub(crate) fn release(txn: &mut Transaction<'_>, artifact: &Artifact, holders: u64) -> Result<()> {
    if artifact.uri.is_some() {
        return Ok(());
    }
    let key = keys::content(catalog::ARTIFACT_REFERENCES.tag, &artifact.sha256.0);
    if holders > 1 {
        return txn.put_part(catalog::ARTIFACT_REFERENCES, &key, &(holders - 1));
    }
    txn.delete_part(catalog::ARTIFACT_REFERENCES, &key)?;
    txn.delete_part(catalog::ARTIFACT, &keys::content(catalog::ARTIFACT.tag, &artifact.sha256.0))
}

/// The artifact with its bytes, checked against the hash that names them.
pub(crate) fn fetch(view: &View<'_>, artifact: &Artifact) -> Result<ArtifactContent> {
    let Artifact { uri, sha256, bytes } = artifact;
    if let Some(uri) = uri {
        return Ok(ArtifactContent::Reference { uri: uri.clone(), sha256: *sha256, bytes: *bytes });
    }
    let Some(Bytes(content)) =
        view.get_part::<Bytes<Vec<u8>>>(catalog::ARTIFACT, &keys::content(catalog::ARTIFACT.tag, &sha256.0))?
    else {
        return Err(Error::corrupt(format!("artifact {sha256}: its bytes are missing")));
    };
    if Sha256::of(&content) != *sha256 {
        return Err(Error::corrupt(format!("artifact {sha256}: its bytes have another hash")));
    }
    Ok(ArtifactContent::Inline { content: content.into(), sha256: *sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_reads_back_from_its_text_and_only_from_that() {
        let hash = Sha256::of(b"abc");
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hash.to_string().parse::<Sha256>().unwrap(), hash);
        for text in ["", "ba78", &hash.to_string().to_uppercase(), &"g".repeat(64), &"é".repeat(32)] {
            assert!(text.parse::<Sha256>().is_err(), "{text}");
        }
    }

    #[test]
    fn json_spells_bytes_or_a_reference_and_nothing_between() {
        let parse = |text: &str| ArtifactContent::from_json(&Json::parse(text).unwrap());
        let hash = Sha256::of(b"x");
        for text in
            ["{\"base64\":\"AQI=\"}".to_owned(), format!("{{\"uri\":\"s3://a\",\"sha256\":\"{hash}\",\"bytes\":7}}")]
        {
            assert_eq!(serde_json::to_string(&parse(&text).unwrap()).unwrap(), text);
        }
        for text in ["{}", "7", "{\"base64\":\"AQI\"}", "{\"uri\":\"a\"}", "{\"base64\":\"\",\"uri\":\"a\"}"] {
            assert_eq!(parse(text).unwrap_err().kind(), crate::ErrorKind::Invalid, "{text}");
        }
    }
}
