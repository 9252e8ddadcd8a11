//! Each model against its versions: pointers to what can't hold one, counts that are off, a high-water mark below a
//! version, and moves that are missing.
//!
//! The counts in a model follow the argument of counters: at one point in time they are off by so much, writers only
//! add and subtract, so the difference is added to whatever they are by now. The mark only ever grows. Pointers are
//! looked at inside the transaction that removes them.

use super::super::leftovers;
use super::super::pointers::{self, Pointer};
use super::super::record::{ModelRecord, VERSION_NUMBERS, VersionRecord};
use super::super::row;
use super::super::tracks::Tracks;
use super::BY;
use super::moves::{broken_moves, close_gaps, lost_tracks};
use crate::engine::{Direction, KeyRange, Tree};
use crate::error::{Error, Result};
use crate::keys::{self, KeyWriter};
use crate::record::repair::{Changes, Repairer};
use crate::record::scrub::damage;
use crate::record::{Transaction, View};

/// What is wrong with one model.
#[derive(Debug, Default, PartialEq, Eq)]
struct Off {
    versions: i64,
    archived_versions: i64,
    highest: u32,
    last_version_low: bool,
    pointers: bool,
    moves: bool,
    /// The tracks of its aliases, when they have to be made anew.
    tracks: Option<Tracks>,
}

/// Puts the references of every model right.
pub(super) fn references(run: &mut Repairer<'_>) -> Result<()> {
    run.stage("references of models");
    run.sweep(Tree::Models, KeyRange::all(), |view, key, _| off(view, key), mend)
}

fn off(view: &View<'_>, key: &[u8]) -> Result<Option<Off>> {
    let Ok(Some(model)) = damage(view.get::<ModelRecord>(key))? else { return Ok(None) };
    let of_name = damage(leftovers::in_view(view, &model.name))?.unwrap_or_default();
    let (mut versions, mut archived, mut highest) = (0i64, 0i64, 0);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let of_model = KeyWriter::new().str(&model.name);
        let page = view.index_page(&VERSION_NUMBERS, of_model, Direction::Ascending, after.as_deref(), 1000)?;
        for entry in &page.entries {
            let Ok(Some(version)) = damage(view.get::<VersionRecord>(&entry.primary))? else { continue };
            // The numbers of an earlier life are given out again; those of a row that nobody knows are not.
            if of_name.fate(version.incarnation).is_none() {
                highest = version.number.max(highest);
            }
            if version.is_of(&model) {
                versions += 1;
                archived += i64::from(version.archived);
            }
        }
        match page.resume {
            Some(resume) => after = Some(resume),
            None => break,
        }
    }
    let mut pointers = false;
    for number in model.active_version.iter().chain(model.aliases.values()) {
        let target = damage(view.get::<VersionRecord>(&keys::version(&model.name, *number)))?;
        pointers |= target.is_ok_and(|target| !may_hold(&model, target.as_ref()));
    }
    let moves = broken_moves(view, &model)?.is_some();
    let off = Off {
        versions: versions - i64::from(model.versions),
        archived_versions: archived - i64::from(model.archived_versions),
        highest,
        last_version_low: highest > model.last_version,
        pointers,
        moves,
        tracks: if moves { lost_tracks(view, &model)? } else { None },
    };
    Ok((off != Off { highest, ..Off::default() }).then_some(off))
}

fn mend(txn: &mut Transaction<'_>, key: &[u8], off: &Off, changes: &mut Changes) -> Result<()> {
    let Some(old) = txn.get::<ModelRecord>(key)? else { return Ok(()) };
    let mut model = old.clone();
    model.versions = moved_by(&model, old.versions, off.versions)?;
    model.archived_versions = moved_by(&model, old.archived_versions, off.archived_versions)?;
    model.last_version = model.last_version.max(off.highest);
    if model != old {
        changes.references += 1;
    }
    if off.moves {
        close_gaps(txn, &mut model, off.tracks.as_ref(), changes)?;
    }
    let held = model.aliases.iter().map(|(alias, number)| (Pointer::Alias(alias.clone()), *number));
    let held: Vec<_> = model.active_version.map(|number| (Pointer::Active, number)).into_iter().chain(held).collect();
    let mut astray = Vec::new();
    for (pointer, number) in held {
        // One that can't be read now was whole when it was looked at with the others: the next repair decides.
        let Ok(target) = damage(txn.get::<VersionRecord>(&keys::version(&model.name, number)))? else { continue };
        if !may_hold(&model, target.as_ref()) {
            astray.push(pointer);
            changes.references += 1;
        }
    }
    pointers::point_all(txn, &mut model, &astray, None, Some(BY))?;
    if model == old {
        return Ok(());
    }
    // A rename that is under way has copied what was wrong: it ends here, and can be asked for again.
    model.moving_to = None;
    model.updated_at = txn.now_ms();
    model.changed_by = Some(BY.to_owned());
    txn.update(&old, model).map(drop)
}

/// Makes copies whose original is gone stand for themselves.
pub(super) fn copies(run: &mut Repairer<'_>) -> Result<()> {
    run.stage("copies of versions");
    run.sweep(
        Tree::ModelVersions,
        KeyRange::all(),
        |view, key, _| {
            let Ok(Some(copy)) = damage(view.get::<VersionRecord>(key))? else { return Ok(None) };
            let Some(source) = &copy.copy_of else { return Ok(None) };
            let original = damage(view.get::<VersionRecord>(&keys::version(&source.model, copy.number)))?;
            let gone = original.is_ok_and(|original| original.is_none_or(|original| original.life() != *source));
            Ok(gone.then_some(()))
        },
        |txn, key, (), changes| {
            let Some(copy) = txn.get::<VersionRecord>(key)? else { return Ok(()) };
            let model = txn.get::<ModelRecord>(&keys::model(&copy.model))?;
            if model.is_some_and(|model| copy.is_of(&model)) && copy.copy_of.is_some() {
                row::own(txn, copy)?;
                changes.references += 1;
            }
            Ok(())
        },
    )
}

/// Whether a pointer of `model` may lead to this version.
fn may_hold(model: &ModelRecord, target: Option<&VersionRecord>) -> bool {
    target.is_some_and(|target| !target.archived && target.incarnation == model.incarnation)
}

fn moved_by(model: &ModelRecord, count: u32, off: i64) -> Result<u32> {
    u32::try_from(i64::from(count) + off)
        .map_err(|_| Error::corrupt(format!("model {:?}: counts {count} versions and is off by {off}", model.name)))
}
