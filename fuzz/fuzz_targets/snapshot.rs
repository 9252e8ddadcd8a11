//! The reader of snapshot files meets any bytes: it answers, with an error or what the file holds, and never panics, hangs or
//! takes memory for what a file only claims.
//!
//! How to run it, and where its first files come from: `fuzz/README.md`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ml_persistence::snapshot::inspect_bytes;

fuzz_target!(|bytes: &[u8]| {
    drop(inspect_bytes(bytes));
});
