//! Pointer moves: those of a pointer are numbered without a gap, and there are none of anybody else.
//!
//! A move that can't be read goes to quarantine, and those behind it move up by one, so that the history of the others
//! can be read again. It is then shorter than it was; what it says is true, since a move whose `from` is not where the
//! one before it led shows that something is missing between them (`history.rs`).
//!
//! Tracks of aliases that can't be read, or are gone, are made anew from the moves that are there.

use std::collections::BTreeMap;

use super::super::history;
use super::super::leftovers::{self, Life};
use super::super::pointers::{self, PointerMove};
use super::super::record::ModelRecord;
use super::super::tracks::{self, AliasMove, Forgotten, Track, Tracks};
use crate::engine::{KeyRange, Tree};
use crate::error::Result;
use crate::keys::{self, KeyReader};
use crate::record::repair::{Changes, Repairer};
use crate::record::scrub::{self, damage};
use crate::record::{Transaction, View, catalog};

/// What the keys of everything that is kept about pointer moves begin with.
pub(crate) fn moves_prefixes() -> [Vec<u8>; 3] {
    [catalog::POINTER_HISTORY, catalog::ALIAS_HISTORY, catalog::ALIAS_TRACKS]
        .map(|part| keys::history(part.tag, keys::KeyWriter::new()))
}

/// What is wrong with the kept moves of `model`, if anything: the key of the first that is missing or can't be read.
pub(crate) fn broken_moves(view: &View<'_>, model: &ModelRecord) -> Result<Option<(Vec<u8>, String)>> {
    let life = model.life();
    for number in pointers::kept(model) {
        let key = pointers::move_key(&life, number);
        let what = match damage(view.get_part::<PointerMove>(catalog::POINTER_HISTORY, &key))? {
            Ok(Some(_)) => continue,
            Ok(None) => format!("pointer move {number} of {} is missing", model.pointer_moves),
            Err(error) => error.to_string(),
        };
        return Ok(Some((key, what)));
    }
    let tracks = match damage(history::in_view(view, model))? {
        Ok(tracks) => tracks,
        Err(error) => return Ok(Some((tracks::tracks_key(&life), error.to_string()))),
    };
    if tracks == Tracks::default() && !moves_found(view, &life)?.is_empty() {
        return Ok(Some((tracks::tracks_key(&life), "the tracks of its aliases are missing".to_owned())));
    }
    for (alias, track) in &tracks.of {
        for number in track.kept() {
            let key = tracks::move_key(&life, alias, number);
            let what = match damage(view.get_part::<AliasMove>(catalog::ALIAS_HISTORY, &key))? {
                Ok(Some(_)) => continue,
                Ok(None) => tracks::missing(&model.name, alias, number).to_string(),
                Err(error) => error.to_string(),
            };
            return Ok(Some((key, what)));
        }
    }
    Ok(None)
}

/// Whose a key of the history is.
enum Whose {
    Active(Life, u64),
    Alias(Life, String, u64),
    Tracks(Life),
}

impl Whose {
    fn of(key: &[u8]) -> Option<Self> {
        let mut reader = KeyReader::new(key);
        let tag = reader.u16().ok()?;
        let model = reader.str().ok().filter(|name| !name.is_empty())?;
        let life = Life { model, incarnation: reader.u32().ok()? };
        if tag == catalog::ALIAS_HISTORY.tag {
            return tracks::parse_rest(reader).map(|(alias, number)| Whose::Alias(life, alias, number));
        }
        let whose = if tag == catalog::ALIAS_TRACKS.tag {
            Whose::Tracks(life)
        } else {
            let number = reader.u64().ok()?;
            Whose::Active(life, number)
        };
        reader.end().ok().map(|()| whose)
    }

    fn life(&self) -> &Life {
        match self {
            Whose::Active(life, _) | Whose::Alias(life, ..) | Whose::Tracks(life) => life,
        }
    }

    /// Whether the model keeps it; its tracks are asked for only if they decide.
    fn is_kept(&self, model: &ModelRecord, tracks: impl FnOnce() -> Result<Tracks>) -> Result<bool> {
        if model.life() != *self.life() {
            return Ok(false);
        }
        match self {
            Whose::Active(_, number) => Ok(pointers::kept(model).contains(number)),
            // Of tracks that can't be read it is not known what they keep.
            Whose::Alias(_, alias, number) => Ok(damage(tracks())?.map_or(true, |tracks| tracks.keeps(alias, *number))),
            Whose::Tracks(_) => Ok(true),
        }
    }
}

/// Whether what lies at `key` is nothing that its model keeps.
pub(crate) fn stray_move(view: &View<'_>, key: &[u8]) -> Result<bool> {
    let Some(whose) = Whose::of(key) else { return Ok(true) };
    let life = whose.life();
    match damage(view.get::<ModelRecord>(&keys::model(&life.model)))? {
        Ok(Some(model)) if whose.is_kept(&model, || history::in_view(view, &model))? => Ok(false),
        // What a delete or a rename left behind waits for its sweep.
        Ok(_) => Ok(damage(leftovers::in_view(view, &life.model))?
            .is_ok_and(|of_name| of_name.fate(life.incarnation).is_none())),
        // Of a model that can't be read it is not known what it keeps.
        Err(_) => Ok(false),
    }
}

