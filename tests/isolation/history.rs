//! The nouns of a history: who saw and who wrote which version of which key, and when.
//!
//! A key's versions are numbered 1, 2, 3, … by its writers, each of which reads the number before; 0 is "never
//! written". A removal is a version like any other.

use std::fmt;

/// How an event took part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A body whose answer, whatever it was, waited for durability.
    Durable,
    /// A body that did not: `Buffered`, or left by a panic.
    Hasty,
    /// A read outside of bodies: get, get_many, read_view, one page of a scan.
    Plain,
}

/// One version of one key as somebody saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub key: usize,
    pub version: u64,
    /// The id of the event that wrote it, by its own words; 0 with version 0.
    pub writer: u64,
    /// The writer wrote over it in the same body: nobody else may see it.
    pub draft: bool,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: u64,
    pub what: &'static str,
    pub kind: Kind,
    /// Ticks of one clock: whatever ended before another began, came first.
    pub start: u64,
    pub end: u64,
    pub seen: Vec<Seen>,
    /// Key and version, of a body that committed.
    pub wrote: Vec<(usize, u64)>,
    /// The place of the commit among batches, as the engine told it.
    pub batch: Option<u64>,
    /// What was wrong already when it was seen: a key half there, an answer before its sync.
    pub faults: Vec<String>,
}

impl Event {
    pub fn new(id: u64, what: &'static str, kind: Kind, start: u64, end: u64) -> Self {
        let (seen, wrote, faults) = (Vec::new(), Vec::new(), Vec::new());
        Event { id, what, kind, start, end, seen, wrote, batch: None, faults }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {} ({:?}) at {}..{}", self.id, self.what, self.kind, self.start, self.end)?;
        for seen in &self.seen {
            write!(f, " saw k{}@{}", seen.key, seen.version)?;
        }
        for (key, version) in &self.wrote {
            write!(f, " WROTE k{key}@{version}")?;
        }
        match self.batch {
            Some(batch) => write!(f, " in batch {batch}"),
            None => Ok(()),
        }
    }
}
