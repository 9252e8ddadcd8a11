//! From the choice of an engine to an open one.

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::engine::Engine;
use crate::engine::local::LocalEngine;
use crate::engine::local::disk::{Disk, RealDisk};
use crate::engine::local::opener::StoreOpener;
use crate::engine::local::place::Place;
use crate::engine::local::rescue::Rescue;
use crate::engine::local::sim::SimDisk;
use crate::engine::memory::MemoryOpener;
#[cfg(feature = "sled")]
use crate::engine::sled::SledOpener;
use crate::error::{Error, Result};

use super::{EngineKind, RecoveryReport};

/// Opens the engine; the report says what that found, as far as the engine knows.
pub(super) fn engine(
    kind: EngineKind,
    folder: Option<&Path>,
    config: &Config,
    read_only: bool,
    rescue: &dyn Rescue,
) -> Result<(Arc<dyn Engine>, RecoveryReport)> {
    match (kind, folder) {
        (EngineKind::Memory, None) => {
            // The journal of the ephemeral engine lies in memory, too, and nobody will ever replay it.
            let config = Config { journal_retention_bytes: 0, ..config.clone() };
            local(
                Arc::new(SimDisk::new()),
                Path::new("/memory"),
                Arc::new(MemoryOpener::by_folder()),
                &config,
                read_only,
                rescue,
            )
        }
        (EngineKind::Memory, Some(folder)) => {
            let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
            local(Arc::clone(&disk), folder, Arc::new(MemoryOpener::in_folder(disk)), config, read_only, rescue)
        }
        #[cfg(feature = "sled")]
        (EngineKind::Sled, Some(folder)) => {
            local(Arc::new(RealDisk::new()), folder, Arc::new(SledOpener), config, read_only, rescue)
        }
        #[cfg(not(feature = "sled"))]
        (EngineKind::Sled, Some(_)) => Err(Error::unsupported("sled: this build was made without the feature sled")),
        (EngineKind::Sled, None) => Err(Error::invalid("folder: sled keeps its data in one")),
    }
}

/// Opens the engine over the store that this opener brings, in a folder on this disk.
pub(super) fn local(
    disk: Arc<dyn Disk>,
    folder: &Path,
    opener: Arc<dyn StoreOpener>,
    config: &Config,
    read_only: bool,
    rescue: &dyn Rescue,
) -> Result<(Arc<dyn Engine>, RecoveryReport)> {
    let (engine, opened): (Arc<dyn Engine>, _) = if read_only {
        let (engine, opened) = LocalEngine::open_read_only(disk, folder, &*opener, config)?;
        (Arc::new(engine), opened)
    } else {
        let (place, opened) = Place::open_with(disk, folder, opener, config, rescue)?;
        (Arc::new(place), opened)
    };
    let report = RecoveryReport {
        replayed: opened.replayed,
        rebuilt: opened.rebuilt,
        damaged_store: opened.damaged_store,
        store_open_ms: opened.store_open_ms,
        replay_ms: opened.replay_ms,
        ..RecoveryReport::default()
    };
    Ok((engine, report))
}
