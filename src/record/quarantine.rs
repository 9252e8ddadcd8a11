//! Quarantine: values that can't be read, kept as they were found, out of everybody's way.
//!
//! ```text
//! meta     "quarantine" | tree u8 | when u64 | id u128    part QUARANTINED    Kept: key, reason, bytes as they lay there
//! blob     pieces of such a value stay where they are, and stay its own
//! counter  31 | tree u8                                   how many
//! ```
//!
//! A value goes there in one transaction with its removal, byte for byte: what a person or a later tool can still read
//! out of it is not lost. Nothing here is opened, changed or removed by anybody but who asks for it with
//! [`discard`]. The digest leaves quarantine out, like the rest of `meta`: it says what was found on this disk, and two
//! stores that hold the same data are equal though one of them once had a bad sector.

use serde::{Deserialize, Serialize};

use crate::codec::{self, Bytes, Head};
use crate::config::Durability;
use crate::engine::{Direction, KeyRange, Tree, check_limit};
use crate::error::{Error, Result};
use crate::keys::{self, KeyReader, KeyWriter};

use super::catalog::{QUARANTINED, QUARANTINED_VALUES};
use super::repair::{self, Repairer};
use super::scrub::{KeyCounter, Report, claim_values, damage, verify_values};
use super::store::RecordStore;
use super::txn::Transaction;
use super::view::{PAGE, View, for_each};

const NAME: &str = "quarantine";
/// Pieces removed in one transaction.
const STEP: u32 = 256;

/// How many values there are in quarantine, by tree.
pub(crate) const COUNTER: KeyCounter =
    KeyCounter { number: QUARANTINED_VALUES, name: "quarantined values", group: |key| Ok(group(Id::of(key)?.tree)) };

/// One value in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Quarantined {
    /// What [`fetch`] and [`discard`] take: 50 lower-case hex digits.
    pub id: String,
    /// The tree that it lay in.
    pub tree: &'static str,
    /// Its key there, with what can't be printed escaped.
    pub key: String,
    /// Why it was set aside.
    pub reason: String,
    /// When, in ms since the Unix epoch.
    pub at: u64,
    /// How many bytes it has, pieces included.
    pub bytes: u64,
}

/// A value in quarantine, with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuarantinedValue {
    /// What is known about it.
    pub entry: Quarantined,
    /// Its key, as it is.
    pub key: Vec<u8>,
    /// What lay there; nothing for pieces that no value referred to.
    pub stored: Vec<u8>,
    /// Its pieces, where it was cut: those that are missing are `None`.
    pub pieces: Vec<Option<Vec<u8>>>,
}

/// One page of the quarantine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QuarantinePage {
    /// By tree, then by time.
    pub entries: Vec<Quarantined>,
    /// What to give as `after` for the next page; `None` at the end.
    pub next: Option<String>,
}

/// A value as it is kept. Field order is the stored order.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    key: Bytes,
    reason: String,
    bytes: u64,
    stored: Bytes,
    /// Its pieces in `blob`: value id and how many.
    pieces: Option<(u128, u32)>,
}

/// The parts of a quarantine key behind its name.
#[derive(Clone, Copy)]
struct Id {
    tree: Tree,
    at: u64,
    id: u128,
}

impl Id {
    fn of(key: &[u8]) -> Result<Self> {
        let mut reader = KeyReader::new(key);
        reader.str()?;
        let id = Id { tree: Tree::from_number(reader.u8()?)?, at: reader.u64()?, id: reader.u128()? };
        reader.end()?;
        Ok(id)
    }

    fn key(self) -> Vec<u8> {
        keys::meta(NAME, KeyWriter::new().u8(self.tree.number()).u64(self.at).u128(self.id))
    }

    fn text(self) -> String {
        format!("{:02x}{:016x}{:032x}", self.tree.number(), self.at, self.id)
    }

