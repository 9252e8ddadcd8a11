//! From the choice of an engine to an open one.

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::engine::Engine;
use crate::error::{Error, Result};

use super::{EngineKind, RecoveryReport};

/// Opens the engine; the report says what that found, as far as the engine knows.
pub(super) fn engine(
    kind: EngineKind,
    _folder: Option<&Path>,
    _config: &Config,
) -> Result<(Arc<dyn Engine>, RecoveryReport)> {
    Err(Error::unsupported(format!("engine {kind:?}: not in this build yet")))
}
