//! Snapshots.
mod export;
mod file;
mod import;
mod info;
mod layout;
mod overlay;
mod read;
#[cfg(test)]
mod tests;
mod view;
mod write;

pub use export::export;
pub use import::import;
pub use info::{SnapshotInfo, inspect};
pub use layout::SnapshotKind;

/// The key in `meta` that says that a delta was applied in part, with the cursor that it leads to.
const APPLYING_KEY: &[u8] = b"\0applying";
