//! The systems, behind one small seam, and the data that all of them are given.

pub mod device;
pub mod ours;
pub mod sled;
pub mod sqlite;

use std::fmt;
use std::path::Path;

use crate::Failure;

/// A store that is open in a folder of its own.
pub trait System: Sync {
    /// What one caller holds; made on the caller's own thread, before the clock starts.
    fn session(&self) -> Result<Box<dyn Session + '_>, Failure>;

    /// What is stored now.
    fn held(&self) -> Result<Held, Failure>;

    /// What it counted about itself since it was opened.
    fn counts(&self) -> Counts {
        Counts::default()
    }

    /// Drains and closes it, so that nothing of it runs during the next burst.
    fn close(self: Box<Self>) -> Result<(), Failure>;
}

/// One caller of a system.
pub trait Session {
    /// Commits the next transaction (or batch of them) and answers how many, once it is as durable as promised.
    fn commit(&mut self, items: &mut Item) -> Result<u64, Failure>;
}

/// What a store holds, as far as the workload is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Records.
    pub records: u64,
    /// Index entries.
    pub entries: u64,
    /// The counter of records.
    pub counter: i64,
}

/// Counters of a system, where it has any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Device syncs of the log for each commit.
    pub syncs_per_commit: Option<f64>,
    /// Commits in the largest batch behind one sync.
    pub batch_commits_max: Option<u64>,
    /// Bytes in the mean batch.
    pub batch_bytes: Option<f64>,
    /// Time that callers were held back, in seconds, summed over callers.
    pub stall_seconds: Option<f64>,
}

/// Which of the interchangeable systems a row competes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Ours, each commit durable.
    Ours,
    /// Bare sled, each commit durable.
    Sled,
    /// SQLite, each commit durable.
    Sqlite,
    /// Shown, not compared.
    Other,
}

/// Numbers of callers that a row makes sense for.
#[derive(Debug, Clone, Copy)]
pub enum Callers {
    /// Whatever was asked for.
    Any,
    /// One.
    One,
    /// Four.
    Four,
}

impl Callers {
    /// Whether the row runs with `callers`.
    pub fn runs(self, callers: usize) -> bool {
        match self {
            Callers::Any => true,
            Callers::One => callers == 1,
            Callers::Four => callers == 4,
        }
    }
}

/// Opens a system in a folder that does not exist yet.
pub type Open = fn(&Path) -> Result<Box<dyn System>, Failure>;

/// A row of the table.
pub struct Contender {
    /// As the table spells it.
    pub name: &'static str,
    /// What an answer promises.
    pub durability: &'static str,
    /// What it is compared as.
    pub group: Group,
    /// When it runs.
    pub callers: Callers,
    /// It takes part in long runs, too.
    pub sustained: bool,
    /// Opens it.
    pub open: Open,
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const FULL: &str = "power loss";

/// Every system, in the order of the table.
pub const ALL: &[Contender] = &[
    Contender {
        name: "ours",
        durability: FULL,
        group: Group::Ours,
        callers: Callers::Any,
        sustained: true,
        open: ours::open_durable,
    },
    Contender {
        name: "sled each",
        durability: FULL,
        group: Group::Sled,
        callers: Callers::Any,
        sustained: true,
        open: sled::open_each,
    },
    Contender {
        name: "sled by 64",
        durability: FULL,
        group: Group::Other,
        callers: Callers::Any,
        sustained: false,
        open: sled::open_batched,
    },
    Contender {
        name: "sqlite each, own connections",
        durability: FULL,
        group: Group::Sqlite,
        callers: Callers::Any,
        sustained: false,
        open: sqlite::open_own,
    },
    Contender {
        name: "sqlite each, one connection",
        durability: FULL,
        group: Group::Sqlite,
        callers: Callers::Any,
        sustained: true,
        open: sqlite::open_shared,
    },
    Contender {
        name: "ours, buffered",
        durability: "50 ms or 1 MiB behind",
        group: Group::Other,
        callers: Callers::Four,
        sustained: false,
        open: ours::open_buffered,
    },
    Contender {
        name: "sled, its default",
        durability: "500 ms behind",
        group: Group::Other,
        callers: Callers::Four,
        sustained: false,
        open: sled::open_default,
    },
    Contender {
        name: "sqlite NORMAL",
        durability: "next checkpoint",
        group: Group::Other,
        callers: Callers::Four,
        sustained: false,
        open: sqlite::open_normal,
    },
    Contender {
        name: "device: write + fdatasync",
        durability: FULL,
        group: Group::Other,
        callers: Callers::One,
        sustained: false,
        open: device::open,
    },
];

/// Length of a record.
pub const RECORD_BYTES: usize = 300;
/// The key of the counter.
pub const COUNTER: &[u8] = b"records";

/// The data of one transaction after the other: keys of 16 bytes, records that don't compress, index keys that fall
/// all over the index.
#[derive(Debug)]
pub struct Item {
    /// The record's key: caller, then number.
    pub key: [u8; 16],
    /// The index entry's key: index, a hashed term, the record's key.
    pub entry: [u8; 28],
    /// The record.
    pub record: [u8; RECORD_BYTES],
    caller: u16,
    number: u64,
}

impl Item {
    /// Those of one caller, none of which any other caller has.
    pub fn from(caller: u16) -> Self {
        Item { key: [0; 16], entry: [0; 28], record: [0; RECORD_BYTES], caller, number: 0 }
    }

    /// Moves on to the next one.
    pub fn step(&mut self) -> &Self {
        self.number += 1;
        self.fill(self.number)
    }

    /// The one with this number: the same key and index entry each time, a record of its own each `version`.
    pub fn at(&mut self, number: u64, version: u64) -> &Self {
        self.fill(number);
        self.write_record(number ^ version.rotate_left(32));
        self
    }

    fn fill(&mut self, number: u64) -> &Self {
        let mut key = [0; 16];
        key[..2].copy_from_slice(&self.caller.to_be_bytes());
        key[8..].copy_from_slice(&number.to_be_bytes());
        self.key = key;
        let term = scramble(u64::from(self.caller) << 48 ^ number);
        self.entry[..4].copy_from_slice(b"term");
        self.entry[4..12].copy_from_slice(&term.to_be_bytes());
        self.entry[12..].copy_from_slice(&key);
        self.write_record(term);
        self
    }

    fn write_record(&mut self, seed: u64) {
        let mut state = seed;
        for piece in self.record.chunks_mut(8) {
            state = scramble(state);
            piece.copy_from_slice(&state.to_le_bytes()[..piece.len()]);
        }
    }
}

/// Spreads numbers evenly over 64 bits: a multiplication and two shifts, each of which can be undone.
pub fn scramble(number: u64) -> u64 {
    let mixed = (number ^ number >> 31).wrapping_add(0x632b_e59b_d9b4_e019).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}
