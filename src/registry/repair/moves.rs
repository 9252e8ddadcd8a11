//! Pointer moves: those of a model are numbered without a gap, and there are none of anybody else.
//!
//! A move that can't be read goes to quarantine, and those before it move up by one, so that the history of the others
//! can be read again. It is then shorter than it was; what it says is true.

use super::super::leftovers;
use super::super::pointers::{MOVES_KEPT, PointerMove};
use super::super::record::ModelRecord;
use super::moves_prefix;
use crate::engine::{KeyRange, Tree};
use crate::error::Result;
use crate::keys::{self, KeyReader};
use crate::record::repair::{Changes, Repairer};
use crate::record::scrub::damage;
use crate::record::{Transaction, View, catalog};

/// What is wrong with the kept moves of `model`, if anything: the key of the first that is missing or can't be read.
pub(crate) fn broken_moves(view: &View<'_>, model: &ModelRecord) -> Result<Option<(Vec<u8>, String)>> {
    for number in kept(model) {
        let key = key(model, number);
        let what = match damage(view.get_part::<PointerMove>(catalog::POINTER_HISTORY, &key))? {
            Ok(Some(_)) => continue,
            Ok(None) => format!("pointer move {number} of {} is missing", model.pointer_moves),
            Err(error) => error.to_string(),
        };
        return Ok(Some((key, what)));
    }
    Ok(None)
}

/// Whether the move at `key` is one that its model keeps.
pub(crate) fn stray_move(view: &View<'_>, key: &[u8]) -> Result<bool> {
    let Some((name, incarnation, number)) = parse(key) else { return Ok(true) };
    match damage(view.get::<ModelRecord>(&keys::model(&name)))? {
        Ok(Some(model)) if keeps(&model, incarnation, number) => Ok(false),
        // What a delete or a rename left behind waits for its sweep.
        Ok(_) => Ok(damage(leftovers::in_view(view, &name))?.is_ok_and(|of_name| of_name.fate(incarnation).is_none())),
        // Of a model that can't be read it is not known what it keeps.
        Err(_) => Ok(false),
    }
}

/// Moves what no model keeps into quarantine.
pub(super) fn moves(run: &mut Repairer<'_>) -> Result<()> {
    run.stage("pointer moves");
    run.sweep(
        Tree::History,
        KeyRange::prefix(&moves_prefix()),
        |view, key, _| Ok(stray_move(view, key)?.then_some(())),
        |txn, key, (), changes| {
            if let Some((name, incarnation, number)) = parse(key) {
                if damage(leftovers::of(txn, &name))?.is_ok_and(|of_name| of_name.fate(incarnation).is_some()) {
                    return Ok(());
                }
                match damage(txn.get::<ModelRecord>(&keys::model(&name)))? {
                    Ok(model) if !model.as_ref().is_some_and(|model| keeps(model, incarnation, number)) => {}
                    _ => return Ok(()),
                }
            }
            changes.set_aside(txn, Tree::History, key, "a pointer move that no model keeps")
        },
    )
}

/// Makes the kept moves of `model` follow each other again. The caller saves the model.
pub(super) fn close_gaps(txn: &mut Transaction<'_>, model: &mut ModelRecord, changes: &mut Changes) -> Result<()> {
    let kept = kept(model);
    let mut next = kept.start;
    for number in kept {
        let key_of = |number| key(model, number);
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
    Ok(())
}

fn kept(model: &ModelRecord) -> std::ops::Range<u64> {
    model.pointer_moves.saturating_sub(MOVES_KEPT)..model.pointer_moves
}

fn keeps(model: &ModelRecord, incarnation: u32, number: u64) -> bool {
    model.incarnation == incarnation && kept(model).contains(&number)
}

fn key(model: &ModelRecord, number: u64) -> Vec<u8> {
    keys::pointer_move(catalog::POINTER_HISTORY.tag, &model.name, model.incarnation, number)
}

/// Model, incarnation and number in the key of a move.
fn parse(key: &[u8]) -> Option<(String, u32, u64)> {
    let mut reader = KeyReader::new(key);
    reader.u16().ok()?;
    let name = reader.str().ok().filter(|name| !name.is_empty())?;
    let parsed = (name, reader.u32().ok()?, reader.u64().ok()?);
    reader.end().ok().map(|()| parsed)
}
