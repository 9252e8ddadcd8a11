//! A model's row that can't be read, or is gone while its versions are there, is written anew.
//!
//! What the versions, the quarantine and the pointer moves still tell is enough for what must not be wrong: the
//! high-water mark (no number is given out twice), the counts, and the pointers as far as the moves reach back without
//! a gap. Description, tags and properties are in quarantine with the row.
//!
//! Facts are gathered outside of the transaction that uses them. They stay true: every verb that changes a model's
//! versions or pointers reads its row first, and fails as long as that can't be read.

use std::collections::{BTreeMap, BTreeSet};

use super::super::leftovers::{self, Leftovers, Life};
use super::super::pointers::{Pointer, PointerMove};
use super::super::record::{ModelRecord, VersionRecord};
use super::super::tracks;
use super::BY;
use super::moves::moves_found;
use crate::engine::{KeyRange, Tree};
use crate::error::Result;
use crate::keys::{self, KeyReader};
use crate::record::repair::{Changes, Repairer};
use crate::record::scrub::{self, damage};
use crate::record::{Transaction, View, catalog, quarantine};

/// What is still known about a model whose row is lost.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The life that the versions are of.
    incarnation: Option<u32>,
    versions: u32,
    archived_versions: u32,
    last_version: u32,
    pointer_moves: u64,
    created_at: Option<u64>,
    aliases: BTreeMap<String, u32>,
    active_version: Option<u32>,
    /// Whether anything is known at all.
    any: bool,
}

/// The facts about every model whose row can't be read, by key.
pub(super) fn damaged_models(run: &mut Repairer<'_>) -> Result<BTreeMap<Vec<u8>, Facts>> {
    run.stage("model");
    run.store().read(|view| {
        let mut damaged = BTreeMap::new();
        scrub::for_each_entry(view, Tree::Models, KeyRange::all(), |key, _| {
            if let (Err(_), Ok(name)) = (damage(view.get::<ModelRecord>(key))?, keys::parse_model(key)) {
                damaged.insert(key.to_vec(), facts(view, name)?);
            }
            Ok(())
        })?;
        Ok(damaged)
    })
}

/// Moves a model's row into quarantine and writes what is known of the model in its place.
pub(super) fn bury(
    txn: &mut Transaction<'_>,
    key: &[u8],
    reason: &str,
    facts: &BTreeMap<Vec<u8>, Facts>,
    changes: &mut Changes,
) -> Result<()> {
    changes.set_aside(txn, Tree::Models, key, reason)?;
    match (facts.get(key), keys::parse_model(key)) {
        (Some(facts), Ok(name)) if facts.any => write(txn, name, facts, changes),
        _ => Ok(()),
    }
}

/// Writes a row for each model that is gone while it has versions.
pub(super) fn missing_models(run: &mut Repairer<'_>) -> Result<()> {
    run.stage("version");
    let mut known = BTreeSet::new();
    run.sweep(
        Tree::ModelVersions,
        KeyRange::all(),
        |view, key, _| {
            let Ok((name, _)) = damage(keys::parse_version(key))? else { return Ok(None) };
            if known.contains(name) || view.reader().get(Tree::Models, &keys::model(name))?.is_some() {
                return Ok(None);
            }
            let Ok(Some(version)) = damage(view.get::<VersionRecord>(key))? else { return Ok(None) };
            // What a delete or a rename left behind has no model, and waits for its sweep.
            if leftovers_of(view, name)?.fate(version.incarnation).is_some() {
                return Ok(None);
            }
            known.insert(name.to_owned());
            facts(view, name).map(Some)
        },
        |txn, key, facts, changes| {
            let (name, _) = keys::parse_version(key)?;
            if txn.holds_part(catalog::MODEL, &keys::model(name))? {
                return Ok(());
            }
            write(txn, name, facts, changes)
        },
    )
}

fn write(txn: &mut Transaction<'_>, name: &str, facts: &Facts, changes: &mut Changes) -> Result<()> {
    let now_ms = txn.now_ms();
    txn.insert(ModelRecord {
        name: name.to_owned(),
        incarnation: facts.incarnation.unwrap_or_default(),
        aliases: facts.aliases.clone(),
        active_version: facts.active_version,
        last_version: facts.last_version,
        versions: facts.versions,
        archived_versions: facts.archived_versions,
        pointer_moves: facts.pointer_moves,
        changed_by: Some(BY.to_owned()),
        created_at: facts.created_at.unwrap_or(now_ms),
        updated_at: now_ms,
        ..ModelRecord::default()
    })?;
    changes.references += 1;
    Ok(())
}

