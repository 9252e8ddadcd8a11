//! The histories of a model's aliases: a track for each alias, and what bounds them.
//!
//! ```text
//! history  22 u16 | model | incarnation          part ALIAS_TRACKS    Tracks: which moves of which alias are kept
//! history  21 u16 | model | incarnation | alias | n   part ALIAS_HISTORY   AliasMove
//!
//!   prod     n: 0 . . 4 . 5         kept 0..6     the newest MOVES_KEPT of an alias that stands
//!   canary   n: 2 3                 kept 2..4     deleted: kept while deleted aliases have at most MOVES_KEPT together
//! ```
//!
//! A move of one alias pushes out moves of that alias alone, and a move of the active pointer none at all. What is kept
//! of aliases that were deleted has a bound together, since there may be any number of their names: each verb that
//! moves aliases gives up about [`GIVEN_UP_AT_ONCE`] moves of the ones that were deleted first. Archiving a version may
//! delete 256 aliases with full tracks at once, so the bound may be passed, but no move is ever added while it is without
//! at least as many going: a life never keeps more than `(ALIASES_MAX + 1) * MOVES_KEPT` moves of aliases. The tracks are
//! one value, rewritten with every move of an alias: of about `ALIASES_MAX + MOVES_KEPT` names, and never of more than
//! three times that while a surplus of so many full tracks goes.
//!
//! Numbers in a track follow each other without a gap, and none is used twice by one alias, also when its track was
//! given up and begun anew: a new track begins at the number of all moves of aliases so far.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::leftovers::Life;
use super::pointers::{MOVES_KEPT, PointerMove};
use crate::error::{Error, Result};
use crate::keys::{self, KeyReader};
use crate::record::scrub::damage;
use crate::record::{Transaction, catalog};

/// Most moves of deleted aliases that one verb gives up, or two for each that it adds if that is more. So many that a
/// surplus is gone before new names of aliases, two moves each, make the tracks themselves grow long.
const GIVEN_UP_AT_ONCE: u64 = 64;

/// What is kept of the histories of one life's aliases. Field order is the stored order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tracks {
    /// How many moves of aliases there have been; only ever grows.
    pub(crate) moves: u64,
    /// Aliases of which nothing is kept any more; `None` when there were none.
    pub(crate) forgotten: Option<Forgotten>,
    pub(crate) of: BTreeMap<String, Track>,
}

/// Aliases of which nothing is kept any more. Field order is the stored order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forgotten {
    /// How many moves there had been when one was forgotten first: a whole track that begins before is the first of its
    /// alias.
    pub(crate) since: u64,
    /// When the last one of them was deleted, in ms since the Unix epoch: from then on they pointed nowhere.
    pub(crate) until: u64,
}

/// What is kept of the history of one alias. Field order is the stored order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Track {
    /// The oldest move that is kept.
    pub(crate) first: u64,
    /// The number of the next one.
    pub(crate) next: u64,
    /// Whether older ones were given up.
    pub(crate) cut: bool,
    /// When the alias was deleted, as a number of `moves`; `None` while it stands.
    pub(crate) deleted: Option<u64>,
}

/// One move of an alias; the alias is in the key. Field order is the stored order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AliasMove {
    /// How many moves of the active pointer, and of all aliases, there had been before: its place among all moves.
    pub(crate) behind: (u64, u64),
    pub(crate) at: u64,
    pub(crate) by: Option<String>,
    pub(crate) from: Option<u32>,
    pub(crate) to: Option<u32>,
}

impl AliasMove {
    pub(crate) fn of_alias(self, alias: &str) -> PointerMove {
        PointerMove { at: self.at, by: self.by, alias: Some(alias.to_owned()), from: self.from, to: self.to }
    }
}

impl Track {
    pub(crate) fn kept(&self) -> Range<u64> {
        self.first..self.next
    }

    fn len(&self) -> u64 {
        self.next.saturating_sub(self.first)
    }
}

impl Tracks {
    /// Whether there may have been moves of this alias, by this time, that are not kept any more.
    pub(crate) fn is_cut(&self, alias: &str, at: u64) -> bool {
        let first_of_it = |track: &Track| self.forgotten.is_some_and(|forgotten| track.first < forgotten.since);
        match self.of.get(alias) {
            Some(track) if track.cut => true,
            Some(track) if first_of_it(track) => false,
            _ => self.forgotten.is_some_and(|forgotten| at < forgotten.until),
        }
    }

