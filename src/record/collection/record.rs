//! What a host keeps: its type, its key, its schema; and what comes back: a row.

use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ordered::Ordered;
use super::schema::Schema;
use crate::codec::{self, Part};
use crate::error::{Error, Result};

/// A type that a host keeps in a collection.
///
/// Its stored form is that of its serde derive, field by field without names: adding, removing or reordering fields
/// is another form. So is any change of what [`Record::schema`]'s functions answer for the same record. For either,
/// raise [`Record::VERSION`], and teach [`Record::migrate`] the old one.
///
/// ```
/// use ml_persistence::{MlPersistence, Query, Record, Schema};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Tag {
///     slug: String,
///     kind: String,
/// }
///
/// impl Record for Tag {
///     const COLLECTION: &'static str = "tags";
///     type Key = String;
///
///     fn key(&self) -> String {
///         self.slug.clone()
///     }
///
///     fn schema() -> Schema<Self> {
///         Schema::new().field("kind", |tag| tag.kind.clone()).index("by_kind", ["kind"])
///     }
/// }
///
/// # fn main() -> ml_persistence::Result<()> {
/// let db = MlPersistence::in_memory().open()?;
/// let tags = db.collection::<Tag>()?;
/// tags.save(Tag { slug: "rust".into(), kind: "language".into() })?;
/// let languages = tags.list(&Query::new().eq("kind", "language").limit(20))?;
/// assert_eq!(languages.rows[0].slug, "rust");
/// # Ok(())
/// # }
/// ```
pub trait Record: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The collection's name, 1..=100 bytes. It is part of every stored key.
    const COLLECTION: &'static str;

    /// The version of the stored form and of the schema's meaning; 1 at first. A raised one rebuilds every index and
    /// counter of the collection, online.
    const VERSION: u16 = 1;

    /// The type of its key. It never changes; its encoded form takes at most 768 bytes.
    type Key: Ordered;

    /// Its key, the same whenever it is asked for.
    fn key(&self) -> Self::Key;

    /// Fields, indexes and counters. The functions in it look at nothing but the record.
    fn schema() -> Schema<Self>;

    /// A record that an older [`Record::VERSION`] wrote. It is read so from then on, and stored anew when it is next
    /// written.
    ///
    /// # Errors
    /// `Unsupported` unless the host says how.
    fn migrate(old: OldRecord<'_>) -> Result<Self> {
        let (name, written, now) = (Self::COLLECTION, old.version(), Self::VERSION);
        Err(Error::unsupported(format!("collection {name}: written by version {written}, {now} has no migrate for it")))
    }
}

/// A stored record of an older version of its type.
pub struct OldRecord<'a> {
    pub(super) part: Part,
    pub(super) stored_key: &'a [u8],
    pub(super) envelope: &'a [u8],
    pub(super) version: u16,
}

impl OldRecord<'_> {
    /// The [`Record::VERSION`] that wrote it.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The record as the type that wrote it.
    ///
    /// # Errors
    /// `Corrupt` when it is not of that type.
    pub fn read<Old: DeserializeOwned>(&self) -> Result<Old> {
        codec::decode::<(u64, Old)>(self.part, self.stored_key, self.envelope).map(|(_, old)| old)
    }
}

/// A record as it is stored, with how often it was written. Its fields are those of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Row<T> {
    /// The record.
    pub record: T,
    /// 1 after the first write, +1 with each; what an update expects.
    pub revision: u64,
}

impl<T> Deref for Row<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.record
    }
}
