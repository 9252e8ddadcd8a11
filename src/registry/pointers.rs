//! The pointers of a model - the active version and the aliases - and the notes of their moves.
//!
//! ```text
//! history  11 u16 | model | incarnation | n    part POINTER_HISTORY   the n-th move of the active pointer, from 0
//! ```
//!
//! The newest [`MOVES_KEPT`] moves of each pointer are kept: those of aliases in tracks of their own (`tracks.rs`), so
//! that no pointer's moves push another's out, however often versions are registered. Each new one is an entry of its
//! own and takes the place of the pointer's oldest, so a move costs the same whatever the history holds. A pointer that
//! is set to where it already points does not move. Reads of the history are in `history.rs`.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::leftovers::Life;
use super::record::ModelRecord;
use super::tracks;
use crate::error::{Error, Result};
use crate::keys;
use crate::record::{Transaction, View, catalog};

/// Most aliases of one model: all of them are part of its record.
pub const ALIASES_MAX: usize = 256;
/// How many moves are kept of each pointer that stands, the newest; and of all aliases that were deleted, about as many
/// together.
pub const MOVES_KEPT: u64 = 1000;

/// One pointer of a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pointer {
    /// The version in use.
    Active,
    /// An alias.
    Alias(String),
}

/// One move of a pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PointerMove {
    /// When, in ms since the Unix epoch.
    pub at: u64,
    /// Who moved it.
    pub by: Option<String>,
    /// The alias; `None` for the active pointer.
    pub alias: Option<String>,
    /// Where it pointed before.
    pub from: Option<u32>,
    /// Where it points since.
    pub to: Option<u32>,
}

impl PointerMove {
    /// The pointer that moved.
    #[must_use]
    pub fn pointer(&self) -> Pointer {
        self.alias.clone().map_or(Pointer::Active, Pointer::Alias)
    }
}

/// Which moves to answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoveFilter {
    /// Only moves of this pointer.
    pub pointer: Option<Pointer>,
    /// Only the move that was the pointer's last at this time, in ms since the Unix epoch: its `to` is where the
    /// pointer pointed then. Without a pointer, one such move for each. None for a pointer that was never set until
    /// then; `NotFound` where that day is no longer kept.
    pub at: Option<u64>,
}

impl MoveFilter {
    /// Every move.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only moves of this pointer.
    #[must_use]
    pub fn pointer(mut self, pointer: Pointer) -> Self {
        self.pointer = Some(pointer);
        self
    }

    /// Only the last move at this time, in ms since the Unix epoch.
    #[must_use]
    pub fn at(mut self, at: u64) -> Self {
        self.at = Some(at);
        self
    }
}

/// Sets a pointer of `model` and notes the move, if it is one. The caller saves the model.
pub(crate) fn point(
    txn: &mut Transaction<'_>,
    model: &mut ModelRecord,
    pointer: &Pointer,
    to: Option<u32>,
    by: Option<&str>,
) -> Result<()> {
    point_all(txn, model, std::slice::from_ref(pointer), to, by)
}

/// Takes every pointer away from a version that can't hold one any more.
pub(crate) fn unpoint(txn: &mut Transaction<'_>, model: &mut ModelRecord, number: u32, by: Option<&str>) -> Result<()> {
    let active = (model.active_version == Some(number)).then_some(Pointer::Active);
    let aliases = model.aliases_of(number).into_iter().map(Pointer::Alias);
    let held: Vec<Pointer> = active.into_iter().chain(aliases).collect();
    point_all(txn, model, &held, None, by)
}

/// Sets several pointers of `model`, each named once, and notes those that moved: what is kept about all aliases is
/// written once. The caller saves the model.
pub(crate) fn point_all(
    txn: &mut Transaction<'_>,
    model: &mut ModelRecord,
    pointers: &[Pointer],
    to: Option<u32>,
    by: Option<&str>,
) -> Result<()> {
    let mut of_aliases = Vec::new();
    for pointer in pointers {
        let (alias, from) = match pointer {
            Pointer::Active => (None, std::mem::replace(&mut model.active_version, to)),
            Pointer::Alias(alias) => {
                let from = match to {
                    Some(number) => model.aliases.insert(alias.clone(), number),
                    None => model.aliases.remove(alias),
                };
                (Some(alias.clone()), from)
            }
        };
        if from == to {
            continue;
        }
        let moved = PointerMove { at: txn.now_ms(), by: by.map(str::to_owned), alias, from, to };
        match pointer {
            Pointer::Active => note(txn, model, &moved)?,
            Pointer::Alias(_) => of_aliases.push(moved),
        }
    }
    tracks::note(txn, &model.life(), model.pointer_moves, of_aliases)
}

/// Notes a move of the active pointer.
fn note(txn: &mut Transaction<'_>, model: &mut ModelRecord, moved: &PointerMove) -> Result<()> {
    let (life, number) = (model.life(), model.pointer_moves);
    put_move(txn, &life, number, moved)?;
    if let Some(oldest) = number.checked_sub(MOVES_KEPT) {
        drop_move(txn, &life, oldest)?;
    }
    model.pointer_moves = number + 1;
    Ok(())
}

/// The numbers of the active pointer's moves that are kept.
pub(crate) fn kept(model: &ModelRecord) -> Range<u64> {
    model.pointer_moves.saturating_sub(MOVES_KEPT)..model.pointer_moves
}

/// The n-th move of a life's active pointer at one point in time; `Corrupt` without one.
pub(crate) fn move_in_view(view: &View<'_>, life: &Life, number: u64) -> Result<PointerMove> {
    view.get_part(catalog::POINTER_HISTORY, &move_key(life, number))?.ok_or_else(|| missing(&life.model, number))
}

/// The n-th move of a life's active pointer; `Corrupt` without one.
pub(crate) fn get_move(txn: &mut Transaction<'_>, life: &Life, number: u64) -> Result<PointerMove> {
    txn.get_part(catalog::POINTER_HISTORY, &move_key(life, number))?.ok_or_else(|| missing(&life.model, number))
}

pub(crate) fn put_move(txn: &mut Transaction<'_>, life: &Life, number: u64, moved: &PointerMove) -> Result<()> {
    txn.put_part(catalog::POINTER_HISTORY, &move_key(life, number), moved)
}

pub(crate) fn drop_move(txn: &mut Transaction<'_>, life: &Life, number: u64) -> Result<()> {
    txn.delete_part(catalog::POINTER_HISTORY, &move_key(life, number))
}

pub(crate) fn move_key(life: &Life, number: u64) -> Vec<u8> {
    keys::pointer_move(catalog::POINTER_HISTORY.tag, &life.model, life.incarnation, number)
}

fn missing(model: &str, number: u64) -> Error {
    Error::corrupt(format!("model {model:?}: pointer move {number} is missing"))
}