    /// How many moves have to be copied or dropped until `copied` is what is kept.
    pub(crate) fn away_from(&self, copied: &Copied) -> u64 {
        let len = |range: &Range<u64>| range.end.saturating_sub(range.start);
        let both = |one: &Range<u64>, other: &Range<u64>| one.start.max(other.start)..one.end.min(other.end);
        let shared =
            |(alias, track): (&String, &Track)| copied.get(alias).map_or(0, |held| len(&both(held, &track.kept())));
        let kept: u64 = self.of.values().map(Track::len).sum();
        let held: u64 = copied.values().map(len).sum();
        kept + held - 2 * self.of.iter().map(shared).sum::<u64>()
    }

    pub(crate) fn keeps(&self, alias: &str, number: u64) -> bool {
        self.of.get(alias).is_some_and(|track| track.kept().contains(&number))
    }

    fn is_empty(&self) -> bool {
        *self == Tracks::default()
    }
}

/// The tracks of a life as the transaction sees them.
pub(crate) fn of(txn: &mut Transaction<'_>, life: &Life) -> Result<Tracks> {
    Ok(txn.get_part(catalog::ALIAS_TRACKS, &tracks_key(life))?.unwrap_or_default())
}

/// Notes that aliases moved, each once, and gives up what is no longer kept. `active_moves`: how many moves of the active
/// pointer there have been.
pub(crate) fn note(txn: &mut Transaction<'_>, life: &Life, active_moves: u64, moves: Vec<PointerMove>) -> Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let mut tracks = of(txn, life)?;
    let budget = GIVEN_UP_AT_ONCE.max(2 * moves.len() as u64);
    for moved in moves {
        let alias = moved.alias.unwrap_or_default();
        let begun = Track { first: tracks.moves, next: tracks.moves, ..Track::default() };
        let mut track = tracks.of.remove(&alias).unwrap_or(begun);
        let behind = (active_moves, tracks.moves);
        let noted = AliasMove { behind, at: moved.at, by: moved.by, from: moved.from, to: moved.to };
        put_move(txn, life, &alias, track.next, &noted)?;
        tracks.moves += 1;
        track.next += 1;
        track.deleted = moved.to.is_none().then_some(tracks.moves);
        if track.len() > MOVES_KEPT {
            drop_move(txn, life, &alias, track.first)?;
            track.first += 1;
            track.cut = true;
        }
        tracks.of.insert(alias, track);
    }
    give_up(txn, life, &mut tracks, budget)?;
    put(txn, life, &tracks)
}

/// Gives up the oldest moves of the aliases that were deleted first, at most `budget`, while deleted ones have too many
/// together.
fn give_up(txn: &mut Transaction<'_>, life: &Life, tracks: &mut Tracks, budget: u64) -> Result<()> {
    let kept: u64 = tracks.of.values().filter(|track| track.deleted.is_some()).map(Track::len).sum();
    let mut surplus = kept.saturating_sub(MOVES_KEPT).min(budget);
    while surplus > 0 {
        let deleted = tracks.of.iter_mut().filter(|(_, track)| track.deleted.is_some());
        let Some((alias, track)) = deleted.min_by_key(|(_, track)| track.deleted) else { break };
        let alias = alias.clone();
        let end = track.first + track.len().min(surplus);
        surplus -= end - track.first;
        // One that can't be read was made until now, whenever that was.
        let newest =
            end.checked_sub(1).map_or(Ok(None), |number| damage(get_move(txn, life, &alias, number)).map(Result::ok));
        let until = newest?.map_or(txn.now_ms(), |moved| moved.at);
        (track.first..end).try_for_each(|number| drop_move(txn, life, &alias, number))?;
        track.first = end;
        track.cut = true;
        if track.len() == 0 {
            tracks.of.remove(&alias);
            let so_far = tracks.forgotten.unwrap_or(Forgotten { since: tracks.moves, until });
            tracks.forgotten = Some(Forgotten { until: so_far.until.max(until), ..so_far });
        }
    }
    Ok(())
}

