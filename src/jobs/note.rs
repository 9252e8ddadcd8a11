//! What the keys of a commit say about queues: who became ready or is not any more, what will be due, who is paused.
//!
//! ```text
//! ready     queue, priority, run_at, sequence   present: can be claimed      removed: not any more
//! due       queue, run_at, sequence             present: waits for run_at    (a removal only makes a floor too low)
//! finished  queue, retention_ms, finished_at    present: prunable at the sum (likewise)
//! paused    queue                               present: paused              removed: resumed
//! ```

use super::enqueue::parse_key;
use super::job::JobId;
use super::schema::paused_prefix;
use super::window::Place;
use crate::engine::{Told, Tree};
use crate::error::Result;
use crate::keys::{self, KeyReader};
use crate::record::catalog::jobs as numbers;

/// One key, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    Ready(Place, JobId),
    DueAt(u64),
    PrunableAt(u64),
    Paused,
}

/// The keys to be told.
pub(crate) fn watches() -> Vec<(Tree, Vec<u8>)> {
    let index = |number| (Tree::Index, keys::index_prefix(number, &[]));
    vec![index(numbers::READY), index(numbers::DUE), index(numbers::FINISHED), (Tree::Meta, paused_prefix())]
}

impl Note {
    /// Understands a key of [`watches`]; answers the queue that it is about, too.
    ///
    /// # Errors
    /// `Corrupt` for a key that the schema does not write.
    pub fn read(told: &Told<'_>) -> Result<(String, Note)> {
        if told.tree == Tree::Meta {
            let mut parts = KeyReader::new(told.key);
            parts.str()?;
            return Ok((parts.str()?, Note::Paused));
        }
        let index = KeyReader::new(told.key).u32()?;
        let (parts, primary) = keys::split_entry(told.key)?;
        let mut reader = KeyReader::new(parts);
        let queue = reader.str()?;
        let note = match index {
            numbers::READY => Note::Ready(read_place(&mut reader)?, parse_key(primary)?),
            numbers::DUE => Note::DueAt(reader.u64()?),
            _ => Note::PrunableAt(reader.u64()?.saturating_add(reader.u64()?)),
        };
        Ok((queue, note))
    }
}

/// The place in parts of the ready index, behind the queue.
pub(crate) fn read_place(parts: &mut KeyReader<'_>) -> Result<Place> {
    Ok(Place { priority: parts.u8()?, run_at: parts.u64()?, sequence: parts.u64()? })
}
