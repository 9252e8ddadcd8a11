//! Every number that is persisted, in one table: record tags, index numbers, counter numbers. A number is given out
//! once and never reused, also when what it named is gone.
//!
//! ```text
//! tags       1 model · 2 version · 3 job · 4 claim · 5 kv value · 6 unique entry · 7 piece head · 8 queue sequence
//!            9 queue paused · 10 job attempts · 11 pointer history · 12 artifact · 13 artifact references
//!            14 epoch · 15 format mark · 16 staged value · 20 leftovers of models · 21 moves of aliases
//!            22 tracks of aliases · 24 quarantined value · 25 repair under way · 40 host record · 41 collection definition · 42 collection build · 43 late record
//!            44 next collection number
//! indexes    1..=19 jobs · 20..=49 registry · 65536.. hosts' collections, given out by each store
//! counters   1..=9 jobs · 10..=29 registry · 30 kv entries by namespace · 31 quarantined values by tree
//!            65536.. hosts' collections, from the same line as their indexes
//! ```

use crate::codec::Part;
use crate::engine::Tree;

/// A model, by name.
pub const MODEL: Part = Part { tree: Tree::Models, tag: 1, version: 1 };
/// A version of a model, by `name@vN`.
pub const VERSION: Part = Part { tree: Tree::ModelVersions, tag: 2, version: 1 };
/// A job, by id.
pub const JOB: Part = Part { tree: Tree::Jobs, tag: 3, version: 1 };
/// A job's claim, by id and `:claim`.
pub const CLAIM: Part = Part { tree: Tree::Jobs, tag: 4, version: 1 };
/// A value of the plain contract, by namespace and key.
pub const KV_VALUE: Part = Part { tree: Tree::Kv, tag: 5, version: 1 };
/// What a unique index entry holds: the primary key of the one record that has it.
pub const UNIQUE_ENTRY: Part = Part { tree: Tree::Index, tag: 6, version: 1 };
// 7 is the piece head: codec.rs writes it in the tree of the value that was cut.
/// The next number in a queue's line.
pub const QUEUE_SEQUENCE: Part = Part { tree: Tree::Meta, tag: 8, version: 1 };
/// Whether a queue is paused.
pub const QUEUE_PAUSED: Part = Part { tree: Tree::Meta, tag: 9, version: 1 };
/// The attempts of a job, newest 16 in full.
pub const JOB_ATTEMPTS: Part = Part { tree: Tree::History, tag: 10, version: 1 };
/// Moves of a model's active pointer; in earlier stores those of its aliases, too.
pub const POINTER_HISTORY: Part = Part { tree: Tree::History, tag: 11, version: 1 };
/// The bytes of an artifact, by SHA-256.
pub const ARTIFACT: Part = Part { tree: Tree::Records, tag: 12, version: 1 };
/// How many versions hold an artifact, by SHA-256.
pub const ARTIFACT_REFERENCES: Part = Part { tree: Tree::Records, tag: 13, version: 1 };
// 14, the epoch, is the engine's own.
/// The format of the folder.
pub const FORMAT_MARK: Part = Part { tree: Tree::Meta, tag: 15, version: 1 };
/// Pieces that were written ahead of the commit that will refer to them.
pub const STAGED: Part = Part { tree: Tree::Meta, tag: 16, version: 1 };
/// A value that repair set aside, as it was found.
pub const QUARANTINED: Part = Part { tree: Tree::Meta, tag: 24, version: 1 };
/// Which repair is under way.
pub const REPAIR_MARK: Part = Part { tree: Tree::Meta, tag: 25, version: 1 };

/// What is still to be swept away of earlier lives of a model's name, by the name.
pub const LEFTOVERS: Part = Part { tree: Tree::Records, tag: 20, version: 1 };
/// Moves of one alias of a model.
pub const ALIAS_HISTORY: Part = Part { tree: Tree::History, tag: 21, version: 1 };
/// Which moves of which aliases of a model are kept.
pub const ALIAS_TRACKS: Part = Part { tree: Tree::History, tag: 22, version: 1 };
/// What a host keeps in a collection, by collection and key. Its schema version is the host's own.
pub const HOST_RECORD: Part = Part { tree: Tree::Records, tag: 40, version: 1 };
/// What is kept about a collection: its items and their numbers.
pub const COLLECTION: Part = Part { tree: Tree::Meta, tag: 41, version: 1 };
/// How far the construction of a collection's new items has come.
pub const COLLECTION_BUILD: Part = Part { tree: Tree::Meta, tag: 42, version: 1 };
/// A record that was inserted behind the back of that construction.
pub const COLLECTION_LATE: Part = Part { tree: Tree::Meta, tag: 43, version: 1 };
/// The next number for an index or counter of a collection, at first [`COLLECTION_NUMBER_FIRST`].
pub const COLLECTION_NUMBERS: Part = Part { tree: Tree::Meta, tag: 44, version: 1 };
/// Below it are the numbers of this table.
pub const COLLECTION_NUMBER_FIRST: u32 = 1 << 16;

