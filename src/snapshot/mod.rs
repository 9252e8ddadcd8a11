//! Snapshots: the store as one file, whole or as what changed, and replicas that follow by such files.
//!
//! ```text
//!   layout    the bytes            write     records in, a file out       export   a scan, then what was written meanwhile
//!   read      a file, believing    view      a file as a point in time    import   a new state, or a state further on
//!             nothing of it        overlay   the last word on every key   follow   a replica; info: plain numbers; file: names
//!   trail     hashes of the history                                     shelf    the snapshots that a store keeps of itself
//! ```
//!
//! It promises that an export holds the state at one point, with everything acknowledged before it began, while no commit
//! waits for it; that an import leaves the old state or the new one; and that no file makes it panic, hang or take more
//! memory than two chunks. It refuses a file of which any bit is not what was written, and a delta that does not continue the
//! very history at hand. It knows nothing of jobs and models: it carries trees.
//!
//! # The file, byte by byte: format 1
//!
//! Little-endian throughout. A *cursor* is lineage u128, epoch number u64, epoch id u64, sequence u64: 40 bytes.
//!
//! ```text
//! header, 256 bytes              chunks of the base section    chunks of the overlay section    manifest    trailer, 64 bytes
//!
//! header                                              chunk header, then the content as it is stored
//! 0    8  magic "MLPSNAP1"                            0   4  magic "MLCK"
//! 8    4  format that it was written in, 1            4   1  section: 1 base, 2 overlay
//! 12   4  oldest format whose readers can read it, 1  5   1  0 stored as it is, 1 zstd (then shorter than raw)
//! 16   1  kind: 1 full, 2 delta                       6   2  zero
//! 17   1  compression: 1 zstd                         8   4  bytes of raw content, 1..=262,144
//! 18   2  schema, 1                                   12  4  bytes of stored content
//! 20   4  flags; an unknown one among the lower 16    16  4  records, at least 1
//!         is refused, one among the upper ignored     20 32  BLAKE3 of the raw content
//! 24  40  delta: the cursor that it starts from       52  4  CRC32C of bytes 0..52
//! 64  40  delta: the cursor that it leads to
//! 104     zero (in a full snapshot from 24 on)        record, in the raw content of a chunk
//! 252  4  CRC32C of bytes 0..252                      0   1  tree number
//!                                                     1   1  1 a value, 0 the key was removed
//! trailer                                             2   2  bytes of the key, 1..=1,024
//! 0    8  magic "MLSNAPT1"                            4   4  bytes of the value, 0..=16,384
//! 8    8  where the manifest begins                   8      key, then value
//! 16   8  bytes of the whole file
//! 24  32  BLAKE3 of everything before the trailer
//! 56   4  zero
//! 60   4  CRC32C of bytes 0..60
//!
//! manifest
//! 0    4  magic "MLMF"
//! 4    4  bytes of the trail, 0 in a file without one
//! 8   40  the cursor that the file leads to
//! 48  32  full: the digest of the state (`record::digest`); delta: zero
//! 80  32  BLAKE3 of the chunk list
//! 112  8  number of chunks
//! 120     for base and overlay, for each tree by number: records u64, removals u64, bytes of keys and values u64
//!      2  number of openings, 1..=128: the newest up to the cursor's own, oldest first
//!     24  for each: epoch number u64, epoch id u64, last sequence before it u64
//!         the trail: 32 chain hash at the base (full: zero) · 32 chain hash at the cursor that the file leads to · stride
//!         u32 · number of marks u32 · for each of the sequences between base and end, both excluded, that are multiples
//!         of the stride (a power of two; without marks 0): the first 8 bytes of the chain hash there
//!         the chunk list; for each chunk: where it begins u64, its header, and the first and the last key, each as
//!         tree number u8, length u16, key
//! ```
//!
//! Within a section records ascend strictly by (tree number, key). A full snapshot's base is what a scan met while commits
//! went on, its overlay the last word on what was written meanwhile: readers merge both, and the overlay wins. Without
//! commits there is no overlay, and then the file is a function of state and cursor alone: exporting an import that nobody
//! has written to gives the same bytes. A full snapshot's cursor stands in the manifest and not in the header, since it
//! is known only when the scan has ended and the writer never seeks back. A delta has a base section alone, with removals.
//!
//! Carried are all trees, indexes and counters included (the digest leaves those out; `verify` recomputes them), and of
//! `meta` all but the engine's own keys, which begin with a zero byte. Quarantine, which lies there, is carried too: what it
//! keeps may be the last trace of somebody's data, and a store that was restored must not have less of that than the one it
//! stands for. It is no part of the digest all the same. One chunk is closed at 128 KiB.
//!
//! Whether a delta continues a history is told twice. Each of its openings has a random id and a first sequence, so a
//! copied folder, a restored one and a promoted replica are known by another opening. And the journal is chained by a hash
//! of what was committed ([`ChainHash`](crate::engine::ChainHash)): a state keeps the one that it stands at beside its
//! cursor, and a delta tells those of its base, of its end, and marks on the way. So a past that differs within one and
//! the same opening is found out, too, by comparing a few bytes of the delta and none of the store. In a file without a
//! trail (the first ones had none) the openings decide alone.

#[cfg(test)]
mod branch_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod engine_tests;
mod export;
mod file;
mod follow;
mod import;
mod info;
mod layout;
mod overlay;
mod progress;
mod read;
pub mod shelf;
#[cfg(test)]
mod tests;
mod trail;
mod view;
mod write;

pub use export::{cursor_at, export, export_between};
pub use follow::{FILE_ENDING, ReplicaStatus, apply, follow, status};
pub use import::{import, load};
pub use info::{SnapshotInfo, inspect, inspect_bytes};
pub use layout::SnapshotKind;
pub use progress::{Progress, Watch};

/// The key in `meta` that says that a delta was applied in part: the cursor that it leads to, 40 bytes, and the chain hash
/// there, 32, zeros where it told none. Like all keys that begin
/// with a zero byte it is no part of the state.
const APPLYING_KEY: &[u8] = b"\0applying";
