//! skeleton
#![forbid(unsafe_code)]
pub mod clock;
pub mod codec;
pub mod config;
pub mod engine;
pub mod error;
pub mod jobs;
pub mod json;
pub mod keys;
pub mod kv;
pub mod persistence;
pub mod record;
pub mod registry;
pub use clock::{Clock, Ids, ManualClock, Stopwatch, SystemClock};
pub use config::{Config, Durability};
pub use error::{Error, ErrorKind, Result};
pub use jobs::{Backoff, ClaimRequest, Job, JobId, Jobs, JobsOptions, Lease, NewJob, Token};
pub use json::Json;
pub use kv::{KeyValue, Namespace};
pub use persistence::{Builder, EngineKind, FORMAT_VERSION, MlPersistence, RecoveryReport, StoreStats};
pub use record::{Record, RecordStore, Schema, Transaction, View};
pub use registry::{Model, NewModel, NewVersion, Registry, RegistryTxn, Version};