/// Moves what no model keeps into quarantine.
pub(super) fn moves(run: &mut Repairer<'_>) -> Result<()> {
    run.stage("pointer moves");
    for prefix in moves_prefixes() {
        run.sweep(
            Tree::History,
            KeyRange::prefix(&prefix),
            |view, key, _| Ok(stray_move(view, key)?.then_some(())),
            |txn, key, (), changes| {
                if let Some(whose) = Whose::of(key) {
                    let life = whose.life();
                    let of_name = damage(leftovers::of(txn, &life.model))?;
                    if of_name.is_ok_and(|of_name| of_name.fate(life.incarnation).is_some()) {
                        return Ok(());
                    }
                    match damage(txn.get::<ModelRecord>(&keys::model(&life.model)))? {
                        Ok(Some(model)) if whose.is_kept(&model, || tracks::of(txn, life))? => return Ok(()),
                        Ok(_) => {}
                        Err(_) => return Ok(()),
                    }
                }
                changes.set_aside(txn, Tree::History, key, "a pointer move that no model keeps")
            },
        )?;
    }
    Ok(())
}

/// The moves of aliases that lie in the history of a life, by alias and number; `None` for one that can't be read.
pub(super) fn moves_found(view: &View<'_>, life: &Life) -> Result<BTreeMap<String, BTreeMap<u64, Option<AliasMove>>>> {
    let prefix = keys::pointer_moves(catalog::ALIAS_HISTORY.tag, &life.model, life.incarnation);
    let mut found: BTreeMap<String, BTreeMap<u64, Option<AliasMove>>> = BTreeMap::new();
    scrub::for_each_entry(view, Tree::History, KeyRange::prefix(&prefix), |key, _| {
        let rest = key.strip_prefix(prefix.as_slice()).map(KeyReader::new);
        if let Some((alias, number)) = rest.and_then(tracks::parse_rest) {
            let moved = damage(view.get_part::<AliasMove>(catalog::ALIAS_HISTORY, key))?.ok().flatten();
            found.entry(alias).or_default().insert(number, moved);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Tracks of `model` made from the moves that lie there, when it has none that can be read, but must have had some.
pub(super) fn lost_tracks(view: &View<'_>, model: &ModelRecord) -> Result<Option<Tracks>> {
    let held = damage(history::in_view(view, model))?;
    let found = moves_found(view, &model.life())?;
    if held.is_ok_and(|tracks| tracks != Tracks::default() || found.is_empty()) {
        return Ok(None);
    }
    let mut made = Tracks::default();
    for (alias, moves) in found {
        let (Some((&first, _)), Some((&last, newest))) = (moves.first_key_value(), moves.last_key_value()) else {
            continue;
        };
        let count = newest.as_ref().map_or(last, |moved| moved.behind.1.max(last)) + 1;
        made.moves = made.moves.max(count);
        let deleted = (!model.aliases.contains_key(&alias)).then_some(count);
        made.of.insert(alias, Track { first, next: last + 1, cut: true, deleted });
    }
    Ok(Some(made))
}

/// Makes the kept moves of `model` follow each other again. The caller saves the model. `made`: tracks for one that has
/// none that can be read.
pub(super) fn close_gaps(
    txn: &mut Transaction<'_>,
    model: &mut ModelRecord,
    made: Option<&Tracks>,
    changes: &mut Changes,
) -> Result<()> {
    let life = model.life();
    let kept = pointers::kept(model);
    let mut next = kept.start;
    for number in kept {
        let key_of = |number| pointers::move_key(&life, number);
        match damage(txn.get_part::<PointerMove>(catalog::POINTER_HISTORY, &key_of(number)))? {
            Ok(Some(moved)) => {
                if next != number {
                    txn.put_part(catalog::POINTER_HISTORY, &key_of(next), &moved)?;
                    txn.delete_part(catalog::POINTER_HISTORY, &key_of(number))?;
                }
                next += 1;
            }
            Ok(None) => {}
            Err(error) => changes.set_aside(txn, Tree::History, &key_of(number), &error.to_string())?,
        }
    }
    if next != model.pointer_moves {
        model.pointer_moves = next;
        changes.references += 1;
    }
    close_track_gaps(txn, &life, made, changes)
}

fn close_track_gaps(
    txn: &mut Transaction<'_>,
    life: &Life,
    made: Option<&Tracks>,
    changes: &mut Changes,
) -> Result<()> {
    let found = damage(tracks::of(txn, life))?;
    let before = found.as_ref().ok().cloned();
    // Which aliases there were besides those whose moves are there is known from now on.
    let made = made.map(|made| Tracks { forgotten: Some(Forgotten { since: 0, until: txn.now_ms() }), ..made.clone() });
    let mut after = match (found, made) {
        (Ok(tracks), Some(made)) if tracks == Tracks::default() => made,
        (Ok(tracks), _) => tracks,
        (Err(error), Some(made)) => {
            changes.set_aside(txn, Tree::History, &tracks::tracks_key(life), &error.to_string())?;
            made
        }
        // Damaged since it was looked at: the next repair has what it takes.
        (Err(_), None) => return Ok(()),
    };
    for (alias, track) in &mut after.of {
        let mut next = track.first;
        for number in track.kept() {
            let key = tracks::move_key(life, alias, number);
            match damage(txn.get_part::<AliasMove>(catalog::ALIAS_HISTORY, &key))? {
                Ok(Some(moved)) => {
                    if next != number {
                        tracks::put_move(txn, life, alias, next, &moved)?;
                        tracks::drop_move(txn, life, alias, number)?;
                    }
                    next += 1;
                }
                Ok(None) => {}
                Err(error) => changes.set_aside(txn, Tree::History, &key, &error.to_string())?,
            }
        }
        track.cut |= next != track.next;
        track.next = next;
    }
    after.of.retain(|_, track| !track.kept().is_empty());
    if before.as_ref() != Some(&after) {
        changes.references += 1;
        tracks::put(txn, life, &after)?;
    }
    Ok(())
}
