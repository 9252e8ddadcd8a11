//! The reader of snapshot files meets any bytes: it answers, with an error or what the file holds, and never panics, hangs or
//! takes memory for what a file only claims.
//!
//! `cargo +nightly fuzz run snapshot -- -rss_limit_mb=256 -max_len=65536`; `tests/fixtures/v1.mlsnap` is a good seed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ml_persistence::snapshot::inspect_bytes;

fuzz_target!(|bytes: &[u8]| {
    drop(inspect_bytes(bytes));
});