/// Writes the tracks of a life; none of them are nothing.
pub(crate) fn put(txn: &mut Transaction<'_>, life: &Life, tracks: &Tracks) -> Result<()> {
    match tracks.is_empty() {
        true => txn.delete_part(catalog::ALIAS_TRACKS, &tracks_key(life)),
        false => txn.put_part(catalog::ALIAS_TRACKS, &tracks_key(life), tracks),
    }
}

/// Removes every move of a life's aliases, and the tracks.
pub(crate) fn drop_all(txn: &mut Transaction<'_>, life: &Life) -> Result<()> {
    for (alias, track) in of(txn, life)?.of {
        track.kept().try_for_each(|number| drop_move(txn, life, &alias, number))?;
    }
    txn.delete_part(catalog::ALIAS_TRACKS, &tracks_key(life))
}

/// One move of an alias; `Corrupt` without it.
pub(crate) fn get_move(txn: &mut Transaction<'_>, life: &Life, alias: &str, number: u64) -> Result<AliasMove> {
    txn.get_part(catalog::ALIAS_HISTORY, &move_key(life, alias, number))?
        .ok_or_else(|| missing(&life.model, alias, number))
}

pub(crate) fn put_move(
    txn: &mut Transaction<'_>,
    life: &Life,
    alias: &str,
    number: u64,
    moved: &AliasMove,
) -> Result<()> {
    txn.put_part(catalog::ALIAS_HISTORY, &move_key(life, alias, number), moved)
}

pub(crate) fn drop_move(txn: &mut Transaction<'_>, life: &Life, alias: &str, number: u64) -> Result<()> {
    txn.delete_part(catalog::ALIAS_HISTORY, &move_key(life, alias, number))
}

pub(crate) fn move_key(life: &Life, alias: &str, number: u64) -> Vec<u8> {
    keys::alias_move(catalog::ALIAS_HISTORY.tag, &life.model, life.incarnation, alias, number)
}

pub(crate) fn tracks_key(life: &Life) -> Vec<u8> {
    keys::pointer_moves(catalog::ALIAS_TRACKS.tag, &life.model, life.incarnation)
}

pub(crate) fn missing(model: &str, alias: &str, number: u64) -> Error {
    Error::corrupt(format!("model {model:?}: move {number} of alias {alias} is missing"))
}

/// The alias and the number in the rest of a move's key, behind its life.
pub(crate) fn parse_rest(mut rest: KeyReader<'_>) -> Option<(String, u64)> {
    let parsed = (rest.str().ok()?, rest.u64().ok()?);
    rest.end().ok().map(|()| parsed)
}

/// The moves of aliases that a rename has copied, by alias.
pub(crate) type Copied = BTreeMap<String, Range<u64>>;

/// Brings copies nearer to the tracks of `from` by at most `steps_max` moves; answers what is copied then, and whether
/// that is all.
pub(crate) fn copy(
    txn: &mut Transaction<'_>,
    from: &Life,
    to: &Life,
    copied: &Copied,
    steps_max: usize,
) -> Result<(Copied, bool)> {
    let tracks = of(txn, from)?;
    let mut copied = copied.clone();
    let mut steps = 0;
    let names: Vec<String> = copied.keys().chain(tracks.of.keys()).cloned().collect();
    for alias in names {
        let wanted = tracks.of.get(&alias).map_or(0..0, Track::kept);
        let mut held = copied.remove(&alias).unwrap_or(wanted.start..wanted.start);
        // Numbers only grow: what is no longer kept is at the beginning, all of it when the track was given up.
        while !held.is_empty() && (held.start < wanted.start || wanted.is_empty()) && steps < steps_max {
            drop_move(txn, to, &alias, held.start)?;
            held.start += 1;
            steps += 1;
        }
        if held.is_empty() {
            held = wanted.start..wanted.start;
        }
        while held.start >= wanted.start && held.end < wanted.end && steps < steps_max {
            let moved = get_move(txn, from, &alias, held.end)?;
            put_move(txn, to, &alias, held.end, &moved)?;
            held.end += 1;
            steps += 1;
        }
        if !held.is_empty() {
            copied.insert(alias, held);
        }
    }
    let done = copied.len() == tracks.of.len()
        && tracks.of.iter().all(|(alias, track)| copied.get(alias) == Some(&track.kept()));
    if done {
        put(txn, to, &tracks)?;
    }
    Ok((copied, done))
}
