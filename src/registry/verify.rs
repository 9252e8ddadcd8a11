//! What verify knows about the registry beyond its indexes and counters: that everything referred to is there.
//!
//! ```text
//! model    -> active version, aliases      there, of this model, not archived
//!          -> last_version                 not below any version's number
//!          -> versions, archived_versions  as many as there are
//! version  -> model                        there, or the version is a leftover that waits for its sweep
//!          -> inline artifact              there, with the hash that names it, counted once for each holder
//! ```
//!
//! Memory: one entry for each life of a model's name and for each inline artifact.

use std::collections::BTreeMap;

use super::artifact::Sha256;
use super::leftovers::{self, Life};
use super::property::Bytes;
use super::record::{ModelRecord, VersionRecord};
use super::repair::{broken_moves, lost, moves_prefixes, stray_move};
use crate::engine::{Direction, KeyRange, Tree};
use crate::error::{ErrorKind, Result};
use crate::keys;
use crate::record::scrub::{self, Report, ViolationKind};
use crate::record::{Entity, View, catalog};

const PAGE: usize = 1000;

/// What the versions of one model add up to.
#[derive(Default)]
struct Tally {
    versions: u32,
    archived: u32,
    highest: u32,
}

/// Checks models, versions, their indexes and counters, their references to each other, and the inline artifacts.
/// Reads only.
///
/// # Errors
/// What keeps the sweep from reading on; never a bad record.
pub fn verify(view: &View<'_>, report: &mut Report) -> Result<()> {
    scrub::verify::<ModelRecord>(view, report)?;
    scrub::verify::<VersionRecord>(view, report)?;
    let mut tallies: BTreeMap<Life, Tally> = BTreeMap::new();
    let mut holders: BTreeMap<Sha256, u64> = BTreeMap::new();
    let mut unreadable = false;
    each_key(view, Tree::ModelVersions, |key| {
        let Some(version) = readable::<VersionRecord>(view, key)? else {
            unreadable = true;
            return Ok(());
        };
        let tally = tallies.entry(version.life()).or_default();
        if let Some(source) = &version.copy_of {
            let row: Option<VersionRecord> = readable(view, &keys::version(&source.model, version.number))?;
            if !unreadable && row.is_none_or(|row| row.life() != *source) {
                let detail = format!("copied from {:?}, where there is no such row", source.model);
                report.violation(ViolationKind::ReferenceBroken, Tree::ModelVersions, key, detail);
            }
        } else if let Some(held) = version.artifact.filter(|held| held.uri.is_none()) {
            // Of a row and its copy the row holds the share.
            *holders.entry(held.sha256).or_default() += 1;
        }
        tally.versions += 1;
        tally.archived += u32::from(version.archived);
        tally.highest = tally.highest.max(version.number);
        Ok(())
    })?;
    verify_models(view, &mut tallies, unreadable, report)?;
    for (life, tally) in tallies {
        let key = keys::model(&life.model);
        // A model that is there but can't be read was reported with the records.
        let unknown =
            view.reader().get(Tree::Models, &key)?.is_some() && readable::<ModelRecord>(view, &key)?.is_none();
        // Leftovers of an earlier life wait for their sweep, and nobody sees them.
        if !unknown && leftovers::in_view(view, &life.model)?.fate(life.incarnation).is_none() {
            let detail = format!("{} versions of a model that does not exist", tally.versions);
            report.violation(ViolationKind::ReferenceBroken, Tree::Models, &key, detail);
        }
    }
    verify_moves(view, report)?;
    verify_artifacts(view, holders, unreadable, report)
}

