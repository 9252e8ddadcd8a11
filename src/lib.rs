//! skeleton
#![forbid(unsafe_code)]
pub mod clock;
pub mod config;
pub mod engine;
pub mod error;
pub use clock::{Clock, Ids, ManualClock, Stopwatch, SystemClock};
pub use config::{Config, Durability};
pub use error::{Error, ErrorKind, Result};