    fn parse(text: &str) -> Result<Self> {
        let refused = || Error::invalid(format!("id: 50 lower-case hex digits, got `{}`", text.escape_debug()));
        if text.len() != 50 || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refused());
        }
        let (tree, rest) = text.split_at(2);
        let (at, id) = rest.split_at(16);
        let tree = u8::from_str_radix(tree, 16).map_err(|_| refused())?;
        Ok(Id {
            tree: Tree::from_number(tree).map_err(|_| refused())?,
            at: u64::from_str_radix(at, 16).map_err(|_| refused())?,
            id: u128::from_str_radix(id, 16).map_err(|_| refused())?,
        })
    }
}

/// What all quarantine keys begin with.
pub(super) fn prefix() -> Vec<u8> {
    keys::meta(NAME, KeyWriter::new())
}

fn group(tree: Tree) -> KeyWriter {
    KeyWriter::new().u8(tree.number())
}

/// Moves what stands at this place into quarantine; `None` when nothing does. Its pieces stay with it.
pub(crate) fn set_aside(
    txn: &mut Transaction<'_>,
    tree: Tree,
    key: &[u8],
    reason: &str,
) -> Result<Option<Quarantined>> {
    let Some(stored) = txn.txn.get(tree, key)? else { return Ok(None) };
    let head: Option<Head> = codec::read_head(tree, key, &stored).ok().flatten();
    let kept = Kept {
        key: Bytes(key.to_vec()),
        reason: reason.to_owned(),
        bytes: head.map_or(stored.len() as u64, |head| head.bytes),
        stored: Bytes(stored.to_vec()),
        pieces: head.map(|head| (head.value_id, head.pieces)),
    };
    txn.txn.delete(tree, key)?;
    keep(txn, tree, &kept).map(Some)
}

/// Puts pieces that no value refers to into quarantine. They stay where they are, and are somebody's again.
pub(super) fn set_pieces_aside(
    txn: &mut Transaction<'_>,
    value_id: u128,
    pieces: u32,
    bytes: u64,
    reason: &str,
) -> Result<Quarantined> {
    let key = Bytes(keys::blob(value_id, 0));
    let pieces = Some((value_id, pieces));
    let kept = Kept { key, reason: reason.to_owned(), bytes, stored: Bytes::default(), pieces };
    keep(txn, Tree::Blob, &kept)
}

fn keep(txn: &mut Transaction<'_>, tree: Tree, kept: &Kept) -> Result<Quarantined> {
    let id = Id { tree, at: txn.now_ms(), id: txn.fresh_id() };
    txn.put_part(QUARANTINED, &id.key(), kept)?;
    txn.add(COUNTER.number, group(tree), 1);
    Ok(describe(id, kept))
}

fn describe(id: Id, kept: &Kept) -> Quarantined {
    Quarantined {
        id: id.text(),
        tree: id.tree.name(),
        key: kept.key.0.escape_ascii().to_string(),
        reason: kept.reason.clone(),
        at: id.at,
        bytes: kept.bytes,
    }
}

/// Up to `limit` (1..=10,000) values in quarantine, behind the entry `after`.
///
/// # Errors
/// `Invalid` for a limit out of bounds, or an `after` that is no id; those of the engine. An entry that can't be read
/// is in the page, and says so.
pub fn list(view: &View<'_>, after: Option<&str>, limit: usize) -> Result<QuarantinePage> {
    check_limit(limit)?;
    let mut range = KeyRange::prefix(&prefix());
    if let Some(after) = after {
        range = range.behind(&Id::parse(after)?.key(), Direction::Ascending);
    }
    let mut page = QuarantinePage::default();
    loop {
        let wanted = (limit - page.entries.len()).min(PAGE);
        let scanned = view.reader().scan(Tree::Meta, &range, Direction::Ascending, wanted)?;
        for (key, stored) in &scanned.entries {
            let Ok(id) = damage(Id::of(key))? else { continue };
            page.entries.push(match damage(view.open_part::<Kept>(QUARANTINED, key, stored))? {
                Ok(kept) => describe(id, &kept),
                Err(error) => Quarantined {
                    id: id.text(),
                    tree: id.tree.name(),
                    key: String::new(),
                    reason: format!("can't be read any more: {error}"),
                    at: id.at,
                    bytes: stored.len() as u64,
                },
            });
        }
        let Some(resume) = scanned.resume else { return Ok(page) };
        if page.entries.len() >= limit {
            page.next = page.entries.last().map(|last| last.id.clone());
            return Ok(page);
        }
        range = range.behind(&resume, Direction::Ascending);
    }
}

