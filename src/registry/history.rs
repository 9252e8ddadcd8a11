//! Reads of the history of a model's pointers: what moved when, and where a pointer pointed on some day.
//!
//! ```text
//!   moves of `prod`      09:00 none->1    12:00 1->2    15:00 2->none
//!   at 10:00             09:00 none->1                                   its `to` is the answer
//!   at 08:00             nothing: it did not exist                       all moves are kept, and the first is from none
//!                        NotFound: "not kept any more"                   where older moves were given up, or were lost
//! ```
//!
//! It refuses to guess: an answer for a day is given only when no move of the pointer can lie between the one that is
//! answered and that day. Stores of an earlier format noted moves of aliases among those of the active pointer; they
//! are read where they lie, until the alias moves again.

use std::collections::{BTreeMap, BTreeSet};

use super::pointers::{self, MOVES_KEPT, MoveFilter, Pointer, PointerMove};
use super::record::ModelRecord;
use super::tracks::{self, AliasMove, Tracks};
use crate::error::{Error, Result};
use crate::record::{View, catalog};

/// A move, with its place among all moves of the model.
struct Placed {
    /// Moves of the active pointer before it; whether it is one; moves of aliases before it.
    place: (u64, bool, u64),
    moved: PointerMove,
}

/// The kept moves of `model` that `filter` asks for, newest first.
pub(crate) fn moves(view: &View<'_>, model: &ModelRecord, filter: &MoveFilter) -> Result<Vec<PointerMove>> {
    let tracks = in_view(view, model)?;
    let mut found = placed(view, model, &tracks, filter.pointer.as_ref())?;
    if let Some(at) = filter.at {
        found = at_day(found, model, &tracks, filter.pointer.as_ref(), at)?;
    }
    found.sort_by_key(|placed| std::cmp::Reverse(placed.place));
    Ok(found.into_iter().map(|placed| placed.moved).collect())
}

/// The tracks of a model's aliases at one point in time.
pub(crate) fn in_view(view: &View<'_>, model: &ModelRecord) -> Result<Tracks> {
    Ok(view.get_part(catalog::ALIAS_TRACKS, &tracks::tracks_key(&model.life()))?.unwrap_or_default())
}

/// Every kept move of these pointers, each pointer's oldest first.
fn placed(view: &View<'_>, model: &ModelRecord, tracks: &Tracks, only: Option<&Pointer>) -> Result<Vec<Placed>> {
    let life = model.life();
    let mut found = Vec::new();
    // Only an alias that has not moved since an earlier format has its moves there.
    let has_track = matches!(only, Some(Pointer::Alias(alias)) if tracks.of.contains_key(alias));
    for number in pointers::kept(model).filter(|_| !has_track) {
        let moved = pointers::move_in_view(view, &life, number)?;
        if only.is_none_or(|only| *only == moved.pointer()) {
            found.push(Placed { place: (number, true, 0), moved });
        }
    }
    for (alias, track) in &tracks.of {
        if only.is_some_and(|only| !matches!(only, Pointer::Alias(wanted) if wanted == alias)) {
            continue;
        }
        for number in track.kept() {
            let moved: Option<AliasMove> =
                view.get_part(catalog::ALIAS_HISTORY, &tracks::move_key(&life, alias, number))?;
            let moved = moved.ok_or_else(|| tracks::missing(&model.name, alias, number))?;
            let (active, aliases) = moved.behind;
            found.push(Placed { place: (active, false, aliases), moved: moved.of_alias(alias) });
        }
    }
    Ok(found)
}

/// Of each pointer the move that was its last at this time.
fn at_day(
    found: Vec<Placed>,
    model: &ModelRecord,
    tracks: &Tracks,
    only: Option<&Pointer>,
    at: u64,
) -> Result<Vec<Placed>> {
    let mut by_pointer: BTreeMap<Pointer, Vec<Placed>> = BTreeMap::new();
    for placed in found {
        by_pointer.entry(placed.moved.pointer()).or_default().push(placed);
    }
    let standing = model.aliases.keys().cloned().map(Pointer::Alias).chain([Pointer::Active]);
    let asked: BTreeSet<Pointer> = match only {
        Some(only) => BTreeSet::from([only.clone()]),
        None => standing.chain(by_pointer.keys().cloned()).collect(),
    };
    if only.is_none() && tracks.forgotten.is_some_and(|forgotten| at < forgotten.until) {
        return Err(not_kept("some alias that was deleted", at));
    }
    let mut answer = Vec::new();
    for pointer in asked {
        let moves = by_pointer.remove(&pointer).unwrap_or_default();
        let (name, cut, now) = match &pointer {
            Pointer::Active => {
                ("the active version".to_owned(), model.pointer_moves > MOVES_KEPT, model.active_version)
            }
            Pointer::Alias(alias) => {
                (format!("alias {alias}"), tracks.is_cut(alias, at), model.aliases.get(alias).copied())
            }
        };
        let last = moves.iter().rposition(|placed| placed.moved.at <= at);
        let later = moves.get(last.map_or(0, |last| last + 1));
        // Where it pointed then, as the next move tells, or the model when there is none.
        let then = later.map_or(now, |later| later.moved.from);
        match last.and_then(|last| moves.into_iter().nth(last)) {
            Some(placed) if placed.moved.to == then => answer.push(placed),
            // It never pointed anywhere until then.
            None if then.is_none() && !cut => {}
            _ => return Err(not_kept(&name, at)),
        }
    }
    Ok(answer)
}

fn not_kept(what: &str, at: u64) -> Error {
    Error::not_found(format!("at: where {what} pointed at {at} is not kept any more"))
}
