//! Where a state comes from when a store can't be opened: asked of whoever knows snapshots.
//!
//! The engine knows its journal, and that a state at some commit plus the frames behind that commit is the state at the
//! end. Where such a state lies, and in which format, it does not know: a [`Rescue`] does, and the façade brings one.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::engine::{Fresh, Position};
use crate::error::{Error, Result};

/// Brings states from outside.
pub trait Rescue: Send + Sync + fmt::Debug {
    /// Whether the store is to be rebuilt however it is.
    fn is_wanted(&self) -> bool {
        false
    }

    /// Whether it was given a source of its own, to be used even where the journal alone would do.
    fn has_source(&self) -> bool {
        false
    }

    /// The commit that the newest state in `annex` stands at, if the journal is to be kept from there on.
    ///
    /// # Errors
    /// `Unavailable`.
    fn newest(&self, annex: &Path) -> Result<Option<u64>>;

    /// Writes a state of this very store, at a commit which the journal leads on from, and answers where it stands.
    ///
    /// # Errors
    /// `Corrupt` saying which states there are and what is missing; `Full`; `Unavailable`.
    fn fill(&self, gap: &Gap, fresh: &mut dyn Fresh) -> Result<Position>;
}

/// What the journal does not cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Where states of this store are kept; nothing says that it exists.
    pub annex: PathBuf,
    /// The last commit before the journal's oldest frame: a usable state stands here or later.
    pub least: u64,
    /// The journal's last commit: a usable state stands here or earlier.
    pub most: u64,
}

/// Knows of no states: the journal has to reach back to the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRescue;

impl Rescue for NoRescue {
    fn newest(&self, _annex: &Path) -> Result<Option<u64>> {
        Ok(None)
    }

    fn fill(&self, _gap: &Gap, _fresh: &mut dyn Fresh) -> Result<Position> {
        Err(Error::corrupt("restore the folder from a copy or a snapshot"))
    }
}