/// One value in quarantine with its bytes, for export; `None` when there is none of this id.
///
/// # Errors
/// `Invalid` for what can be no id; `Corrupt` when the entry itself can't be read.
pub fn fetch(view: &View<'_>, id: &str) -> Result<Option<QuarantinedValue>> {
    let id = Id::parse(id)?;
    let Some(kept) = view.get_part::<Kept>(QUARANTINED, &id.key())? else { return Ok(None) };
    let mut pieces = Vec::new();
    if let Some((value_id, count)) = kept.pieces {
        for piece in 0..count {
            let stored = view.reader().get(Tree::Blob, &keys::blob(value_id, piece))?;
            pieces.push(stored.map(|piece| piece.to_vec()));
        }
    }
    Ok(Some(QuarantinedValue { entry: describe(id, &kept), key: kept.key.0, stored: kept.stored.0, pieces }))
}

/// Removes one value from quarantine for good, its pieces first; answers whether there was one of this id. Interrupted,
/// it is removed by calling again.
///
/// # Errors
/// `Invalid` for what can be no id; those of a commit. An entry that can't be read is removed all the same.
pub fn discard(store: &RecordStore, id: &str) -> Result<bool> {
    let id = Id::parse(id)?;
    let key = id.key();
    let kept = store.read(|view| damage(view.get_part::<Kept>(QUARANTINED, &key)))?;
    if let Ok(Some(Kept { pieces: Some((value_id, count)), .. })) = kept {
        for first in (0..count).step_by(STEP as usize) {
            let last = first.saturating_add(STEP).min(count);
            store.transact(Durability::Buffered, |txn| {
                (first..last).try_for_each(|piece| txn.txn.delete(Tree::Blob, &keys::blob(value_id, piece)))
            })?;
        }
    }
    store.transact(Durability::PowerLoss, |txn| {
        let held = txn.holds_part(QUARANTINED, &key)?;
        if held {
            txn.add(COUNTER.number, group(id.tree), -1);
            txn.delete_part(QUARANTINED, &key)?;
        }
        Ok(held)
    })
}

/// Calls `visit` with the key of each value of `tree` that is in quarantine.
pub(crate) fn for_each_key(view: &View<'_>, tree: Tree, mut visit: impl FnMut(&[u8])) -> Result<()> {
    let range = KeyRange::prefix(&keys::meta(NAME, group(tree)));
    for_each(view.reader(), Tree::Meta, range, |key, stored| {
        if let Ok(kept) = damage(view.open_part::<Kept>(QUARANTINED, key, stored))? {
            visit(&kept.key.0);
        }
        Ok(())
    })
}

/// Calls `visit` with the value id and the number of pieces of each value in quarantine that has some.
pub(super) fn for_each_in_pieces(view: &View<'_>, mut visit: impl FnMut(u128, u32)) -> Result<()> {
    for_each(view.reader(), Tree::Meta, KeyRange::prefix(&prefix()), |key, stored| {
        if let Ok(Kept { pieces: Some((value_id, pieces)), .. }) = damage(view.open_part(QUARANTINED, key, stored))? {
            visit(value_id, pieces);
        }
        Ok(())
    })
}

pub(super) fn claim(report: &mut Report) {
    claim_values(QUARANTINED, &prefix(), Some(&COUNTER), report);
}

/// Counts what is in quarantine again. An entry that can't be read is set aside like anything else.
pub(crate) fn repair(run: &mut Repairer<'_>) -> Result<()> {
    run.stage("quarantine");
    repair::values(run, QUARANTINED, &prefix(), Some(&COUNTER))
}

/// Checks the quarantine itself: that its entries can be read, and that they are counted.
///
/// # Errors
/// As [`scrub::verify`](super::scrub::verify).
pub fn verify(view: &View<'_>, report: &mut Report) -> Result<()> {
    let before = report.records;
    verify_values(view, QUARANTINED, &prefix(), Some(&COUNTER), report)?;
    // What is set aside is no record any more.
    report.quarantined += report.records - before;
    report.records = before;
    Ok(())
}
