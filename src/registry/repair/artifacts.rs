//! Inline artifacts: how many versions hold which bytes.
//!
//! The counts follow the argument of counters: the difference between a recount and the count, both of one point in
//! time, is added. A count that can't be read keeps every writer from changing it, so it is set to the recount. Bytes
//! that nobody holds any more, and bytes that are not those of their hash, go to quarantine: a version may be there too
//! that they belong to.
//!
//! Bytes that versions hold and that are not there can't be made: they are reported as unresolved, unless they are in
//! quarantine, where an earlier finding said so.

use std::collections::{BTreeMap, BTreeSet};

use super::super::artifact::Sha256;
use super::super::property::Bytes;
use super::super::record::VersionRecord;
use crate::engine::{KeyRange, Tree};
use crate::error::{Error, Result};
use crate::keys;
use crate::record::repair::{Changes, Repairer};
use crate::record::scrub::{self, ViolationKind, damage};
use crate::record::{Transaction, View, catalog, quarantine};

/// One artifact as it was found.
#[derive(Debug, Default)]
struct Found {
    held: u64,
    /// The count, `None` where it can't be read.
    counted: Option<u64>,
    content_wrong: Option<String>,
    content_missing: bool,
}

/// Puts the counts of holders right, and moves bytes that can't be used into quarantine.
pub(super) fn artifacts(run: &mut Repairer<'_>) -> Result<()> {
    run.stage("artifacts");
    let store = run.store();
    let wrong = store.read(|view| {
        let mut found = holders(view)?;
        let known = lost(view)?;
        for hash in stored(view)? {
            found.entry(hash).or_default();
        }
        let mut wrong = Vec::new();
        for (hash, mut found) in found {
            look(view, &hash, &mut found)?;
            let content = keys::content(catalog::ARTIFACT.tag, &hash.0);
            let lost = found.content_missing && found.held > 0 && !known.contains(&content);
            let surplus = found.held == 0 && (!found.content_missing || found.counted != Some(0));
            if found.counted != Some(found.held) || found.content_wrong.is_some() || lost || surplus {
                wrong.push((content, (hash, found, lost)));
            }
        }
        run.tick(wrong.len() as u64)?;
        Ok(wrong)
    })?;
    run.mend_all(Tree::Records, &wrong, |txn, content, (hash, found, lost), changes| {
        mend(txn, content, hash, found, changes)?;
        if *lost {
            changes.leave(
                ViolationKind::ReferenceBroken,
                Tree::Records,
                content,
                "the bytes that versions hold are gone",
            );
        }
        Ok(())
    })
}

/// The keys of bytes that are in quarantine.
pub(crate) fn lost(view: &View<'_>) -> Result<BTreeSet<Vec<u8>>> {
    let mut lost = BTreeSet::new();
    quarantine::for_each_key(view, Tree::Records, |key| lost.extend([key.to_vec()]))?;
    Ok(lost)
}

fn holders(view: &View<'_>) -> Result<BTreeMap<Sha256, Found>> {
    let mut holders: BTreeMap<Sha256, Found> = BTreeMap::new();
    scrub::for_each_entry(view, Tree::ModelVersions, KeyRange::all(), |key, _| {
        let Ok(Some(version)) = damage(view.get::<VersionRecord>(key))? else { return Ok(()) };
        // Of a version and its copy ahead of a rename the version holds the share.
        if version.copy_of.is_some() {
            return Ok(());
        }
        if let Some(held) = version.artifact.filter(|held| held.uri.is_none()) {
            holders.entry(held.sha256).or_default().held += 1;
        }
        Ok(())
    })?;
    Ok(holders)
}

/// The hashes of everything that is stored or counted.
fn stored(view: &View<'_>) -> Result<BTreeSet<Sha256>> {
    let mut hashes = BTreeSet::new();
    for part in [catalog::ARTIFACT, catalog::ARTIFACT_REFERENCES] {
        let prefix = keys::content_prefix(part.tag);
        scrub::for_each_entry(view, part.tree, KeyRange::prefix(&prefix), |key, _| {
            hashes.extend(key.strip_prefix(prefix.as_slice()).and_then(|hash| hash.try_into().ok()).map(Sha256));
            Ok(())
        })?;
    }
    Ok(hashes)
}

fn look(view: &View<'_>, hash: &Sha256, found: &mut Found) -> Result<()> {
    let counts = keys::content(catalog::ARTIFACT_REFERENCES.tag, &hash.0);
    found.counted =
        damage(view.get_part::<u64>(catalog::ARTIFACT_REFERENCES, &counts))?.ok().map(|counted| counted.unwrap_or(0));
    let content = keys::content(catalog::ARTIFACT.tag, &hash.0);
    match damage(view.get_part::<Bytes<Vec<u8>>>(catalog::ARTIFACT, &content))? {
        Ok(Some(Bytes(bytes))) if Sha256::of(&bytes) == *hash => {}
        Ok(Some(_)) => found.content_wrong = Some("the bytes have another hash".to_owned()),
        Ok(None) => found.content_missing = true,
        Err(error) => found.content_wrong = Some(error.to_string()),
    }
    Ok(())
}

fn mend(txn: &mut Transaction<'_>, content: &[u8], hash: &Sha256, found: &Found, changes: &mut Changes) -> Result<()> {
    let counts = keys::content(catalog::ARTIFACT_REFERENCES.tag, &hash.0);
    let old = damage(txn.get_part::<u64>(catalog::ARTIFACT_REFERENCES, &counts))?;
    let right = match (&old, found.counted) {
        (Ok(now), Some(counted)) => {
            let right = i128::from(now.unwrap_or(0)) + i128::from(found.held) - i128::from(counted);
            u64::try_from(right).map_err(|_| Error::corrupt(format!("artifact {hash}: fewer holders than none")))?
        }
        (Err(_), None) => found.held,
        // It became readable, or not, since: the next repair looks again.
        _ => return Ok(()),
    };
    if let Some(reason) = &found.content_wrong {
        // Whoever holds these bytes finds them missing; content is never written over while it is held.
        let still = damage(txn.get_part::<Bytes<Vec<u8>>>(catalog::ARTIFACT, content))?;
        if !still.is_ok_and(|still| still.is_some_and(|Bytes(bytes)| Sha256::of(&bytes) == *hash)) {
            changes.set_aside(txn, Tree::Records, content, reason)?;
        }
    }
    if right == 0 {
        changes.set_aside(txn, Tree::Records, content, "bytes of an artifact that no version holds")?;
        txn.delete_part(catalog::ARTIFACT_REFERENCES, &counts)?;
    } else if !old.is_ok_and(|old| old == Some(right)) {
        txn.put_part(catalog::ARTIFACT_REFERENCES, &counts, &right)?;
    } else {
        return Ok(());
    }
    changes.references += 1;
    Ok(())
}
