//! `mlp exec` as its callers meet it: the real program, its standard input and output.
#![cfg(feature = "cli")]
// A panic in a test is its failure, in helpers too.
#![allow(clippy::unwrap_used)]

mod bounds;
mod harness;
mod jobs;
mod kv;
mod models;
mod people;
mod protocol;
mod recovery;
mod registry;
mod snapshot;
