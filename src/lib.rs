//! An embedded store for machine-learning metadata: a model registry, a durable job queue and typed records, all in one
//! transaction, on one folder.
//!
//! ```
//! use ml_persistence::{MlPersistence, NewJob, NewVersion};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let folder = scratch.path().join("ml-data");
//! let db = MlPersistence::open(&folder)?;
//! db.jobs().enqueue(NewJob::new("train", "fit").payload(json!({"depth": 6})))?;
//! for lease in db.jobs().claim(&["train"], 8)? {
//!     // The version and the job's completion are one transaction: both, or neither.
//!     lease.complete_with(|txn| {
//!         txn.registry().register_version("spam", NewVersion::new().metric("f1", 0.91)).map(drop)
//!     })?;
//! }
//! assert_eq!(db.registry().get("spam", 1)?.map(|version| version.version), Some(1));
//! db.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! Where to start reading: the modules below stand in the order in which a newcomer meets them, from what a host
//! holds down to the bytes. Each knows only those that come after it in `DESIGN`'s table: façade, domain
//! ([`registry`] and [`jobs`], which do not know each other), [`record`], spelling ([`keys`], [`codec`]), [`engine`],
//! nouns.

#![forbid(unsafe_code)]

pub mod persistence;

pub mod kv;

pub mod jobs;
pub mod registry;
pub mod snapshot;

pub mod record;

pub mod codec;
pub mod keys;

pub mod engine;

mod base64;
pub mod clock;
pub mod config;
pub mod error;
pub mod json;

pub use clock::{Clock, Ids, ManualClock, Stopwatch, SystemClock};
pub use config::{Config, Durability};
pub use engine::Cursor;
pub use error::{Error, ErrorKind, Result};
pub use jobs::{
    Backoff, ClaimRequest, Done, Handlers, Job, JobId, Jobs, JobsOptions, Lease, NewJob, Run, Token, WorkerPool,
};
pub use json::Json;
pub use kv::{KeyValue, Namespace};
pub use persistence::{
    Builder, ChangedKey, ChangedKeys, EngineKind, FORMAT_VERSION, MlPersistence, RecoveryReport, Replica, RestorePoint,
    SnapshotPolicy, SnapshotStats, StoreStats,
};
pub use record::collection::{
    Collection, CollectionTxn, DamagedRecord, FromKey, OldRecord, Ordered, Page, Progress, Query, Rank, Record, Row,
    Schema, Timestamp, asc, desc,
};
pub use record::quarantine::{QuarantinePage, Quarantined, QuarantinedValue};
pub use record::{RecordStore, RepairProgress, RepairReport, Transaction, View};
pub use registry::{Change, Model, NewModel, NewVersion, Registry, RegistryTxn, SearchRequest, Version, VersionRef};
pub use snapshot::{ReplicaStatus, SnapshotInfo, SnapshotKind};

/// The README's examples, compiled and run with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
