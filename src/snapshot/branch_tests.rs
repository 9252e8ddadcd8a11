//! Two copies of one store that go apart under one and the same opening, which random ids can't tell from one another: a
//! machine that was copied while it ran, or a disk that forgot what it had synced. Here the ids are seeded, so both copies
//! get the same.
//!
//! ```text
//!                    ┌─ x ── x ── x     primary X     same openings, same sequences, other commits
//!   common past ─────┤
//!                    └─ y ── y ── y     primary Y     a follower of X refuses every file of it
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{SnapshotInfo, export, status};
use crate::clock::Ids;
use crate::config::Config;
use crate::engine::conformance::twin::{Bug, Twin};
use crate::engine::local::place::Place;
use crate::engine::local::sim::SimDisk;
use crate::engine::memory::MemoryOpener;
use crate::engine::wrap::{EngineCall, FaultEngine, Mishap, Times};
use crate::engine::{Cursor, Engine, Tree, Txn, TxnOptions, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::record::digest_bytes;

/// Opens what lies on a disk, with ids that follow from the seed and the number of the opening alone.
fn open(disk: &SimDisk) -> Place {
    let mut config = Config::new().unwrap();
    config.memtable_bytes = 1 << 20;
    config.ids = Arc::new(Ids::seeded(7));
    let disk: Arc<dyn crate::engine::local::disk::Disk> = Arc::new(disk.clone());
    let opener = Arc::new(MemoryOpener::in_folder(Arc::clone(&disk)));
    Place::open(disk, Path::new("/data"), opener, &config).unwrap().0
}

fn apply(engine: &dyn Engine, path: &Path) -> Result<SnapshotInfo> {
    super::apply(engine, path, &mut |_| ())
}

fn follow(engine: &dyn Engine, folder: &Path) -> Result<Vec<PathBuf>> {
    super::follow(engine, folder, &mut |_| ())
}

fn follower() -> Place {
    let opener = Arc::new(MemoryOpener::by_folder());
    Place::open(Arc::new(SimDisk::new()), Path::new("/data"), opener, &Config::new().unwrap()).unwrap().0
}

fn write(engine: &dyn Engine, key: &str, value: &str) {
    let value = Value::from(value.as_bytes());
    engine.transact(&TxnOptions::default(), &mut |txn| txn.put(Tree::Kv, key.as_bytes(), value.clone())).unwrap();
}

fn digest(engine: &dyn Engine) -> [u8; 32] {
    let mut digest = [0; 32];
    engine
        .read_view(&mut |reader| {
            digest = digest_bytes(reader)?;
            Ok(())
        })
        .unwrap();
    digest
}

/// What must not move when a file is refused.
fn standing(engine: &dyn Engine) -> ([u8; 32], Cursor, super::ReplicaStatus) {
    (digest(engine), engine.cursor(), status(engine).unwrap())
}

/// Two primaries with a common past, and the files that they write.
struct Branches {
    folder: tempfile::TempDir,
    x: Place,
    y: Place,
    /// The end of the common past.
    fork: Cursor,
}

impl Branches {
    fn new() -> Self {
        let disk = SimDisk::new();
        let common = open(&disk);
        for number in 0..5 {
            write(&common, &format!("common {number}"), "1");
        }
        common.close().unwrap();
        let (x, y) = (open(&disk.kill()), open(&disk.kill()));
        // As far as openings tell, they are one store.
        assert_eq!((x.epoch(), x.sync().unwrap()), (y.epoch(), y.sync().unwrap()));
        let fork = x.cursor();
        let branches = Branches { folder: tempfile::tempdir().unwrap(), x, y, fork };
        export(&branches.x, &branches.file("full"), None, &mut |_| ()).unwrap();
        branches
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One more commit on each, on a key of its own.
    fn step(&self) {
        write(&self.x, &format!("x {}", self.x.cursor().sequence), "x");
        write(&self.y, &format!("y {}", self.y.cursor().sequence), "y");
        assert_eq!(self.x.cursor(), self.y.cursor());
    }

    fn delta(&self, of: &Place, name: &str, since: Cursor) -> PathBuf {
        let path = self.file(name);
        export(of, &path, Some(&since), &mut |_| ()).unwrap();
        path
    }
}

fn kind<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

/// The files of `y` that a follower of `x`, three commits behind the fork, is offered: the same stretch, one that begins
/// where it stands, one that passes it, and a full one for the very cursor.
fn offers(branches: &Branches) -> (Cursor, Vec<PathBuf>) {
    (0..3).for_each(|_| branches.step());
    let here = branches.x.cursor();
    let same_stretch = branches.delta(&branches.y, "same stretch", branches.fork);
    let full = branches.file("full at the same cursor");
    export(&branches.y, &full, None, &mut |_| ()).unwrap();
    branches.delta(&branches.x, "from x", branches.fork);
    branches.step();
    let begins_here = branches.delta(&branches.y, "begins here", here);
    let passes_here = branches.delta(&branches.y, "passes here", branches.fork);
    (here, vec![same_stretch, begins_here, passes_here, full])
}

#[test]
fn a_delta_of_a_copy_that_went_its_own_way_under_the_same_opening_is_refused_and_changes_nothing() {
    let branches = Branches::new();
    let follower = follower();
    apply(&follower, &branches.file("full")).unwrap();
    let (here, offers) = offers(&branches);
    apply(&follower, &branches.file("from x")).unwrap();
    assert_eq!(follower.cursor(), here);
    let before = standing(&follower);
    for path in &offers {
        let refused = apply(&follower, path).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Diverged, "{}: {refused}", path.display());
        assert_eq!(standing(&follower), before, "{}", path.display());
    }
    // What X goes on with still fits, and so do deltas that pass over where it stands.
    branches.step();
    apply(&follower, &branches.delta(&branches.x, "passes", branches.fork)).unwrap();
    assert_eq!(standing(&follower).0, digest(&branches.x));
}

#[test]
fn a_follower_that_does_not_compare_hashes_ends_in_a_state_that_neither_copy_ever_had() {
    let branches = Branches::new();
    let (_, offers) = offers(&branches);
    for (path, taken) in offers.iter().zip([false, true, true, false]) {
        let twin = Twin::new(Arc::new(follower()), Bug::HashForgotten);
        apply(&twin, &branches.file("full")).unwrap();
        apply(&twin, &branches.file("from x")).unwrap();
        let before = digest(&twin);
        // A full snapshot is compared with the note and not with the engine, so the twin refuses that one, too.
        let _refused = apply(&twin, path);
        let mixed = ![digest(&branches.x), digest(&branches.y), before].contains(&digest(&twin));
        assert_eq!(mixed, taken, "{}", path.display());
    }
}

#[test]
fn a_delta_in_part_is_finished_by_its_own_branch_alone() {
    let branches = Branches::new();
    for (place, name) in [(&branches.x, "x"), (&branches.y, "y")] {
        for round in 0..5u32 {
            let body = &mut |txn: &mut dyn Txn| {
                (0..400u32).try_for_each(|number| {
                    txn.put(Tree::Kv, format!("{name} {round} {number}").as_bytes(), Value::from(*b"1"))
                })
            };
            place.transact(&TxnOptions::default(), body).unwrap();
        }
    }
    let own = branches.delta(&branches.x, "own", branches.fork);
    let same_reach = branches.delta(&branches.y, "same reach", branches.fork);
    branches.step();
    let passes = branches.delta(&branches.y, "passes", branches.fork);
    let follower = FaultEngine::new(Arc::new(follower()));
    apply(&follower, &branches.file("full")).unwrap();
    follower.plan(EngineCall::Transact, 2, Times::Once, Mishap::FailBefore(Error::unavailable("planned")));
    assert_eq!(kind(apply(&follower, &own)), ErrorKind::Unavailable);
    let before = standing(&follower);
    assert!(before.2.applying.is_some());
    for path in [&same_reach, &passes] {
        assert_eq!(kind(apply(&follower, path)), ErrorKind::Diverged);
        assert_eq!(standing(&follower), before);
    }
    apply(&follower, &own).unwrap();
    assert_eq!(status(&follower).unwrap().applying, None);
    // The later delta of its own branch would have done as well.
    apply(&follower, &branches.delta(&branches.x, "on", branches.fork)).unwrap();
    assert_eq!(digest(&follower), digest(&branches.x));
}

#[test]
fn a_follower_knows_its_source_by_the_same_hash_and_goes_on_from_it() {
    let branches = Branches::new();
    let (follower, copy) = (follower(), follower());
    apply(&follower, &branches.file("full")).unwrap();
    let chain = |engine: &dyn Engine| engine.position(&engine.sync().unwrap()).unwrap().chain;
    assert!(chain(&follower).is_some());
    assert_eq!(chain(&follower), chain(&branches.x));
    let mut here = branches.fork;
    for round in 0..4 {
        branches.step();
        let path = branches.delta(&branches.x, &format!("{round}"), here);
        apply(&follower, &path).unwrap();
        assert_eq!(chain(&follower), chain(&branches.x));
        assert_ne!(chain(&follower), chain(&branches.y));
        here = follower.cursor();
        branches.x.checkpoint().unwrap();
    }
    // An export of a state that was taken over hands the hash on; the first write of its own goes on from there.
    let path = branches.file("copy");
    export(&follower, &path, None, &mut |_| ()).unwrap();
    apply(&copy, &path).unwrap();
    assert_eq!(chain(&copy), chain(&branches.x));
    write(&copy, "own", "1");
    let own = chain(&copy);
    assert!(own.is_some() && own != chain(&branches.x));
}

#[test]
fn a_delta_too_long_to_tell_where_a_replica_stands_needs_another_and_a_folder_offers_it() {
    let branches = Branches::new();
    let follower = follower();
    apply(&follower, &branches.file("full")).unwrap();
    let shipped = branches.file("shipped");
    std::fs::create_dir(&shipped).unwrap();
    // One key again and again: many commits, little that changed.
    let mut here = branches.fork;
    for round in 0..2 {
        for number in 0..33 {
            write(&branches.x, "hot", &number.to_string());
        }
        here = export(&branches.x, &shipped.join(format!("{round}.mlsnap")), Some(&here), &mut |_| ()).unwrap().cursor;
    }
    // It has a mark at every second commit, and by its name it would be the first to be taken.
    let long = shipped.join("0 long.mlsnap");
    export(&branches.x, &long, Some(&branches.fork), &mut |_| ()).unwrap();
    write(&branches.x, "hot", "last");
    export(&branches.x, &shipped.join("last.mlsnap"), Some(&here), &mut |_| ()).unwrap();
    apply(&follower, &shipped.join("0.mlsnap")).unwrap();
    let before = standing(&follower);
    assert_eq!(follower.cursor().sequence % 2, 1);
    assert_eq!(kind(apply(&follower, &long)), ErrorKind::NeedsFull);
    assert_eq!(standing(&follower), before);
    let taken = follow(&follower, &shipped).unwrap();
    let names: Vec<_> = taken.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["1", "last"]);
    assert_eq!(digest(&follower), digest(&branches.x));
}
