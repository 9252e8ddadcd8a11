//! Who asks for a change, and what must still be true for it to happen.

use super::name;
use crate::error::{Error, Result};

/// Who asks for a change and the revision that they saw. The default: nobody in particular, whatever the revision.
///
/// ```
/// use ml_persistence::registry::Change;
/// let change = Change::new().by("ann").expected_revision(3);
/// # let _same = change.clone();
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Who asks for it; recorded with the record, and with every pointer that moves.
    pub by: Option<String>,
    /// The change happens only if the record is at this revision; another one is a `Conflict`.
    pub expected_revision: Option<u64>,
}

impl Change {
    /// A change by nobody in particular, whatever the revision.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names who asks for it: 1..=256 bytes.
    #[must_use]
    pub fn by(mut self, by: impl Into<String>) -> Self {
        self.by = Some(by.into());
        self
    }

    /// Demands this revision: the model's for pointers and aliases, else that of the record that is changed.
    #[must_use]
    pub fn expected_revision(mut self, revision: u64) -> Self {
        self.expected_revision = Some(revision);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        name::check_by(self.by.as_deref())
    }

    /// `Conflict` unless `found` is the revision that was demanded, if one was.
    pub(crate) fn check_revision(&self, what: impl std::fmt::Display, found: u64) -> Result<()> {
        match self.expected_revision {
            Some(expected) if expected != found => {
                Err(Error::conflict(format!("{what}: expected revision {expected}, found {found}")))
            }
            _ => Ok(()),
        }
    }
}