/// Checks that each pointer move is one that its model keeps.
fn verify_moves(view: &View<'_>, report: &mut Report) -> Result<()> {
    for prefix in moves_prefixes() {
        scrub::for_each_entry(view, Tree::History, KeyRange::prefix(&prefix), |key, _| {
            report.records += 1;
            if stray_move(view, key)? {
                let detail = "a pointer move that no model keeps";
                report.violation(ViolationKind::ReferenceBroken, Tree::History, key, detail);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Checks each model against its versions; takes the tallies of readable models away.
fn verify_models(
    view: &View<'_>,
    tallies: &mut BTreeMap<Life, Tally>,
    unreadable: bool,
    report: &mut Report,
) -> Result<()> {
    each_key(view, Tree::Models, |key| {
        let Some(model) = readable::<ModelRecord>(view, key)? else { return Ok(()) };
        let tally = tallies.remove(&model.life()).unwrap_or_default();
        let mut broken = |detail: String| report.violation(ViolationKind::ReferenceBroken, Tree::Models, key, detail);
        let pointers = model.aliases.iter().map(|(alias, number)| (format!("alias {alias}"), *number));
        let pointers = pointers.chain(model.active_version.map(|number| ("active version".to_owned(), number)));
        for (pointer, number) in pointers {
            match view.get::<VersionRecord>(&keys::version(&model.name, number)) {
                Ok(Some(target)) if !target.archived && target.incarnation == model.incarnation => {}
                Ok(Some(_)) => broken(format!("{pointer}: version {number} is archived, or of an earlier model")),
                Ok(None) => broken(format!("{pointer}: version {number} does not exist")),
                Err(error) if is_damage(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some((at, what)) = broken_moves(view, &model)? {
            report.violation(ViolationKind::ReferenceBroken, Tree::History, &at, what);
        }
        let mut broken = |detail: String| report.violation(ViolationKind::ReferenceBroken, Tree::Models, key, detail);
        if tally.highest > model.last_version {
            broken(format!("last_version is {}, yet there is version {}", model.last_version, tally.highest));
        }
        // A version that can't be read is in the model's counts and not in the tally.
        if !unreadable && (model.versions, model.archived_versions) != (tally.versions, tally.archived) {
            broken(format!(
                "counts {} versions, {} of them archived; there are {} and {}",
                model.versions, model.archived_versions, tally.versions, tally.archived
            ));
        }
        Ok(())
    })
}

/// Checks the bytes of every inline artifact and the count of its holders.
fn verify_artifacts(
    view: &View<'_>,
    mut holders: BTreeMap<Sha256, u64>,
    unreadable: bool,
    report: &mut Report,
) -> Result<()> {
    let tree = catalog::ARTIFACT.tree;
    let counts = keys::content_prefix(catalog::ARTIFACT_REFERENCES.tag);
    let contents = keys::content_prefix(catalog::ARTIFACT.tag);
    let lost = lost(view)?;
    each_key(view, tree, |key| {
        if let Some(hash) = key.strip_prefix(counts.as_slice()).and_then(sha256) {
            report.records += 1;
            let held = holders.remove(&hash).unwrap_or(0);
            match view.get_part::<u64>(catalog::ARTIFACT_REFERENCES, key) {
                Ok(Some(counted)) if counted == held || (unreadable && counted > held) => {}
                Ok(counted) => {
                    let detail = format!("counts {} holders, there are {held}", counted.unwrap_or(0));
                    report.violation(ViolationKind::CounterWrong, tree, key, detail);
                }
                Err(error) if is_damage(error.kind()) => {
                    report.violation(ViolationKind::Unreadable, tree, key, error.to_string());
                }
                Err(error) => return Err(error),
            }
            let content = keys::content(catalog::ARTIFACT.tag, &hash.0);
            // What an earlier repair set aside is known to be lost.
            if view.reader().get(tree, &content)?.is_none() && !lost.contains(&content) {
                report.violation(ViolationKind::ReferenceBroken, tree, key, "the bytes that it counts are missing");
            }
        } else if let Some(hash) = key.strip_prefix(contents.as_slice()).and_then(sha256) {
            report.records += 1;
            match view.get_part::<Bytes<Vec<u8>>>(catalog::ARTIFACT, key) {
                Ok(Some(Bytes(content))) if Sha256::of(&content) == hash => {}
                Ok(_) => report.violation(ViolationKind::Misplaced, tree, key, "the bytes have another hash"),
                Err(error) if is_damage(error.kind()) => {
                    report.violation(ViolationKind::Unreadable, tree, key, error.to_string());
                }
                Err(error) => return Err(error),
            }
            if view.reader().get(tree, &keys::content(catalog::ARTIFACT_REFERENCES.tag, &hash.0))?.is_none() {
                report.violation(ViolationKind::ReferenceBroken, tree, key, "nobody counts these bytes");
            }
        }
        Ok(())
    })?;
    for (hash, held) in holders {
        let key = keys::content(catalog::ARTIFACT_REFERENCES.tag, &hash.0);
        let detail = format!("held by {held} versions, but not counted");
        report.violation(ViolationKind::ReferenceBroken, tree, &key, detail);
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> Option<Sha256> {
    bytes.try_into().ok().map(Sha256)
}

fn is_damage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported)
}

/// The record, or `None` when it can't be read: that was reported with its schema.
fn readable<R: Entity>(view: &View<'_>, key: &[u8]) -> Result<Option<R>> {
    match view.get(key) {
        Err(error) if !is_damage(error.kind()) => Err(error),
        found => Ok(found.unwrap_or(None)),
    }
}

fn each_key(view: &View<'_>, tree: Tree, mut visit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut rest = KeyRange::all();
    loop {
        let page = view.reader().scan(tree, &rest, Direction::Ascending, PAGE)?;
        page.entries.iter().try_for_each(|(key, _)| visit(key))?;
        match page.resume {
            Some(resume) => rest = rest.behind(&resume, Direction::Ascending),
            None => return Ok(()),
        }
    }
}