/// Counter: entries of the plain contract, by namespace.
pub const KV_ENTRIES: u32 = 30;
/// Counter: values in quarantine, by the tree that they were taken from.
pub const QUARANTINED_VALUES: u32 = 31;

// --- jobs: indexes 1..=19, counters 1..=9 (append below this line) ---

/// Indexes and counters of jobs; `jobs/schema.rs` says what each holds.
pub mod jobs {
    /// Index: jobs that can be claimed.
    pub const READY: u32 = 1;
    /// Index: jobs that wait for their time.
    pub const DUE: u32 = 2;
    // 3 was the executing jobs by the opening that claimed them.
    /// Index: jobs by queue and state, but for the executing ones.
    pub const STATE: u32 = 4;
    /// Index: all jobs in enqueue order.
    pub const ORDER: u32 = 5;
    /// Index: finished jobs by retention.
    pub const FINISHED: u32 = 6;
    /// Unique index: who holds a unique key.
    pub const UNIQUE: u32 = 7;
    /// Index: executing jobs by queue.
    pub const LEASE: u32 = 8;

    /// Counter: jobs by queue and state.
    pub const STATES: u32 = 1;
}

// --- registry: indexes 20..=49, counters 10..=29 (append below this line) ---

/// Index: models by name.
pub const INDEX_MODEL_NAMES: u32 = 20;
/// Unique index: models by external id.
pub const INDEX_MODEL_EXTERNAL_IDS: u32 = 21;
/// Index: versions by model and number.
pub const INDEX_VERSION_NUMBERS: u32 = 22;
/// Index: versions that are not archived, by model and number.
pub const INDEX_VERSION_LIVE: u32 = 23;
/// Index: versions by model, stage, archived or not, and number.
pub const INDEX_VERSION_STAGES: u32 = 24;
/// Unique index: versions by external id.
pub const INDEX_VERSION_EXTERNAL_IDS: u32 = 25;
/// Unique index: versions by model and label.
pub const INDEX_VERSION_LABELS: u32 = 26;
/// Index: models by creation.
pub const INDEX_MODEL_CREATED: u32 = 40;
/// Index: models by update.
pub const INDEX_MODEL_UPDATED: u32 = 41;
/// Index: models by tag.
pub const INDEX_MODEL_TAGS: u32 = 42;
/// Index: versions by creation.
pub const INDEX_VERSION_CREATED: u32 = 43;
/// Index: versions by update.
pub const INDEX_VERSION_UPDATED: u32 = 44;
/// Index: versions by tag.
pub const INDEX_VERSION_TAGS: u32 = 45;
/// Index: versions by stage, across all models.
pub const INDEX_VERSION_STAGES_OF_ALL: u32 = 46;
/// Index: versions by run.
pub const INDEX_VERSION_RUNS: u32 = 47;

/// Counter: models, by archived or not and with an active version or without.
pub const COUNTER_MODEL_STATES: u32 = 10;
/// Counter: versions in all, by archived or not: a sum over models, so that a model's go with it at once.
pub const COUNTER_VERSION_STATES: u32 = 11;
// 12 was the versions of one model; its record counts them.

/// Index: versions by when they were used last.
pub const INDEX_VERSION_USES: u32 = 27;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tag_is_given_out_twice() {
        let parts = [
            MODEL,
            VERSION,
            JOB,
            CLAIM,
            KV_VALUE,
            UNIQUE_ENTRY,
            QUEUE_SEQUENCE,
            QUEUE_PAUSED,
            JOB_ATTEMPTS,
            POINTER_HISTORY,
            ARTIFACT,
            ARTIFACT_REFERENCES,
            FORMAT_MARK,
            STAGED,
            LEFTOVERS,
            ALIAS_HISTORY,
            ALIAS_TRACKS,
            QUARANTINED,
            REPAIR_MARK,
            HOST_RECORD,
            COLLECTION,
            COLLECTION_BUILD,
            COLLECTION_LATE,
            COLLECTION_NUMBERS,
        ];
        let mut tags: Vec<u16> = parts.iter().map(|part| part.tag).chain([7, 14]).collect();
        tags.sort_unstable();
        assert_eq!(tags, (1..=16).chain([20, 21, 22, 24, 25]).chain(40..=44).collect::<Vec<_>>());
    }
}
