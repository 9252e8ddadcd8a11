//! The one error of this crate: few kinds, each saying what its caller can do.
//!
//! A kind exists only where a caller would act differently. The message is for people: it is lower case, names the
//! key or field, and says what was expected. The cause, where there is one, is kept as [`std::error::Error::source`].

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What went wrong, by what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What the call names does not exist. Create it, or treat it as absent.
    NotFound,
    /// What the call would create exists. Use it, or choose another name.
    AlreadyExists,
    /// The state moved on, or does not allow this now. Read again, then decide again.
    Conflict,
    /// The call itself is wrong; the message names the field. Fix the call: trying again gives the same answer.
    Invalid,
    /// The claim behind a token is over: finished, taken back, or of an earlier opening. Drop the work.
    LeaseLost,
    /// Stored bytes are not what was written. Run verify; restore from a snapshot or a copy.
    Corrupt,
    /// Not possible right now: locked by another opener, or the operating system refused. Try later.
    Unavailable,
    /// The commit may or may not have landed. Reopen (or read back) to find out; do not assume either.
    CommitUnknown,
    /// A reader of the change feed fell behind what is kept. Start over from a full snapshot.
    NeedsFull,
    /// The snapshot belongs to another store, or to another branch of this one's history. Keep the two apart; to follow
    /// the other one, import a full snapshot of it.
    Diverged,
    /// Out of disk space or over a quota. Make room; the store goes on when there is some.
    Full,
    /// The engine is closed, by the caller or after a failed write or sync. Reopen to recover.
    Closed,
    /// This format version, engine or build does not offer it. Use another version or feature.
    Unsupported,
    /// A bug in this crate. Report it with the message.
    Internal,
}

impl ErrorKind {
    /// The kind's stable name in snake case, as `mlp exec` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "not_found",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Invalid => "invalid",
            ErrorKind::LeaseLost => "lease_lost",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::CommitUnknown => "commit_unknown",
            ErrorKind::NeedsFull => "needs_full",
            ErrorKind::Diverged => "diverged",
            ErrorKind::Full => "full",
            ErrorKind::Closed => "closed",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Internal => "internal",
        }
    }
}

/// An error of this crate. Cheap to clone: one failed sync is the answer to every commit that waited for it.
///
/// ```
/// use ml_persistence::{Error, ErrorKind};
/// let error = Error::invalid("key: 1..=1024 bytes, got 0");
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert_eq!(error.to_string(), "key: 1..=1024 bytes, got 0");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new(ErrorKind::$kind, message)
        }
    )*};
}

impl Error {
    /// An error of `kind` with a message for people.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Arc::new(Inner { kind, message: message.into(), source: None }))
    }

    /// An error of `kind` that keeps its cause.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Error(Arc::new(Inner { kind, message: message.into(), source: Some(source.into()) }))
    }

    /// What the operating system answered to `doing`: no space, or a limit on it, is [`ErrorKind::Full`], anything else
    /// [`ErrorKind::Unavailable`].
    pub fn io(doing: impl fmt::Display, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge => {
                ErrorKind::Full
            }
            _ => ErrorKind::Unavailable,
        };
        Self::with_source(kind, format!("{doing}: {source}"), source)
    }

    constructors! {
        /// [`ErrorKind::NotFound`].
        not_found => NotFound;
        /// [`ErrorKind::AlreadyExists`].
        already_exists => AlreadyExists;
        /// [`ErrorKind::Conflict`].
        conflict => Conflict;
        /// [`ErrorKind::Invalid`]; begin the message with the field's name.
        invalid => Invalid;
        /// [`ErrorKind::LeaseLost`].
        lease_lost => LeaseLost;
        /// [`ErrorKind::Corrupt`].
        corrupt => Corrupt;
        /// [`ErrorKind::Unavailable`].
        unavailable => Unavailable;
        /// [`ErrorKind::Closed`].
        closed => Closed;
        /// [`ErrorKind::Unsupported`].
        unsupported => Unsupported;
        /// [`ErrorKind::Internal`].
        internal => Internal;
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

/// The message of a caught panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.name(), self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, " (caused by {source:?})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