fn facts(view: &View<'_>, name: &str) -> Result<Facts> {
    let (mut facts, mut live) = (Facts::default(), BTreeSet::new());
    let of_name = leftovers_of(view, name)?;
    scrub::for_each_entry(view, Tree::ModelVersions, versions_of(name), |key, _| {
        let Ok((model, number)) = damage(keys::parse_version(key))? else { return Ok(()) };
        if model != name {
            return Ok(());
        }
        let version = damage(view.get::<VersionRecord>(key))?;
        if let Ok(Some(version)) = &version
            && of_name.fate(version.incarnation).is_some()
        {
            return Ok(());
        }
        facts.any = true;
        facts.last_version = facts.last_version.max(number);
        let Ok(Some(version)) = version else { return Ok(()) };
        if Some(version.incarnation) > facts.incarnation {
            facts.incarnation = Some(version.incarnation);
            (facts.versions, facts.archived_versions) = (0, 0);
            live.clear();
        }
        if Some(version.incarnation) == facts.incarnation {
            facts.versions += 1;
            facts.archived_versions += u32::from(version.archived);
            let created_at = facts.created_at.unwrap_or(version.created_at);
            facts.created_at = Some(created_at.min(version.created_at));
            if !version.archived {
                live.insert(number);
            }
        }
        Ok(())
    })?;
    quarantine::for_each_key(view, Tree::ModelVersions, |key| {
        if let Ok((model, number)) = keys::parse_version(key)
            && model == name
        {
            facts.any = true;
            facts.last_version = facts.last_version.max(number);
        }
    })?;
    // Without a version that says so, the life gets a number that no leftover has.
    let incarnation = facts.incarnation.map_or_else(|| of_name.next_incarnation(name), Ok)?;
    facts.incarnation = Some(incarnation);
    pointers(view, name, incarnation, &live, &mut facts)?;
    Ok(facts)
}

/// The leftovers of `name`; none when their mark can't be read.
fn leftovers_of(view: &View<'_>, name: &str) -> Result<Leftovers> {
    Ok(damage(leftovers::in_view(view, name))?.unwrap_or_default())
}

/// The pointers as their last moves left them.
fn pointers(view: &View<'_>, name: &str, incarnation: u32, live: &BTreeSet<u32>, facts: &mut Facts) -> Result<()> {
    let life = Life { model: name.to_owned(), incarnation };
    let mut told = alias_pointers(view, &life, live, facts)?;
    sequence(view, &life, live, facts, &mut told)
}

/// The aliases, each from its newest move; answers those that are told of. One whose newest move can't be read, or lies
/// in quarantine, points nowhere that is known.
fn alias_pointers(view: &View<'_>, life: &Life, live: &BTreeSet<u32>, facts: &mut Facts) -> Result<BTreeSet<Pointer>> {
    let mut found = moves_found(view, life)?;
    let prefix = keys::pointer_moves(catalog::ALIAS_HISTORY.tag, &life.model, life.incarnation);
    quarantine::for_each_key(view, Tree::History, |key| {
        let rest = key.strip_prefix(prefix.as_slice()).map(KeyReader::new);
        if let Some((alias, number)) = rest.and_then(tracks::parse_rest) {
            found.entry(alias).or_default().entry(number).or_insert(None);
        }
    })?;
    let mut told = BTreeSet::new();
    for (alias, moves) in found {
        facts.any = true;
        for moved in moves.values().flatten() {
            facts.last_version = facts.last_version.max(moved.to.unwrap_or(0)).max(moved.from.unwrap_or(0));
            facts.pointer_moves = facts.pointer_moves.max(moved.behind.0);
        }
        told.insert(Pointer::Alias(alias.clone()));
        let newest = moves.into_values().next_back().flatten();
        if let Some(to) = newest.and_then(|moved| moved.to).filter(|to| live.contains(to)) {
            facts.aliases.insert(alias, to);
        }
    }
    Ok(told)
}

/// The active pointer, and in stores of an earlier format the aliases, too. Moves are read from the newest back to the
/// first that is missing or can't be read: behind that, an older move is not known to be the pointer's last.
fn sequence(
    view: &View<'_>,
    life: &Life,
    live: &BTreeSet<u32>,
    facts: &mut Facts,
    told: &mut BTreeSet<Pointer>,
) -> Result<()> {
    let prefix = keys::pointer_moves(catalog::POINTER_HISTORY.tag, &life.model, life.incarnation);
    let mut moves = BTreeMap::new();
    scrub::for_each_entry(view, Tree::History, KeyRange::prefix(&prefix), |key, _| {
        let Some(number) = key.strip_prefix(prefix.as_slice()).and_then(number) else { return Ok(()) };
        moves.insert(number, damage(view.get_part::<PointerMove>(catalog::POINTER_HISTORY, key))?.ok().flatten());
        Ok(())
    })?;
    quarantine::for_each_key(view, Tree::History, |key| {
        if let Some(number) = key.strip_prefix(prefix.as_slice()).and_then(number) {
            moves.entry(number).or_insert(None);
        }
    })?;
    let Some((&newest, _)) = moves.last_key_value() else { return Ok(()) };
    facts.any = true;
    facts.pointer_moves = facts.pointer_moves.max(newest.saturating_add(1));
    for (number, (found, moved)) in (0..=newest).rev().zip(moves.iter().rev()) {
        let Some(moved) = moved.as_ref().filter(|_| *found == number) else { break };
        facts.last_version = facts.last_version.max(moved.to.unwrap_or(0)).max(moved.from.unwrap_or(0));
        let pointer = moved.pointer();
        if let (true, Some(to)) = (told.insert(pointer.clone()), moved.to.filter(|to| live.contains(to))) {
            match pointer {
                Pointer::Active => facts.active_version = Some(to),
                Pointer::Alias(alias) => drop(facts.aliases.insert(alias, to)),
            }
        }
    }
    Ok(())
}

fn number(rest: &[u8]) -> Option<u64> {
    let mut reader = KeyReader::new(rest);
    let number = reader.u64().ok()?;
    reader.end().ok().map(|()| number)
}

/// A range that all of a model's version keys lie in, with others between them: `a@v1@v2` is no version of `a`.
fn versions_of(name: &str) -> KeyRange {
    KeyRange::prefix(format!("{name}@v").as_bytes())
}
