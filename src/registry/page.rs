//! Pages of models and versions, and the tokens that lead from one to the next.
//!
//! ```text
//! token   base64url of   0   1  format, 1
//!                        1   8  first bytes of SHA-256 over (listing, place): a token of another listing, and a
//!                               token that was cut or altered, is refused
//!                        9   …  the place in the order to go on behind
//! ```
//!
//! A token names a place in the order, not a count: entries that come or go elsewhere neither repeat nor skip others,
//! and the size of the next page may differ.

use serde::Serialize;

use super::base64;
use super::model::Model;
use super::search::Plan;
use super::version::Version;
use crate::error::{Error, Result};

/// Most rows in a page.
pub const PAGE_SIZE_MAX: usize = 1000;
const PAGE_SIZE_DEFAULT: usize = 100;
const FORMAT: u8 = 1;

/// Which page of a listing to answer. The default: the first 100 rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    size: usize,
    token: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        PageRequest { size: PAGE_SIZE_DEFAULT, token: None }
    }
}

impl PageRequest {
    /// The first 100 rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At most this many rows: 1..=1000.
    #[must_use]
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Goes on where the page that answered this token ended.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The number of rows asked for, once it is in bounds.
    pub(crate) fn checked_size(&self) -> Result<usize> {
        if self.size == 0 || self.size > PAGE_SIZE_MAX {
            return Err(Error::invalid(format!("page_size: 1..={PAGE_SIZE_MAX}, got {}", self.size)));
        }
        Ok(self.size)
    }

    /// The place to go on behind, once the token is known to be of `listing`.
    pub(crate) fn after(&self, listing: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(token) = &self.token else { return Ok(None) };
        let refused = || Error::invalid("page_token: not one that this listing answered");
        let bytes = base64::decode_url(token).map_err(|_| refused())?;
        match bytes.split_first_chunk::<9>() {
            Some((&[FORMAT, ref seal @ ..], entry)) if *seal == sealed(listing, entry) => Ok(Some(entry.to_vec())),
            _ => Err(refused()),
        }
    }
}

/// The token that leads behind the place `entry` of `listing`.
pub(crate) fn token(listing: &[u8], entry: &[u8]) -> String {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&sealed(listing, entry));
    bytes.extend_from_slice(entry);
    base64::encode_url(&bytes)
}

fn sealed(listing: &[u8], entry: &[u8]) -> [u8; 8] {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    hash.update((listing.len() as u64).to_be_bytes());
    hash.update(listing);
    hash.update(entry);
    let hash: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    [a, b, c, d, e, f, g, h]
}

/// A row that can't be shown because what is stored of it is damaged. Its neighbours are shown all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DamagedRow {
    /// The record's key: `name` or `name@vN`.
    pub key: String,
    /// What is wrong with it.
    pub error: String,
}

/// A page of models.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelPage {
    /// The models.
    pub models: Vec<Model>,
    /// What to ask for next; `None` at the end.
    pub next_page_token: Option<String>,
    /// Models that belong into this page and can't be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedRow>,
    /// How the page was found, when the request asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// A page of versions.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VersionPage {
    /// The versions.
    pub versions: Vec<Version>,
    /// What to ask for next; `None` at the end.
    pub next_page_token: Option<String>,
    /// Versions that belong into this page and can't be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedRow>,
    /// How the page was found, when the request asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_own_listing_only_and_not_when_altered() {
        let first = token(b"versions a", b"entry");
        let ask = |text: &str, listing: &[u8]| PageRequest::new().token(text).after(listing);
        assert_eq!(ask(&first, b"versions a").unwrap().unwrap(), b"entry");
        assert!(ask(&first, b"versions b").is_err());
        assert!(ask("", b"versions a").is_err());
        let bytes = base64::decode_url(&first).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(ask(&base64::encode_url(&altered), b"versions a").is_err(), "bit {bit}");
        }
    }
}
