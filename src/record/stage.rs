//! Large values written ahead of the commit that refers to them, so that the commit itself stays small.
//!
//! ```text
//! stage            meta/staged:<value id>: how many pieces      blob/(value id, 0..): the pieces     Buffered, 1 MiB each
//! put_staged       part/key: head            meta/staged:… goes                                     the caller's commit
//! sweep_staged     whatever still has its mark: pieces go, then the mark                             at open
//! ```
//!
//! Visibility and durability are prefixes of commit order, so a commit that refers to the pieces is never there
//! without them. Until then nobody sees them: not readers, not the digest, not verify.

use serde::Serialize;

use crate::codec::{self, Head, Part};
use crate::config::Durability;
use crate::engine::{Direction, KeyRange, Reader, Tree, VALUE_BYTES_MAX, Value};
use crate::error::{Error, Result};
use crate::keys::{self, KeyWriter};

use super::catalog::STAGED;
use super::quarantine;
use super::scrub::{Report, damage};
use super::store::RecordStore;
use super::txn::Transaction;
use super::value::{Cut, PIECES_AT_ONCE, PartWriter};
use super::view::{PAGE, View, for_each};

const MARK: &str = "staged";

/// A value that is encoded, and in place if it is large, but that nothing refers to yet.
#[derive(Debug)]
#[must_use = "a staged value that is neither put nor discarded takes room until the next opening"]
pub struct Staged {
    part: Part,
    key: Vec<u8>,
    stored: Stored,
}

#[derive(Debug)]
enum Stored {
    /// Small enough for one entry: written by the commit itself.
    Whole(Value),
    Pieces(Head),
}

/// What [`RecordStore::sweep_staged`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweptStaged {
    /// Values that were removed.
    pub removed: u64,
    /// Marks that could not be read.
    pub set_aside: u64,
}

impl RecordStore {
    /// Encodes `value` for `part` at `key`, and writes it ahead if it is too large for one entry.
    ///
    /// # Errors
    /// `Invalid` for a value beyond 16 MiB; those of a commit.
    pub fn stage<T: Serialize>(&self, part: Part, key: &[u8], value: &T) -> Result<Staged> {
        let envelope = codec::encode(part, key, value)?;
        let key = key.to_vec();
        if envelope.len() <= VALUE_BYTES_MAX {
            return Ok(Staged { part, key, stored: Stored::Whole(Value::from(envelope)) });
        }
        let cut = Cut::new(self.ids().next_u128(), envelope)?;
        // The mark first: pieces without one would never be swept.
        self.transact(Durability::Buffered, |txn| txn.put_part(STAGED, &mark(cut.head.value_id), &cut.head.pieces))?;
        let pieces: Vec<(Vec<u8>, Value)> = cut.pieces().collect();
        for pieces in pieces.chunks(PIECES_AT_ONCE as usize) {
            self.transact(Durability::Buffered, |txn| {
                pieces.iter().try_for_each(|(key, piece)| txn.txn.put(Tree::Blob, key, piece.clone()))
            })?;
        }
        Ok(Staged { part, key, stored: Stored::Pieces(cut.head) })
    }

    /// Gives up a staged value that no commit has put.
    ///
    /// # Errors
    /// Those of a commit.
    pub fn discard_staged(&self, staged: Staged) -> Result<()> {
        match staged.stored {
            Stored::Whole(_) => Ok(()),
            Stored::Pieces(head) => self.remove_staged(head.value_id, head.pieces),
        }
    }

    /// Removes every staged value, and answers how many. For the opening of a store alone, when nobody stages: later
    /// it would take the pieces of those who do. A mark that can't be read goes to quarantine; repair finds its pieces.
    ///
    /// # Errors
    /// Those of a commit.
    pub fn sweep_staged(&self) -> Result<SweptStaged> {
        let mut rest = KeyRange::prefix(&keys::meta(MARK, KeyWriter::new()));
        let mut swept = SweptStaged::default();
        loop {
            let page = self.engine().scan(Tree::Meta, &rest, Direction::Ascending, PAGE)?;
            for (key, stored) in &page.entries {
                match damage(read_mark(key, stored))? {
                    Ok((value_id, pieces)) => {
                        self.remove_staged(value_id, pieces)?;
                        swept.removed += 1;
                    }
                    Err(error) => {
                        let why = error.to_string();
                        self.transact(Durability::Buffered, |txn| {
                            quarantine::set_aside(txn, Tree::Meta, key, &why).map(drop)
                        })?;
                        swept.set_aside += 1;
                    }
                }
            }
            match page.resume {
                Some(resume) => rest = rest.behind(&resume, Direction::Ascending),
                None => return Ok(swept),
            }
        }
    }

    /// The pieces in bounded steps, then the mark: interrupted anywhere, the next sweep goes on. A mark that is gone
    /// means that a commit took the pieces over: then none is touched.
    fn remove_staged(&self, value_id: u128, pieces: u32) -> Result<()> {
        let mark = mark(value_id);
        for first in (0..pieces).step_by(PAGE) {
            let last = first.saturating_add(PAGE as u32).min(pieces);
            self.transact(Durability::Buffered, |txn| {
                if txn.txn.get(Tree::Meta, &mark)?.is_none() {
                    return Ok(());
                }
                (first..last).try_for_each(|piece| txn.txn.delete(Tree::Blob, &keys::blob(value_id, piece)))
            })?;
        }
        self.transact(Durability::Buffered, |txn| txn.delete_part(STAGED, &mark))
    }
}

impl Transaction<'_> {
    /// Writes the staged value at its place. When the commit fails, it stays staged and can be put again.
    ///
    /// # Errors
    /// `Internal` when it was put or discarded before; `Invalid` past a limit.
    pub fn put_staged(&mut self, staged: &Staged) -> Result<()> {
        let Staged { part, key, stored } = staged;
        let outcome = match stored {
            Stored::Whole(envelope) => {
                let freed = PartWriter::new(self.txn, &mut self.ids).delete(*part, key);
                freed.and_then(|()| self.txn.put(part.tree, key, envelope.clone()))
            }
            Stored::Pieces(head) => {
                let mark = mark(head.value_id);
                if self.txn.get(Tree::Meta, &mark)?.is_none() {
                    return Err(Error::internal(format!("value {:032x} is not staged any more", head.value_id)));
                }
                let put = PartWriter::new(self.txn, &mut self.ids).put_cut(part.tree, key, head);
                put.and_then(|()| self.txn.delete(Tree::Meta, &mark))
            }
        };
        self.settle(outcome)
    }
}

/// Calls `visit` with the id of every value that is staged now, and how many pieces it has.
pub(super) fn for_each_staged(reader: &dyn Reader, mut visit: impl FnMut(u128, u32)) -> Result<()> {
    for_each(reader, Tree::Meta, KeyRange::prefix(&keys::meta(MARK, KeyWriter::new())), |key, stored| {
        if let Ok((value_id, pieces)) = read_mark(key, stored) {
            visit(value_id, pieces);
        }
        Ok(())
    })
}

impl View<'_> {
    /// How many values are staged at this point in time.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn staged_values(&self) -> Result<u64> {
        let mut count = 0;
        for_each_staged(self.reader(), |_, _| count += 1)?;
        Ok(count)
    }
}

/// Claims the marks of staged values.
pub(super) fn claim(report: &mut Report) {
    report.claim(STAGED.tree, &keys::meta(MARK, KeyWriter::new()));
}

fn mark(value_id: u128) -> Vec<u8> {
    keys::meta(MARK, KeyWriter::new().u128(value_id))
}

fn read_mark(key: &[u8], stored: &[u8]) -> Result<(u128, u32)> {
    let mut reader = keys::KeyReader::new(key);
    reader.str()?;
    let value_id = reader.u128()?;
    reader.end()?;
    Ok((value_id, codec::decode(STAGED, key, stored)?))
}
